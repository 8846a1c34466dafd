"""A folder with databases and a strategy file, and the program run in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mei.cli import main
from tests.workflows.command_line import CONFIG, N_HOURS, SPEC
from tests.workflows.databases import HOUR_MS, write_candles, write_funding


@pytest.fixture(scope="package")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Databases for all tests; nothing is written to them."""
    folder = tmp_path_factory.mktemp("market")
    write_candles(folder, "1h", HOUR_MS, N_HOURS, symbols=("BTC", "ETH", "SOL"))
    write_candles(folder, "15m", HOUR_MS // 4, N_HOURS * 4, symbols=("BTC", "ETH", "SOL"))
    write_funding(folder, N_HOURS)
    return folder


@pytest.fixture
def folder(market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the databases and a strategy file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "candles_dbs").symlink_to(market / "candles_dbs")
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path


class Said:
    """What the program said: its exit code and both streams."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command line given as one text."""

    def command(line: str) -> Said:
        capsys.readouterr()
        code = main.run(line.split())
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert "(a defect" not in err
        return Said(code, out, err)

    return command
