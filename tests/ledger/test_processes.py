"""Several real processes on one ledger, killed at any moment."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from sqlalchemy import select

from mei.ledger.checkpoints import load_checkpoint, save_checkpoint
from mei.ledger.database import Ledger
from mei.ledger.files import file_states, files_as_of
from mei.ledger.models import models_of
from mei.ledger.ranges import consumed_ranges, pending_ranges
from mei.ledger.tables import trained_ranges
from mei.model import faults
from tests.ledger import trainers
from tests.ledger.builders import BAR_MS, KEY, chunk, claim, close_ms, numbers, publish, register

FOREVER_MS = 2**60
N_TRAINERS = 3
N_ROUNDS = 200
#: For one process, however busy the machine is.
LIMIT_S = 180
FAULT_POINTS = [
    "ledger.migrate.between_steps",
    "ledger.migrate.before_commit",
    "ledger.migrate.after_commit",
    "ledger.register.before_commit",
    "ledger.register.after_commit",
    "ledger.claim.before_commit",
    "ledger.claim.after_commit",
    "ledger.publish.before_commit",
    "ledger.publish.after_commit",
    "ledger.checkpoint.before_commit",
    "ledger.checkpoint.after_commit",
]
# Forked, since a fresh interpreter costs half a second and contention is the point; nothing of the
# ledger is open in this process while they are started.
_processes = multiprocessing.get_context("fork")


def _scenario(location: str) -> None:
    """Register, claim, publish and checkpoint; every step may have been done before."""
    with Ledger.open(location) as ledger:
        register(ledger, chunk(0, 9), chunk(10, 19))
        with ledger.reader() as conn:
            is_trained = models_of(conn, KEY) != []
        if not is_trained:
            taken = claim(ledger, 19, owner="the trainer", token=f"token of {os.getpid()}")
            with ledger.unit_of_work() as unit:
                publish(unit.connection, taken, (0, 15), promote=True)
                unit.commit("publish")
        with ledger.unit_of_work() as unit:
            save_checkpoint(unit.connection, KEY.stream, as_of_ms=close_ms(19), state_json="{}")
            unit.commit("checkpoint")


def _scenario_killed_at(location: str, point: str) -> None:
    def die(name: str) -> None:
        if name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    faults.install(die)
    _scenario(location)


def _state(ledger: Ledger) -> tuple[object, ...]:
    with ledger.reader() as conn:
        return (
            files_as_of(conn, KEY, FOREVER_MS),
            file_states(conn, KEY),
            models_of(conn, KEY),
            numbers(consumed_ranges(conn, KEY, "exactly_once")),
            load_checkpoint(conn, KEY.stream),
        )


@pytest.mark.parametrize("point", FAULT_POINTS)
def test_killed_at_a_fault_point_the_rest_is_done_as_if_undisturbed(
    location: str, tmp_path: Path, reopen: Callable[[], Ledger], point: str
) -> None:
    victim = _processes.Process(target=_scenario_killed_at, args=(location, point))
    victim.start()
    victim.join(LIMIT_S)
    assert victim.exitcode == -signal.SIGKILL, f"{point} was not passed"

    with reopen().reader() as conn:
        n_models, consumed = len(models_of(conn, KEY)), consumed_ranges(conn, KEY, "exactly_once")
    assert (n_models, numbers(consumed)) in [(0, []), (1, [(0, 15)])]
    if point == "ledger.publish.before_commit":
        assert n_models == 0
    if point == "ledger.publish.after_commit":
        assert n_models == 1

    _scenario(location)
    undisturbed = str(tmp_path / "undisturbed.sqlite")
    _scenario(undisturbed)
    with Ledger.open(undisturbed) as expected:
        assert _state(reopen()) == _state(expected)


def _open_and_leave(location: str) -> None:
    Ledger.open(location).close()


def test_many_processes_create_one_ledger_at_once(
    location: str, reopen: Callable[[], Ledger]
) -> None:
    crowd = [_processes.Process(target=_open_and_leave, args=(location,)) for _ in range(12)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join(LIMIT_S)
    assert [process.exitcode for process in crowd] == [0] * 12
    register(reopen(), chunk(0, 9))


@pytest.mark.slow
def test_concurrent_trainers_spend_every_bar_exactly_once(
    location: str, tmp_path: Path, reopen: Callable[[], Ledger]
) -> None:
    journal = trainers.Journal(tmp_path / "journal")
    n_killed = _run_trainers(location, tmp_path / "journal", journal)
    n_drained = _drain(location)
    events = journal.events()
    fates = Counter(e.removeprefix("round ") for e in events if e.startswith("round"))

    ledger = reopen()
    for key in trainers.KEYS:
        _assert_account_is_closed(ledger, key)
    _assert_published_is_kept(ledger, journal)
    n_fenced = events.count("fenced off")
    n_abandoned = sum(n for fate, n in fates.items() if fate != "publish")
    print(
        f"\n{fates.total()} rounds, {n_abandoned} abandoned or disturbed ({dict(fates)}), "
        f"{n_killed} processes killed, {n_fenced} fenced off, {n_drained} bars fitted at the end"
    )
    assert fates.total() >= N_ROUNDS
    assert min(n_abandoned, n_killed, n_fenced) >= 5


def _run_trainers(location: str, path: Path, journal: trainers.Journal) -> int:
    """Keep N_TRAINERS alive until the rounds are done; how many died of SIGKILL."""
    rng = random.Random(7)
    alive: list[BaseProcess] = []
    n_started = n_killed = 0
    deadline_s = time.monotonic() + 2 * LIMIT_S
    while sum(event.startswith("round") for event in journal.events()) < N_ROUNDS:
        assert time.monotonic() < deadline_s, journal.events()[-5:]
        while len(alive) < N_TRAINERS:
            n_started += 1
            arguments = (location, path, n_started, N_ROUNDS)
            alive.append(_processes.Process(target=trainers.work, args=arguments))
            alive[-1].start()
        time.sleep(rng.random() * 0.2)
        # Besides those that kill themselves at a fault point, one at any instruction.
        if rng.random() < 0.3:
            rng.choice(alive).kill()
        n_killed += _reap(alive)
    for process in alive:
        process.kill()
        process.join(LIMIT_S)
    return n_killed


def _reap(alive: list[BaseProcess]) -> int:
    dead = [process for process in alive if process.exitcode is not None]
    for process in dead:
        assert process.exitcode == -signal.SIGKILL, "a trainer raised; see its traceback above"
        alive.remove(process)
    return len(dead)


def _drain(location: str) -> int:
    answers = _processes.SimpleQueue()
    last = _processes.Process(target=lambda: answers.put(trainers.drain(location)))
    last.start()
    last.join(LIMIT_S)
    assert last.exitcode == 0
    n_bars: int = answers.get()
    return n_bars


def _assert_account_is_closed(ledger: Ledger, key: trainers.SeriesKey) -> None:
    with ledger.reader() as conn:
        registered = {
            open_ms
            for file in files_as_of(conn, key, FOREVER_MS)
            for open_ms in range(file.first_ms, file.last_ms + BAR_MS, BAR_MS)
        }
        rows = conn.execute(
            select(trained_ranges).where(trained_ranges.c.symbol == key.symbol)
        ).all()
        states = set(file_states(conn, key).values())
        assert pending_ranges(conn, key, "exactly_once", FOREVER_MS) == []
    # Counted bar by bar from the raw rows, not by the arithmetic under test.
    fitted = Counter(
        open_ms for row in rows for open_ms in range(row.first_ms, row.last_ms + BAR_MS, BAR_MS)
    )
    assert max(fitted.values()) == 1
    assert set(fitted) == registered
    assert states == {"processed"}


def _assert_published_is_kept(ledger: Ledger, journal: trainers.Journal) -> None:
    said = {
        event.removeprefix("published ")
        for event in journal.events()
        if event.startswith("published")
    }
    with ledger.reader() as conn:
        kept = {row.path for key in trainers.KEYS for row in models_of(conn, key)}
        versions = [row.version for key in trainers.KEYS for row in models_of(conn, key)]
    assert said <= kept
    assert sorted(versions) == list(range(1, len(versions) + 1))
