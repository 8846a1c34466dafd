"""How fast Mei Alpha is swept: 10 symbols x 5,000 bars of 1h, over axes of the walk and over axes of indicators.

    python benchmarks/bench_sweep_mei_alpha.py [--configs 512] [--repeats 7]

Before any time is taken, random rows must have every number of a replay of their configuration, bit for bit. Preparing
the market, compiling (or loading what is compiled) and running are told apart; times are the best of all repeats, and
so is the time of threads on cores, which tells what is left when others use the machine, too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from mei.engines.mei_alpha import SymbolConfigs, replay
from mei.engines.mei_alpha_sweep import Sweep
from mei.model.replay import ReplayInputs
from mei.model.semantics import Semantics

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.bench_replay import (  # noqa: E402
    CONFIGS,
    HOUR_MS,
    SEMANTICS,
    candles_of,
    market,
)
from benchmarks.machine import stamp  # noqa: E402
from tests.sweeps.test_mei_alpha_sweep import compare, layout  # noqa: E402

SEED = 20
N_SYMBOLS, N_BARS = 10, 5_000
#: What to compare with.
GIVEN = {
    "target_symbol_bar_configs_per_s": 100_000_000,
    "target_times_a_replay": 8.0,
    "target_speed_up_of_two_cores": 1.8,
}
Axes = dict[str, tuple[float, float]]
#: Axes that only the walk reads, and axes that every stage does; each with its bounds.
TRADE: Axes = {
    "trade.sl_atr_mult": (1.0, 4.0),
    "trade.tp_atr_mult": (2.0, 8.0),
    "trade.trailing_start_atr": (0.5, 2.0),
    "trade.trailing_distance_atr": (0.4, 1.5),
    "trade.allocation_pct": (0.01, 0.1),
}
INDICATORS: Axes = {
    "indicators.ema_fast_window": (4.0, 30.0),
    "indicators.ema_slow_window": (31.0, 90.0),
    "indicators.adx_window": (7.0, 28.0),
    "trade.sl_atr_mult": (1.0, 4.0),
}


def main() -> None:
    """Check, measure, print, store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--configs", type=int, default=512, help="configurations of trade axes")
    parser.add_argument("--windows", type=int, default=48, help="configurations of indicator axes")
    parser.add_argument("--rows", type=int, default=12, help="rows compared with replays")
    parser.add_argument("--repeats", type=int, default=7)
    out = ROOT / "benchmarks" / "results" / "sweep_mei_alpha.json"
    parser.add_argument("--out", type=Path, default=out)
    args = parser.parse_args()
    load_at_start = round(os.getloadavg()[0], 2)
    inputs = ReplayInputs(candles_of(market(N_SYMBOLS, N_BARS), "1h", HOUR_MS))
    cases = {
        f"{kind}, {name}": measured(inputs, config, semantics, args)
        for name, config in CONFIGS.items()
        for kind, semantics in SEMANTICS.items()
    }
    result: dict[str, object] = {
        "given": GIVEN,
        "symbols": N_SYMBOLS,
        "bars": N_SYMBOLS * N_BARS,
        "configs": {"trade": args.configs, "indicators": args.windows},
        "repeats": args.repeats,
        "cases": cases,
        "load_1min_at_start": load_at_start,
    }
    result |= stamp()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    print(json.dumps(result, indent=2, sort_keys=True))


def drawn(axes: Axes, n: int) -> dict[str, Any]:
    """`n` random configurations; windows are whole numbers."""
    rng = np.random.default_rng(SEED)
    columns = {path: rng.uniform(low, high, n) for path, (low, high) in axes.items()}
    return {
        path: np.floor(values) if path.endswith("_window") else values
        for path, values in columns.items()
    }


def measured(
    inputs: ReplayInputs, config: Mapping[str, Any], semantics: Semantics, args: Any
) -> dict[str, Any]:
    """One base configuration in one semantics."""
    base = SymbolConfigs(config)
    trade, windows = drawn(TRADE, args.configs), drawn(INDICATORS, args.windows)
    started = perf_counter()
    sweep = Sweep(inputs, base, semantics, layout, 1)
    prepare_s = perf_counter() - started
    started = perf_counter()
    sweep.run(trade, args.configs)
    compile_s = perf_counter() - started
    checked = [
        check(sweep, inputs, semantics, columns, n, args.rows)
        for columns, n in ((trade, args.configs), (windows, args.windows))
    ]
    symbol_bars = inputs.candles.n_rows
    replays = best(lambda: replay(inputs, base, semantics), args.repeats)
    found: dict[str, Any] = {
        "rows_equal_to_replays": sum(checked),
        "prepare_s": round(prepare_s, 4),
        "compile_or_load_s": round(compile_s, 2),
        "replay_ms": round(1e3 * replays[0], 2),
        "replay_core_ms": round(1e3 * replays[1], 2),
    }
    for name, columns, n in (("trade", trade, args.configs), ("indicators", windows, args.windows)):
        for n_threads in (1, 2):
            own = Sweep(inputs, base, semantics, layout, n_threads)
            warm = columns if name == "trade" else drawn(INDICATORS, 1)
            own.run(warm, n if name == "trade" else 1)
            wall_s, core_s = best(lambda s=own, c=columns, m=n: s.run(c, m), args.repeats)
            found[f"{name}, {n_threads} threads"] = {
                "symbol_bar_configs_per_s": round(symbol_bars * n / wall_s),
                "symbol_bar_configs_per_core_s": round(symbol_bars * n / core_s),
                "us_a_config": round(1e6 * wall_s / n, 1),
                "times_a_replay": round(replays[0] / (wall_s / n), 1),
            }
    for name in ("trade", "indicators"):
        one, two = (found[f"{name}, {n} threads"]["us_a_config"] for n in (1, 2))
        found[f"{name}, speed-up of two threads"] = round(one / two, 2)
    return found


def check(
    sweep: Sweep,
    inputs: ReplayInputs,
    semantics: Semantics,
    columns: Mapping[str, Any],
    n: int,
    n_rows: int,
) -> int:
    """Compare random rows with replays; how many there were. Ends the program where one differs."""
    rows = sweep.run(columns, n)
    settings = sweep.checked(columns, n)
    for number in random.Random(SEED).sample(range(n), min(n, n_rows)):
        one = sweep.configs(settings.of(number)).portfolio
        try:
            compare(rows[number], sweep, inputs, one, semantics)
        except AssertionError as error:
            raise SystemExit(f"configuration {number}: {error}; nothing is measured") from error
    return min(n, n_rows)


def best(run: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Least seconds by the clock and on cores, each of its own repeat."""
    walls, cores = [], []
    for _ in range(repeats):
        wall, core = perf_counter(), process_time()
        run()
        walls.append(perf_counter() - wall)
        cores.append(process_time() - core)
    return min(walls), min(cores)


if __name__ == "__main__":
    main()
