"""A small market on disk and sweeps over it, in this process or in one that a test kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.workflows.databases import HOUR_MS, write_candles, write_funding

ROOT = Path(__file__).parents[2]
N_HOURS = 400
CONFIG = """
global:
  trade: {entry_min_confidence: low, tp_atr_mult: 3.0, slippage_bps: 4.0}
  indicators: {ema_fast_window: 8, ema_slow_window: 21, ema_macro_window: 60}
  filters: {enable_ranging_filter: false, require_btc_alignment: false}
  thresholds: {entry: {min_adx: 12.0, max_dist_ema_fast: 0.2, macd_hist_entry_mode: none}}
"""
SPEC = """
axes:
- {path: trade.sl_atr_mult, values: [0.5, 1.0, 1.5, 2.0]}
- {path: indicators.ema_slow_window, values: [21, 34]}
- {path: trade.tp_atr_mult, values: [2.0, 3.0, 4.0]}
- {path: filters.require_volume_confirmation, values: [0, 1]}
lookback: 100
"""
#: Of SPEC, in chunks of 5: the last one is short.
N_ROWS, CHUNK_SIZE = 48, 5

# The command line of a sweep in a process of its own, with the fault plan of the environment.
_PROGRAM = """
import sys
from mei.cli import main
from mei.web.fault_plan import install_fault_plan
install_fault_plan()
import os, resource, signal
if limit := int(os.environ.get("MEI_TEST_FILE_LIMIT", "0")):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.exit(main.run(sys.argv[1:]))
"""


def write_market(folder: Path) -> Path:
    """Candles, funding, strategy file and spec; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_candles(folder, "1h", HOUR_MS, N_HOURS, symbols=("BTC", "ETH", "SOL"))
    write_funding(folder, N_HOURS)
    (folder / "c.yaml").write_text(CONFIG)
    (folder / "spec.yaml").write_text(SPEC)
    return folder


def sweep_line(output: str = "o.jsonl", *more: str) -> list[str]:
    """The arguments of the sweep of SPEC."""
    line = (
        f"sweep --config c.yaml --sweep-spec spec.yaml --output {output} --chunk-size {CHUNK_SIZE}"
    )
    return [*line.split(), *more]


def start(
    folder: Path, line: list[str], environment: Mapping[str, str] = {}
) -> subprocess.Popen[str]:
    """The command in a process of its own, in `folder`."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
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
    assert process.returncode in (0, -signal.SIGKILL), said[-2000:]
    return process.returncode == -signal.SIGKILL
