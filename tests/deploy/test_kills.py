"""Killed at any moment: the strategy file is the old or the new one, its backup is there, the next run settles it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time

import pytest

from mei.model.yaml12 import parse_yaml
from mei.workflows.deploy.journal import journal_path
from tests.deploy.desk import ROW, STRATEGY, Desk, calls, fake_command

pytestmark = pytest.mark.slow

OLD_LOG = '{"current_version": "v6.010", "history": [{"version": "v6.010"}]}'
FLAGS = "--yes --restart"
#: By the clock, in each of two tests.
N_KILLS = 25
#: Points of a deployment in the order of their first hits; whether the new file is in place.
FAULTS = [
    ("report.strategy_overrides.yaml.deploy.before_rename:1", False),
    ("report.strategy_overrides.yaml.deploy.after_rename:1", False),
    ("deploy.backup.begun:1", False),
    ("report.strategy_overrides.yaml.bak.before_rename:1", False),
    ("report.strategy_overrides.yaml.bak.after_rename:1", False),
    ("deploy.backup.done:1", False),
    ("deploy.yaml.begun:1", False),
    ("report.strategy_overrides.before_rename:1", False),
    ("report.strategy_overrides.after_rename:1", True),
    ("deploy.yaml.done:1", True),
    ("report.strategy_changelog.before_rename:1", True),
    ("report.strategy_changelog.after_rename:1", True),
    ("deploy.then.1:1", True),
    ("deploy.restart.begun:1", True),
    ("deploy.restart.between:1", True),
    ("deploy.restart.done:1", True),
    ("deploy.journal.removed:1", True),
]


@pytest.fixture(name="ready")
def _ready(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """With a changelog and services."""
    (desk.folder / "strategy_changelog.json").write_text(OLD_LOG)
    path = fake_command(desk.folder, "systemctl", "exit 0")
    monkeypatch.setenv("PATH", f"{path}:{os.environ['PATH']}")
    return desk


@pytest.fixture(name="new_text")
def _new_text(ready: Desk) -> str:
    """The strategy file that an undisturbed deployment leaves."""
    assert ready.run() == 0
    text = ready.path.read_text()
    start_anew(ready)
    return text


def start_anew(desk: Desk) -> None:
    """As before the first deployment, but for files that a kill left half-written."""
    desk.path.write_text(STRATEGY)
    (desk.folder / "strategy_changelog.json").write_text(OLD_LOG)
    for old in (*desk.backups, journal_path(desk.path)):
        old.unlink(missing_ok=True)


def killed(process: subprocess.Popen[str]) -> bool:
    """Whether the process was killed, and did not end by itself."""
    _, said = process.communicate(timeout=120)
    assert process.returncode in (0, -signal.SIGKILL), said[-2000:]
    return process.returncode == -signal.SIGKILL


def versions(desk: Desk) -> list[str]:
    """Of the changelog, newest first."""
    content = desk.changelog
    found = [entry["version"] for entry in content["history"]]
    assert content["current_version"] == found[0]
    return found


def check_after_kill(desk: Desk, new_text: str) -> bool:
    """What must hold however far it got; whether the new file is in place."""
    text = desk.path.read_text()
    assert text in (STRATEGY, new_text)
    assert isinstance(parse_yaml(text, "x"), dict)
    is_new = text == new_text
    if is_new:
        assert [backup.read_text() for backup in desk.backups] == [STRATEGY]
    assert versions(desk) in (["v6.010"], ["v6.011", "v6.010"])
    if not is_new:
        assert versions(desk) == ["v6.010"]
    return is_new


def check_settled(desk: Desk, is_new: bool) -> None:
    """The changelog belongs to the file, and nothing is left over."""
    assert versions(desk) == (["v6.011", "v6.010"] if is_new else ["v6.010"])
    left = {name for name in desk.files() if "deploy.json" in name or ".tmp" in name}
    # What was never put into place is written over by the next.
    names = ("strategy_overrides.yaml.deploy.json", "strategy_overrides.yaml")
    assert left <= {*(f"config/.{name}.tmp" for name in names), ".strategy_changelog.json.tmp"}


def test_every_point_is_tried(ready: Desk, new_text: str) -> None:
    log = ready.folder / "points.log"
    process = ready.start(FLAGS, {"MEI_FAULT_LOG": str(log)})
    assert not killed(process)
    assert log.read_text().splitlines() == [fault.partition(":")[0] for fault, _ in FAULTS]


@pytest.mark.parametrize(("fault", "is_new"), FAULTS)
def test_killed_at_every_point(ready: Desk, new_text: str, fault: str, is_new: bool) -> None:
    assert killed(ready.start(FLAGS, {"MEI_FAULT": fault})), "the point was not reached"
    assert check_after_kill(ready, new_text) is is_new
    had_journal = journal_path(ready.path).exists()
    before = ready.files()
    assert ready.run("--dry-run") == 0
    assert ready.files() == before
    assert ("the next deployment will settle this first" in ready.err) is had_journal
    n_restarts = len(calls(ready.folder, "systemctl"))
    assert ready.run("") == 0  # not confirmed: it settles and stops
    assert ("an earlier deploy_sweep was interrupted" in ready.err) is had_journal
    if had_journal:
        word = "the deployment is finished" if is_new else "the deployment is called off"
        assert word in ready.err
    wants_restart = is_new and fault not in ("deploy.restart.done:1", "deploy.journal.removed:1")
    assert len(calls(ready.folder, "systemctl")) - n_restarts == (2 if wants_restart else 0)
    check_settled(ready, is_new)
    assert ready.run("--yes") == 0
    assert "interrupted" not in ready.err
    assert ready.path.read_text() == new_text
    assert len(versions(ready)) == (3 if is_new else 2)
    assert ready.backups[0].read_text() == STRATEGY


@pytest.mark.parametrize(
    "fault", ["deploy.settle.written:1", "report.strategy_changelog.before_rename:1"]
)
def test_killed_while_settling(ready: Desk, new_text: str, fault: str) -> None:
    assert killed(ready.start(FLAGS, {"MEI_FAULT": "deploy.yaml.done:1"}))
    assert killed(ready.start("", {"MEI_FAULT": fault}))
    assert check_after_kill(ready, new_text)
    assert ready.run("") == 0
    assert "the deployment is finished" in ready.err
    check_settled(ready, True)


def test_killed_by_the_clock(ready: Desk, new_text: str) -> None:
    """At moments drawn between the start of the process and its usual end, files as they are left."""
    began = time.monotonic()
    assert not killed(ready.start("--yes"))
    usual_s = time.monotonic() - began
    rng = random.Random(7)
    n_killed = 0
    while n_killed < N_KILLS:
        start_anew(ready)
        process = ready.start("--yes")
        time.sleep(usual_s * rng.uniform(0.5, 1.1))
        process.kill()
        is_killed = killed(process)
        n_killed += is_killed
        # The first one may have been slow for reasons of its own.
        usual_s *= 1.0 if is_killed else 0.9
        is_new = check_after_kill(ready, new_text)
        assert ready.run("") == 0
        check_settled(ready, is_new)


def test_killed_by_the_clock_while_it_writes(ready: Desk, new_text: str) -> None:
    """As soon as the journal says how far it is, a little later each time."""
    n_tried, has_seen_new = 0, False
    while n_tried < N_KILLS or not has_seen_new:
        start_anew(ready)
        process = ready.start("--yes")
        while not journal_path(ready.path).exists() and process.poll() is None:
            time.sleep(0.0002)
        time.sleep(n_tried * 0.002)
        process.kill()
        killed(process)
        n_tried += 1
        is_new = check_after_kill(ready, new_text)
        has_seen_new |= is_new
        assert ready.run("") == 0
        check_settled(ready, is_new)


def test_an_edit_after_the_kill_is_not_lost(ready: Desk, new_text: str) -> None:
    assert killed(ready.start(FLAGS, {"MEI_FAULT": "deploy.yaml.done:1"}))
    ready.path.write_text(f"{new_text}# by hand\n")
    before = ready.files()
    for flags in ("--dry-run", "--yes"):
        assert ready.run(flags) == 1
        assert "is neither the file before it nor the new one: compare it with" in ready.err
        assert ready.files() == before
    journal_path(ready.path).unlink()
    assert ready.run("--yes") == 0


def test_a_changelog_that_went_on_after_the_kill_is_not_lost(ready: Desk, new_text: str) -> None:
    assert killed(ready.start(FLAGS, {"MEI_FAULT": "deploy.yaml.done:1"}))
    other = OLD_LOG.replace("v6.010", "v7.000")
    (ready.folder / "strategy_changelog.json").write_text(other)
    assert ready.run("") == 0
    assert "was changed since and is left as it is: its entry is missing" in ready.err
    assert (ready.folder / "strategy_changelog.json").read_text() == other


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"schema": "deploy_journal_v9"}'])
def test_a_journal_that_cannot_be_read_stops_everything(desk: Desk, content: str) -> None:
    journal_path(desk.path).write_text(content)
    before = desk.files()
    for flags in ("--dry-run", "--yes"):
        assert desk.run(flags) == 1
        assert "must be the journal of a deployment (deploy_journal_v1), is not" in desk.err
        assert desk.files() == before


def test_two_at_once(ready: Desk, new_text: str) -> None:
    """One is done, the other is told or comes after it; the file is never a mixture."""
    for _ in range(5):
        start_anew(ready)
        processes = [ready.start(f"--yes --rank {rank} --restart") for rank in (1, 2, 1)]
        said = [process.communicate(timeout=120)[1] for process in processes]
        codes = [process.returncode for process in processes]
        assert set(codes) <= {0, 1}
        assert 0 in codes
        for code, text in zip(codes, said, strict=True):
            told = "another deployment is under way" in text or "was changed since" in text
            assert told is (code == 1), text
        assert len(versions(ready)) == 1 + codes.count(0)
        assert len(ready.backups) >= codes.count(0)
        assert not journal_path(ready.path).exists()
    assert (ROW["config_id"], ready.document["version"]) == ("sweep_0042", "v6.001")
