"""How fast momentum_breakout is replayed: bars/s of a year of 1m bars, whole and stage by stage.

    python benchmarks/bench_replay_momentum.py [--candles FILE.csv.gz] [--bars 525600]

Without the file, bars of the sample market are made up. Before any time is taken, the replay must have given every
action and every point of the equity curve of a plain loop written from the specification alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from mei.data.research import read_series, scan_series
from mei.data.sample import sample_bars
from mei.engines import momentum_breakout as engine
from mei.engines.momentum_breakout_market import prepare
from mei.engines.momentum_breakout_state import start_of
from mei.model.bars import BarArray
from mei.model.replay import ReplayInputs
from mei.model.settings import Costs

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import REAL_YEAR, stamp  # noqa: E402
from tests.momentum_breakout.market import candles_of  # noqa: E402
from tests.oracles.momentum_breakout_loop import plain_loop  # noqa: E402

COSTS = Costs(1.0, 2.0)
MINUTE_MS = 60_000
EXITS = {"stop_bps": 50.0, "take_profit_bps": 100.0, "max_hold_bars": 240}
CASES: dict[str, dict[str, Any]] = {
    "channel_60": {"lookback": 60, **EXITS},
    "channel_500_sparse": {
        "lookback": 500,
        "breakout_bps": 30.0,
        "stop_bps": 100.0,
        "take_profit_bps": 200.0,
        "max_hold_bars": 240,
    },
    "zscore_60": {"signal": "zscore", "lookback": 60, "breakout_z": 2.5, **EXITS},
    "zscore_500": {"signal": "zscore", "lookback": 500, "breakout_z": 2.5, **EXITS},
}


def main() -> None:
    """Check, measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candles", type=Path, default=REAL_YEAR, help="1m candles of BTC/USDT")
    parser.add_argument("--bars", type=int, default=525_600)
    parser.add_argument("--checked-bars", type=int, default=30_000)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks" / "results" / "replay_momentum.json"
    )
    args = parser.parse_args()
    bars, source = read_bars(args.candles, args.bars)
    n_checked = check(bars[: args.checked_bars])
    print(f"{n_checked} actions and {args.checked_bars} points a case equal those of a plain loop")
    inputs = ReplayInputs(candles_of({"BTC/USDT": bars}))
    result: dict[str, object] = {
        "bars": len(bars),
        "bars_are": source,
        "repeats": args.repeats,
        "cases": {name: measure(inputs, params, args.repeats) for name, params in CASES.items()},
    }
    result |= stamp()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    print(json.dumps(result, indent=2, sort_keys=True))


def read_bars(candles: Path, n_bars: int) -> tuple[BarArray, str]:
    """The newest `n_bars` of the file, or as many of the sample market; and which of them."""
    if not candles.exists():
        return sample_bars("BTC/USDT", days=-(-n_bars // 1440) + 1)[:n_bars], "sample market"
    with tempfile.TemporaryDirectory(prefix="mei-bench-") as scratch:
        target = Path(scratch) / "BTC_USDT" / "1m"
        target.mkdir(parents=True)
        shutil.copy(candles, target / candles.name)
        scan = scan_series(Path(scratch), "BTC/USDT", "1m", "keep", None, None)
        bars = np.concatenate(list(read_series(scan)))[-n_bars:]
    return bars, candles.name


def check(bars: BarArray) -> int:
    """Replay and plain loop over `bars` in every case, filled at the next open and at the close."""
    rows = [(row[0] + MINUTE_MS, *row[1:5]) for row in bars.tolist()]
    inputs = ReplayInputs(candles_of({"BTC/USDT": bars}))
    n_actions = 0
    for name, params in CASES.items():
        for entry_fill in ("next_open", "signal_close"):
            result = engine.replay(inputs, params, COSTS, entry_fill)  # type: ignore[arg-type]
            fills, curve = plain_loop(
                rows,
                {"allocation_frac": 0.1, **params},
                fee_bps=COSTS.fee_bps,
                slippage_bps=COSTS.slippage_bps,
                cash=inputs.initial_balance_usd,
                entry_fill=entry_fill,
            )
            found = result.trades[["timestamp_ms", "qty", "price", "fee_usd", "pnl_usd"]].tolist()
            told = [(one["t"], one["qty"], one["price"], one["fee"], one["pnl"]) for one in fills]
            if found != told or result.equity_usd.tolist() != curve:
                raise SystemExit(f"{name}, {entry_fill}: not the plain loop's, nothing is measured")
            n_actions += len(fills)
    return n_actions


def measure(inputs: ReplayInputs, params: dict[str, Any], repeats: int) -> dict[str, object]:
    """Medians of the whole replay and of its stages, milliseconds; bars/s of the whole and of the walk."""
    settings = engine.checked_settings(params)
    market = prepare(inputs, settings["lookback"])
    window_key, signal_key = engine.window_key(settings), engine.signal_key(settings)
    windows = engine.windows(market, window_key)
    found = engine.signals(market, windows, signal_key)
    start = start_of(inputs, market, settings)
    terms = engine.terms_of(settings, COSTS, "next_open")
    result = engine.replay(inputs, params, COSTS)
    whole_ms = median_ms(lambda: engine.replay(inputs, params, COSTS), repeats)
    walk_ms = median_ms(lambda: engine.walk(market, found, terms, start), repeats)
    n_bars = inputs.candles.n_rows
    return {
        "actions": len(result.trades),
        "signals": result.n_signals,
        "bars_per_s": round(1e3 * n_bars / whole_ms),
        "walk_bars_per_s": round(1e3 * n_bars / walk_ms),
        "ms": {
            "whole": round(whole_ms, 2),
            "prepare": round(median_ms(lambda: prepare(inputs, 60), repeats), 2),
            "windows": round(median_ms(lambda: engine.windows(market, window_key), repeats), 2),
            "signals": round(
                median_ms(lambda: engine.signals(market, windows, signal_key), repeats), 2
            ),
            "walk": round(walk_ms, 2),
        },
    }


def median_ms(work: Callable[[], object], repeats: int) -> float:
    """Median wall time of `work`, milliseconds."""
    times = []
    for _ in range(repeats):
        started_s = perf_counter()
        work()
        times.append(perf_counter() - started_s)
    return 1e3 * statistics.median(times)


if __name__ == "__main__":
    main()
