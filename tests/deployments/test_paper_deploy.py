"""paper_deploy: the record, the file, the restart; all of it or nothing, and the next one says what was cut short."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mei.data.registry_db import put_config
from mei.model.yaml12 import load_yaml
from tests.deployments.conftest import (
    ARTIFACTS,
    NOW,
    PROGRAM,
    REGISTRY,
    YAML,
    Bench,
    id_of,
    strategy,
)

PAPER = ARTIFACTS / "deployments" / "paper"
OTHER_INTERVAL = strategy("other interval", interval="4h", tp=4.0)


def test_a_deployment(bench: Bench) -> None:
    first, second = YAML.read_text(), strategy("second", tp=4.0)
    folder = bench.deploy(second, "--reason because")
    known = id_of(second)
    assert folder == PAPER / f"20260310T120100Z_{known[:12]}"
    assert YAML.read_text() == second
    assert load_yaml(YAML)["global"]["trade"]["tp_atr_mult"] == 4.0
    assert sorted(path.name for path in folder.iterdir()) == [
        "deploy_event.json",
        "deployed_config.yaml",
        "prev_config.yaml",
    ]
    assert (folder / "deployed_config.yaml").read_text() == second
    assert (folder / "prev_config.yaml").read_text() == first
    event = bench.event(folder)
    assert event == bench.json()["event"]
    assert set(event["who"]) == {"user", "hostname"}
    del event["who"]
    sha = {name: event["what"].pop(f"{name}_yaml_sha256") for name in ("prev", "next")}
    assert sha["prev"] != sha["next"]
    assert event == {
        "version": "deploy_event_v1",
        "ts_utc": "2026-03-10T12:01:00Z",
        "ts_compact_utc": "20260310T120100Z",
        "what": {
            "mode": "paper",
            "config_id": known,
            "registry_db": str(REGISTRY),
            "yaml_path": str(YAML.absolute()),
            "prev_engine_interval": "1h",
            "next_engine_interval": "1h",
            "restart_required": False,
            "validated": True,
        },
        "why": {"reason": "because"},
        "dry_run": False,
        "restart": {
            "mode": "auto",
            "service": "mei-paper-trader",
            "ws_service": None,
            "pause_file": None,
            "pause_mode": "close_only",
            "leave_paused": False,
            "result": {"status": "not_required", "services": []},
        },
    }
    assert bench.restarts() == []
    assert [path.name for path in YAML.parent.iterdir() if "deploy.json" in path.name] == []


def test_a_registry_keeps_the_text_of_the_first_and_finds_by_twelve_digits(bench: Bench) -> None:
    text = strategy("as it was", tp=4.0)
    known = put_config(REGISTRY, text, NOW)
    assert put_config(REGISTRY, strategy("other comment", tp=4.0), NOW) == known
    assert bench.run("paper_deploy", f"--config-id {known[:12].upper()}") == 0
    assert YAML.read_text() == text


def test_the_first_deployment_of_all(bench: Bench) -> None:
    YAML.unlink()
    folder = bench.deploy(OTHER_INTERVAL)
    assert YAML.read_text() == OTHER_INTERVAL
    event = bench.event(folder)
    assert event["what"]["prev_yaml_sha256"] is None
    assert event["what"]["restart_required"] is False
    assert not (folder / "prev_config.yaml").exists()


@pytest.mark.parametrize(
    "engine",
    ["interval: 4h", "interval: 1h, exit_interval: 15m", "interval: 1h, entry_interval: 3m"],
)
def test_other_intervals_take_a_restart(bench: Bench, engine: str) -> None:
    folder = bench.deploy(strategy("x").replace("interval: 1h", engine), "--verify-sleep-s 0")
    event = bench.event(folder)
    assert event["what"]["restart_required"] is True
    assert event["restart"]["result"]["status"] == "ok"
    assert bench.restarts() == [
        "--user restart mei-paper-trader",
        "--user is-active --quiet mei-paper-trader",
    ]


def test_no_interval_is_the_built_in_one(bench: Bench) -> None:
    folder = bench.deploy(strategy("x", tp=4.0).replace("engine: {interval: 1h}", "engine: {}"))
    assert bench.event(folder)["what"]["next_engine_interval"] == "1h"
    assert bench.event(folder)["what"]["restart_required"] is False


@pytest.mark.parametrize(
    ("mode", "text", "status", "n_asked"),
    [
        ("auto", OTHER_INTERVAL, "ok", 2),
        ("always", strategy("x", tp=4.0), "ok", 2),
        ("never", OTHER_INTERVAL, "not_wanted", 0),
        ("never", strategy("x", tp=4.0), "not_wanted", 0),
    ],
)
def test_restart_modes(bench: Bench, mode: str, text: str, status: str, n_asked: int) -> None:
    folder = bench.deploy(text, f"--restart {mode} --verify-sleep-s 0")
    assert bench.event(folder)["restart"]["mode"] == mode
    assert bench.event(folder)["restart"]["result"]["status"] == status
    assert len(bench.restarts()) == n_asked


def test_a_restart_under_a_pause(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = "--pause-file pause --pause-mode halt_all --ws-service feed --service trader"
    folder = bench.deploy(OTHER_INTERVAL, f"{flags} --verify-sleep-s 0")
    assert bench.restarts() == [
        "--user restart feed",
        "--user restart trader",
        "--user is-active --quiet feed",
        "--user is-active --quiet trader",
    ]
    assert not Path("pause").exists()
    services = bench.event(folder)["restart"]["result"]["services"]
    assert [one["service"] for one in services] == ["feed", "trader"]
    bench.deploy(strategy("x"), f"{flags} --leave-paused --verify-sleep-s 0")
    assert Path("pause").read_text() == "halt_all\n"
    monkeypatch.setenv("RESTART_COMMAND", "touch restarted")
    bench.deploy(OTHER_INTERVAL.replace("4h", "2h"), "--verify-sleep-s 0")
    assert Path("restarted").exists()


def test_a_restart_that_fails_is_recorded_and_told(bench: Bench) -> None:
    bench.break_services("restart mei-paper-trader")
    known = put_config(REGISTRY, OTHER_INTERVAL, NOW)
    assert bench.run("paper_deploy", f"--config-id {known} --pause-file pause") == 1
    assert "the trader must be restarted and was not" in bench.err
    assert YAML.read_text() == OTHER_INTERVAL
    (folder,) = PAPER.iterdir()
    result = bench.event(folder)["restart"]["result"]
    assert result["status"] == "failed"
    assert "exit_code=3" in result["error"]
    assert Path("pause").read_text() == "close_only\n"


def test_a_dry_run_writes_the_record_alone(bench: Bench) -> None:
    before = YAML.read_text()
    folder = bench.deploy(OTHER_INTERVAL, "--dry-run --restart always")
    event = bench.event(folder)
    assert (event["dry_run"], event["restart"]["result"]["status"]) == (True, "dry_run")
    assert event["what"]["restart_required"] is True
    assert (folder / "deployed_config.yaml").read_text() == OTHER_INTERVAL
    assert YAML.read_text() == before
    assert bench.restarts() == []
    assert sorted(path.name for path in YAML.parent.iterdir()) == [YAML.name]


def test_a_strategy_file_that_is_a_link_stays_one(bench: Bench) -> None:
    YAML.rename("real.yaml")
    YAML.symlink_to(Path("real.yaml").absolute())
    text = strategy("x", tp=4.0)
    bench.deploy(text)
    assert YAML.is_symlink()
    assert Path("real.yaml").read_text() == text


def test_a_broken_file_can_be_replaced(bench: Bench) -> None:
    YAML.write_text("global: {trade: [")
    folder = bench.deploy(OTHER_INTERVAL)
    assert (folder / "prev_config.yaml").read_text() == "global: {trade: ["
    assert bench.event(folder)["what"]["prev_engine_interval"] is None
    assert bench.event(folder)["what"]["restart_required"] is True


INVALID = strategy("lacks a setting").replace("adx_window: 14, ", "")


def _spoil(text: str) -> None:
    with contextlib.closing(sqlite3.connect(REGISTRY)) as database, database:
        database.execute("UPDATE configs SET yaml_text = ?", (text,))


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        ("", 2, "Missing option '--config-id'"),
        ("--config-id 0123456789abcdef", 1, "a strategy file with config_id '0123456789abcdef'"),
        ("--config-id {id:.8}", 1, "is shorter than 12 digits"),
        ("--config-id {id} --registry-db none.sqlite", 1, "must be a registry, there is no such"),
        ("--config-id {id} --registry-db config/strategy_overrides.yaml", 1, "must be a readable"),
        ("--config-id {id} --yaml-path nowhere/x.yaml", 1, "must be in a folder that exists"),
        ("--config-id {id} --yaml-path config", 1, "must be a file, is a directory"),
        ("--config-id {id} --out-dir config/strategy_overrides.yaml", 1, "strategy_overrides.yaml"),
        ("--config-id {id} --restart sometimes", 2, "Invalid value for '--restart'"),
        ("--config-id {id} --pause-mode stop", 2, "Invalid value for '--pause-mode'"),
        ("--config-id {id} --verify-sleep-s -1", 2, "--verify-sleep-s must be at least 0"),
        ("--config-id {id} --verify-sleep-s nan", 2, "--verify-sleep-s must be at least 0"),
        ("--config-id {id} --leave-paused", 2, "--leave-paused must come with --pause-file"),
        ("--config-id {id} --pause-file no/pause", 2, "--pause-file must be in a folder"),
        ("--config-id {invalid}", 2, "global.indicators.adx_window must be"),
    ],
)
def test_what_is_refused_changes_nothing(bench: Bench, flags: str, code: int, said: str) -> None:
    known = put_config(REGISTRY, strategy("x", tp=4.0), NOW)
    invalid = put_config(REGISTRY, INVALID, NOW)
    before = bench.snapshot()
    line = flags.format(id=known, invalid=invalid)
    assert bench.run("paper_deploy", line) == code
    assert said in bench.err
    assert (bench.err.count("\n"), bench.out) == (1, "")
    assert bench.snapshot() == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (strategy("x", tp=4.5), "must have the config_id"),
        ("[1]", "the root must be a mapping"),
        ("a: [", "the text of"),
    ],
)
def test_a_registry_that_was_changed_is_refused(bench: Bench, text: str, said: str) -> None:
    known = put_config(REGISTRY, strategy("x", tp=4.0), NOW)
    _spoil(text)
    before = bench.snapshot()
    assert bench.run("paper_deploy", f"--config-id {known}") == 1
    assert said in bench.err
    assert bench.snapshot() == before


def test_without_validation_a_file_may_lack_settings(bench: Bench) -> None:
    folder = bench.deploy(INVALID, "--no-validate")
    assert bench.event(folder)["what"]["validated"] is False


def test_names_are_in_the_order_of_deployments(bench: Bench) -> None:
    bench.deploy(strategy("x", tp=4.0))
    known = put_config(REGISTRY, strategy("y", tp=4.5), NOW)
    before = bench.snapshot()
    for back_ms in (60_000, 60_001, 120_000):
        bench.now -= back_ms
        assert bench.run("paper_deploy", f"--config-id {known}") == 1
        assert "must have nothing as new as" in bench.err
        bench.now += back_ms - 60_000
        assert bench.snapshot() == before


BEFORE = [
    "deployments.folder.made:1",
    "deploy.backup.begun:1",
    "deploy.backup.done:1",
    "deploy.yaml.begun:1",
    "report.strategy_overrides.before_rename:1",
]
AFTER = [
    "report.strategy_overrides.after_rename:1",
    "deploy.yaml.done:1",
    "report.deployed_config.before_rename:1",
    "deploy.then.1:1",
    "deploy.then.2:1",
    "report.deploy_event.before_rename:1",
    "deploy.then.3:1",
    "deploy.restart.begun:1",
    "report.deploy_event.before_rename:2",
]


@pytest.mark.parametrize("point", [*BEFORE, *AFTER])
def test_killed_it_is_all_or_nothing_and_the_next_one_says_so(bench: Bench, point: str) -> None:
    first, second, third = YAML.read_text(), OTHER_INTERVAL, strategy("third", interval="2h")
    known = put_config(REGISTRY, second, NOW)
    code = bench.killed("paper_deploy", f"--config-id {known} --verify-sleep-s 0", point)
    assert code == -signal.SIGKILL
    assert YAML.read_text() == (first if point in BEFORE else second)

    folder = bench.deploy(third, "--restart never" if point in AFTER else "--verify-sleep-s 0")
    made = point == "deployments.folder.made:1"
    said = (
        "an earlier deployment was interrupted before" if made else "paper_deploy was interrupted"
    )
    assert said in bench.err
    assert (folder / "prev_config.yaml").read_text() == (first if point in BEFORE else second)
    folders = sorted(PAPER.iterdir())
    if point in BEFORE:
        assert made or "called off" in bench.err
        assert folders == [folder]
        return
    assert "its services were not restarted, or not all of them" in bench.err
    assert folders[1:] == [folder]
    event = bench.event(folders[0])
    assert event["restart"]["result"]["status"] == "interrupted"
    assert event["what"]["config_id"] == known
    assert (folders[0] / "deployed_config.yaml").read_text() == second
    assert (folders[0] / "prev_config.yaml").read_text() == first
    assert bench.event(folder)["what"]["restart_required"] is True


def test_killed_after_the_restart_the_record_has_it(bench: Bench) -> None:
    known = put_config(REGISTRY, OTHER_INTERVAL, NOW)
    line = f"--config-id {known} --verify-sleep-s 0"
    assert bench.killed("paper_deploy", line, "deploy.restart.done:1") == -signal.SIGKILL
    (folder,) = PAPER.iterdir()
    assert bench.event(folder)["restart"]["result"]["status"] == "ok"
    bench.deploy(strategy("third", interval="4h"))
    assert bench.event(folder)["restart"]["result"]["status"] == "ok"
    assert len(bench.restarts()) == 2


def test_a_restart_that_was_cut_short_is_made_up_for(bench: Bench) -> None:
    known = put_config(REGISTRY, OTHER_INTERVAL, NOW)
    line = f"--config-id {known} --verify-sleep-s 0"
    assert bench.killed("paper_deploy", line, "deploy.then.3:1") == -signal.SIGKILL
    assert bench.restarts() == []
    # The same interval takes no restart of itself.
    folder = bench.deploy(strategy("third", interval="4h"), "--verify-sleep-s 0")
    assert bench.event(folder)["restart"]["result"]["status"] == "ok"
    assert len(bench.restarts()) == 2


def test_a_dry_run_tells_what_was_cut_short_and_leaves_it(bench: Bench) -> None:
    known = put_config(REGISTRY, OTHER_INTERVAL, NOW)
    bench.killed("paper_deploy", f"--config-id {known}", "deploy.yaml.done:1")
    before = {name: text for name, text in bench.snapshot().items() if "artifacts" not in name}
    assert bench.run("paper_deploy", f"--config-id {known} --dry-run") == 0
    assert "the next deployment will settle this first" in bench.err
    after = {name: text for name, text in bench.snapshot().items() if "artifacts" not in name}
    assert after == before


def test_what_somebody_changed_after_a_kill_is_left_alone(bench: Bench) -> None:
    known = put_config(REGISTRY, OTHER_INTERVAL, NOW)
    bench.killed("paper_deploy", f"--config-id {known}", "deploy.yaml.done:1")
    YAML.write_text("by: hand\n")
    before = bench.snapshot()
    assert bench.run("paper_deploy", f"--config-id {known}") == 1
    assert "is neither the file before it nor the new one" in bench.err
    assert bench.snapshot() == before


def assert_chain(first: str) -> None:
    """Every record is whole, and begins with what the one before it left."""
    before = first
    for folder in sorted(PAPER.iterdir()):
        assert (folder / "prev_config.yaml").read_text() == before
        before = (folder / "deployed_config.yaml").read_text()
        assert (folder / "deploy_event.json").is_file()
    assert YAML.read_text() == before


def start(bench: Bench, text: str) -> subprocess.Popen[str]:
    """A deployment in a process of its own."""
    line = f"--config-id {put_config(REGISTRY, text, NOW)} --verify-sleep-s 0"
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "paper_deploy", *bench.words(line)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_at_once_take_turns_or_say_so(bench: Bench) -> None:
    first = YAML.read_text()
    texts = [strategy(f"{number}", tp=4.0 + number) for number in range(4)]
    processes = [start(bench, text) for text in texts]
    said = [process.communicate(timeout=120)[1] for process in processes]
    for process, text in zip(processes, said, strict=True):
        refused = "another deployment is under way" in text or "nothing as new as" in text
        assert process.returncode == int(refused), text
    n_done = sum(process.returncode == 0 for process in processes)
    assert n_done >= 1
    assert len(list(PAPER.iterdir())) == n_done
    assert_chain(first)


@pytest.mark.slow
def test_killed_at_any_time_every_record_is_whole(bench: Bench) -> None:
    first = YAML.read_text()
    started = time.monotonic()
    process = start(bench, OTHER_INTERVAL)
    process.communicate(timeout=120)
    assert process.returncode == 0
    delay_s, n_killed, n_left = time.monotonic() - started, 0, 60
    while n_killed < 12:
        # Close to the end: a little later after each kill, earlier after each that was done before.
        process = start(bench, strategy(f"{n_left}", interval=f"{n_left}m"))
        time.sleep(delay_s)
        process.kill()
        process.communicate(timeout=120)
        is_killed = process.returncode == -signal.SIGKILL
        n_killed, n_left = n_killed + is_killed, n_left - 1
        delay_s *= 1.04 if is_killed else 0.9
        before = YAML.read_text()
        folder = bench.deploy(strategy("next", tp=10.0 + n_left), "--verify-sleep-s 0")
        assert (folder / "prev_config.yaml").read_text() == before
        assert_chain(first)
        assert n_left, "the clock never hit"
