"""Peak memory of the runner over a month and a year of 1m bars, embedded and with the services as processes.

    python benchmarks/bench_year_memory.py [--candles FILE.csv.gz]

Outputs of both ways must be the same bytes before any number is printed. Memory is the runner's own peak resident set.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import REAL_YEAR, stamp  # noqa: E402
from tests.survival.stack import Stack  # noqa: E402

MEASURED = """
import resource, sys
from mei.cli.main import run
code = run(["loop"])
print("PEAK_KB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""


def main() -> None:
    """Run, compare, store, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candles", type=Path, default=REAL_YEAR, help="a year of 1m candles")
    parser.add_argument("--ends", nargs="+", default=["2023-01-31", "2024-01-01"])
    args = parser.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="mei-bench-") as scratch:
        research = Path(scratch) / "research" / "BTC_USDT" / "1m"
        research.mkdir(parents=True)
        shutil.copy(args.candles, research)
        for end in args.ends:
            embedded = measure(Path(scratch) / f"embedded-{end}", research.parents[1], end, True)
            processes = measure(Path(scratch) / f"processes-{end}", research.parents[1], end, False)
            if embedded.pop("files") != processes.pop("files"):
                raise SystemExit("embedded and processes gave different files: nothing is reported")
            result[f"until {end}"] = {"embedded": embedded, "three_processes": processes}
            print(json.dumps(result, indent=2), flush=True)
    result |= stamp()
    out = ROOT / "benchmarks" / "results" / "year_memory.json"
    out.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")


def measure(folder: Path, research: Path, end: str, embedded: bool) -> dict[str, Any]:
    """One run: the runner's peak memory, seconds, the files, and what the runner said of its time."""
    settings = {"RESEARCH_DIR": str(research), "CHUNK_ROWS": "360", "END_TS": end}
    stack = Stack(folder, settings, embedded=embedded)
    try:
        if not embedded:
            stack.start_services()
        started_s = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", MEASURED],
            cwd=ROOT, env=stack.environment(), capture_output=True, text=True, check=True,
        )  # fmt: skip
        seconds = time.monotonic() - started_s
        files = [stack.outputs()[name] for name in ("equity.csv", "trades.csv", "trainings.jsonl")]
    finally:
        stack.stop()
    lines = done.stdout.splitlines()
    peak_kb = int(next(line.split()[1] for line in lines if line.startswith("PEAK_KB")))
    return {
        "runner_peak_mb": round(peak_kb / 1024, 1),
        "seconds": round(seconds, 1),
        "said": next(line for line in lines if " rows in " in line),
        "rows": files[0].count(b"\n") - 1,
        "trades_rows": files[1].count(b"\n") - 1,
        "files": files,
    }


if __name__ == "__main__":
    main()
