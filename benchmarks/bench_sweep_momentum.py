"""How fast momentum_breakout is swept, in bars times configurations a second, and what memory that takes.

    python benchmarks/bench_sweep_momentum.py [--data FILE.csv.gz] [--repeats 7]

Without the file, bars of the sample market are made up. Before any time is taken, random rows of every case must have
been the reports of their replays, and a dense loop written by hand, which looks at every bar for every configuration
and is what the sweep is compared with, must have given the same balances and drawdowns. A sweep is timed whole: market,
signals and walk. Wall time is that of both threads; where others use the machine, core-seconds say more.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numba
import numpy as np

from mei.engines import momentum_breakout as engine
from mei.engines.momentum_breakout_market import prepare
from mei.metrics.replay import replay_numbers
from mei.model.bars import BarArray
from mei.model.replay import ReplayInputs
from mei.model.settings import Costs
from mei.rules.momentum_breakout.reasons import reason_text
from mei.rules.momentum_breakout.settings import DEFAULTS
from mei.workflows.momentum_rows import MomentumSweep

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.bench_replay_momentum import read_bars  # noqa: E402
from benchmarks.machine import REAL_YEAR, stamp  # noqa: E402
from tests.momentum_breakout.market import candles_of  # noqa: E402

COSTS = Costs(1.0, 2.0)
YEAR_BARS = 525_600
N_THREADS = 2
#: Of the dense loop, which would take minutes for all.
N_DENSE = 200
N_CHECKED = 60
#: To compare with: what must be reached; the peak covers interpreter, libraries and candles.
GIVEN = {
    "target_bar_configs_per_s": 1_500_000_000,
    "target_of_dense": 1.7,
    "target_peak_mib": 400,
}

WALK = {
    "stop_bps": (25.0, 50.0, 75.0, 100.0, 150.0),
    "take_profit_bps": (50.0, 100.0, 150.0, 200.0, 300.0),
    "max_hold_bars": (60.0, 240.0, 480.0, 1440.0),
}
CASES: dict[str, tuple[int, dict[str, tuple[float, ...]]]] = {
    "grid_10000_x_200000": (
        200_000,
        {
            "lookback": (20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 240.0, 360.0, 480.0),
            "breakout_bps": (0.0, 2.0, 5.0, 10.0, 20.0),
            "allow_short": (0.0, 1.0),
            **WALK,
        },
    ),
    "grid_1000_x_525600": (
        YEAR_BARS,
        {"lookback": (30.0, 60.0, 120.0, 240.0, 480.0), "breakout_bps": (0.0, 10.0), **WALK},
    ),
    "random_10000_x_200000": (200_000, {}),
}

Columns = dict[str, Any]


def main() -> None:
    """Check, measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=REAL_YEAR, help="1m candles of BTC/USDT")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks" / "results" / "sweep_momentum.json"
    )
    parser.add_argument("--peak-of", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak_of:
        print(json.dumps(peak_of(*args.peak_of)))
        return
    bars, source = read_bars(args.data, YEAR_BARS)
    result: dict[str, object] = {"bars_are": source, "repeats": args.repeats, "threads": N_THREADS}
    result["given"] = GIVEN
    result["cases"] = {name: measure(name, bars, args.repeats) for name in CASES}
    result |= stamp()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    print(json.dumps(result, indent=2, sort_keys=True))


def columns_of(name: str) -> tuple[Columns, int]:
    """Every combination of a case's axes; without axes, random values, no two of a stop or target alike."""
    axes = CASES[name][1]
    if axes:
        values = np.meshgrid(*axes.values(), indexing="ij")
        return {path: one.ravel() for path, one in zip(axes, values, strict=True)}, values[0].size
    n = 10_000
    rng = np.random.default_rng(1)
    return {
        "lookback": rng.integers(20, 500, n).astype(float) // 10 * 10,
        "breakout_bps": rng.integers(0, 5, n) * 5.0,
        "stop_bps": rng.uniform(20.0, 200.0, n),
        "take_profit_bps": rng.uniform(20.0, 400.0, n),
        "max_hold_bars": rng.integers(30, 1440, n).astype(float),
    }, n


def measure(name: str, bars: BarArray, repeats: int) -> dict[str, object]:
    """One case: checked, then timed in turn with the dense loop, then once more alone for its memory."""
    bars = bars[-CASES[name][0] :]
    inputs = ReplayInputs(candles_of({"BTC/USDT": bars}))
    columns, n = columns_of(name)
    rows = check(inputs, columns, n)
    dense = dense_loop(inputs, columns, n)
    check_dense(dense(), rows)
    print(f"{name}: {N_CHECKED} rows are those of replays, {N_DENSE} those of the dense loop")
    sweep_s, dense_s = [], []
    for _ in range(repeats):
        sweep_s.append(timed(lambda: run_sweep(inputs, columns, n)))
        dense_s.append(timed(dense))
    work, dense_work = n * len(bars), N_DENSE * len(bars)
    wall_s, core_s = (min(times) for times in zip(*sweep_s, strict=True))
    dense_wall_s, dense_core_s = (min(times) for times in zip(*dense_s, strict=True))
    return {
        "bars": len(bars),
        "configurations": n,
        "closes_per_configuration": round(float(rows["tally"]["trades"].mean()), 1),
        "checked_rows": N_CHECKED,
        "wall_s": round(wall_s, 4),
        "core_s": round(core_s, 4),
        "bar_configs_per_s": round(work / wall_s),
        "bar_configs_per_core_s": round(work / core_s),
        "dense_bar_configs_per_s": round(dense_work / dense_wall_s),
        "dense_bar_configs_per_core_s": round(dense_work / dense_core_s),
        "times_dense": round(work / wall_s * dense_wall_s / dense_work, 2),
        "times_dense_per_core_s": round(work / core_s * dense_core_s / dense_work, 2),
        "peak_mib": measured_peak(name, bars),
    }


def run_sweep(inputs: ReplayInputs, columns: Columns, n: int) -> Any:
    """The whole of it, from candles to rows."""
    return MomentumSweep(inputs, {}, COSTS, "next_open", N_THREADS).run(columns, n)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall time and core time, seconds."""
    started_s, started_core_s = perf_counter(), process_time()
    work()
    return perf_counter() - started_s, process_time() - started_core_s


def check(inputs: ReplayInputs, columns: Columns, n: int) -> Any:
    """The rows, of which some random ones were compared with replays."""
    sweep = MomentumSweep(inputs, {}, COSTS, "next_open", N_THREADS)
    rows = sweep.run(columns, n)
    for number in np.random.default_rng(7).choice(n, N_CHECKED, replace=False):
        params = {
            path: type(DEFAULTS[path])(values[number].item()) for path, values in columns.items()
        }
        result = engine.replay(inputs, params, COSTS)
        reasons = [reason_text(int(reason), 0, 0.0, 0.0) for reason in result.trades["reason"]]
        if asdict(sweep.numbers(rows[number])) != asdict(replay_numbers(result, reasons)):
            raise SystemExit(f"{params}: not the replay's row, nothing is measured")
    return rows


def check_dense(found: Any, rows: Any) -> None:
    """Whether the loop that serves for comparison does the same work."""
    tally = rows["tally"][dense_numbers(len(rows))]
    expected = np.column_stack([tally[name] for name in ("final_balance", "drawdown", "trades")])
    if not np.array_equal(found, expected):
        raise SystemExit("the dense loop gives other balances, drawdowns or closes")


def dense_numbers(n: int) -> Any:
    """The configurations the dense loop takes: spread over all."""
    return np.linspace(0, n - 1, N_DENSE).astype(np.int64)


def dense_loop(inputs: ReplayInputs, columns: Columns, n: int) -> Callable[[], Any]:
    """The comparison, ready to run on as many threads; the channels are made before any time is taken."""
    market = prepare(inputs, 60)
    numbers = dense_numbers(n)
    own = {path: values[numbers] for path, values in columns.items()}
    own.setdefault("allow_short", np.ones(len(numbers)))
    lookbacks, which = np.unique(own["lookback"], return_inverse=True)
    keys = [engine.WindowKey("channel", int(lookback)) for lookback in lookbacks]
    channels = [engine.windows(market, key) for key in keys]
    arrays = [market.bars.open, market.high, market.low, market.close]
    names = ("breakout_bps", "allow_short", "stop_bps", "take_profit_bps", "max_hold_bars")
    settings = np.column_stack([own[name] for name in names])
    found = np.empty((len(numbers), 3))

    def one(number: int) -> None:
        channel = channels[which[number]]
        dense_walk(*arrays, channel.upper, channel.lower, settings[number], found[number])

    def run() -> Any:
        with ThreadPoolExecutor(N_THREADS) as pool:
            list(pool.map(one, range(len(numbers))))
        return found

    return run


@numba.njit(nogil=True, error_model="numpy", cache=True)
def dense_walk(open_, high, low, close, highest, lowest, settings, found):  # type: ignore[no-untyped-def]  # noqa: C901
    """One configuration, bar by bar, filled at the next open; balance, drawdown in USD and closes to `found`."""
    breakout, shorts = settings[0] / 1e4, settings[1] != 0.0
    stop_bps, target_bps, hold = settings[2], settings[3], int(settings[4])
    buy, sell = 1.0 + 2.0 / 1e4, 1.0 + -2.0 / 1e4
    cash = 10_000.0
    equity = cash
    peak = drawdown = qty = entry = stop = target = notional = 0.0
    side = pending = held = closes = 0
    for t in range(len(close)):
        is_closed = False
        was_open = side != 0
        leave = 0.0
        if pending != 0:
            if side == 0:
                side = pending
                entry = open_[t] * (buy if side > 0 else sell)
                qty = notional / open_[t]
                cash -= qty * entry * 1.0 / 1e4
                held = 0
                stop = open_[t] * (1.0 - side * stop_bps / 1e4)
                target = open_[t] * (1.0 + side * target_bps / 1e4)
            else:
                leave = open_[t]
            pending = 0
        if side != 0 and leave == 0.0:
            held += was_open
            if side > 0:
                if low[t] <= stop:
                    leave = open_[t] if open_[t] < stop else stop
                elif high[t] >= target:
                    leave = open_[t] if open_[t] > target else target
            elif high[t] >= stop:
                leave = open_[t] if open_[t] > stop else stop
            elif low[t] <= target:
                leave = open_[t] if open_[t] < target else target
        if leave != 0.0:
            px = leave * (sell if side > 0 else buy)
            cash += side * (px - entry) * qty
            cash -= qty * px * 1.0 / 1e4
            closes += 1
            side = 0
            is_closed = True
        equity = cash
        if side != 0:
            equity = cash + side * (close[t] - entry) * qty
        if equity > peak:
            peak = equity
        if peak - equity > drawdown:
            drawdown = peak - equity
        signal = 0
        if close[t] > highest[t] * (1.0 + breakout):
            signal = 1
        elif shorts and close[t] < lowest[t] * (1.0 - breakout):
            signal = -1
        if side != 0:
            if held >= hold or signal == -side:
                pending = 2
        elif signal != 0 and not is_closed and equity > 0.0:
            pending = signal
            notional = 0.1 * equity
    found[0], found[1], found[2] = equity, drawdown, closes


def measured_peak(name: str, bars: BarArray) -> int:
    """Peak resident memory of a process that does nothing but this sweep, MiB; its kernels are compiled already."""
    with tempfile.TemporaryDirectory(prefix="mei-bench-") as scratch:
        path = Path(scratch) / "bars.npy"
        np.save(path, bars)
        command = [sys.executable, str(Path(__file__)), "--peak-of", name, str(path)]
        for _ in range(2):  # the first may have to compile
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, env=dict(os.environ), cwd=ROOT
            )
    return int(json.loads(done.stdout))


def peak_of(name: str, path: str) -> int:
    """In a process of its own: load the bars, sweep once; its peak, MiB."""
    bars = np.load(path)
    inputs = ReplayInputs(candles_of({"BTC/USDT": bars}))
    del bars
    run_sweep(inputs, *columns_of(name))
    # Not ru_maxrss, which begins with that of the process that started this one.
    status = Path("/proc/self/status").read_text()
    return round(int(status.partition("VmHWM:")[2].split()[0]) / 1024)


if __name__ == "__main__":
    main()
