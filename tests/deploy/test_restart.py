"""Restarts under a pause: systemctl is an executable on PATH that notes what it is asked for."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mei.workflows.deploy import restart
from mei.workflows.deploy.restart import (
    IntervalChange,
    orchestrate,
    restart_traders,
    run_command,
)
from tests.deploy.desk import calls, fake_command
from tests.tools.loading import exit_code, tool

FLAGS = "--ws-service feed --trader-service trader --verify-sleep-s 0"


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RESTART_COMMAND", raising=False)


def systemctl(monkeypatch: pytest.MonkeyPatch, script: str = "exit 0") -> None:
    """Put a systemctl on PATH."""
    path = fake_command(Path.cwd(), "systemctl", script)
    monkeypatch.setenv("PATH", f"{path}:{os.environ['PATH']}")


def run(flags: str = "") -> int:
    """Run the tool; its exit code."""
    return exit_code(tool("interval_orchestrator"), [*FLAGS.split(), *flags.split()])


def test_feed_then_trader_then_a_look(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    systemctl(monkeypatch)
    assert run() == 0
    assert calls(Path.cwd(), "systemctl") == [
        "--user restart feed",
        "--user restart trader",
        "--user is-active --quiet feed",
        "--user is-active --quiet trader",
    ]
    assert capsys.readouterr().out == "[OK] feed (exit_code=0)\n[OK] trader (exit_code=0)\n"


def test_it_waits_before_it_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    systemctl(monkeypatch)
    slept: list[tuple[float, int]] = []

    def sleep(seconds: float) -> None:
        slept.append((seconds, len(calls(Path.cwd(), "systemctl"))))

    results = orchestrate(IntervalChange("trader"), {}, sleep=sleep, tell=print)
    assert [one.service for one in results] == ["trader"]
    assert slept == [(2.0, 1)]
    assert len(calls(Path.cwd(), "systemctl")) == 2


@pytest.mark.parametrize("mode", ["close_only", "halt_all"])
def test_paused_meanwhile(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    systemctl(monkeypatch, "cat pause >> seen")
    assert run(f"--pause-file pause --pause-mode {mode} --resume-on-success") == 0
    assert Path("seen").read_text() == f"{mode}\n" * 4
    assert not Path("pause").exists()
    assert run(f"--pause-file pause --pause-mode {mode}") == 0
    assert Path("pause").read_text() == f"{mode}\n"


def test_after_the_first_failure_nothing_is_restarted_and_the_pause_stays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    systemctl(monkeypatch, 'case "$3" in feed) echo "unit is broken" >&2; exit 3;; esac')
    assert run("--pause-file pause --resume-on-success") == 1
    assert calls(Path.cwd(), "systemctl") == ["--user restart feed"]
    assert capsys.readouterr().out == "[FAIL] feed (exit_code=3): unit is broken\n"
    assert Path("pause").read_text() == "close_only\n"


def test_a_service_that_does_not_stay_up_is_a_failure_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    systemctl(monkeypatch, 'case "$2$4" in is-activetrader) exit 3;; esac')
    assert run("--pause-file pause --resume-on-success") == 1
    assert capsys.readouterr().out.splitlines() == [
        "[OK] feed (exit_code=0)",
        "[OK] trader (exit_code=0)",
        "[FAIL] trader (exit_code=3): is not active after its restart",
    ]
    assert Path("pause").exists()


@pytest.mark.parametrize(
    ("before", "mode", "during"),
    [
        ("halt_all\n", "close_only", "halt_all\n"),
        ("close_only\n", "halt_all", "halt_all\n"),
        ("what?\n", "close_only", "close_only\n"),
    ],
)
def test_a_pause_of_somebody_else_is_neither_weakened_nor_taken_away(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    before: str,
    mode: str,
    during: str,
) -> None:
    systemctl(monkeypatch, "cat pause > seen")
    Path("pause").write_text(before)
    assert run(f"--pause-file pause --pause-mode {mode} --resume-on-success") == 0
    assert Path("seen").read_text() == during
    assert Path("pause").read_text() == before
    assert "was there before and stays" in capsys.readouterr().err


def test_a_pause_file_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--pause-file no/pause") == 1
    assert "no/pause must be writable" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags", ["--pause-mode later", "--verify-sleep-s -1", "--verify-sleep-s x"]
)
def test_wrong_flags(flags: str) -> None:
    assert run(flags) == 2


def test_a_command_instead_of_systemd(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    systemctl(monkeypatch)
    monkeypatch.setenv("RESTART_COMMAND", "sh -c 'echo did it > done; exit 0'")
    assert run("--pause-file pause --resume-on-success") == 0
    assert Path("done").read_text() == "did it\n"
    assert calls(Path.cwd(), "systemctl") == []
    assert "[OK] sh -c 'echo did it > done; exit 0' (exit_code=0)" in capsys.readouterr().out


def test_without_systemctl_the_way_out_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    monkeypatch.setenv("PATH", str(Path("empty").absolute()))
    assert run() == 1
    said = capsys.readouterr().out
    assert said.startswith("[FAIL] feed (exit_code=127): No such file or directory: install it, or")
    assert "RESTART_COMMAND" in said


def test_a_command_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart, "_TIMEOUT_S", 0.05)
    found = run_command(["sleep", "60"])
    assert (found.exit_code, found.ok) == (124, False)


def test_a_live_trader_that_is_not_installed_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    systemctl(monkeypatch, 'case "$3" in *live*) echo "not loaded" >&2; exit 5;; esac')
    found = restart_traders({})
    assert [(one.service, one.ok) for one in found] == [("mei-paper-trader", True)]
    # Somebody who names it means it.
    found = restart_traders({"LIVE_SERVICE": "my-live"})
    assert [(one.service, one.exit_code) for one in found] == [
        ("mei-paper-trader", 0),
        ("my-live", 5),
    ]


def test_a_live_trader_that_does_not_restart_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    systemctl(monkeypatch, 'case "$3" in *live*) exit 1;; esac')
    found = restart_traders({})
    assert [(one.service, one.exit_code) for one in found] == [
        ("mei-paper-trader", 0),
        ("mei-live-trader", 1),
    ]


def test_the_pause_file_is_written_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    systemctl(monkeypatch)
    assert run("--pause-file pause") == 0
    assert stat.S_ISREG(Path("pause").stat().st_mode)
    assert [path.name for path in Path().glob(".pause*")] == []


@pytest.mark.parametrize("before", [None, "close_only\n"])
@pytest.mark.parametrize("written", ["halt_all\n", "close_only\n", "HALT_ALL"])
def test_a_pause_that_is_set_meanwhile_stays(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    before: str | None,
    written: str,
) -> None:
    """Even one that says the same: whoever wrote it wants the trader paused."""
    systemctl(monkeypatch, f'case "$3" in trader) printf "{written}" > new; mv new pause;; esac')
    if before is not None:
        Path("pause").write_text(before)
    assert run("--pause-file pause --resume-on-success") == 0
    assert Path("pause").read_text() == written
    assert "was written by somebody else" in capsys.readouterr().err


def test_a_pause_that_is_removed_meanwhile_does_not_come_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    systemctl(monkeypatch, "rm -f pause")
    Path("pause").write_text("halt_all\n")
    assert run("--pause-file pause --resume-on-success") == 0
    assert not Path("pause").exists()
    assert "was removed by somebody else" in capsys.readouterr().err


@pytest.mark.parametrize("before", ["HALT_ALL\n", " Halt_All "])
def test_a_pause_counts_however_it_is_written(monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    systemctl(monkeypatch, "cat pause > seen")
    Path("pause").write_text(before)
    assert run("--pause-file pause --resume-on-success") == 0
    assert Path("seen").read_text() == "halt_all\n"
    assert Path("pause").read_text() == before
