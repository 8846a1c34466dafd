"""Whether a sweep's cost grows with its size alone: time and memory of whole commands, and of a plan of ten million.

    python benchmarks/bench_sweep_scale.py [--sizes 4000,16000,64000] [--cluster]

Each size is a sweep of Mei Alpha over the same made-up market in a process of its own (cached kernels): start, plan,
run, journal, merge, JSON Lines. First the files are checked: the rows of the smaller sweep must stand, byte for byte,
among those of the larger.

--cluster: instead, --cluster-size combinations over a longer market on one thread, on one and on two Dask workers of
one thread each, --rounds times. The three files must be the same; a sweep is timed without the start of its processes.
Beside each pair stands what the machine gives: how much more a plain loop gets done by two processes than by one.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import stamp  # noqa: E402
from tests.workflows.databases import HOUR_MS, write_candles  # noqa: E402

N_HOURS = 1_000
SYMBOLS = ("BTC", "ETH", "SOL", "XRP")
#: Small enough that the workers end at about the same time.
_IN_CHUNKS = ("--chunk-size", "250")
CLUSTER_HOURS = 8_000
CLUSTER_SYMBOLS = (*SYMBOLS, "ADA", "AVAX", "BNB", "DOGE", "DOT", "LINK")
CONFIG = """
global:
  trade: {entry_min_confidence: low, tp_atr_mult: 3.0, slippage_bps: 4.0}
  indicators: {ema_fast_window: 8, ema_slow_window: 21, ema_macro_window: 60}
  filters: {enable_ranging_filter: false, require_btc_alignment: false}
  thresholds: {entry: {min_adx: 12.0, max_dist_ema_fast: 0.2, macd_hist_entry_mode: none}}
"""
#: Axes of 20 values that are swept in every size, beside one that grows.
_OTHERS = "- {path: trade.tp_atr_mult, min: 2.0, max: 5.8, step: 0.2}\n"
_PLAN_SIZE = 10_000_000

# A sweep in a process of its own; the last line is its peak of memory, KiB.
_RUN = """
import resource, sys
from mei.cli import main
code = main.run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""
# A plain loop; the seconds it took.
_LOOP = """
import time
started = time.perf_counter()
total = 0
for number in range(60_000_000):
    total += number
print(time.perf_counter() - started)
"""
# Every combination of a plan, without running one.
_PLAN = """
import resource, sys, time
from mei.workflows.sweep.order import Turns
from mei.workflows.sweep_spec import read_spec
import numpy as np
spec = read_spec(sys.argv[1])
turns = Turns(spec, lambda path: 2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
seen = 0
for first in range(0, spec.n_product, 8192):
    indices = turns.indices(np.arange(first, min(first + 8192, spec.n_product)))
    seen += len(spec.holding(indices))
    spec.columns(indices)
print(seen, time.perf_counter() - started, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def spec_of(n: int) -> str:
    """A spec of n combinations, n a multiple of 20; those of a smaller one are among them."""
    last = 0.5 + (n // 20 - 1) * 0.001
    grows = f"- {{path: trade.sl_atr_mult, min: 0.5, max: {last:.3f}, step: 0.001}}\n"
    return f"axes:\n{grows}{_OTHERS}"


def run(folder: Path, n: int, output: str, *more: str) -> dict[str, Any]:
    """One sweep; its seconds by its own clock, and the peak of its memory."""
    (folder / "spec.yaml").write_text(spec_of(n))
    line = f"sweep --config c.yaml --sweep-spec spec.yaml --output {output} --top-n 1 --rerun 1 --ledger none"
    command = [sys.executable, "-c", _RUN, *line.split(), *more]
    started = os.times().elapsed
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    whole_s = os.times().elapsed - started
    if done.returncode:
        raise SystemExit(done.stderr)
    found = re.search(r"(\d+) combos completed in ([\d.]+)s", done.stderr)
    assert found is not None
    return {
        "configs": int(found[1]),
        "run_s": float(found[2]),
        "whole_s": round(whole_s, 2),
        "configs_per_s_whole": round(n / whole_s, 1),
        "peak_mib": round(int(done.stdout.split()[-1]) / 1024, 1),
        "output_mib": round((folder / output).stat().st_size / 2**20, 1),
    }


def check_rows(folder: Path, smaller: str, larger: str) -> None:
    """Every row of the smaller sweep is one of the larger, its name aside."""

    def rows(name: str) -> set[str]:
        text = (folder / name).read_text()
        return set(re.sub(r'"config_id":"[^"]*"', "", text).splitlines())

    missing = rows(smaller) - rows(larger)
    if missing:
        raise SystemExit(f"{len(missing)} rows of {smaller} are not in {larger}")


def planned(folder: Path) -> dict[str, Any]:
    """Every combination of a plan of ten million made, none run."""
    path = folder / "large.yaml"
    path.write_text(
        "axes:\n- {path: trade.sl_atr_mult, min: 0.001, max: 10, step: 0.001}\n"
        "- {path: trade.tp_atr_mult, min: 0.01, max: 10, step: 0.01}\n"
        "constraints: ['trade.sl_atr_mult < trade.tp_atr_mult']\n"
    )
    command = [sys.executable, "-c", _PLAN, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seen, took_s, before, peak = done.stdout.split()
    return {
        "combinations": _PLAN_SIZE,
        "that_hold_the_constraint": int(seen),
        "seconds": round(float(took_s), 2),
        "grew_mib": round((int(peak) - int(before)) / 1024, 1),
    }


def second_core() -> float:
    """How much more two processes get done than one: 2 where the second core is really there."""

    def seconds(n: int) -> float:
        loops = [
            subprocess.Popen([sys.executable, "-c", _LOOP], stdout=subprocess.PIPE, text=True)
            for _ in range(n)
        ]
        return max(float(loop.communicate()[0]) for loop in loops)

    return round(2 * seconds(1) / seconds(2), 2)


def on_a_cluster(folder: Path, n: int, rounds: int) -> dict[str, Any]:
    """The same sweep without a cluster and on clusters of one and of two workers."""
    alone = run(folder, n, "alone.jsonl", "--threads", "1", *_IN_CHUNKS)
    pairs = []
    for _ in range(rounds):
        before = second_core()
        one, two = (on_workers(folder, n, n_workers) for n_workers in (1, 2))
        pairs.append(
            {
                "one_worker": one,
                "two_workers": two,
                "two_to_one": round(one["run_s"] / two["run_s"], 2),
                "a_plain_loop_by_two_processes_to_one": [before, second_core()],
            }
        )
    return {
        "market": f"{len(CLUSTER_SYMBOLS)} symbols x {CLUSTER_HOURS} bars",
        "one_thread_without_a_cluster": alone,
        "rounds": pairs,
    }


def on_workers(folder: Path, n: int, n_workers: int) -> dict[str, Any]:
    """The sweep on a cluster of its own; its file must be that of the sweep without."""
    name = f"cluster_{n_workers}.jsonl"
    (folder / name).unlink(missing_ok=True)
    found = run(folder, n, name, "--scheduler", "local", "--threads", str(n_workers), *_IN_CHUNKS)
    if (folder / name).read_bytes() != (folder / "alone.jsonl").read_bytes():
        raise SystemExit(f"{n_workers} workers gave another file")
    return found


def sizes_alone(folder: Path, sizes: list[int]) -> dict[str, Any]:
    """Sweeps of growing size and the enumeration of a plan."""
    results: dict[str, Any] = {
        "market": f"{len(SYMBOLS)} symbols x {N_HOURS} bars",
        "plan": planned(folder),
        "sweeps": [run(folder, n, f"{n}.jsonl") for n in sizes],
    }
    for smaller, larger in itertools.pairwise(sizes):
        check_rows(folder, f"{smaller}.jsonl", f"{larger}.jsonl")
    return results


def main() -> None:
    """Check, measure, print, and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="4000,16000,64000")
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--cluster-size", type=int, default=6_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    kept = "sweep_cluster.json" if options.cluster else "sweep_scale.json"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        n_hours, symbols = (
            (CLUSTER_HOURS, CLUSTER_SYMBOLS) if options.cluster else (N_HOURS, SYMBOLS)
        )
        write_candles(folder, "1h", HOUR_MS, n_hours, symbols=symbols)
        (folder / "c.yaml").write_text(CONFIG)
        run(folder, 20, "warm.jsonl")
        results = (
            on_a_cluster(folder, options.cluster_size, options.rounds)
            if options.cluster
            else sizes_alone(folder, [int(size) for size in options.sizes.split(",")])
        )
    text = json.dumps({**stamp(), **results}, indent=1)
    print(text)
    (options.out or ROOT / "benchmarks" / "results" / kept).write_text(text + "\n")


if __name__ == "__main__":
    main()
