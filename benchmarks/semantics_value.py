"""What each switch between `reference` and `strict` is worth on real candles, in USD on 10,000.

    python benchmarks/semantics_value.py --data FOLDER    # run, store, fill the tables of docs/concepts/semantics.md
    python benchmarks/semantics_value.py --check          # do those tables say what the stored results say?

FOLDER holds candles and funding rates as `<source>/<SYMBOL>_<interval>.csv.gz`; the project holds none. Each market is
replayed in both semantics, in `reference` with one switch repaired and in `strict` with one switch as in `reference`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mei.cli import main as command_line
from mei.model.bars import DAY_MS
from mei.model.semantics import CHOICES, REFERENCE, STRICT, Semantics
from mei.workflows.market import MarketRequest
from mei.workflows.replay import ReplayRequest, run_replay
from mei.workflows.sweep.request import SweepRequest
from mei.workflows.sweep.run import run_sweep

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import REAL_YEAR, stamp  # noqa: E402

TABLES = ROOT / "docs" / "concepts" / "semantics.md"
RESULTS = ROOT / "benchmarks" / "results" / "semantics_value.json"
BEGIN, END = "<!-- runs: begin -->", "<!-- runs: end -->"
#: Switches that change what a run earns wherever it runs; the others need a setting of their own.
EVERYWHERE = (
    "bar_time", "entry_fill", "exit_fill", "take_profit", "trailing", "equity", "run_end",
    "costs", "funding", "warm_up", "btc_symbol",
)  # fmt: skip
MEDIUM = "global:\n  trade:\n    entry_min_confidence: medium\n"
#: Every kind of entry, at every confidence.
EVERY_ENTRY = (
    "global:\n  trade:\n    entry_min_confidence: low\n"
    "  thresholds:\n    entry: {enable_pullback_entries: true, enable_slow_drift_entries: true}\n"
)
FEBRUARY_2021_MS, MAY_2021_MS = 18_659 * DAY_MS, 18_748 * DAY_MS

Numbers = dict[str, float]
Found = dict[str, Any]


@dataclass(frozen=True)
class Market:
    """Databases of a folder: candles, finer ones for exits (3m) and entries (5m), funding rates."""

    main: str
    interval: str = "1h"
    exits: str | None = None
    entries: str | None = None
    funding: str | None = None

    def request(self, folder: Path, **others: Any) -> MarketRequest:
        """As a command line would ask for it."""

        def path(name: str | None) -> str | None:
            return None if name is None else str(folder / name)

        return MarketRequest(
            candles_db=path(self.main),
            interval=self.interval,
            exit_candles_db=path(self.exits),
            exit_interval=self.exits and "3m",
            entry_candles_db=path(self.entries),
            entry_interval=self.entries and "5m",
            funding_db=path(self.funding),
            **others,
        )


@dataclass(frozen=True)
class Case:
    """A market, a strategy file, bounds; title: for the tables; switches: what is set one by one."""

    title: str
    market: Market
    config: str = MEDIUM
    start_ms: int | None = None
    end_ms: int | None = None
    symbol: str | None = None
    lookback: int = 200
    sweeps: bool = False
    switches: tuple[str, ...] = EVERYWHERE


_SPOT_20, _SPOT_4 = Market("spot_20.db"), Market("spot_4.db")
_LAYERS = "symbols:\n" + "".join(
    f"  {name}: {{trade: {{sl_atr_mult: 3.0}}}}\n" for name in ("BTCUSDT", "ETHUSDT", "SOLUSDT")
)
CASES = {
    "A": Case("20 spot pairs, 1h, January to June 2021", _SPOT_20),
    "B": Case("BTC, ETH, SOL, ARB spot, 1h, 2022 to June 2024", _SPOT_4),
    "C": Case(
        "BTC, ETH, SOL perpetuals in USDC, 1h with funding, September 2024 to July 2025",
        Market("perpetuals.db", funding="funding.db"),
    ),
    "D": Case(
        "BTC, ETH, SOL, ARB spot, 1h with exits on 3m and entries on 5m, May and June 2024",
        Market("spot_4.db", exits="exits_3m.db", entries="entries_5m.db"),
    ),
    "E": Case(
        "as A, with pullback and slow-drift entries, `entry_min_confidence: low`",
        _SPOT_20,
        config=EVERY_ENTRY,
    ),
    "F": Case(
        "as A, traded from February to April 2021 only",
        _SPOT_20,
        start_ms=FEBRUARY_2021_MS,
        end_ms=MAY_2021_MS,
        switches=("run_end",),
    ),
    "G": Case(
        "as F, a sweep of one configuration",
        _SPOT_20,
        start_ms=FEBRUARY_2021_MS,
        end_ms=MAY_2021_MS,
        sweeps=True,
        switches=("sweep_window",),
    ),
    "H": Case(
        "as A, orders of at least 1,000 USD (`min_notional_usd`, `bump_to_min_notional`)",
        _SPOT_20,
        config=MEDIUM + "    min_notional_usd: 1000.0\n    bump_to_min_notional: true\n",
        switches=("bump",),
    ),
    "I": Case(
        "as A, BTC, ETH and SOL with `sl_atr_mult: 3.0` of their own",
        _SPOT_20,
        config=MEDIUM + _LAYERS,
        switches=("symbol_layer",),
    ),
    "J": Case("as B, `--symbol ETHUSDT`", _SPOT_4, symbol="ETHUSDT", switches=("context",)),
    "K": Case("as A, `--lookback 10`", _SPOT_20, lookback=10, switches=("warm_up",)),
    "L": Case(
        "as C, in bars of 4h, entries as in E",
        Market("perpetuals_4h.db", interval="4h", funding="funding.db"),
        config=EVERY_ENTRY,
        switches=("funding",),
    ),
}
#: A file with `leverage_medium: 3x` in it is read as no file at all.
MISTYPED = MEDIUM + "    leverage_medium: 3x\n"


def main() -> None:
    """Run and store, or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=REAL_YEAR.parents[1])
    parser.add_argument("--check", action="store_true", help="compare the tables, run nothing")
    args = parser.parse_args()
    if args.check:
        faults = check()
        print("\n".join(faults) or f"{TABLES.name} says what {RESULTS.name} says")
        raise SystemExit(bool(faults))
    with tempfile.TemporaryDirectory(prefix="mei-value-") as scratch:
        folder = Path(scratch)
        build(args.data, folder)
        found = run(folder)
    RESULTS.write_text(json.dumps(found | stamp(), indent=1, sort_keys=True) + "\n")
    RESULTS.with_suffix(".md").write_text(as_text(found))
    TABLES.write_text(filled(TABLES.read_text(), found))
    print(as_text(found))


def build(data: Path, folder: Path) -> None:
    """Databases of every market, through the importer."""
    spot_20, spot_4 = data / "binance-spot-wanderindev", data / "binance-spot-timealiver"
    perpetuals = data / "hyperliquid-perp"
    for path in sorted(spot_20.glob("*_1h.csv.gz")):
        _import(path, "--timeframe", "1h", "--db", folder / "spot_20.db")
    for path in sorted(spot_4.glob("*_1h.csv.gz")):
        _import(path, "--timeframe", "1h", "--db", folder / "spot_4.db")
    for path in sorted(spot_4.glob("*_2024MayJun_1m.csv.gz")):
        for longer, name in (("3m", "exits_3m.db"), ("5m", "entries_5m.db")):
            _import(path, "--timeframe", "1m", "--resample", longer, "--db", folder / name)
    for path in sorted(perpetuals.glob("*USDC_1h.csv.gz")):
        _import(path, "--timeframe", "1h", "--db", folder / "perpetuals.db")
        longer = ("--resample", "4h", "--db", folder / "perpetuals_4h.db")
        _import(path, "--timeframe", "1h", *longer)
    for path in sorted(perpetuals.glob("*_funding_1h.csv.gz")):
        _import(path, "--funding-db", folder / "funding.db")


def _import(path: Path, *arguments: str | Path) -> None:
    symbol = path.name.partition("_")[0]
    command = ["import-candles", "--file", path, "--symbol", symbol, *arguments]
    with contextlib.redirect_stdout(io.StringIO()):
        if command_line.run([str(part) for part in command]):
            raise SystemExit(f"{path}: could not be imported")


def run(folder: Path) -> Found:
    """Every case in both semantics and with its switches one by one; and the mistyped file."""
    found: Found = {}
    for letter, case in CASES.items():
        repaired, kept = {}, {}
        for switch in case.switches:
            reference, strict = CHOICES[switch]
            repaired[switch] = _numbers(case, folder, _with(REFERENCE, switch, strict))
            kept[switch] = _numbers(case, folder, _with(STRICT, switch, reference))
        found[letter] = {
            "title": case.title,
            "reference": _numbers(case, folder, REFERENCE),
            "strict": _numbers(case, folder, STRICT),
            "reference_but": repaired,
            "strict_but": kept,
        }
    mistyped = replace(CASES["A"], config=MISTYPED)
    return {"cases": found, "mistyped": _numbers(mistyped, folder, REFERENCE)}


def _with(semantics: Semantics, switch: str, value: str) -> Semantics:
    change: dict[str, Any] = {switch: value}
    return replace(semantics, **change)


def _numbers(case: Case, folder: Path, semantics: Semantics) -> Numbers:
    config = folder / "strategy.yaml"
    config.write_text(case.config)
    bounds = {"start_ms": case.start_ms, "end_ms": case.end_ms}
    market = case.market.request(folder, symbol=case.symbol, **bounds)
    if case.sweeps:
        return _sweep(market, config, folder, semantics)
    request = ReplayRequest(
        market=market, config=str(config), semantics=semantics, lookback=case.lookback
    )
    report = run_replay(request, _quiet)
    assert report is not None
    told = json.loads(report)
    stops = [group for group in told["by_exit_reason"] if group["reason"] == "Stop Loss"]
    return {
        "stops": sum(group["trades"] for group in stops),
        "stops_pnl_usd": round(sum(group["pnl"] for group in stops), 2),
        "pnl_usd": round(told["total_pnl"], 2),
        "closes": told["total_trades"],
        "max_drawdown_usd": round(told["max_drawdown_usd"], 2),
        "max_drawdown_pct": round(100.0 * told["max_drawdown_pct"], 2),
    }


def _sweep(market: MarketRequest, config: Path, folder: Path, semantics: Semantics) -> Numbers:
    spec = folder / "sweep.yaml"
    spec.write_text("axes:\n- path: trade.sl_atr_mult\n  values: [2.0]\n")
    output = str(folder / "sweep.jsonl")
    request = SweepRequest(
        str(spec), market, str(config), semantics=semantics, output=output, ledger="none"
    )
    numbers = run_sweep(request, _quiet).top[0].numbers
    return {
        "pnl_usd": round(numbers.total_pnl_usd, 2),
        "closes": numbers.total_trades,
        "max_drawdown_usd": round(numbers.max_drawdown_usd, 2),
        "max_drawdown_pct": round(100.0 * numbers.max_drawdown_frac, 2),
    }


def _quiet(_: str) -> None:
    """Nothing is told."""


def added(case: Mapping[str, Any], switch: str) -> tuple[float, float]:
    """What repairing a switch adds in USD: to `reference`, and as the last repair on the way to `strict`."""
    alone = case["reference_but"][switch]["pnl_usd"] - case["reference"]["pnl_usd"]
    last = case["strict"]["pnl_usd"] - case["strict_but"][switch]["pnl_usd"]
    return alone, last


def effect(found: Found, switch: str) -> str:
    """The last cell of a switch's row."""
    if switch == "config_errors":
        asked, had = found["cases"]["A"]["reference"]["pnl_usd"], found["mistyped"]["pnl_usd"]
        return f"A: {asked:+,.0f} asked for, {had:+,.0f} run"
    if switch in ("trade_ids", "excursions"):
        return "none"
    cells = []
    for letter, case in found["cases"].items():
        if switch in case["reference_but"]:
            alone, last = added(case, switch)
            if alone or last:
                cells.append(f"{letter}: {_usd(alone)} / {_usd(last)}")
    return "<br>".join(cells) or "0 in A to E"


def _usd(amount: float) -> str:
    return "0" if amount == 0 else f"{amount:+,.0f}" if abs(amount) >= 9.5 else f"{amount:+.1f}"


def runs_table(found: Found) -> str:
    """What was run, and what came of it in both semantics."""
    lines = [
        "| | candles and settings | `reference`: P&L, closes, drawdown | `strict`: P&L, closes, drawdown |",
        "|---|---|---|---|",
    ]
    for letter, case in found["cases"].items():
        cells = [_told(case[kind]) for kind in ("reference", "strict")]
        lines.append(f"| {letter} | {case['title']} | {cells[0]} | {cells[1]} |")
    return "\n".join([*lines, "", _on_stops(found["cases"]["A"])])


def _on_stops(case: Mapping[str, Any]) -> str:
    told = []
    for numbers in (case["reference"], case["reference_but"]["exit_fill"]):
        each = -numbers["stops_pnl_usd"] / numbers["stops"]
        told.append(f"{numbers['stops']} times for {each:.2f} USD each")
    return (
        "`exit_fill` adds profit although stops fire more often, because a stop that rests loses less than a close"
        f" beyond it: in A {told[1]} instead of {told[0]} (`reference`, this switch alone repaired)."
    )


def _told(numbers: Numbers) -> str:
    return f"{numbers['pnl_usd']:+,.0f} USD, {numbers['closes']:,}, {numbers['max_drawdown_pct']:.1f} %"


def filled(text: str, found: Found) -> str:
    """The page with the runs and the last cell of every switch's row as found."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    text = f"{head}{BEGIN}\n{runs_table(found)}\n{END}{tail}"
    return _rows(text, lambda switch: effect(found, switch))


def _rows(text: str, cell: Callable[[str], str]) -> str:
    lines = text.split("\n")
    for i, line in enumerate(lines):
        for switch, (reference, strict) in CHOICES.items():
            if line.startswith(f"| `{switch}`: {reference} → {strict} |"):
                *told, _ = line.removesuffix("|").split("|")
                lines[i] = "|".join([*told, f" {cell(switch)} |"])
    return "\n".join(lines)


def check(page: str | None = None) -> list[str]:
    """What the page says otherwise than the stored results; a line each."""
    text = TABLES.read_text() if page is None else page
    found = json.loads(RESULTS.read_text())
    faults = [
        f"{switch} has no row"
        for switch, (reference, strict) in CHOICES.items()
        if f"\n| `{switch}`: {reference} → {strict} |" not in text
    ]
    wanted = filled(text, found)
    pairs = zip(text.split("\n"), wanted.split("\n"), strict=False)
    faults += [f"{had!r} must be {want!r}" for had, want in pairs if had != want]
    if RESULTS.with_suffix(".md").read_text() != as_text(found):
        faults.append(f"{RESULTS.stem}.md is not that of {RESULTS.name}")
    return faults


def as_text(found: Found) -> str:
    """Every run, for reading."""
    parts = ["# What each switch is worth\n", runs_table(found), ""]
    for letter, case in found["cases"].items():
        parts += [
            f"\n## {letter}: {case['title']}\n",
            "| run | P&L USD | added | closes | max drawdown |",
            "|---|---|---|---|---|",
            *_lines(case, "reference", "reference_but", 1),
            *_lines(case, "strict", "strict_but", 0),
        ]
    told = _told(found["mistyped"])
    parts.append(f"\nA in `reference` with `leverage_medium: 3x` in the file: {told}.\n")
    return "\n".join(parts)


def _lines(case: Mapping[str, Any], kind: str, others: str, value: int) -> Sequence[str]:
    base: Numbers = case[kind]
    runs = {kind: base} | {
        f"{kind}, {switch}={choice[value]}": case[others][switch]
        for switch, choice in CHOICES.items()
        if switch in case[others]
    }
    return [
        f"| {name} | {one['pnl_usd']:+,.2f} | {one['pnl_usd'] - base['pnl_usd']:+,.2f} | {one['closes']:,} "
        f"| {one['max_drawdown_usd']:,.2f} USD, {one['max_drawdown_pct']:.2f} % |"
        for name, one in runs.items()
    ]


if __name__ == "__main__":
    main()
