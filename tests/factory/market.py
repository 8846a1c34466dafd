"""Twenty days of made-up candles of six symbols, a strategy file, a few axes, and runs of the factory over them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.workflows.databases import HOUR_MS, START_MS, write_candles, write_funding

ROOT = Path(__file__).parents[2]
SYMBOLS = ("ADA", "BTC", "DOT", "ETH", "SOL", "XRP")
N_HOURS = 480
#: A minute after the newest bar closed.
NOW_MS = START_MS + N_HOURS * HOUR_MS + 60_000
CONFIG = """
global:
  engine: {interval: 1h}
  trade:
    {entry_min_confidence: low, tp_atr_mult: 4.0, sl_atr_mult: 2.5, slippage_bps: 4.0, allocation_pct: 0.1,
     leverage: 3.0, max_total_margin_pct: 0.6, min_notional_usd: 10.0, min_atr_pct: 0.001, max_open_positions: 6,
     bump_to_min_notional: true, trailing_start_atr: 3.0}
  indicators:
    {ema_fast_window: 8, ema_slow_window: 21, ema_macro_window: 60, adx_window: 14, bb_window: 20, atr_window: 14}
  filters: {enable_ranging_filter: false, require_btc_alignment: false}
  thresholds: {entry: {min_adx: 12.0, max_dist_ema_fast: 0.2, macd_hist_entry_mode: none}}
symbols:
  ETH: {trade: {slippage_bps: 5.0}}
modes:
  conservative: {global: {trade: {leverage: 1.0}}, symbols: {ETH: {trade: {leverage: 2.0}}}}
"""
SPEC = """
axes:
- {path: trade.trailing_start_atr, values: [1.0, 3.0]}
- {path: trade.tp_atr_mult, values: [2.0, 4.0, 8.0]}
- {path: thresholds.entry.min_adx, values: [12.0, 20.0]}
lookback: 100
"""
N_ROWS = 12
_OF_CHECKOUT = re.compile(rb'"(git|git_head|kernels)": "\w+"')

# A command line in a process of its own, with the fault plan of the environment.
_PROGRAM = """
import sys
from mei.cli import main
from mei.web.fault_plan import install_fault_plan
install_fault_plan()
sys.exit(main.run(sys.argv[1:]))
"""


def write_market(folder: Path) -> Path:
    """Candles, funding, strategy file and spec; the folder."""
    write_candles(folder, "1h", HOUR_MS, N_HOURS, symbols=SYMBOLS)
    write_funding(folder, N_HOURS, symbols=SYMBOLS)
    (folder / "c.yaml").write_text(CONFIG)
    (folder / "spec.yaml").write_text(SPEC)
    return folder


def factory_line(run_id: str, *more: str) -> list[str]:
    """The arguments of a run; what is in `more` wins."""
    line = (
        f"factory run --run-id {run_id} --profile smoke --config c.yaml --sweep-spec spec.yaml --ledger none "
        f"--funding-db candles_dbs/funding_rates.db --now-ms {NOW_MS} --yaml-path paper.yaml --restart never"
    )
    return [*line.split(), *more]


def start(
    folder: Path, line: list[str], environment: Mapping[str, str] = {}
) -> subprocess.Popen[str]:
    """The command in a process of its own, in `folder`."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", **environment}
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *line],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def killed_at(folder: Path, line: list[str], fault: str) -> bool:
    """Run until the fault point; whether it came to it."""
    process = start(folder, line, {"MEI_FAULT": fault})
    _, said = process.communicate(timeout=300)
    assert process.returncode in (0, -signal.SIGKILL), f"{process.returncode}: {said[-2000:]}"
    return process.returncode == -signal.SIGKILL


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` but the logs of replays, which say how long they took; by its path.

    Without what names the checkout, which may move on while a test runs.
    """
    return {
        str(path.relative_to(folder)): _OF_CHECKOUT.sub(b"", path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".stderr.txt")
    }
