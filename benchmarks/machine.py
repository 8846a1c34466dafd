"""On which machine, at which commit a benchmark ran."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: A year of real 1m candles of BTC/USDT, where they are at hand; the project holds none.
REAL_YEAR = ROOT.parent / "shared/data/binance-spot-timealiver/BTCUSDT_2023_1m.csv.gz"
#: Folders whose files decide what is measured.
_MEASURED = ("src", "services", "benchmarks", "tests")
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
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in _LIBRARIES},
        },
    }


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
