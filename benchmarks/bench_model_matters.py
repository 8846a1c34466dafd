"""Does the model matter? The same bars with training on, with the first model only, and with shuffled labels.

    python benchmarks/bench_model_matters.py            # the sample, and January 2023 of the real candles

Everything else is the default, CHUNK_ROWS=360. The numbers are stored whatever they say.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import REAL_YEAR, stamp  # noqa: E402
from mei.data.sample import write_sample  # noqa: E402
from services.backtest_runner.app.service import Hooks, run_loop  # noqa: E402
from services.backtest_runner.app.settings import Settings  # noqa: E402

VARIANTS: dict[str, dict[str, str]] = {
    "training_on": {"training": "on"},
    "first_only": {"training": "first_only"},
    "placebo_shuffled_labels": {"training": "on", "placebo": "shuffled_labels"},
}


def main() -> None:
    """Run the three variants on both data sets, store and print."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory(prefix="mei-bench-") as scratch:
        sample = Path(scratch) / "sample"
        write_sample(sample)
        compare("sample", sample, "BTC/USDT,ETH/USDT", "")
        real = Path(scratch) / "real"
        (real / "BTC_USDT" / "1m").mkdir(parents=True)
        shutil.copy(REAL_YEAR, real / "BTC_USDT" / "1m")
        compare("btc_2023_01", real, "BTC/USDT", "2023-01-31")


def compare(name: str, research_dir: Path, symbols: str, end_ts: str) -> None:
    """Run the variants on one data set; print and store their figures."""
    result: dict[str, Any] = {"symbols": symbols, "end_ts": end_ts, "chunk_rows": 360}
    for variant, changes in VARIANTS.items():
        with tempfile.TemporaryDirectory(prefix="mei-bench-") as scratch:
            summary = run(research_dir, symbols, end_ts, Path(scratch), changes)
        result[variant] = figures(summary)
    result |= stamp()
    out = ROOT / "benchmarks" / "results" / f"model_matters_{name}.json"
    out.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    print(json.dumps(result, indent=2, sort_keys=True))


def run(
    research_dir: Path, symbols: str, end_ts: str, scratch: Path, changes: dict[str, str]
) -> dict[str, Any]:
    """The summary of one run in folders of its own."""
    settings = Settings.load(
        research_dir=research_dir,
        results_dir=scratch / "results",
        ledger_db=str(scratch / "manifest.sqlite"),
        data_incoming=scratch / "incoming",
        models_dir=scratch / "models",
        config_dir=ROOT / "config",
        symbols=symbols,
        end_ts=end_ts,
        chunk_rows=360,
        **changes,
    )
    hooks = Hooks(
        on_line=lambda _: None,
        on_progress=lambda _: None,
        on_start=lambda _: None,
        should_stop=lambda: False,
    )
    summary = asyncio.run(run_loop(settings, hooks)).summary
    assert summary is not None
    return summary


def figures(summary: dict[str, Any]) -> dict[str, Any]:
    """What the comparison is about."""
    trades, costs = summary["trades"], summary["costs"]
    return {
        "net_pnl_usd": trades["net_pnl"]["value"],
        "total_return_frac": summary["performance"]["total_return"]["value"],
        "expectancy_bps": trades["expectancy_bps"]["value"],
        "closed_trades": trades["n_trades"]["value"],
        "fees_usd": costs["fees"]["value"],
        "slippage_usd": costs["slippage"]["value"],
        "trainings": summary["trainings"]["by_status"],
        "decisions": summary["trainings"]["by_decision"],
        "presets": {
            name: numbers["n_trades"]["value"]
            for name, numbers in summary["breakdown"]["preset"].items()
        },
    }


if __name__ == "__main__":
    main()
