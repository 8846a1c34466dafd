"""A fake exchange, the command line against it, and services."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mei.cli import main
from tests.data_ingester.fake_exchange import FakeExchange, serving
from tests.data_ingester.house import House


@pytest.fixture
def exchange() -> Iterator[FakeExchange]:
    """An exchange whose clock stands at 2024-01-03."""
    with serving(FakeExchange()) as started:
        yield started


class Desk:
    """Runs `mei-backtester download` in a folder against the exchange."""

    def __init__(self, folder: Path, exchange: FakeExchange, capsys: pytest.CaptureFixture[str]):
        self.folder = folder
        self.exchange = exchange
        self._capsys = capsys
        self.out = self.err = ""

    def run(self, *flags: str, **more: str) -> int:
        """The exit code. more: values of flags instead of the usual ones, by name."""
        values = {
            "--exchange": "binance",
            "--symbols": "BTC/USDT",
            "--timeframe": "1m",
            "--since": "2024-01-01",
            "--base-url": self.exchange.url,
            "--pause-ms": "0",
            "--retry-wait-s": "0.001",
            "--attempts": "4",
            "--candles-dir": str(self.folder / "dbs"),
        }
        values |= {f"--{name.replace('_', '-')}": value for name, value in more.items()}
        self._capsys.readouterr()
        line = [part for pair in values.items() for part in pair]
        code = main.run(["download", *line, *flags])
        self.out, self.err = self._capsys.readouterr()
        return code

    def run_again_later(self, *flags: str, **more: str) -> int:
        """Two runs for what was closed at first, ten minutes apart: large holes are noted then. The last exit code."""
        more = {"until": str(self.exchange.market.now_ms - 60_000), **more}
        assert self.run(*flags, **more) == 0, self.err
        self.exchange.market.now_ms += 600_000
        return self.run(*flags, **more)

    def database(self, timeframe: str = "1m") -> Path:
        """Where the candles are."""
        return self.folder / "dbs" / f"candles_{timeframe}.db"


@pytest.fixture
def desk(tmp_path: Path, exchange: FakeExchange, capsys: pytest.CaptureFixture[str]) -> Desk:
    """A command line."""
    return Desk(tmp_path, exchange, capsys)


@pytest.fixture
def open_house(tmp_path: Path, exchange: FakeExchange) -> Iterator[Callable[..., House]]:
    """Start services; they are shut down after the test."""
    opened: list[House] = []

    def start(**settings: Any) -> House:
        opened.append(House(tmp_path, exchange, **settings))
        return opened[-1]

    yield start
    for house in opened:
        house.close()
