"""How fast sweeps run on a card.

Mei Alpha over the smoke set: 60,480 configurations, 1h bars with 3m sub-bars. momentum_breakout over a year of 1m bars
of one symbol (made up without the file), a grid and random settings, and over the 3m bars of the smoke set.

    python benchmarks/bench_sweep_gpu.py [--parity 10080] [--symbols 50] [--repeats 3] [--data FILE.csv.gz]

Before any time is taken, the rows of `--parity` configurations of each case, drawn at random, must be those of the CPU,
bit for bit; of Mei Alpha in both semantics, over `--symbols` symbols. Times are the best of all repeats, those of the
card by its own clock: copies there, kernels, copies back. A machine without a usable card says so and exits with 2:
nothing is written.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from mei.data.smoke_market import write_smoke_market
from mei.engines.cuda_device import BLOCK_THREADS, Card, CupyCard, fault_of_card
from mei.engines.same_rows import compare_rows
from mei.model.replay import ReplayInputs
from mei.model.semantics import parse_semantics
from mei.model.settings import Costs
from mei.workflows.market import MarketRequest
from mei.workflows.momentum_rows import MomentumSweep
from mei.workflows.sweep.engine import SweepEngine
from mei.workflows.sweep.plan import SweepPlan, plan_sweep
from mei.workflows.sweep.request import SweepRequest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.bench_replay_momentum import read_bars  # noqa: E402
from benchmarks.machine import REAL_YEAR, stamp  # noqa: E402
from tests.momentum_breakout.market import candles_of  # noqa: E402

SEED = 7
#: Stages 1 and 2 are shared by the configurations of one group: here 14 groups.
AXES: Mapping[str, list[float]] = {
    "thresholds.entry.min_adx": [16.0, 18.0, 20.0, 22.0, 24.0, 26.0, 28.0],
    "trade.entry_min_confidence": [0, 1],
    "trade.sl_atr_mult": [1.0, 1.5, 2.0, 2.5, 3.0, 3.5],
    "trade.tp_atr_mult": [2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
    "trade.allocation_pct": [0.03, 0.06, 0.1, 0.15, 0.2],
    "trade.trailing_start_atr": [1.0, 1.5, 2.0, 2.5, 3.0, 3.5],
    "trade.trailing_distance_atr": [0.5, 0.8, 1.0, 1.5],
}

COSTS = Costs(1.0, 2.0)
YEAR_BARS = 525_600
#: 100 groups of 800 configurations over one symbol: what shares its exits.
GRID: Mapping[str, list[float]] = {
    "lookback": [20, 30, 45, 60, 90, 120, 180, 240, 360, 480],
    "breakout_bps": [0, 2, 5, 10, 20],
    "allow_short": [0, 1],
    "stop_bps": [15, 20, 25, 35, 50, 75, 100, 150, 200, 300],
    "take_profit_bps": [25, 35, 50, 75, 100, 150, 200, 300, 400, 600],
    "max_hold_bars": [30, 60, 120, 240, 360, 480, 960, 1440],
}
#: Over several symbols every configuration is walked step by step.
PORTFOLIO: Mapping[str, list[float]] = {
    "lookback": [10, 20, 40, 80, 160],
    "breakout_bps": [0, 10],
    "stop_bps": [25, 50, 75, 100, 150, 200, 300, 400],
    "take_profit_bps": [50, 100, 150, 200, 300, 400, 600, 800],
    "max_hold_bars": [20, 40, 80, 160],
}
#: No two of these share a stop or a target.
N_RANDOM = 65_536


@dataclass(frozen=True, slots=True)
class Case:
    """Configurations over a market. engine: what runs them, on a card or (None) here; columns: one value each."""

    engine: Callable[[Card | None], SweepEngine]
    columns: Mapping[str, Any]
    n: int
    symbols: int
    bars: int


def main() -> int:
    """Check, measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parity", type=int, default=10_080, help="configurations compared")
    parser.add_argument("--symbols", type=int, default=50, help="symbols of the comparison")
    parser.add_argument("--days", type=int, default=19)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--semantics", default="strict", choices=("strict", "reference"))
    parser.add_argument("--data", type=Path, default=REAL_YEAR, help="1m candles of BTC/USDT")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/sweep_gpu.json")
    args = parser.parse_args()
    fault = fault_of_card()
    if fault is not None:
        print(f"{fault}; nothing was measured", file=sys.stderr)
        return 2
    card = CupyCard()
    threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="mei-bench-") as scratch:
        result = bench(Path(scratch), args, card, threads)
    result |= stamp()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    print(json.dumps(result, indent=2, sort_keys=True))
    return 0


def bench(folder: Path, args: argparse.Namespace, card: CupyCard, threads: int) -> dict[str, Any]:
    """Every case: checked, all of them, then timed."""
    checked: dict[str, Any] = {}
    for semantics in ("strict", "reference"):
        case = mei_alpha(folder, args.symbols, args.days, semantics, threads)
        checked[semantics] = parity(case, args.parity, card)
    momentum = momentum_cases(folder, args.data, args.days, threads)
    for name, case in momentum.items():
        checked[name] = parity(case, args.parity, card)
    case = mei_alpha(folder, 60, args.days, args.semantics, threads)
    return {
        "axes": {"mei_alpha": dict(AXES), "grid": dict(GRID), "portfolio": dict(PORTFOLIO)},
        "rows_equal_to_the_cpu_bit_for_bit": checked,
        "semantics": args.semantics,
        "mei_alpha": measure(case, card, args.repeats),
        "momentum_breakout": {
            name: measure(case, card, args.repeats) for name, case in momentum.items()
        },
        "card": {
            "name": card.name,
            "processors": card.n_processors,
            "memory_bytes": card.total_bytes,
        },
        "kernels": kernel_facts(card),
    }


def mei_alpha(folder: Path, n_symbols: int, days: int, semantics: str, threads: int) -> Case:
    """Mei Alpha over the smoke set of so many symbols, which is written first."""
    market = written_market(folder, n_symbols, days)
    sub_bars = str(market / "candles_3m.db")
    request = SweepRequest(
        spec=str(written_spec(folder / "alpha.yaml", AXES, "lookback: 200\n")),
        config=str(ROOT / "config/sweeps/smoke_strategy.yaml"),
        market=MarketRequest(
            candles_db=str(market / "candles_1h.db"),
            interval="1h",
            exit_candles_db=sub_bars,
            exit_interval="3m",
            entry_candles_db=sub_bars,
            entry_interval="3m",
        ),
        semantics=parse_semantics(semantics),
        output=str(folder / "rows.jsonl"),
    )
    return case_of(plan_sweep(request, lambda _: None), threads)


def momentum_cases(folder: Path, data: Path, days: int, threads: int) -> dict[str, Case]:
    """momentum_breakout: a grid and random settings over one symbol, a grid over the smoke set."""
    bars, source = read_bars(data, YEAR_BARS)
    print(f"one symbol: {len(bars)} bars, {source}")
    inputs = ReplayInputs(candles_of({"BTC/USDT": bars}))

    def engine(card: Card | None) -> SweepEngine:
        return MomentumSweep(inputs, {}, COSTS, "next_open", threads, card)

    values = np.meshgrid(*GRID.values(), indexing="ij")
    grid = {path: one.ravel() for path, one in zip(GRID, values, strict=True)}
    rng = np.random.default_rng(SEED)
    random = {
        "lookback": rng.integers(20, 500, N_RANDOM).astype(float) // 10 * 10,
        "breakout_bps": rng.integers(0, 5, N_RANDOM) * 5.0,
        "stop_bps": rng.uniform(20.0, 200.0, N_RANDOM),
        "take_profit_bps": rng.uniform(20.0, 400.0, N_RANDOM),
        "max_hold_bars": rng.integers(30, 1440, N_RANDOM).astype(float),
    }
    market = written_market(folder, 60, days)
    config = folder / "momentum.yaml"
    config.write_text("momentum_breakout: {allocation_frac: 0.02}\n")
    request = SweepRequest(
        spec=str(written_spec(folder / "portfolio.yaml", PORTFOLIO)),
        config=str(config),
        strategy="momentum_breakout",
        market=MarketRequest(candles_db=str(market / "candles_3m.db"), interval="3m"),
        output=str(folder / "rows.jsonl"),
    )
    return {
        "one_symbol_grid": Case(engine, grid, values[0].size, 1, len(bars)),
        "one_symbol_random": Case(engine, random, N_RANDOM, 1, len(bars)),
        "portfolio_grid": case_of(plan_sweep(request, lambda _: None), threads),
    }


def written_market(folder: Path, n_symbols: int, days: int) -> Path:
    """The smoke set of so many symbols."""
    market = folder / f"{n_symbols}"
    write_smoke_market(market, n_symbols=n_symbols, days=days, tell=print)
    return market


def written_spec(path: Path, axes: Mapping[str, list[float]], more: str = "") -> Path:
    """A sweep spec of the axes."""
    lines = "".join(f"- {{path: {name}, values: {values}}}\n" for name, values in axes.items())
    path.write_text(f"axes:\n{lines}{more}")
    return path


def case_of(plan: SweepPlan, threads: int) -> Case:
    """All combinations of a plan."""
    n = plan.spec.n_product
    return Case(
        lambda card: plan.strategy.sweep(plan.inputs, threads, card),
        plan.columns(np.arange(n)),
        n,
        len(plan.inputs.candles.symbols),
        plan.inputs.candles.n_rows,
    )


def parity(case: Case, n: int, card: CupyCard) -> dict[str, Any]:
    """Rows of card and CPU; stops the benchmark at the first bit that differs."""
    rng = np.random.default_rng(SEED)
    drawn = np.sort(rng.choice(case.n, min(n, case.n), replace=False))
    columns = {path: values[drawn] for path, values in case.columns.items()}
    found = case.engine(card).run(columns, len(drawn))
    here = case.engine(None)
    here.run({path: values[:1] for path, values in columns.items()}, 1)
    started = perf_counter()
    expected = here.run(columns, len(drawn))
    took_s = perf_counter() - started
    compared = compare_rows(found, expected)
    if found.tobytes() != expected.tobytes():
        raise SystemExit(f"rows of {card.name} must be those of the CPU, are not: {compared}")
    return {
        "configurations": len(drawn),
        "symbols": case.symbols,
        "closes": int(found["tally"]["trades"].sum()),
        "distinct_final_balances": len(set(found["tally"]["final_balance"].tolist())),
        "cpu_configurations_per_s": len(drawn) / took_s,
    }


def measure(case: Case, card: CupyCard, repeats: int) -> dict[str, Any]:
    """All configurations: as a user waits for them, and as the card spends its time."""
    engine = case.engine(card)
    best: dict[str, Any] = {}
    # The first run compiles and fills the stages' caches; it is told, not counted.
    for number in range(repeats + 1):
        before = replace(card.spent)
        started = perf_counter()
        engine.run(case.columns, case.n)
        took_s = perf_counter() - started
        spent = {name: value - getattr(before, name) for name, value in asdict(card.spent).items()}
        if number == 0:
            first_s = took_s
        elif not best or took_s < best["wall_s"]:
            best = {"wall_s": took_s, **spent}
    return {
        **best,
        "first_run_s": first_s,
        "configurations": case.n,
        "configurations_per_s": case.n / best["wall_s"],
        "configurations_per_kernel_s": case.n / best["kernel_s"],
        "symbols": case.symbols,
        "bars": case.bars,
    }


def kernel_facts(card: CupyCard) -> dict[str, Any]:
    """What the machine code of each kernel needs."""
    return {
        launch.name: {
            "registers": launch.registers,
            "stack_bytes": launch.stack_bytes,
            "block_threads": BLOCK_THREADS,
            "occupancy_frac": card.occupancy_frac(launch),
        }
        for launch in card.launches()
    }


if __name__ == "__main__":
    sys.exit(main())
