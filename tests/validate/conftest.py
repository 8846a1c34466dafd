"""Twenty days of candles, a strategy file, and the program run beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mei.cli import main
from tests.workflows.databases import HOUR_MS, write_candles, write_funding

N_HOURS = 480
CONFIG = """
global:
  trade: {entry_min_confidence: low, tp_atr_mult: 3.0, sl_atr_mult: 2, slippage_bps: 4.0}
  indicators: {ema_fast_window: 8, ema_slow_window: 21, ema_macro_window: 60}
  filters: {enable_ranging_filter: false, require_btc_alignment: false}
  thresholds: {entry: {min_adx: 12.0, max_dist_ema_fast: 0.2, macd_hist_entry_mode: none}}
symbols:
  ETH: {trade: {tp_atr_mult: 4.0}}
"""


@pytest.fixture(scope="package")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Databases for all tests; nothing is written to them."""
    folder = tmp_path_factory.mktemp("market")
    write_candles(folder, "1h", HOUR_MS, N_HOURS)
    write_funding(folder, N_HOURS)
    return folder


@pytest.fixture
def folder(market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the databases and a strategy file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "candles_dbs").symlink_to(market / "candles_dbs")
    (tmp_path / "c.yaml").write_text(CONFIG)
    return tmp_path


class Bench:
    """Runs command lines, given as one text, and keeps what the last one said."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.out = self.err = ""

    def run(self, line: str) -> int:
        """The exit code."""
        return self.call(lambda: main.run(line.split()))

    def call(self, program: Callable[[], int]) -> int:
        """The exit code of anything else that is run here."""
        self._capsys.readouterr()
        code = program()
        self.out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        assert "(a defect" not in self.err
        return code

    def json(self, path: str) -> Any:
        """A file of JSON; it must be sorted, indented by two and end with a line break."""
        text = (self.folder / path).read_text()
        found = json.loads(text)
        assert list(found) == sorted(found)
        assert text.startswith('{\n  "')
        assert text.endswith("\n}\n")
        return found


@pytest.fixture(name="bench")
def _bench(folder: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    return Bench(folder, capsys)
