"""Containers killed, stopped and cut off at random moments: the outputs do not change, no bar is trained on twice."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable

import pytest

from tests.e2e.composed import ML, PARAMS, RUNNER, Composed, docker, state, wait_for
from tests.survival.conftest import SMALL
from tests.survival.ledger_audit import audit

SERVICES = (RUNNER, ML, PARAMS)
N_EACH = 3
STOP_LIMIT_S = 10.0


def kill_by_engine(_: Composed, container: str, _rng: random.Random) -> None:
    """The engine takes `docker kill` for the user's wish: nobody but us starts it again."""
    docker("kill", "-s", "KILL", container, check=False)
    docker("start", container)


def kill_from_outside(composed: Composed, container: str, _rng: random.Random) -> None:
    """kill -9 of the container's process: the restart policy revives a service, the runner is ours to start."""
    found = state(container)
    if not found["Running"]:
        return
    restarts_before = restarts(container)
    kill_host_process(composed, int(found["Pid"]))
    if container == composed.container(RUNNER):
        wait_for(lambda: not state(container)["Running"], "the killed runner is gone", 20)
        docker("start", container)
    else:
        wait_for(lambda: restarts(container) > restarts_before, "the engine revives it", 60)


def kill_host_process(composed: Composed, pid: int) -> None:
    """SIGKILL by the host's process id; through a container where this user may not, or lives elsewhere."""
    try:
        os.kill(pid, signal.SIGKILL)
    except (PermissionError, ProcessLookupError):
        as_root = ["--rm", "--privileged", "--pid=host", "-u", "0:0"]
        docker("run", *as_root, composed.image, "python", "-c", f"import os; os.kill({pid}, 9)")


def restarts(container: str) -> int:
    return int(docker("inspect", "-f", "{{.RestartCount}}", container))


def stop_and_start(_: Composed, container: str, _rng: random.Random) -> None:
    """SIGTERM; ten seconds are what Docker allows."""
    was_running = state(container)["Running"]
    started_s = time.monotonic()
    docker("stop", "-t", "30", container)
    assert time.monotonic() - started_s < STOP_LIMIT_S
    if was_running:
        # 143: SIGTERM met a process that was only just starting.
        assert state(container)["ExitCode"] in (0, 130, 143), state(container)
    docker("start", container)


def cut_off_and_reconnect(composed: Composed, container: str, rng: random.Random) -> None:
    """Out of the network and in again under the same name."""
    network = f"{composed.project}_default"
    service = next(name for name in SERVICES if composed.container(name) == container)
    docker("network", "disconnect", network, container)
    time.sleep(rng.uniform(0.1, 2.0))
    docker("network", "connect", "--alias", service, network, container)


WAYS: tuple[Callable[[Composed, str, random.Random], None], ...] = (
    kill_by_engine,
    kill_from_outside,
    stop_and_start,
    cut_off_and_reconnect,
)


class Disturbance:
    """A run kept under way, again and again, until every way has met every service N_EACH times."""

    def __init__(self, composed: Composed, expected: dict[str, bytes], seed: int) -> None:
        self.composed = composed
        self.expected = expected
        self.rng = random.Random(seed)
        self.n_runs = 0
        self.plan = [(way, service) for way in WAYS for service in SERVICES] * N_EACH
        self.rng.shuffle(self.plan)

    def go(self) -> None:
        """Everything in the plan, then the last run to its end."""
        self.composed.compose("up", "-d")
        for way, service in self.plan:
            time.sleep(self.rng.uniform(0.0, 1.5))
            self.keep_running()
            way(self.composed, self.composed.container(service), self.rng)
            if service == RUNNER or self.rng.random() < 0.7:
                self.wait_until_up()
        self.finish()

    def wait_until_up(self) -> None:
        """Sometimes the next blow falls before the last one is over; not always, or nothing would move."""
        for service in (ML, PARAMS):
            container = self.composed.container(service)
            wait_for(lambda c=container: state(c)["Health"]["Status"] == "healthy", service, 90)

    def keep_running(self) -> None:
        """A finished run is compared and another attempt begun."""
        container = self.composed.container(RUNNER)
        if state(container)["Running"]:
            return
        self.finish()
        self.composed.compose("up", "-d", settings={"RERUN": "true"})
        self.composed.settings["RERUN"] = "true"

    def finish(self) -> None:
        """The runner ends well, with the same bytes."""
        container = self.composed.container(RUNNER)
        wait_for(lambda: not state(container)["Running"], "the runner ends", 240)
        code, log = state(container)["ExitCode"], docker("logs", "--tail", "30", container)
        assert code == 0, f"exit code {code}: {log}"
        self.n_runs += 1
        for name in ("equity.csv", "trades.csv"):
            assert self.composed.outputs()[name] == self.expected[name], name


def test_disturbed_runs_give_the_same_bytes(
    composed: Composed,
    embedded: Callable[..., dict[str, bytes]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    composed.settings = {**SMALL, "EXACTLY_ONCE": "true"}
    expected = embedded(composed.research, composed.settings)
    disturbance = Disturbance(composed, expected, seed=3)
    started_s = time.monotonic()
    disturbance.go()
    counts = audit(composed.ledger(), exactly_once=True)
    with capsys.disabled():
        seconds = time.monotonic() - started_s
        print(
            f"\n{len(disturbance.plan)} disturbances ({N_EACH} a way and service), "
            f"{disturbance.n_runs} runs, {seconds:.0f} s; ledger: {counts}"
        )


def test_a_stopped_stack_leaves_no_claim_and_goes_on(
    composed: Composed, embedded: Callable[..., dict[str, bytes]]
) -> None:
    composed.compose("up", "-d")
    time.sleep(2.0)
    started_s = time.monotonic()
    composed.compose("stop")
    assert time.monotonic() - started_s < 3 * STOP_LIMIT_S
    codes = {name: state(composed.container(name))["ExitCode"] for name in SERVICES}
    assert codes[ML] == codes[PARAMS] == 0
    assert codes[RUNNER] in (0, 130)
    claims = sqlite3.connect(composed.ledger()).execute("SELECT COUNT(*) FROM claims").fetchone()
    assert claims == (0,)
    composed.run()
    assert composed.outputs() == embedded(composed.research, SMALL)
