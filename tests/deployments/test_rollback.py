"""rollback_to_last_good: what stood before, step by step, with a record; all of it or nothing."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.deployments.conftest import ARTIFACTS, YAML, Bench, id_of, strategy

TOOL = "rollback_to_last_good"
ROLLBACKS = ARTIFACTS / "rollbacks" / "paper"
FIRST = strategy("first")
A, B, C = (
    strategy("a", tp=4.0),
    strategy("b", tp=4.5, interval="4h"),
    strategy("c", tp=5.5, interval="4h"),
)


@pytest.fixture(name="chain")
def _chain(bench: Bench) -> list[Path]:
    """Folders of the deployments of A, B and C, in this order."""
    folders = [bench.deploy(text, "--restart never") for text in (A, B, C)]
    assert YAML.read_text() == C
    return folders


def test_one_step_back(bench: Bench, chain: list[Path]) -> None:
    assert bench.run(TOOL, "--reason bad") == 0
    assert YAML.read_text() == B
    folder = Path(bench.json()["folder"])
    assert folder == ROLLBACKS / "20260310T120400Z"
    assert sorted(path.name for path in folder.iterdir()) == [
        "replaced_config.yaml",
        "restored_config.yaml",
        "rollback_event.json",
    ]
    assert (folder / "restored_config.yaml").read_text() == B
    assert (folder / "replaced_config.yaml").read_text() == C
    event = bench.event(folder, "rollback_event.json")
    assert event == bench.json()["event"]
    what = event["what"]
    assert event["version"] == "rollback_event_v1"
    assert (what["config_id"], what["replaced_config_id"]) == (id_of(B), id_of(C))
    assert what["undone_deployment"] == str(chain[2])
    assert what["restored_from"] == str(chain[2] / "prev_config.yaml")
    assert (what["restart_required"], event["why"]) == (False, {"reason": "bad"})
    assert bench.restarts() == []


@pytest.mark.parametrize(("steps", "text"), [(1, B), (2, A), (3, FIRST)])
def test_steps(bench: Bench, chain: list[Path], steps: int, text: str) -> None:
    assert bench.run(TOOL, f"--steps {steps} --service trader") == 0
    assert YAML.read_text() == text
    # A and the first one trade on 1h, B and C on 4h.
    status = bench.json()["event"]["restart"]["result"]["status"]
    assert status == ("not_required" if steps == 1 else "ok")
    assert bench.restarts()[:1] == ([] if steps == 1 else ["--user restart trader"])


def test_a_chain_of_rollbacks_and_deployments(bench: Bench, chain: list[Path]) -> None:
    assert bench.run(TOOL, "--restart never") == 0
    # Again the same step leads to where it is.
    before = bench.snapshot()
    assert bench.run(TOOL, "--restart never") == 2
    assert "--steps 2 goes one deployment further back" in bench.err
    assert bench.snapshot() == before
    assert bench.run(TOOL, "--steps 2 --restart never") == 0
    assert YAML.read_text() == A
    # And forward again: what is undone by a rollback can be rolled back to.
    assert bench.run(TOOL, "--steps 1 --restart never") == 0
    assert YAML.read_text() == B
    # A new deployment remembers what stood there: B.
    newest = strategy("d", tp=9.0)
    bench.deploy(newest, "--restart never")
    assert YAML.read_text() == newest
    assert bench.run(TOOL, "--restart never") == 0
    assert YAML.read_text() == B
    assert len(list(ROLLBACKS.iterdir())) == 4


def test_what_was_edited_by_hand_is_kept(bench: Bench, chain: list[Path]) -> None:
    YAML.write_text("no: {yaml")
    before = bench.snapshot()
    assert bench.run(TOOL, "--restart never") == 2
    assert "is no YAML: it was replaced by other means" in bench.err
    assert bench.snapshot() == before
    assert bench.run(TOOL, "--steps 1 --restart never") == 0
    assert YAML.read_text() == B
    (folder,) = ROLLBACKS.iterdir()
    assert (folder / "replaced_config.yaml").read_text() == "no: {yaml"
    assert bench.json()["event"]["what"]["replaced_config_id"] is None


def test_without_what_stood_before_the_older_deployment_counts(
    bench: Bench, chain: list[Path]
) -> None:
    (chain[2] / "prev_config.yaml").unlink()
    assert bench.run(TOOL) == 0
    assert YAML.read_text() == B
    assert bench.json()["event"]["what"]["restored_from"] == str(chain[1] / "deployed_config.yaml")
    (chain[0] / "prev_config.yaml").unlink()
    before = bench.snapshot()
    assert bench.run(TOOL, "--steps 3") == 1
    assert "what stood before" in bench.err
    assert bench.snapshot() == before


def test_dry_runs_are_no_steps(bench: Bench, chain: list[Path]) -> None:
    bench.deploy(strategy("tried", tp=8.0), "--dry-run")
    before = bench.snapshot()
    assert bench.run(TOOL, "--dry-run --restart always") == 0
    assert bench.json()["folder"] is None
    assert bench.json()["event"]["dry_run"] is True
    assert bench.json()["event"]["restart"]["result"]["status"] == "dry_run"
    assert bench.snapshot() == before
    assert bench.run(TOOL) == 0
    assert YAML.read_text() == B


@pytest.mark.parametrize(
    ("mode", "steps", "status"),
    [
        ("auto", 1, "not_required"),
        ("always", 1, "ok"),
        ("never", 3, "not_wanted"),
        ("auto", 3, "ok"),
    ],
)
def test_restart_modes(bench: Bench, chain: list[Path], mode: str, steps: int, status: str) -> None:
    assert bench.run(TOOL, f"--restart {mode} --steps {steps}") == 0
    assert bench.json()["event"]["restart"]["result"]["status"] == status
    assert bool(bench.restarts()) == (status == "ok")


def test_a_restart_that_fails_is_an_error_after_the_record(bench: Bench, chain: list[Path]) -> None:
    bench.break_services("is-active")
    assert bench.run(TOOL, "--restart always") == 1
    assert "the trader must be restarted and was not" in bench.err
    assert YAML.read_text() == B
    (folder,) = ROLLBACKS.iterdir()
    event = bench.event(folder, "rollback_event.json")
    assert event["restart"]["result"]["status"] == "failed"


@pytest.mark.parametrize("name", ["prev_config.yaml", "deploy_event.json"])
def test_a_record_that_was_changed_is_refused(bench: Bench, chain: list[Path], name: str) -> None:
    (chain[2] / name).write_text(A)
    before = bench.snapshot()
    assert bench.run(TOOL) == 1
    assert ("was changed" if "yaml" in name else "must be a record of a deployment") in bench.err
    assert bench.snapshot() == before


def test_what_may_not_be_deployed_is_not_restored(bench: Bench) -> None:
    YAML.write_text(FIRST.replace("adx_window: 14, ", ""))
    bench.deploy(A)
    before = bench.snapshot()
    assert bench.run(TOOL) == 2
    assert "global.indicators.adx_window must be" in bench.err
    assert bench.snapshot() == before


def test_another_file_is_told(bench: Bench, chain: list[Path]) -> None:
    other = Path("config/other.yaml")
    other.write_text(FIRST)
    assert bench.run(TOOL, f"--yaml-path {other} --steps 1 --restart never") == 0
    assert "now" in bench.err
    assert "is to be rolled back" in bench.err
    assert (other.read_text(), YAML.read_text()) == (B, C)


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        ("--steps 0", 2, "--steps must be at least 1"),
        ("--steps 4", 1, "must have as many deployments as --steps 4, has 3"),
        ("--artifacts-dir none", 1, "must have as many deployments as --steps 1, has 0"),
        ("--yaml-path none/x.yaml", 1, "must be in a folder that exists"),
        ("--restart perhaps", 2, "Invalid value for '--restart'"),
        ("--steps some", 2, "Invalid value for '--steps'"),
    ],
)
def test_wrong_flags_change_nothing(
    bench: Bench, chain: list[Path], flags: str, code: int, said: str
) -> None:
    before = bench.snapshot()
    assert bench.run(TOOL, flags) == code
    assert said in bench.err
    assert (bench.err.count("\n"), bench.out) == (1, "")
    assert bench.snapshot() == before


BEFORE = ["deploy.backup.done:1", "report.strategy_overrides.before_rename:1"]
AFTER = [
    "report.strategy_overrides.after_rename:1",
    "deploy.then.1:1",
    "report.rollback_event.before_rename:1",
    "deploy.then.3:1",
    "deploy.restart.begun:1",
]


@pytest.mark.parametrize("point", [*BEFORE, *AFTER])
def test_killed_it_is_all_or_nothing_and_the_next_one_says_so(
    bench: Bench, chain: list[Path], point: str
) -> None:
    assert bench.killed(TOOL, "--restart always", point) == -signal.SIGKILL
    assert YAML.read_text() == (C if point in BEFORE else B)
    assert bench.run(TOOL, "--steps 2 --restart never") == 0
    assert "an earlier rollback_to_last_good was interrupted" in bench.err
    assert YAML.read_text() == A
    folders = sorted(ROLLBACKS.iterdir())
    assert len(folders) == (1 if point in BEFORE else 2)
    texts = [(folder / "restored_config.yaml").read_text() for folder in folders]
    assert texts == ([A] if point in BEFORE else [B, A])
    event = bench.event(folders[0], "rollback_event.json")
    status = event["restart"]["result"]["status"]
    assert status == ("not_wanted" if point in BEFORE else "interrupted")
