"""Prefix invariance: what happens after T cannot change a byte that is stamped T or earlier.

The loop runs on the candles as they are. Then, for each of some random bar closes T, it runs on candles that end at T,
and on candles whose bars after T are another market's; every row of every output stamped <= T must be the same bytes.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mei.data.research import read_series, scan_series
from mei.loop.outputs import DECISIONS_CSV, EQUITY_CSV, TRADES_CSV, TRAININGS_JSONL
from mei.model.bars import BarArray, IntArray, interval_ms, path_name
from mei.model.errors import ConfigError, VerificationError
from services.backtest_runner.app.service import Hooks, run_loop
from services.backtest_runner.app.settings import Settings

#: How much of a scrambled future follows the cut; more cannot tell more, since rows after T are not compared.
SCRAMBLED_BARS = 1_500
#: A cut in the first tenth of the run would compare next to nothing.
_FIRST_CUT_FRAC = 0.1


@dataclass(frozen=True, slots=True)
class _Rows:
    """Output lines with the time each is stamped with, file by file."""

    lines: dict[str, list[bytes]]
    stamps: dict[str, list[int]]

    def until(self, name: str, cut_ms: int) -> list[bytes]:
        """Lines of file `name` stamped <= cut_ms, in order."""
        pairs = zip(self.lines[name], self.stamps[name], strict=True)
        return [line for line, stamp in pairs if stamp <= cut_ms]


def verify_prefix_invariance(settings: Settings, *, n_cuts: int, seed: int) -> Iterator[str]:
    """One line a run, and a last line with the counts. Raises VerificationError at the first differing row."""
    if settings.ml_service or settings.param_controller:
        raise ConfigError(
            "verify runs the services embedded: ML_SERVICE and PARAM_CONTROLLER must be empty, "
            f"were {settings.ml_service!r} and {settings.param_controller!r}"
        )
    rng = np.random.default_rng(seed)
    series = _series(settings)
    step_ms = interval_ms(settings.timeframe)
    closes = np.unique(np.concatenate([bars["timestamp"] for bars in series.values()])) + step_ms
    cuts = _choose_cuts(series, closes, n_cuts, rng)
    with tempfile.TemporaryDirectory(prefix="mei-verify-") as scratch:
        whole = _run(settings, series, Path(scratch) / "whole")
        yield f"base run: {len(whole.lines[EQUITY_CSV])} rows, {len(whole.lines[TRADES_CSV])} actions"
        n_compared = 0
        for number, cut_ms in enumerate(cuts):
            for kind, variant in (
                ("cut", _cut(series, cut_ms, step_ms)),
                ("scrambled", _scrambled(series, cut_ms, step_ms, rng)),
            ):
                rows = _run(settings, variant, Path(scratch) / f"{number}-{kind}")
                n_compared += _compare(whole, rows, cut_ms, kind)
                yield f"{kind} after {cut_ms}: every earlier row identical"
    yield (
        f"prefix invariance holds: {n_cuts} bars, {2 * n_cuts} runs, {n_compared} rows compared byte for byte"
    )


def _choose_cuts(
    series: dict[str, BarArray], closes: IntArray, n_cuts: int, rng: np.random.Generator
) -> list[int]:
    """Random closes, after the first tenth and after every instrument's first bar, before the last close."""
    latest_start = max(int(bars["timestamp"][0]) for bars in series.values())
    eligible = closes[int(len(closes) * _FIRST_CUT_FRAC) : -1]
    eligible = eligible[eligible > latest_start + 1]
    if len(eligible) < n_cuts:
        raise ConfigError(f"--cuts must be at most {len(eligible)} on these candles, was {n_cuts}")
    chosen: list[int] = np.sort(rng.choice(eligible, size=n_cuts, replace=False)).tolist()
    return chosen


def _series(settings: Settings) -> dict[str, BarArray]:
    loop = settings.loop_settings(settings.loaded_strategies())
    series = {}
    for symbol in loop.symbols:
        scan = scan_series(
            settings.research_dir,
            symbol,
            loop.timeframe,
            loop.gap_policy,
            loop.start_ms,
            loop.end_ms,
        )
        series[symbol] = np.concatenate(list(read_series(scan)))
    return series


def _cut(series: dict[str, BarArray], cut_ms: int, step_ms: int) -> dict[str, BarArray]:
    return {symbol: bars[bars["timestamp"] + step_ms <= cut_ms] for symbol, bars in series.items()}


def _scrambled(
    series: dict[str, BarArray], cut_ms: int, step_ms: int, rng: np.random.Generator
) -> dict[str, BarArray]:
    """The same past, then a wilder market on the same timestamps."""
    variant = {}
    for symbol, bars in series.items():
        past = bars[bars["timestamp"] + step_ms <= cut_ms]
        future = bars[len(past) : len(past) + SCRAMBLED_BARS].copy()
        last_px = float(past["close"][-1]) if len(past) else 100.0
        close = last_px * np.cumprod(1 + 0.004 * rng.standard_normal(len(future)))
        open_px = np.concatenate([[last_px], close[:-1]])[: len(future)]
        future["open"], future["close"] = open_px, close
        future["high"] = np.maximum(open_px, close) * (1 + 0.003 * rng.random(len(future)))
        future["low"] = np.minimum(open_px, close) * (1 - 0.003 * rng.random(len(future)))
        future["volume"] = 100 * rng.random(len(future))
        variant[symbol] = np.concatenate([past, future])
    return variant


def _run(settings: Settings, series: dict[str, BarArray], folder: Path) -> _Rows:
    present = {symbol: bars for symbol, bars in series.items() if len(bars)}
    for symbol, bars in present.items():
        _write_candles(folder / "research" / path_name(symbol) / settings.timeframe, bars)
    scratch = settings.model_copy(
        update={
            "research_dir": folder / "research",
            "results_dir": folder / "results",
            "ledger_db": str(folder / "manifest.sqlite"),
            "data_incoming": folder / "incoming",
            "models_dir": folder / "models",
            "decision_log": True,
            "start_ts": "",
            "end_ts": "",
        }
    )
    hooks = Hooks(
        on_line=lambda _: None,
        on_progress=lambda _: None,
        on_start=lambda _: None,
        should_stop=lambda: False,
    )
    report = asyncio.run(run_loop(scratch, hooks))
    return _read_rows(report.folder)


def _write_candles(folder: Path, bars: BarArray) -> None:
    folder.mkdir(parents=True)
    rows = [f"{t},{o!r},{h!r},{low!r},{c!r},{v!r}" for t, o, h, low, c, v in bars.tolist()]
    text = "\n".join(["timestamp,open,high,low,close,volume", *rows])
    (folder / "candles.csv").write_text(text + "\n")


def _read_rows(folder: Path) -> _Rows:
    lines: dict[str, list[bytes]] = {}
    stamps: dict[str, list[int]] = {}
    for name in (EQUITY_CSV, TRADES_CSV, DECISIONS_CSV):
        lines[name] = (folder / name).read_bytes().splitlines()[1:]
        stamps[name] = [int(line.partition(b",")[0]) for line in lines[name]]
    name = TRAININGS_JSONL
    lines[name] = (folder / name).read_bytes().splitlines()[1:]
    stamps[name] = [json.loads(line)["as_of_ms"] for line in lines[name]]
    return _Rows(lines, stamps)


def _compare(whole: _Rows, rows: _Rows, cut_ms: int, kind: str) -> int:
    """How many rows were compared. Raises VerificationError, naming the first row that differs."""
    n_compared = 0
    for name in whole.lines:
        expected, found = whole.until(name, cut_ms), rows.until(name, cut_ms)
        for number, (want, have) in enumerate(zip(expected, found, strict=False), start=2):
            if want != have:
                raise VerificationError(
                    f"rows stamped <= {cut_ms} must not depend on later bars, {name} line {number} does "
                    f"({kind} future): {want.decode()} became {have.decode()}"
                )
        if len(expected) != len(found):
            raise VerificationError(
                f"rows stamped <= {cut_ms} must not depend on later bars, {name} has {len(expected)} of them with "
                f"the true future and {len(found)} with a {kind} one"
            )
        n_compared += len(expected)
    return n_compared
