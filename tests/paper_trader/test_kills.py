"""A trader killed at any moment: started again it has lost no trade and doubled none."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mei.data.trading_db import open_trading_db
from tests.paper_trader.desk import Desk
from tests.paper_trader.market import make_market

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
N_HOURS = 75
#: Points of a step and of the first start, and at which pass of them the process ends.
FAULTS = [
    "paper.begin.begun:1",
    "paper.begin.before_commit:1",
    "paper.step.begun:1",
    "paper.step.begun:12",
    "paper.step.trades:2",
    "paper.step.trades:9",
    "paper.step.before_commit:1",
    "paper.step.before_commit:8",
    "paper.step.before_commit:25",
    "paper.step.after_commit:1",
    "paper.step.after_commit:9",
    "paper.step.after_commit:21",
]
N_BY_THE_CLOCK = 16
LIMIT_S = 240.0

# Takes one boundary after another of a feed that lies in the databases.
_PROGRAM = """
import sys
from pathlib import Path
from mei.web.fault_plan import install_fault_plan
from tests.paper_trader.test_kills import desk_in
install_fault_plan()
desk = desk_in(Path(sys.argv[1]))
state = desk.trader.open(desk.start_ms)
print("open", flush=True)
for at_ms in desk.boundaries():
    if at_ms > state.as_of_ms:
        desk.trader.advance(at_ms)
        print(at_ms, flush=True)
"""


def desk_in(folder: Path) -> Desk:
    """The trader of a folder; its databases hold the whole feed or nothing yet."""
    market = make_market(folder / "databases", 31, N_HOURS, sub_bars=True, funding=True)
    return Desk(folder, market)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the database holds when nothing happens."""
    desk = filled(tmp_path_factory.mktemp("undisturbed"))
    desk.trader.open(desk.start_ms)
    for at_ms in desk.boundaries():
        desk.trader.advance(at_ms)
    held = content(desk)
    assert len(held["trades"]) > 20
    assert len(held["signals"]) > 20
    return held


def filled(folder: Path) -> Desk:
    desk = desk_in(folder)
    desk.market.feed(desk.market.end_ms)
    return desk


def content(desk: Desk) -> dict[str, Any]:
    """Every table that a step writes; when something was written is left out."""
    tables = {
        "trades": "SELECT * FROM trades ORDER BY id",
        "signals": "SELECT * FROM signals ORDER BY id",
        "position_state": "SELECT symbol, open_trade_id, trailing_sl, last_funding_time, adds_count, tp1_taken, "
        "last_add_time, entry_adx_threshold FROM position_state ORDER BY symbol",
        "equity": "SELECT * FROM equity ORDER BY timestamp_ms",
        "engine_state": "SELECT revision, as_of_ms, config_id, state_json FROM engine_state",
        "audit_events": "SELECT event FROM audit_events ORDER BY id",
    }
    with open_trading_db(desk.request.db, create=False, read_only=True) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {name: conn.execute(query).fetchall() for name, query in tables.items()}


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes of a test; what lives after it is ended."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()


def start(
    folder: Path, processes: list[subprocess.Popen[str]], fault: str = ""
) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MEI_FAULT": fault}
    processes.append(
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(folder)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    )
    return processes[-1]


@pytest.mark.parametrize("fault", FAULTS)
def test_killed_at_a_point(
    tmp_path: Path,
    fault: str,
    undisturbed: dict[str, Any],
    started: list[subprocess.Popen[str]],
) -> None:
    desk = filled(tmp_path)
    first = start(tmp_path, started, fault)
    _, errors = first.communicate(timeout=LIMIT_S)
    assert first.returncode == -signal.SIGKILL, errors
    second = start(tmp_path, started)
    _, errors = second.communicate(timeout=LIMIT_S)
    assert second.returncode == 0, errors
    assert content(desk) == undisturbed


def test_killed_by_the_clock_again_and_again(
    tmp_path: Path, undisturbed: dict[str, Any], started: list[subprocess.Popen[str]]
) -> None:
    """Between its first word and its last a trader is killed at any time; the last one comes through."""
    desk = filled(tmp_path)
    moments = random.Random(5)
    n_killed = 0
    while n_killed < N_BY_THE_CLOCK:
        process = start(tmp_path, started)
        assert process.stdout is not None
        # Some at once after the start, some amid steps.
        for _ in range(moments.randrange(0, 5)):
            process.stdout.readline()
        time.sleep(moments.random() * 0.15)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=LIMIT_S)
        if process.returncode != 0:
            n_killed += 1
            continue
        # It came through before it was killed often enough: once more from the start.
        assert content(desk) == undisturbed
        for path in tmp_path.glob("paper.db*"):
            path.unlink()
    last = start(tmp_path, started)
    _, errors = last.communicate(timeout=LIMIT_S)
    assert last.returncode == 0, errors
    assert content(desk) == undisturbed
