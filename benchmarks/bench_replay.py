"""How fast Mei Alpha is replayed: 51 symbols of 1h bars, a year of 1m bars of one, and the whole command.

    python benchmarks/bench_replay.py [--candles FILE.csv.gz] [--repeats 15]

Before any time is taken, the replay must have given every trade, every point of the curve and every counter of the
slow oracle, bit for bit, on a cut of the same bars. `symbols_51` and `year_1m` run on one core, `every_core` and the
command on all; times are the best of all repeats.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from mei.data.candle_import import write_bars_by_month
from mei.engines import mei_alpha as engine
from mei.engines.mei_alpha_market import prepare
from mei.model.bars import BAR_DTYPE, BarArray
from mei.model.candles import Candles, offsets_of
from mei.model.replay import ReplayInputs
from mei.model.semantics import REFERENCE, STRICT, Semantics
from mei.rules.mei_alpha.keys import DEFAULTS

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.bench_replay_momentum import read_bars  # noqa: E402
from benchmarks.machine import REAL_YEAR, stamp  # noqa: E402
from tests.oracles.comparison import engine_run, first_difference  # noqa: E402
from tests.oracles.mei_alpha.cases import Case  # noqa: E402

SEED = 51
N_SYMBOLS, N_BARS = 51, 3_000
HOUR_MS, MINUTE_MS = 3_600_000, 60_000
FIRST_MS = 1_704_067_200_000  # 2024-01-01
#: As they come, and with more to do for the walk.
CONFIGS: dict[str, dict[str, Any]] = {
    "defaults": DEFAULTS,
    "medium": DEFAULTS | {"trade.entry_min_confidence": 1},
}
SEMANTICS = {"reference": REFERENCE, "strict": STRICT}
#: What to compare with. Ordered sums over windows bound a core near the last one without SIMD across symbols.
GIVEN = {
    "target_symbol_bars_per_s": 4_000_000,
    "reference_symbol_bars_per_s": 1_050_000,
    "bound_symbol_bars_per_s": 7_000_000,
    "target_year_s": 0.15,
    "target_command_s": 2.5,
}
#: Bars and lookback of the cut that the oracle runs, too, and its symbols.
CUT_BARS, CUT_LOOKBACK, CUT_SYMBOLS = 300, 60, 6


def main() -> None:
    """Check, measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candles", type=Path, default=REAL_YEAR, help="1m candles of BTC/USDT")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--commands", type=int, default=7, help="warm runs of the whole command")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "replay.json")
    args = parser.parse_args()
    load_at_start = round(os.getloadavg()[0], 2)
    series = market(N_SYMBOLS, N_BARS)
    year, year_is = read_bars(args.candles, 525_600)
    cut = {name: series[name][:CUT_BARS] for name in list(series)[:CUT_SYMBOLS]}
    checked = {
        "1h": check(cut, HOUR_MS),
        "1m": check({"BTCUSDT": year[: 4 * CUT_BARS]}, MINUTE_MS),
    }
    print(f"equal to the oracle, bit for bit: {checked}")
    with one_core():
        symbols = measure(series, "1h", HOUR_MS, args.repeats)
        one_year = measure({"BTCUSDT": year}, "1m", MINUTE_MS, args.repeats)
    every_core = {
        "51 symbols of 1h": measure_threads(series, "1h", HOUR_MS, args.repeats),
        "a year of 1m": measure_threads({"BTCUSDT": year}, "1m", MINUTE_MS, args.repeats),
        "5 symbols of 200,000 bars of 1m": measure_threads(
            {f"C{number}": year[: len(year) * 2 // 5] for number in range(5)},
            "1m",
            MINUTE_MS,
            args.repeats,
        ),
    }
    with tempfile.TemporaryDirectory(prefix="mei-bench-") as scratch:
        command = measure_command(Path(scratch), series, args.commands)
    result: dict[str, object] = {
        "given": GIVEN,
        "repeats": args.repeats,
        "trades_checked_against_the_oracle": checked,
        "symbols_51": {"seed": SEED, "bars": N_SYMBOLS * N_BARS, "cases": symbols},
        "year_1m": {"bars_are": year_is, "bars": len(year), "cases": one_year},
        "every_core": every_core,
        "command": command,
        "load_1min_at_start": load_at_start,
    }
    result |= stamp()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    print(json.dumps(result, indent=2, sort_keys=True))


def market(n_symbols: int, n_bars: int) -> dict[str, BarArray]:
    """1h bars by symbol: correlated random walks that drift for days, with volatility and volume in clusters."""
    rng = np.random.default_rng(SEED)
    names = ["BTC", *(f"C{number:02d}" for number in range(1, n_symbols))]
    common = _returns(rng, n_bars)
    return {
        name: _bars(rng, 0.6 * common + _returns(rng, n_bars), 10.0 ** rng.uniform(-1, 4))
        for name in names
    }


def _returns(rng: np.random.Generator, n_bars: int) -> Any:
    drift = volatility = 0.0
    found = np.empty(n_bars)
    for i, (shock, tilt, noise) in enumerate(rng.standard_normal((n_bars, 3)).tolist()):
        volatility = 0.97 * volatility + 0.12 * shock
        drift = 0.985 * drift + 0.00018 * tilt
        found[i] = drift + 0.004 * np.exp(volatility) * noise
    return found


def _bars(rng: np.random.Generator, returns: Any, start_px: float) -> BarArray:
    bars = np.zeros(len(returns), dtype=BAR_DTYPE)
    bars["timestamp"] = FIRST_MS + HOUR_MS * np.arange(len(returns))
    bars["close"] = start_px * np.exp(np.cumsum(returns))
    bars["open"] = np.append(start_px, bars["close"][:-1])
    reach = np.abs(rng.standard_normal((2, len(returns)))) * 0.002
    bars["high"] = np.maximum(bars["open"], bars["close"]) * (1.0 + reach[0])
    bars["low"] = np.minimum(bars["open"], bars["close"]) * (1.0 - reach[1])
    bars["volume"] = 1e3 * np.exp(60.0 * np.abs(returns) + 0.5 * rng.standard_normal(len(returns)))
    return bars


def check(series: Mapping[str, BarArray], interval_ms: int) -> int:
    """Engine and oracle over `series` in every configuration and both semantics; how many trades were alike."""
    bars = {name: [tuple(row) for row in rows.tolist()] for name, rows in series.items()}
    n_trades = 0
    for name, config in CONFIGS.items():
        case = Case(bars, config, {}, interval_ms, CUT_LOOKBACK)
        for kind, semantics in SEMANTICS.items():
            switches = {key: getattr(semantics, key) for key in Semantics.__dataclass_fields__}
            found = first_difference(case, switches)
            if found is not None:
                raise SystemExit(f"{name}, {kind}: {found}; nothing is measured")
            n_trades += len(engine_run(case, switches).trades)
    if n_trades == 0:
        raise SystemExit("the cut must trade, it does not: the comparison with the oracle is empty")
    return n_trades


@contextmanager
def one_core() -> Iterator[None]:
    """Bind this process to one core."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def measure(
    series: Mapping[str, BarArray], interval: str, interval_ms: int, repeats: int
) -> dict[str, object]:
    """Every configuration in both semantics, whole and stage by stage."""
    candles = candles_of(series, interval, interval_ms)
    return {
        f"{kind}, {name}": _measured(candles, config, semantics, repeats)
        for kind, semantics in SEMANTICS.items()
        for name, config in CONFIGS.items()
    }


def measure_threads(
    series: Mapping[str, BarArray], interval: str, interval_ms: int, repeats: int
) -> dict[str, object]:
    """A replay (strict, medium) on one thread and on one a core, in turns; trades and curve must be the same."""
    inputs = ReplayInputs(candles_of(series, interval, interval_ms))
    configs = engine.SymbolConfigs(CONFIGS["medium"])
    n_threads = len(os.sched_getaffinity(0))
    alone, together = (engine.replay(inputs, configs, STRICT, n) for n in (1, n_threads))
    for name in ("trades", "equity_ms", "equity_usd"):
        if getattr(alone, name).tobytes() != getattr(together, name).tobytes():
            raise SystemExit(f"threads change {name}; nothing is measured")
    times_s: dict[int, list[float]] = {1: [], n_threads: []}
    for _ in range(repeats):
        for n, times in times_s.items():
            times.append(_timed(lambda n=n: engine.replay(inputs, configs, STRICT, n)))
    best_s = {n: min(times) for n, times in times_s.items()}
    return {
        "threads": n_threads,
        "one_thread_ms": round(1e3 * best_s[1], 2),
        "all_threads_ms": round(1e3 * best_s[n_threads], 2),
        "speed_up": round(best_s[1] / best_s[n_threads], 2),
        "symbol_bars_per_s": round(inputs.candles.n_rows / best_s[n_threads]),
    }


def candles_of(series: Mapping[str, BarArray], interval: str, interval_ms: int) -> Candles:
    """Bars by symbol as flat columns."""
    names = sorted(series, key=lambda name: name.encode())
    joined = np.concatenate([series[name] for name in names])
    columns = ("timestamp", "open", "high", "low", "close", "volume")
    return Candles(
        interval,
        interval_ms,
        tuple(names),
        offsets_of([len(series[name]) for name in names]),
        *(np.ascontiguousarray(joined[column]) for column in columns),
    )


def _measured(
    candles: Candles, config: Mapping[str, Any], semantics: Semantics, repeats: int
) -> dict[str, object]:
    inputs, configs = ReplayInputs(candles), engine.SymbolConfigs(config)
    result = engine.replay(inputs, configs, semantics)
    laid_out = prepare(inputs, semantics)
    found = engine.indicators_of(laid_out, configs)
    screened = engine.screen(laid_out, found, configs, semantics, inputs.lookback)
    work: dict[str, Callable[[], object]] = {
        "whole": lambda: engine.replay(inputs, configs, semantics),
        "prepare": lambda: prepare(inputs, semantics),
        "indicators": lambda: engine.indicators_of(laid_out, configs),
        "screen": lambda: engine.screen(laid_out, found, configs, semantics, inputs.lookback),
        "walk": lambda: engine.walk_market(laid_out, found, screened, configs, inputs, semantics),
    }
    rounds = [{name: _timed(each) for name, each in work.items()} for _ in range(repeats)]
    times_s = {name: sorted(one[name] for one in rounds) for name in work}
    rate = candles.n_rows / times_s["whole"][0]
    return {
        "symbol_bars_per_s": round(rate),
        "times_the_reference": round(rate / GIVEN["reference_symbol_bars_per_s"], 2),
        "trades": len(result.trades),
        "signals": result.n_signals,
        "best_ms": {name: round(1e3 * times[0], 2) for name, times in times_s.items()},
        "median_ms": {name: round(1e3 * times[repeats // 2], 2) for name, times in times_s.items()},
    }


def _timed(work: Callable[[], object]) -> float:
    started_s = perf_counter()
    work()
    return perf_counter() - started_s


def measure_command(
    scratch: Path, series: Mapping[str, BarArray], repeats: int
) -> dict[str, object]:
    """`mei-backtester replay` as a process: monthly databases, the first run in an empty home, then warm ones."""
    for name, bars in series.items():
        write_bars_by_month(scratch / "candles", name, "1h", bars)
    config = scratch / "strategy.yaml"
    config.write_text("global:\n  trade:\n    entry_min_confidence: medium\n")
    (scratch / "home").mkdir()
    cold, *warm = [run_command(scratch, config, number) for number in range(1 + repeats)]
    reports = {
        (scratch / f"{kind}-{number}").read_bytes()
        for kind in ("report.json", "trades.csv")
        for number in range(1 + repeats)
    }
    if len(reports) != 2:
        raise SystemExit("every run must write the same report and trades, did not")
    best = min(warm, key=lambda one: one["total_s"])
    return {
        "bars": sum(len(bars) for bars in series.values()),
        "databases": len(list((scratch / "candles").glob("*.db"))),
        "runs": repeats,
        "warm_best": best,
        "warm_median_total_s": sorted(one["total_s"] for one in warm)[repeats // 2],
        "cold": cold,
        "cold_compile_s": round(cold["total_s"] - best["total_s"], 2),
    }


def run_command(scratch: Path, config: Path, number: int) -> dict[str, float]:
    """One process: seconds by the lines it tells, and the peak of its memory.

    start_up: to the first line. load: strategy file and candles. run: compiler and kernels into memory, and the replay.
    report: numbers, JSON, CSV, summary, exit.
    """
    arguments = [
        str(Path(sys.executable).with_name("mei-backtester")), "replay",
        "--candles-db", str(scratch / "candles"), "--config", str(config), "--trades",
        "--output", str(scratch / f"report.json-{number}"),
        "--export-trades", str(scratch / f"trades.csv-{number}"),
    ]  # fmt: skip
    environment = os.environ | {"HOME": str(scratch / "home")}
    started_s = perf_counter()
    process = subprocess.Popen(
        arguments, stderr=subprocess.PIPE, text=True, env=environment, cwd=scratch
    )
    assert process.stderr is not None
    told, peak_mib = [], 0.0
    for line in process.stderr:
        told.append((perf_counter() - started_s, line))
        peak_mib = peak_of(process.pid) or peak_mib
    is_failed = process.wait()
    total_s = perf_counter() - started_s
    if is_failed:
        raise SystemExit("".join(line for _, line in told))
    loaded_s = next(at for at, line in told if line.startswith("[replay] Loaded"))
    run_s = next(
        float(line.split()[-1].rstrip("s")) for _, line in told if line.startswith("Completed in")
    )
    phases = {
        "total_s": total_s,
        "start_up_s": told[0][0],
        "load_s": loaded_s - told[0][0],
        "run_s": run_s,
        "report_s": total_s - loaded_s - run_s,
    }
    return {name: round(value, 3) for name, value in phases.items()} | {
        "peak_rss_mib": round(peak_mib, 1)
    }


def peak_of(pid: int) -> float:
    """Largest resident memory of a process so far, MiB; 0 when it is over. (What wait4 says has its parent's in it.)"""
    status = Path(f"/proc/{pid}/status").read_text()
    found = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(found[0].split()[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    main()
