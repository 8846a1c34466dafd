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
_LIBRARIES = ("numpy", "numba", "hmmlearn", "sqlalchemy", "fastapi", "httpx")


def stamp() -> dict[str, object]:
    """Machine, load, versions, commit and day, to stand beside every measured number."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {
        "commit": commit.stdout.strip(),
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


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
