"""What a command line of `download` must refuse: one line, an exit code, nothing written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.data_ingester.conftest import Desk
from tests.data_ingester.fake_market import START_MS

REFUSED = [
    ({"symbols": ""}, 2, "--symbols must name a market such as BTC/USDT, names none"),
    ({"symbols": " , "}, 2, "--symbols must name a market"),
    ({"symbols": "BTC/"}, 2, "--symbols must be written BASE/QUOTE"),
    ({"symbols": "BTC /USDT"}, 2, "--symbols must be written BASE/QUOTE"),
    (
        {"symbols": "NOPE/USDT"},
        2,
        "binance must have the market NOPE/USDT, has not: it has BTC/USDT",
    ),
    ({"symbols": "BTCUSDT"}, 2, "did you mean BTC/USDT?"),
    ({"symbols": "btc/usdt"}, 2, "did you mean BTC/USDT?"),
    ({"symbols": "BTC/USDT,ETC/USDT"}, 2, "has not"),
    ({"symbols": "BTC/USDT,BTC/USDC"}, 2, "BTC/USDT and BTC/USDC are one to a backtest"),
    ({"symbols": "BTC/USDT,BTC/USDT:USDT"}, 2, "are one to a backtest"),
    ({"timeframe": ""}, 2, "--timeframe must name one such as 1m"),
    ({"timeframe": "1M"}, 2, "which is months: did you mean 1m (minutes)?"),
    ({"timeframe": "1x"}, 2, "was '1x'"),
    ({"timeframe": "0m"}, 2, "was '0m'"),
    ({"timeframe": "7m"}, 2, "--timeframe must divide a day or be 1w"),
    ({"timeframe": "3d"}, 2, "--timeframe must divide a day or be 1w"),
    ({"timeframe": "2m"}, 2, "--timeframe must be one that binance has, was '2m'"),
    ({"since": "yesterday"}, 2, "--since: a time must be a moment"),
    ({"since": "2024-13-01"}, 2, "--since: a time must be"),
    ({"since": "2001-01-01"}, 2, "--since must not be before 2009"),
    ({"since": "2030-01-01"}, 2, "--since must lie before the newest closed 1m candle"),
    ({"until": "then"}, 2, "--until: a time must be"),
    ({"until": "2023-12-31"}, 2, "--until must be after --since"),
    ({"until": "2024-01-01"}, 2, "--until must be after --since"),
    ({"exchange": "binanze"}, 2, "--exchange must be one that ccxt knows"),
    ({"exchange": ""}, 2, "--exchange must be one that ccxt knows"),
    ({"base_url": "localhost:1"}, 2, "--base-url must be an address"),
    ({"base_url": "http://:9000"}, 2, "--base-url must be an address"),
    ({"base_url": "http://"}, 2, "--base-url must be an address"),
    ({"pause_ms": "-1"}, 2, "--pause-ms"),
    ({"attempts": "0"}, 2, "--attempts"),
    ({"timeout_s": "0"}, 2, "--timeout-s"),
    ({"retry_wait_s": "-1"}, 2, "--retry-wait-s"),
    ({"candles_dir": "file"}, 6, "file is in the way"),
    ({"candles_dir": "file/below"}, 6, "file is in the way"),
    ({"candles_dir": "bad"}, 6, "must be a candle database that can be written to"),
    ({"candles_dir": "other"}, 4, "must have the columns"),
]


@pytest.mark.parametrize(("flags", "code", "said"), REFUSED)
def test_refused_in_one_line(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, flags: dict[str, str], code: int, said: str
) -> None:
    monkeypatch.chdir(desk.folder)
    Path("file").write_text("x")
    Path("bad").mkdir()
    Path("bad/candles_1m.db").write_text("no database, and long enough to be looked at" * 40)
    Path("other").mkdir()
    write_other(Path("other/candles_1m.db"))
    before = everything(desk.folder)
    assert desk.run(**flags) == code, desk.err
    assert said in desk.err
    assert desk.err.startswith("error: ")
    assert desk.err.count("\n") == 1
    assert everything(desk.folder) == before
    assert desk.exchange.n_data == 0


def test_no_symbols_and_no_start(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    from mei.cli import main

    assert main.run(["download"]) == 2
    assert "Missing option" in capsys.readouterr().err
    assert main.run(["download", "--symbols", "BTC/USDT"]) == 2
    assert "--since" in capsys.readouterr().err


def test_funding_that_there_is_not(desk: Desk) -> None:
    desk.exchange.perpetuals = ("ETHUSDT",)
    assert desk.run("--funding", symbols="ETH/USDT,BTC/USDT") == 2
    assert "binance must have a perpetual of BTC/USDT to have its funding, has none" in desk.err
    assert list(desk.folder.iterdir()) == []


def test_nobody_listens(desk: Desk) -> None:
    assert desk.run(base_url="http://127.0.0.1:9", attempts="2") == 3
    assert "binance its markets must be answered, was not in 2 attempts" in desk.err
    assert list(desk.folder.iterdir()) == []


def test_help_needs_no_exchange() -> None:
    code = (
        "import sys; from mei.cli.main import run; code = run(['download', '--help']);"
        "sys.exit(code or any(name in sys.modules for name in ('ccxt', 'numpy', 'requests')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--base-url" in done.stdout


def test_epochs_are_times(desk: Desk) -> None:
    assert desk.run(since=str(START_MS // 1000), until=str(START_MS + 600_000)) == 0
    assert "10 new bars" in desk.out


def write_other(path: Path) -> None:
    """A database of something else."""
    import contextlib
    import sqlite3

    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE candles (name TEXT)")


def everything(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, and its bytes."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
