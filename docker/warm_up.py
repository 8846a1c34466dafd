"""Run the loop for a moment, so that everything it compiles lies in $HOME/.cache. Used while the image is built."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mei.data.sample import write_sample
from services.backtest_runner.app.console import run_in_console
from services.backtest_runner.app.settings import Settings


def main() -> int:
    """One day of the sample, in a folder that goes away; the loop's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder)
        write_sample(there / "research", symbols=("BTC/USDT",), days=1)
        settings = Settings(
            research_dir=there / "research",
            results_dir=there / "results",
            ledger_db=str(there / "manifest.sqlite"),
            data_incoming=there / "incoming",
            models_dir=there / "models",
            chunk_rows=240,
            train_cron_minutes=240,
            train_min_points=200,
            max_steps=4,
        )
        return run_in_console(settings, sample_if_empty=False)


if __name__ == "__main__":
    raise SystemExit(main())
