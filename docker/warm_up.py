"""Run the loop for a moment, so that everything it compiles lies in $HOME/.cache. Used while the image is built."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

SETTINGS = {
    "SYMBOLS": "BTC/USDT",
    "CHUNK_ROWS": "240",
    "TRAIN_CRON_MINUTES": "240",
    "TRAIN_MIN_POINTS": "200",
    "MAX_STEPS": "4",
    "HMM_STATES": "4",
}


def main() -> None:
    """One day of the sample, in a folder that goes away."""
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder)
        paths = {
            "RESEARCH_DIR": there / "research",
            "RESULTS_DIR": there / "results",
            "LEDGER_DB": there / "manifest.sqlite",
            "DATA_INCOMING": there / "incoming",
            "MODELS_DIR": there / "models",
        }
        env = {**os.environ, **SETTINGS, **{name: str(path) for name, path in paths.items()}}
        sample = ["mei-backtester", "sample", "--days", "1"]
        for command in (sample, ["mei-backtester", "loop"]):
            subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
