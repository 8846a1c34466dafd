"""Workers as processes, killed, stalled and stopped: another goes on, and the rows are those of the command line."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from mei.cli import main
from mei.ledger.database import Ledger
from mei.ledger.jobs import submit_job
from services.sweep_worker.app.asked import ask, keep, sweeps_folder
from services.sweep_worker.app.bodies import SweepBody
from services.sweep_worker.app.settings import Settings
from tests.ports import free_port
from tests.sweep_worker.desk import LAST_TS, Desk, add_bar, body, change_bars
from tests.sweep_worker.test_app import LONG_SPEC
from tests.sweeps.markets import CHUNK_SIZE, N_ROWS, ROOT, sweep_line
from tests.workflows.databases import START_MS

pytestmark = pytest.mark.slow

N_CHUNKS = -(-N_ROWS // CHUNK_SIZE)
#: Of a worker that is to lose its sweep by the clock. Of all others it is so long that only `expire` ends it: what is
#: short may be over while a busy machine lets a worker wait, and then it takes its own sweep up once more.
SHORT_LEASE_S = 2.0
LEASE_S = 600.0
LIMIT_S = 600.0
#: Every kind of point a sweep of a worker passes, and whether the sweep is finished for everybody by then.
FAULTS = [
    ("ledger.sweep_job_claim.before_commit:1", False),
    ("ledger.sweep_job_claim.after_commit:1", False),
    ("ledger.sweep_job_renew.after_commit:1", False),
    ("ledger.sweep_job_market.before_commit:1", False),
    ("ledger.sweep_job_market.after_commit:1", False),
    ("sweep_worker.progressed:1", False),
    ("sweep.journal.torn:3", False),
    (f"sweep.journal.appended:{N_CHUNKS}", False),
    ("ledger.sweep_trials.after_commit:1", False),
    ("report.results.before_rename:1", False),
    ("sweep.merge.written:1", False),
    ("sweep_worker.before_finish:1", False),
    ("ledger.sweep_job_end.before_commit:1", False),
    ("ledger.sweep_job_end.after_commit:1", True),
]


def settings_of(folder: Path) -> Settings:
    """What every worker of a test runs by."""
    return Settings(
        ledger_db=str(folder / "manifest.sqlite"),
        results_dir=folder / "results",
        sweep_threads=1,
        sweep_lease_seconds=LEASE_S,
    )


def post(folder: Path, **more: Any) -> str:
    """Put a sweep into the ledger while no worker lives; its id."""
    settings = settings_of(folder)
    asked = ask(SweepBody(**body(**more)), settings)
    keep(asked, sweeps_folder(settings) / asked.job_id)
    with Ledger.open(settings.ledger_db) as ledger, ledger.unit_of_work() as unit:
        submit_job(unit.connection, asked.job_id, asked.text, 0)
        unit.commit("test")
    return asked.job_id


@pytest.fixture
def worker(folder: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start workers as processes; what lives after the test is ended."""
    started: list[subprocess.Popen[bytes]] = []
    settings = settings_of(folder)

    def start(fault: str = "", lease_s: float = LEASE_S) -> subprocess.Popen[bytes]:
        port = str(free_port())
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LEDGER_DB": settings.ledger_db,
            "RESULTS_DIR": str(settings.results_dir),
            "SWEEP_THREADS": "1",
            "SWEEP_LEASE_SECONDS": str(lease_s),
            "MEI_FAULT": fault,
        }
        command = [sys.executable, "-m", "services.sweep_worker.app.main", "--port", port]
        log = (folder / "worker.log").open("ab")
        started.append(
            subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        )
        log.close()
        return started[-1]

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()


@pytest.fixture
def open_heir(open_desk: Callable[..., Desk]) -> Callable[[], Desk]:
    """Start the other worker, in this process."""
    return lambda: open_desk(sweep_lease_seconds=LEASE_S)


def journal_size(folder: Path, job_id: str) -> int:
    """Bytes of the sweep's journal, 0 if there is none."""
    found = list((folder / "results/sweeps" / job_id).glob("*.journal"))
    return found[0].stat().st_size if found else 0


def wait_for_rows(
    process: subprocess.Popen[bytes], folder: Path, job_id: str, more_than: int = 4096
) -> None:
    """Until the journal has so many bytes: a few chunks."""
    deadline_s = time.monotonic() + LIMIT_S
    while journal_size(folder, job_id) < more_than:
        assert process.poll() is None, (folder / "worker.log").read_text()[-3000:]
        assert time.monotonic() < deadline_s, (folder / "worker.log").read_text()[-3000:]
        time.sleep(0.005)


def expire(folder: Path) -> None:
    """Let the leases of all sweeps be over, as they are some time after their worker died."""
    with Ledger.open(settings_of(folder).ledger_db) as ledger, ledger.unit_of_work() as unit:
        unit.connection.exec_driver_sql(
            "UPDATE sweep_jobs SET expires_at_ms = 0 WHERE state = 'running'"
        )
        unit.commit("test")


@pytest.mark.parametrize(("fault", "is_finished"), FAULTS, ids=[fault for fault, _ in FAULTS])
def test_killed_at_every_point(
    folder: Path,
    undisturbed: bytes,
    worker: Callable[..., subprocess.Popen[bytes]],
    open_heir: Callable[[], Desk],
    fault: str,
    is_finished: bool,
) -> None:
    job_id = post(folder)
    killed = worker(fault)
    assert killed.wait(LIMIT_S) == -signal.SIGKILL, (folder / "worker.log").read_text()[-3000:]
    expire(folder)
    heir = open_heir()
    view = heir.wait(job_id)
    claimed = not fault.startswith("ledger.sweep_job_claim.before_commit")
    assert view["attempts"] == (1 if is_finished else 1 + claimed)
    assert view["rows_done"] == N_ROWS
    assert heir.rows(job_id) == undisturbed
    if fault.startswith(("report", "sweep.merge", "sweep_worker.before", "ledger.sweep_job_end.b")):
        # Nothing was left to run: the journal goes last.
        assert any(f"{N_ROWS} rows are in" in line for line in view["lines"])


def test_taken_over_after_a_bar_came_behind_the_window_it_goes_on(
    folder: Path,
    worker: Callable[..., subprocess.Popen[bytes]],
    open_heir: Callable[[], Desk],
) -> None:
    line = sweep_line("whole.jsonl", "--ledger", "none", "--rerun", "0", "--end-ts", LAST_TS)
    assert main.run(line) == 0
    job_id = post(folder, end_ts=LAST_TS)
    killed = worker("sweep.journal.appended:3")
    assert killed.wait(LIMIT_S) == -signal.SIGKILL, (folder / "worker.log").read_text()[-3000:]
    add_bar(folder)
    expire(folder)
    heir = open_heir()
    view = heir.wait(job_id)
    assert view["attempts"] == 2
    assert any("[sweep] 15 rows are in" in line for line in view["lines"])
    assert heir.rows(job_id) == (folder / "whole.jsonl").read_bytes()


def test_taken_over_after_a_bar_in_the_window_changed_it_fails(
    folder: Path,
    worker: Callable[..., subprocess.Popen[bytes]],
    open_heir: Callable[[], Desk],
) -> None:
    job_id = post(folder, end_ts=LAST_TS)
    killed = worker("sweep.journal.appended:3")
    assert killed.wait(LIMIT_S) == -signal.SIGKILL, (folder / "worker.log").read_text()[-3000:]
    change_bars(folder, "UPDATE candles SET c = c * 1.001, h = h * 1.001 WHERE t = ?", START_MS)
    expire(folder)
    heir = open_heir()
    view = heir.wait(job_id, "failed")
    assert "a bar in its window has changed: post the sweep again" in view["reason"]
    assert heir.post(end_ts=LAST_TS)["id"] != job_id


def test_killed_again_and_again_by_the_clock(
    folder: Path, worker: Callable[..., subprocess.Popen[bytes]], open_heir: Callable[[], Desk]
) -> None:
    """Some chunks in the journal a life, eight lives: none is run twice, all are there."""
    spec = LONG_SPEC.replace("max: 100", "max: 16")
    job_id = post(folder, sweep_spec_yaml=spec, rerun=0)
    sizes = []
    for _ in range(8):
        process, before = worker(), journal_size(folder, job_id)
        wait_for_rows(process, folder, job_id, before + 8_000)
        process.kill()
        process.wait()
        expire(folder)
        sizes.append(journal_size(folder, job_id))
    assert sizes == sorted(sizes)
    heir = open_heir()
    view = heir.wait(job_id)
    assert view["attempts"] == 9
    other = heir.post(sweep_spec_yaml=spec, rerun=0, chunk_size=1000)["id"]
    heir.wait(other)
    assert heir.rows(job_id) == heir.rows(other)


def stall(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Stop it in its work; not while it writes to the ledger, which nobody else could write to then."""
    while True:
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        with closing(sqlite3.connect(settings_of(folder).ledger_db, timeout=0.2)) as ledger:
            try:
                ledger.execute("BEGIN IMMEDIATE")
                ledger.rollback()
                return
            except sqlite3.OperationalError:
                process.send_signal(signal.SIGCONT)
                time.sleep(0.01)


def attempts(folder: Path) -> int:
    """How often the sweep was taken up."""
    with Ledger.open(settings_of(folder).ledger_db) as ledger, ledger.reader() as connection:
        return int(connection.exec_driver_sql("SELECT n_attempts FROM sweep_jobs").scalar_one())


def test_a_stalled_worker_is_replaced_and_wakes_to_nothing(
    folder: Path, worker: Callable[..., subprocess.Popen[bytes]], open_heir: Callable[[], Desk]
) -> None:
    job_id = post(folder, sweep_spec_yaml=LONG_SPEC, rerun=0)
    stalled = worker(lease_s=SHORT_LEASE_S)
    wait_for_rows(stalled, folder, job_id)
    stall(stalled, folder)
    n_before = attempts(folder)
    heir = open_heir()
    mine = heir.ask("GET", "/ready").json()["worker"]
    heir.until(
        lambda: heir.view(job_id),
        lambda view: (
            view["worker"] == mine
            and any(line.startswith("[sweep] Waiting: ") for line in view["lines"])
        ),
    )
    stalled.send_signal(signal.SIGCONT)
    heir.until(
        lambda: heir.view(job_id), lambda view: any("not run again" in one for one in view["lines"])
    )
    view = heir.view(job_id)
    assert (view["worker"], view["attempts"]) == (mine, n_before + 1)
    # It lets go of the journal before it says so.
    heir.until((folder / "worker.log").read_bytes, lambda log: b"sweep lost" in log)
    assert stalled.poll() is None
    heir.ask("DELETE", f"/sweeps/{job_id}")
    heir.wait(job_id, "cancelled")


def test_a_worker_that_is_stopped_gives_its_sweep_back_at_once(
    folder: Path, worker: Callable[..., subprocess.Popen[bytes]]
) -> None:
    job_id = post(folder, sweep_spec_yaml=LONG_SPEC, rerun=0)
    stopped = worker()
    wait_for_rows(stopped, folder, job_id)
    stopped.terminate()
    assert stopped.wait(LIMIT_S) == 0
    with Ledger.open(settings_of(folder).ledger_db) as ledger, ledger.reader() as connection:
        row = connection.exec_driver_sql("SELECT state, n_stuck, n_rows FROM sweep_jobs").one()
    assert row[:2] == ("queued", 0)
    assert row[2] > 0
