"""On which machine, at which commit a benchmark ran."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
#: A year of real 1m candles of BTC/USDT, where they are at hand; the project holds none.
REAL_YEAR = ROOT.parent / "shared/data/binance-spot-timealiver/BTCUSDT_2023_1m.csv.gz"
#: Folders whose files decide what is measured.
_MEASURED = ("src", "services", "benchmarks", "tests")
_LOOP_STEPS, _COPIED_BYTES, _YARD_REPEATS = 2_000_000, 64 * 2**20, 9
_LIBRARIES = ("numpy", "numba", "hmmlearn", "sqlalchemy", "fastapi", "httpx")


def stamp() -> dict[str, object]:
    """Machine, load, versions, commit and day, to stand beside every measured number."""
    uncommitted = _uncommitted()
    return {
        "commit": _git("rev-parse", "--short=12", "HEAD") + ("-dirty" if uncommitted else ""),
        "uncommitted": uncommitted,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "load_1min_at_end": round(os.getloadavg()[0], 2),
            **_yardstick(),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in _LIBRARIES},
        },
    }


def _yardstick() -> dict[str, float]:
    """What one core gives right after the measurement: a machine shared with others can be half as fast an hour later.

    Numbers of two runs are comparable as far as these are: the best of nine of two million steps of a plain loop, and
    of a copy of 64 MiB, far more than the caches hold.
    """
    source = np.ones(_COPIED_BYTES // 8)
    target = np.empty_like(source)
    loop_s = min(_timed(lambda: sum(range(_LOOP_STEPS))) for _ in range(_YARD_REPEATS))
    copy_s = min(_timed(lambda: np.copyto(target, source)) for _ in range(_YARD_REPEATS))
    return {
        "plain_loop_ms": round(loop_s * 1e3, 2),
        "copy_gib_per_s": round(_COPIED_BYTES / 2**30 / copy_s, 2),
    }


def _timed(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.rstrip()


def _uncommitted() -> list[str]:
    """Changed and new files that a measurement can depend on; what it writes itself is none of them."""
    status = _git("status", "--porcelain", "--untracked-files=all", "--", *_MEASURED)
    paths = [line[3:] for line in status.splitlines()]
    return [path for path in paths if not path.startswith("benchmarks/results/")]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
