"""Bars a second between containers, training apart; memory of each container; seconds from `up` to the first bar.

    python benchmarks/bench_compose_throughput.py [--candles FILE.csv.gz] [--days 60]

Needs a Docker engine and the image (`docker compose build`). First the composed outputs must equal the embedded ones.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import REAL_YEAR, stamp  # noqa: E402
from tests.e2e.composed import ML, PARAMS, RUNNER, Composed, docker, state, wait_for  # noqa: E402
from tests.survival.stack import Stack  # noqa: E402

_SPEED = re.compile(
    r"([\d,]+) rows in ([\d.]+) s, of which trainings ([\d.]+) s \(fits ([\d.]+) s\); without them ([\d,]+)"
)
#: What a trade costs is told apart from what a bar costs: see docs of bench_loop_overhead.py.
POLICIES = ("thompson", "fixed:slow")


def main() -> None:
    """Check, measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candles", type=Path, default=REAL_YEAR, help="1m candles of BTC/USDT")
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--image", default=os.environ.get("MEI_IMAGE", "mei-backtester"))
    parser.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks" / "results" / "compose_throughput.json"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mei-bench-") as scratch:
        result = measure(Path(scratch), args)
    result |= stamp()
    args.out.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    print(json.dumps(result, indent=2, sort_keys=True))


def measure(scratch: Path, args: argparse.Namespace) -> dict[str, object]:
    """All numbers; the stack is removed whatever happens."""
    folder = scratch / "research" / "BTC_USDT" / "1m"
    folder.mkdir(parents=True)
    shutil.copy(args.candles, folder)
    end = date(2023, 1, 1) + timedelta(days=args.days)
    settings = {"SYMBOLS": "BTC/USDT", "CHUNK_ROWS": "1000", "START_TS": "2023-01-01"}
    settings["END_TS"] = end.isoformat()
    stack = Composed(scratch / "stack", args.image, scratch / "research", settings)
    stack.settings["COMPOSE_FILE"] = "compose.yml:compose.autotrain.yml:compose.backtest.yml"
    try:
        stack.run(MAX_STEPS="2")  # compiles into the cache volume
        first_bar_s = seconds_to_first_bar(stack)
        check_bytes(scratch, stack, settings)
        memory = memory_mib(stack)
        return {
            "days": args.days,
            "seconds_from_up_to_first_bar": first_bar_s,
            "memory_mib": memory,
            "runs": {policy: speeds(stack, policy, args.repeats) for policy in POLICIES},
        }
    finally:
        stack.down()


def seconds_to_first_bar(stack: Composed) -> float:
    """From `up` of a stack that is down (image and cache are there) to the runner's first bar; samples memory later."""
    stack.compose("down")
    started_s = time.monotonic()
    stack.compose("up", "-d")
    container = stack.container(RUNNER)
    wait_for(lambda: "first bar" in logs(container), "the first bar")
    return round(time.monotonic() - started_s, 2)


def logs(container: str) -> str:
    """Both streams of a container."""
    done = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def check_bytes(scratch: Path, stack: Composed, settings: dict[str, str]) -> None:
    """Nothing is worth measuring unless the composed run gives the embedded run's bytes."""
    container = stack.container(RUNNER)
    wait_for(lambda: not state(container)["Running"], "the run ends")
    own = {**settings, "RESEARCH_DIR": str(stack.research)}
    own.pop("COMPOSE_FILE", None)
    embedded = Stack(scratch / "embedded", own, embedded=True)
    embedded.start(RUNNER)
    if embedded.finish() != 0 or embedded.outputs() != stack.outputs():
        raise SystemExit("composed and embedded runs gave different files: nothing is measured")
    print("composed and embedded runs gave identical files")


def memory_mib(stack: Composed) -> dict[str, float]:
    """Highest of some samples a container, in MiB, during a run."""
    stack.compose("up", "-d", settings={"RERUN": "true"})
    highest: dict[str, float] = {}
    runner = stack.container(RUNNER)
    while state(runner)["Running"]:
        for service in (RUNNER, ML, PARAMS):
            text = docker(
                "stats", "--no-stream", "--format", "{{.MemUsage}}", stack.container(service)
            )
            found = re.match(r"([\d.]+)(MiB|GiB)", text)
            if found:
                mib = float(found[1]) * (1024 if found[2] == "GiB" else 1)
                highest[service] = max(highest.get(service, 0.0), mib)
    return highest


def speeds(stack: Composed, policy: str, repeats: int) -> dict[str, float]:
    """Medians over `repeats` attempts."""
    rows: list[tuple[float, ...]] = []
    for _ in range(repeats):
        found = _SPEED.search(stack.run(RERUN="true", POLICY=policy))
        if found is None:
            raise SystemExit("the runner must print its timing, did not")
        rows.append(tuple(float(text.replace(",", "")) for text in found.groups()))
    names = ("bars", "loop_s", "trainings_s", "fits_s", "bars_per_s_trainings_apart")
    medians = dict(
        zip(names, (statistics.median(column) for column in zip(*rows, strict=True)), strict=True)
    )
    trades = (stack.results / "trades.csv").read_bytes().count(b"\n") - 1
    return {**medians, "trade_actions": trades}


if __name__ == "__main__":
    main()
