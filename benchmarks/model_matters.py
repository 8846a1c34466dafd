"""Does the model matter? The same bars with training on, with the first model only, and with shuffled labels.

    python benchmarks/model_matters.py NAME RESEARCH_DIR SYMBOLS [--end-ts 2023-01-31]

Everything else is the default, CHUNK_ROWS=360. The numbers are stored whatever they say.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import stamp  # noqa: E402
from services.backtest_runner.app.service import Hooks, run_loop  # noqa: E402
from services.backtest_runner.app.settings import Settings  # noqa: E402

VARIANTS: dict[str, dict[str, str]] = {
    "training_on": {"training": "on"},
    "first_only": {"training": "first_only"},
    "placebo_shuffled_labels": {"training": "on", "placebo": "shuffled_labels"},
}


def main() -> None:
    """Run the three variants, store and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("research_dir", type=Path)
    parser.add_argument("symbols")
    parser.add_argument("--end-ts", default="")
    args = parser.parse_args()
    result: dict[str, Any] = {"symbols": args.symbols, "end_ts": args.end_ts, "chunk_rows": 360}
    for variant, changes in VARIANTS.items():
        with tempfile.TemporaryDirectory(prefix="mei-bench-") as scratch:
            summary = run(args, Path(scratch), changes)
        result[variant] = figures(summary)
    result |= stamp()
    out = ROOT / "benchmarks" / "results" / f"model_matters_{args.name}.json"
    out.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    print(json.dumps(result, indent=2, sort_keys=True))


def run(args: argparse.Namespace, scratch: Path, changes: dict[str, str]) -> dict[str, Any]:
    """The summary of one run in folders of its own."""
    settings = Settings.load(
        research_dir=args.research_dir,
        results_dir=scratch / "results",
        ledger_db=str(scratch / "manifest.sqlite"),
        data_incoming=scratch / "incoming",
        models_dir=scratch / "models",
        config_dir=ROOT / "config",
        symbols=args.symbols,
        end_ts=args.end_ts,
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
