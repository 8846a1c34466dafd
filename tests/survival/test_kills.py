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


def test_three_processes_equal_the_embedded_run(
    stack: Stack, undisturbed: dict[str, bytes]
) -> None:
    stack.start_services()
    stack.start(RUNNER)
    assert stack.finish() == 0, stack.log_of(RUNNER)
    assert stack.outputs() == undisturbed
    assert undisturbed["trades.csv"].count(b"\n") > 20
    assert undisturbed["trainings.jsonl"].count(b'"promoted"') >= 3


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
    counts = audit(stack.folder / "shared" / "manifest.sqlite", exactly_once=exactly_once)
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


def test_kills_at_every_fault_point_leave_the_outputs_identical(
    stack: Stack,
    tmp_path: Path,
    undisturbed: dict[str, bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    points = discover(tmp_path / "discovery", dict(stack.settings))
    rng = random.Random(11)
    waiting = {name: deque(names) for name, names in points.items()}
    armed: dict[str, str] = {}
    died_at: dict[str, list[str]] = {name: [] for name in points}

    def start(name: str) -> None:
        if waiting[name]:
            armed[name] = waiting[name].popleft()
            # Rare points are met once or twice a run, frequent ones somewhere within it.
            stack.start(name, fault=f"{armed[name]}:{rng.choice([1, 1, 2, 3])}")
        else:
            armed.pop(name, None)
            stack.start(name)

    for name in SERVICES:
        start(name)
    start(RUNNER)
    deadline_s = time.monotonic() + 400
    while time.monotonic() < deadline_s:
        time.sleep(0.05)
        for name in SERVICES:
            if stack.is_dead(name):
                note_death(stack, name, armed, died_at)
                start(name)
        if not stack.is_dead(RUNNER):
            continue
        code = stack.processes[RUNNER].returncode
        if code == 0:
            assert stack.outputs() == undisturbed
            for name in (RUNNER, *SERVICES):
                if name in armed:
                    waiting[name].append(armed.pop(name))
            if not any(waiting.values()):
                break
            for name in SERVICES:
                stack.kill(name)
                start(name)
            stack.settings["RERUN"] = "true"
        else:
            note_death(stack, RUNNER, armed, died_at)
        start(RUNNER)
    missed = {name: sorted(set(names) - set(died_at[name])) for name, names in points.items()}
    n_kills = sum(len(names) for names in died_at.values())
    with capsys.disabled():
        print(f"\nkills at fault points: {n_kills}")
        for name, names in died_at.items():
            print(f"  {name}: {', '.join(names)}")
    assert not any(missed.values()), f"points never hit: {missed}"
    exactly_once = stack.settings["EXACTLY_ONCE"] == "true"
    audit(stack.folder / "shared" / "manifest.sqlite", exactly_once=exactly_once)


def note_death(
    stack: Stack, name: str, armed: dict[str, str], died_at: dict[str, list[str]]
) -> None:
    """A process may end only by its armed fault (SIGKILL)."""
    code = stack.processes[name].returncode
    assert code == -9, f"{name} ended with {code}:\n{stack.log_of(name)[-3000:]}"
    died_at[name].append(armed.pop(name))
