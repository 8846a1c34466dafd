"""A folder with a strategy file and rows of a sweep, and deploy_sweep run in it, here or in a process to be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mei.model.yaml12 import load_yaml
from tests.tools.loading import TOOLS, exit_code, tool

ROOT = Path(__file__).parents[2]
STRATEGY = """\
# What the trader runs on.
version: v6.001   # of the file, not of a deployment
global:
  trade:
    allocation_pct: 0.03
    leverage: 3.0
    sl_atr_mult: 2.0      # the stop
    tp_atr_mult: 4.0
    slippage_bps: 10.0
    max_total_margin_pct: 0.6
    min_notional_usd: 10.0
    min_atr_pct: 0.003
    max_open_positions: 20
    bump_to_min_notional: false
    enable_pyramiding: true
  indicators: {adx_window: 14, ema_fast_window: 20, ema_slow_window: 50, bb_window: 20, atr_window: 14}
  thresholds:
    entry:
      min_adx: 22.0

# Symbols with settings of their own.
symbols:
  ETH: {trade: {leverage: 2.0}}
"""
OVERRIDES = {
    "trade.sl_atr_mult": 1.5,
    "indicators.ema_slow_window": 34.0,
    "trade.enable_pyramiding": 0.0,
    "trade.entry_min_confidence": 0.0,
    "thresholds.entry.macd_hist_entry_mode": 1.0,
    "trade.entry_cooldown_s": 30.0,
}
ROW = {
    "config_id": "sweep_0042",
    "overrides": OVERRIDES,
    "total_pnl": 123.456,
    "total_trades": 31,
    "win_rate": 0.5128,
    "profit_factor": 1.789,
    "sharpe_ratio": 1.23456,
    "max_drawdown_pct": 0.0321,
    "final_balance": 10123.456,
}
#: A row that is another one, and worse.
OTHER = {**ROW, "config_id": "sweep_0007", "total_pnl": 5.0, "overrides": {"trade.leverage": 4.0}}

_PROGRAM = """
import runpy, sys
from mei.web.fault_plan import install_fault_plan
install_fault_plan()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Desk:
    """The folder. `err` is what the last run in this process told."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys
        self.err = ""
        (folder / "config").mkdir()
        self.path.write_text(STRATEGY)
        self.rows(ROW, OTHER)

    @property
    def path(self) -> Path:
        """The strategy file."""
        return self.folder / "config/strategy_overrides.yaml"

    def rows(self, *rows: Mapping[str, Any]) -> None:
        """Put rows into the file of results."""
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        (self.folder / "rows.jsonl").write_text(text)

    def run(self, flags: str = "--yes", results: str = "rows.jsonl") -> int:
        """Deploy in this process; the exit code."""
        self.capsys.readouterr()
        arguments = ["--sweep-results", results, "--ledger", "none", *flags.split()]
        code = exit_code(tool("deploy_sweep"), arguments)
        out, self.err = self.capsys.readouterr()
        assert out == ""
        return code

    def start(
        self, flags: str = "--yes", environment: Mapping[str, str] = {}
    ) -> subprocess.Popen[str]:
        """Deploy in a process of its own, with the fault plan of the environment."""
        line = f"--sweep-results rows.jsonl --ledger none {flags}"
        return subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(TOOLS / "deploy_sweep.py"), *line.split()],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def document(self) -> Any:
        """The strategy file, parsed."""
        return load_yaml(self.path)

    @property
    def backups(self) -> list[Path]:
        """All of them, by name."""
        return sorted(self.folder.glob("config/*.bak.*"))

    @property
    def changelog(self) -> Any:
        """The changelog, parsed."""
        return json.loads((self.folder / "strategy_changelog.json").read_text())

    def files(self) -> dict[str, bytes]:
        """Everything in the folder, by path."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }


def fake_command(folder: Path, name: str, script: str) -> str:
    """An executable `name` of its own folder that runs `script` (sh) and logs its arguments; the folder, for PATH."""
    bin_folder = folder / "bin"
    bin_folder.mkdir(exist_ok=True)
    path = bin_folder / name
    path.write_text(f'#!/bin/sh\necho "$@" >> {folder}/{name}.log\n{script}\n')
    path.chmod(0o755)
    return str(bin_folder)


def calls(folder: Path, name: str) -> list[str]:
    """The command lines that a fake command was given."""
    log = folder / f"{name}.log"
    return log.read_text().splitlines() if log.exists() else []
