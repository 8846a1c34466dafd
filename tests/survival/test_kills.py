"""kill -9 of any process at any moment, by the clock and at every named fault point: the outputs do not change."""

from __future__ import annotations

import random
import time
from collections import deque
from pathlib import Path

import pytest

from tests.survival.ledger_audit import audit
from tests.survival.stack import ML, PARAMS, RUNNER, SERVICES, Stack

pytestmark = pytest.mark.slow

N_CLOCK_KILLS = 28
FAULT_TOUR_LIMIT_S = 900.0
MIGRATION = "ledger.migrate"


def test_three_processes_equal_the_embedded_run(
    stack: Stack, undisturbed: dict[str, bytes]
) -> None:
    stack.start_services()
    stack.start(RUNNER)
    assert stack.finish() == 0, stack.log_of(RUNNER)
    assert stack.outputs() == undisturbed
    assert undisturbed["trades.csv"].count(b"\n") > 20
    assert undisturbed["trainings.jsonl"].count(b'"promoted"') >= 3


@pytest.mark.parametrize("settings", ["sliding"], indirect=True)
def test_kills_by_the_clock_leave_the_outputs_identical(
    stack: Stack, undisturbed: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(7)
    stack.start_services()
    stack.start(RUNNER)
    killed = {name: 0 for name in (RUNNER, ML, PARAMS)}
    while sum(killed.values()) < N_CLOCK_KILLS:
        time.sleep(rng.uniform(0.05, 1.6))
        if stack.is_dead(RUNNER):
            assert stack.finish() == 0, stack.log_of(RUNNER)
            assert stack.outputs() == undisturbed
            stack.settings["RERUN"] = "true"
            stack.start(RUNNER)
            continue
        victim = rng.choice(list(killed))
        stack.kill(victim)
        killed[victim] += 1
        stack.start(victim)
        if victim == RUNNER:
            # An unfinished attempt is resumed; RERUN would not change that, but is not asked for either.
            time.sleep(rng.uniform(0.5, 2.0))
    assert stack.finish() == 0, stack.log_of(RUNNER)[-3000:]
    assert stack.outputs() == undisturbed
    exactly_once = stack.settings["EXACTLY_ONCE"] == "true"
    n_bars = undisturbed["equity.csv"].count(b"\n") - 1
    counts = audit(
        stack.folder / "shared" / "manifest.sqlite", exactly_once=exactly_once, n_bars=n_bars
    )
    with capsys.disabled():
        print(f"\nkills by the clock: {killed}; ledger: {counts}")


def discover(folder: Path, settings: dict[str, str]) -> dict[str, list[str]]:
    """The fault points each process passes in an undisturbed run."""
    stack = Stack(folder, settings)
    logs = {name: folder / f"{name}.points" for name in (RUNNER, *SERVICES)}
    folder.mkdir()
    try:
        for name in SERVICES:
            stack.start(name, log=logs[name])
            stack.wait_ready(name)
        stack.start(RUNNER, log=logs[RUNNER])
        assert stack.finish() == 0, stack.log_of(RUNNER)
    finally:
        stack.stop()
    return {name: log.read_text().split() for name, log in logs.items()}


class FaultTour:
    """Arms one fault point after the other in each process until every one of them has killed it once."""

    def __init__(self, stack: Stack, points: dict[str, list[str]], seed: int) -> None:
        self.stack = stack
        self.waiting = {name: deque(names) for name, names in points.items()}
        self.armed: dict[str, str] = {}
        self.died_at: dict[str, list[str]] = {name: [] for name in points}
        self.rng = random.Random(seed)

    def start(self, name: str) -> None:
        """Start the process with its next point armed, if one is left."""
        if not self.waiting[name]:
            self.stack.start(name)
            return
        self.armed[name] = self.waiting[name].popleft()
        # Rare points are met once or twice a run, frequent ones somewhere within it; a ledger is made once.
        is_rare = self.armed[name].startswith(MIGRATION)
        hit_number = 1 if is_rare else self.rng.choice([1, 1, 2, 3])
        self.stack.start(name, fault=f"{self.armed[name]}:{hit_number}")

    def make_the_ledger(self) -> None:
        """Start ml_service until it has died at every point of making the ledger."""
        self.start(ML)
        while self.armed.get(ML, "").startswith(MIGRATION):
            time.sleep(0.05)
            self.revive_services((ML,))

    def revive_services(self, names: tuple[str, ...] = SERVICES) -> None:
        """Start again the services that died at their point."""
        for name in names:
            if self.stack.is_dead(name):
                self._note_death(name)
                self.start(name)

    def after_the_runner(self, undisturbed: dict[str, bytes]) -> bool:
        """The runner has ended: finished (compare; is anything left to do?) or killed (start it again)."""
        if self.stack.processes[RUNNER].returncode != 0:
            self._note_death(RUNNER)
            self.start(RUNNER)
            return True
        assert self.stack.outputs() == undisturbed
        for name in (RUNNER, *SERVICES):
            if name in self.armed:
                self.waiting[name].append(self.armed.pop(name))
        if not any(self.waiting.values()):
            return False
        self.stack.settings["RERUN"] = "true"
        for name in SERVICES:
            self.stack.kill(name)
            self.start(name)
        self.start(RUNNER)
        return True

    def _note_death(self, name: str) -> None:
        """A process may end only by its armed fault (SIGKILL)."""
        code = self.stack.processes[name].returncode
        assert code == -9, f"{name} ended with {code}:\n{self.stack.log_of(name)[-3000:]}"
        self.died_at[name].append(self.armed.pop(name))


@pytest.mark.parametrize("settings", ["exactly_once"], indirect=True)
def test_kills_at_every_fault_point_leave_the_outputs_identical(
    stack: Stack,
    tmp_path: Path,
    undisturbed: dict[str, bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    points = discover(tmp_path / "discovery", dict(stack.settings))
    tour = FaultTour(stack, points, seed=11)
    tour.make_the_ledger()
    for name in (PARAMS, RUNNER):
        tour.start(name)
    deadline_s = time.monotonic() + FAULT_TOUR_LIMIT_S
    is_going = True
    while is_going and time.monotonic() < deadline_s:
        time.sleep(0.05)
        tour.revive_services()
        if stack.is_dead(RUNNER):
            is_going = tour.after_the_runner(undisturbed)
    missed = {name: sorted(set(names) - set(tour.died_at[name])) for name, names in points.items()}
    with capsys.disabled():
        print(f"\nkills at fault points: {sum(map(len, tour.died_at.values()))}")
        for name, names in tour.died_at.items():
            print(f"  {name}: {', '.join(names)}")
    assert not any(missed.values()), f"points never hit: {missed}"
    exactly_once = stack.settings["EXACTLY_ONCE"] == "true"
    n_bars = undisturbed["equity.csv"].count(b"\n") - 1
    audit(stack.folder / "shared" / "manifest.sqlite", exactly_once=exactly_once, n_bars=n_bars)
