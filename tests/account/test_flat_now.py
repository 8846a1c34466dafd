"""flat_now: the pause first, then paper and live, each whatever came of the other; and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mei.data.trading_db import (
    PositionRow,
    TradeRow,
    insert_trades,
    open_trading_db,
    position_rows,
    replace_positions,
    trades_since,
    writing,
)
from mei.workflows.account.flat_now import FlatRequest, flat_now
from mei.workflows.account.open_account import account_door
from tests.account.conftest import Bench
from tests.account.fake_hyperliquid import ZERO, Fault
from tests.tools.loading import TOOLS, exit_code, tool


class Desk:
    """Runs the tool in a folder with a paper database, a pause file to be, and an exchange."""

    def __init__(self, folder: Path, bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.bench, self._capsys = folder, bench, capsys
        self.pause = folder / "pause"
        self.db = folder / "trading_engine.db"
        self.out = self.err = ""

    def run(self, flags: str, pause: str = "--kill-file pause") -> int:
        """The exit code."""
        self._capsys.readouterr()
        code = exit_code(tool("flat_now"), f"{pause} {flags}".split())
        self.out, self.err = self._capsys.readouterr()
        return code

    def live(self, flags: str = "") -> int:
        """The exit code for the account, without waiting."""
        url = self.bench.fake.url
        common = "--secrets-path secrets.json --verify-sleep-s 0"
        return self.run(f"--live --yes --exchange {url} {common} {flags}")

    def hold_paper(self, *symbols: str) -> None:
        """Positions as the original program keeps them."""
        with open_trading_db(self.db, create=True) as conn, writing(conn):
            opened = TradeRow(
                timestamp="2026-01-01T00:00:00Z",
                symbol="X",
                type="LONG",
                action="OPEN",
                balance=77.5,
            )
            insert_trades(conn, [opened])
            replace_positions(conn, [PositionRow(symbol=symbol) for symbol in symbols])

    def paper_rows(self) -> tuple[list[PositionRow], list[TradeRow]]:
        """What is held on paper, and the trades without the first."""
        with open_trading_db(self.db, create=False, read_only=True) as conn:
            return position_rows(conn), trades_since(conn, 1)


@pytest.fixture(name="desk")
def _desk(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bench: Bench,
    secrets_file: Path,
) -> Desk:
    assert secrets_file.parent == tmp_path
    monkeypatch.chdir(tmp_path)
    for name in ("KILL_SWITCH_FILE", "SECRETS_PATH", "PAPER_DB_PATH"):
        monkeypatch.delenv(f"AI_QUANT_{name}", raising=False)
    return Desk(tmp_path, bench, capsys)


def test_paper_is_the_default(desk: Desk) -> None:
    desk.hold_paper("eth", "BTC")
    assert desk.run("--yes --reason storm") == 0
    assert desk.pause.read_text() == "close_only\n"
    held, trades = desk.paper_rows()
    assert held == []
    shown = [(row.symbol, row.type, row.action, row.reason, row.balance) for row in trades]
    assert shown == [
        ("BTC", "SYSTEM", "CLOSE", "storm", 77.5),
        ("ETH", "SYSTEM", "CLOSE", "storm", 77.5),
    ]
    assert all(json.loads(row.meta_json or "")["flat_now"] is True for row in trades)
    assert desk.out.splitlines()[0] == "pause: close_only written to pause"
    assert desk.out.splitlines()[-1] == "flat"
    assert desk.bench.fake.asked == []


def test_a_paper_database_without_trades(desk: Desk) -> None:
    conn = sqlite3.connect(desk.db)
    conn.execute("CREATE TABLE position_state (symbol TEXT PRIMARY KEY)")
    conn.execute("INSERT INTO position_state VALUES ('BTC')")
    conn.commit()
    conn.close()
    assert desk.run("--yes") == 0, desk.out
    with open_trading_db(desk.db, create=False, read_only=True) as conn:
        assert position_rows(conn) == []


def test_nothing_to_close(desk: Desk) -> None:
    assert desk.run("--yes") == 0
    assert f"paper: there is no {desk.db}: nothing to close" in desk.out
    assert desk.err.startswith("WARNING: neither --paper-db nor AI_QUANT_PAPER_DB_PATH names")
    assert not desk.db.exists()
    desk.hold_paper()
    assert desk.run("--yes") == 0
    assert "paper: nothing is open in trading_engine.db" in desk.out
    assert desk.live() == 0
    assert f"live: nothing is open at {desk.bench.fake.url}" in desk.out


def test_the_traders_variable_names_the_paper_database(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.db = desk.folder / "elsewhere.db"
    desk.hold_paper("BTC")
    monkeypatch.setenv("AI_QUANT_PAPER_DB_PATH", str(desk.db))
    assert desk.run("--yes") == 0
    assert desk.paper_rows()[0] == []
    assert "paper: BTC: closed" in desk.out
    desk.hold_paper("BTC")
    # The flag counts.
    assert desk.run("--yes --paper-db other.db") == 1
    assert len(desk.paper_rows()[0]) == 1


@pytest.mark.parametrize("by_flag", [True, False])
@pytest.mark.parametrize("named", ["none.db", "."])
def test_a_named_paper_database_that_is_missing_is_not_flat(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, by_flag: bool, named: str
) -> None:
    if not by_flag:
        monkeypatch.setenv("AI_QUANT_PAPER_DB_PATH", named)
    desk.bench.fake.hold("BTC", "0.5")
    # The traders are paused and the account is closed all the same.
    assert desk.live("--paper" + (f" --paper-db {named}" if by_flag else "")) == 1
    assert f"paper: FAILED: the trading database must be a file, '{named}' is none" in desk.out
    assert desk.out.splitlines()[-1].startswith("NOT FLAT")
    assert desk.pause.read_text() == "close_only\n"
    assert desk.bench.fake.held == {}
    assert not (desk.folder / "none.db").exists()


def test_live_is_closed_and_paper_left_alone(desk: Desk) -> None:
    desk.hold_paper("BTC")
    desk.bench.fake.hold("BTC", "0.5")
    desk.bench.fake.hold("ETH", "-2")
    assert desk.live("--pause-mode halt_all") == 0, desk.out
    assert desk.bench.fake.held == {}
    assert desk.pause.read_text() == "halt_all\n"
    assert "live: ETH SHORT 2: closed, 1 order\nflat\n" in desk.out
    assert len(desk.paper_rows()[0]) == 1


def test_orders_that_wait_are_told(desk: Desk) -> None:
    order = {"coin": "ETH", "side": "B", "sz": "1.5", "limitPx": "3000.0", "reduceOnly": False}
    desk.bench.fake.resting += [order, order | {"coin": "BTC", "reduceOnly": True}]
    warning = "live: WARNING: orders wait in the books, cancel them: ETH buy 1.5 at 3000.0\nflat\n"
    assert desk.live() == 0
    assert desk.out.endswith(warning)
    desk.bench.fake.misbehave("frontendOpenOrders", Fault("odd"))
    assert desk.live() == 0
    assert "live: WARNING: whether orders wait in the books could not be read: " in desk.out
    desk.bench.fake.resting.clear()
    assert desk.live() == 0
    assert "WARNING" not in desk.out


def test_both_at_once(desk: Desk) -> None:
    desk.hold_paper("BTC")
    desk.bench.fake.hold("BTC", "0.5")
    assert desk.live("--paper --paper-db trading_engine.db") == 0
    assert desk.bench.fake.held == {}
    assert desk.paper_rows()[0] == []


def test_numbers_reach_the_orders(bench: Bench, secrets_file: Path) -> None:
    bench.fake.hold("BTC", "0.5")
    request = FlatRequest(
        door=account_door(bench.fake.url, str(secrets_file), environment={}),
        max_attempts=2,
        slippage_frac=0.0015,
        verify_after_s=1.5,
    )
    bench.fake.misbehave("order", Fault("thin", "0.1"), Fault("thin", "0.1"))
    said: list[str] = []
    done = flat_now(
        request,
        now_ms=bench.fake.now_ms,
        sleep=bench.sleep,
        say=said.append,
        tell=bench.told.append,
    )
    assert not done
    assert bench.slept_s == [1.5, 1.5]
    orders = [body["action"]["orders"][0]["p"] for body in bench.fake.orders]
    assert orders == ["96978", "96978"]  # 96977.8
    assert said[-2].startswith(
        "live: BTC LONG 0.5: NOT CLOSED, 0.4 left: still open after 2 orders"
    )


def test_the_pause_comes_before_the_first_question(desk: Desk) -> None:
    desk.bench.fake.hold("BTC", "0.5")
    seen: list[bool] = []
    answer = desk.bench.fake.answer

    def watched(path: str, body: dict[str, Any]) -> Any:
        seen.append(desk.pause.exists())
        return answer(path, body)

    desk.bench.fake.answer = watched  # type: ignore[method-assign]
    assert desk.live() == 0
    assert seen
    assert all(seen)


def test_what_is_not_closed_is_said(desk: Desk) -> None:
    desk.bench.fake.hold("BTC", "0.5")
    desk.bench.fake.hold("ETH", "1")
    desk.bench.fake.markets["BTC"].depth = ZERO
    assert desk.live("--max-retries 1") == 1
    assert (
        "live: BTC LONG 0.5: NOT CLOSED, 0.5 left: still open after 1 order; the last" in desk.out
    )
    assert "live: ETH LONG 1: closed, 1 order" in desk.out
    assert desk.out.endswith("NOT FLAT: see the lines above\n")
    assert desk.bench.key[2:] not in desk.out + desk.err


def test_paper_that_fails_does_not_keep_live_open(desk: Desk) -> None:
    desk.db.write_text("no database")
    desk.bench.fake.hold("BTC", "0.5")
    assert desk.live("--paper") == 1
    assert "paper: FAILED: trading_engine.db: must be a usable trading database" in desk.out
    assert desk.bench.fake.held == {}


def test_live_that_fails_does_not_keep_paper_open(desk: Desk) -> None:
    desk.hold_paper("BTC")
    desk.bench.fake.hold("BTC", "0.5")
    desk.bench.fake.misbehave("clearinghouseState", *[Fault("http", 500)] * 12)
    assert desk.live("--paper") == 1
    assert "live: FAILED: http://127.0.0.1:" in desk.out
    assert desk.paper_rows()[0] == []
    assert desk.bench.fake.orders == []


def test_a_key_of_another_account_sends_nothing(desk: Desk) -> None:
    secrets = json.loads((desk.folder / "secrets.json").read_text())
    secrets["account_address"] = "0x" + "5" * 40
    (desk.folder / "secrets.json").write_text(json.dumps(secrets))
    desk.bench.fake.hold("BTC", "0.5")
    assert desk.live() == 1
    assert "live: FAILED: secrets.json: secret_key must be that of account_address" in desk.out
    assert desk.bench.fake.asked == ["userRole"]


@pytest.mark.parametrize(
    ("before", "flags", "after"),
    [
        ("halt_all\n", "", "halt_all\n"),
        (" HALT_ALL", "--pause-mode close_only", " HALT_ALL"),
        ("close_only\n", "--pause-mode halt_all", "halt_all\n"),
        ("who knows", "", "close_only\n"),
        ("", "", "close_only\n"),
    ],
)
def test_a_pause_is_never_weakened(desk: Desk, before: str, flags: str, after: str) -> None:
    desk.pause.write_text(before)
    assert desk.run(f"--yes {flags}") == 0
    assert desk.pause.read_text() == after


def test_without_a_pause(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.hold_paper("BTC")
    monkeypatch.setenv("AI_QUANT_KILL_SWITCH_FILE", str(desk.pause))
    assert desk.run("--yes --no-pause", pause="") == 0
    assert not desk.pause.exists()
    assert desk.paper_rows()[0] == []
    assert desk.run("--yes", pause="") == 0
    assert desk.pause.exists()


@pytest.mark.parametrize(
    ("answer", "code"), [("y\n", 0), ("YES\n", 0), ("n\n", 1), ("\n", 1), ("", 1)]
)
def test_it_asks(desk: Desk, answer: str, code: int) -> None:
    desk.hold_paper("BTC")
    done = subprocess.run(
        [sys.executable, TOOLS / "flat_now.py", "--kill-file", "pause"],
        input=answer,
        capture_output=True,
        text=True,
        check=False,
        cwd=desk.folder,
    )
    assert done.returncode == code, done.stderr
    assert (
        "Close all paper positions in trading_engine.db (close_only in pause)? [y/N]" in done.stderr
    )
    assert desk.pause.exists() == (code == 0)
    assert len(desk.paper_rows()[0]) == code


REFUSED = [
    ("--live", 2, "--live closes real positions and must come with --yes, it did not"),
    ("--live --exchange URL", 2, "--live closes real positions and must come with --yes"),
    (
        "--live --yes",
        2,
        "--exchange must be mainnet, testnet or a URL where a live account is meant",
    ),
    ("--live --yes --exchange prod", 2, "--exchange must be mainnet, testnet or a URL (https"),
    ("--live --yes --exchange URL --secrets-path no.json", 2, "no.json must be the file with"),
    (
        "--live --yes --exchange URL --secrets-path open.json",
        2,
        "has mode 0644: chmod 600 open.json",
    ),
    ("--live --yes --exchange URL --secrets-path .", 2, ". must be a regular file, is none"),
    ("--live --yes --exchange URL --paper-db x.db", 2, "--paper-db says something of --paper"),
    ("--yes --exchange testnet", 2, "--exchange says something of --live, which was left out"),
    ("--yes --secrets-path s", 2, "--secrets-path says something of --live, which was left out"),
    ("--yes --no-pause", 2, "--kill-file and --no-pause say opposite things"),
    ("--yes --pause-mode off", 2, "Invalid value for '--pause-mode': "),
    (
        "--yes --max-retries 0",
        2,
        "Invalid value for '--max-retries': ",
    ),
    ("--yes --max-retries 21", 2, "Invalid value for '--max-retries': "),
    ("--yes --max-retries x", 2, "Invalid value for '--max-retries': "),
    (
        "--yes --slippage-pct 2",
        2,
        "--slippage-pct must be a fraction above 0 and at most 0.2 (0.02 is 2",
    ),
    ("--yes --slippage-pct 0", 2, "--slippage-pct must be a fraction above 0"),
    ("--yes --slippage-pct nan", 2, "--slippage-pct must be a fraction above 0"),
    ("--yes --verify-sleep-s -1", 2, "--verify-sleep-s must be 0 to 600 seconds, was -1"),
    ("--yes --verify-sleep-s nan", 2, "--verify-sleep-s must be 0 to 600 seconds, was nan"),
    ("--yes --verify-sleep-s inf", 2, "--verify-sleep-s must be 0 to 600 seconds, was inf"),
    ("--yes --what", 2, "No such option: --what"),
    ("--yes now", 2, "Got unexpected extra argument"),
]


@pytest.mark.parametrize(("flags", "code", "said"), REFUSED)
def test_what_is_refused_changes_nothing(desk: Desk, flags: str, code: int, said: str) -> None:
    desk.hold_paper("BTC")
    desk.bench.fake.hold("BTC", "0.5")
    (desk.folder / "open.json").write_text((desk.folder / "secrets.json").read_text())
    (desk.folder / "open.json").chmod(0o644)
    assert desk.run(flags.replace("URL", desk.bench.fake.url)) == code
    assert desk.err.startswith("error: ")
    assert said in desk.err
    assert desk.err.count("\n") == 1
    assert desk.out == ""
    assert not desk.pause.exists()
    assert len(desk.paper_rows()[0]) == 1
    assert desk.bench.fake.asked == []


def test_a_pause_file_must_be_named(desk: Desk) -> None:
    desk.hold_paper("BTC")
    assert desk.run("--yes", pause="") == 2
    assert "must be named by --kill-file or AI_QUANT_KILL_SWITCH_FILE, was not" in desk.err
    assert len(desk.paper_rows()[0]) == 1


@pytest.mark.parametrize("where", ["nowhere/pause", ".", "trading_engine.db/pause"])
def test_without_the_pause_nothing_is_closed(desk: Desk, where: str) -> None:
    desk.hold_paper("BTC")
    desk.bench.fake.hold("BTC", "0.5")
    url = desk.bench.fake.url
    live = f"--live --yes --exchange {url} --secrets-path secrets.json --verify-sleep-s 0"
    assert desk.run(f"--paper {live}", pause=f"--kill-file {where}") == 1
    assert "must be writable to pause the traders" in desk.err
    assert "nothing was closed" in desk.err
    assert len(desk.paper_rows()[0]) == 1
    assert desk.bench.fake.asked == []


def test_a_killed_one_is_started_again(desk: Desk) -> None:
    """kill -9 while an order is on its way, executed and not answered; the next one closes the rest."""
    fake = desk.bench.fake
    fake.hold("BTC", "0.5")
    fake.hold("ETH", "1")
    fake.misbehave("order", "none", "silence_after")
    command = [
        sys.executable,
        str(TOOLS / "flat_now.py"),
        "--kill-file",
        "pause",
        "--live",
        "--yes",
    ]
    command += ["--exchange", fake.url, "--secrets-path", "secrets.json"]
    first = subprocess.Popen(
        command, cwd=desk.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    wait_until(lambda: len(fake.orders) == 2 or first.poll() is not None)
    first.send_signal(signal.SIGKILL)
    said = first.communicate()[0].decode()
    assert first.returncode == -signal.SIGKILL, said
    assert len(fake.orders) == 2
    fake.hold("ETH", "0.25")
    assert desk.live() == 0
    assert fake.held == {}
    assert fake.violations == []
    assert desk.pause.read_text() == "close_only\n"
    assert desk.bench.key[2:] not in said + desk.out + desk.err


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, a minute at most."""
    for _ in range(6_000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def test_help_imports_neither_the_library_nor_numba(tmp_path: Path) -> None:
    code = (
        "import runpy, sys\n"
        "sys.argv = ['flat_now', '--help']\n"
        "try:\n"
        f"    runpy.run_path({str(TOOLS / 'flat_now.py')!r}, run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code\n"
        "heavy = {'hyperliquid', 'eth_account', 'requests', 'numba', 'numpy', 'sqlite3'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = {
        name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_START"
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert "--slippage-pct" in done.stdout


def test_first_readings_that_fail_are_repeated(desk: Desk) -> None:
    fake = desk.bench.fake
    fake.list_market("BTC", 5, "97123.5")
    fake.hold("BTC", "0.5")
    fake.misbehave("clearinghouseState", *["garbage"] * 5)
    assert desk.live() == 0
    assert fake.size("BTC") == 0
    assert desk.out.splitlines()[-1] == "flat"


def test_first_readings_that_never_come_are_given_up(desk: Desk) -> None:
    fake = desk.bench.fake
    fake.list_market("BTC", 5, "97123.5")
    fake.hold("BTC", "0.5")
    fake.misbehave("clearinghouseState", *["garbage"] * 100)
    assert desk.live() == 1
    assert fake.orders == []
