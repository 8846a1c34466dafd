"""Databases of single bars and rates, and the tools run beside them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.tools.loading import exit_code, tool
from tests.workflows.databases import HOUR_MS, write_table

CANDLES = (
    "symbol TEXT, interval TEXT, t INTEGER, t_close INTEGER, o REAL, h REAL, l REAL, c REAL, v REAL, n INTEGER, "
    "PRIMARY KEY (symbol, interval, t)"
)
RATES = "symbol TEXT, time INTEGER, funding_rate REAL, PRIMARY KEY (symbol, time)"


def ms(text: str) -> int:
    """Epoch ms of a time in UTC: 2026-03-10 12:00:05."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def bar(
    symbol: str, open_ms: int, interval: str = "1h", length_ms: int = HOUR_MS
) -> tuple[Any, ...]:
    """A bar whose close is written as the open of the next one."""
    return symbol, interval, open_ms, open_ms + length_ms, 1.0, 2.0, 0.5, 1.5, 10.0, 3


class Bench:
    """Runs tools in a folder and keeps what the last one said."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.out = self.err = ""

    def run(self, name: str, line: str = "") -> int:
        """The exit code of tools/<name>.py."""
        self._capsys.readouterr()
        code = exit_code(tool(name), line.split())
        self.out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        assert "(a defect" not in self.err
        return code

    def json(self) -> Any:
        """What stands on standard output: sorted."""
        found = json.loads(self.out)
        assert self.out.endswith("}\n")
        assert list(found) == sorted(found)
        return found

    def candles(self, name: str, bars: Iterable[tuple[Any, ...]]) -> Path:
        """A candle database in candles_dbs."""
        path = self.folder / "candles_dbs" / name
        write_table(path, "candles", CANDLES, bars)
        return path

    def rates(self, rows: Iterable[tuple[Any, ...]]) -> Path:
        """The funding database in candles_dbs."""
        path = self.folder / "candles_dbs" / "funding_rates.db"
        write_table(path, "funding_rates", RATES, rows)
        return path

    def rows(
        self, path: Path, query: str = "SELECT * FROM candles ORDER BY symbol, interval, t"
    ) -> Any:
        """All rows of a query."""
        with contextlib.closing(sqlite3.connect(path)) as database:
            return database.execute(query).fetchall()


@pytest.fixture(name="bench")
def _bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    monkeypatch.chdir(tmp_path)
    for name in ("CANDLES_DB_DIR", "INTERVAL", "MARKET_DB_PATH", "PAPER_DB_PATH", "LIVE_DB_PATH"):
        monkeypatch.delenv(f"AI_QUANT_{name}", raising=False)
    return Bench(tmp_path, capsys)
