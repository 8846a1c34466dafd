"""A folder with strategy files, a registry of them, and a systemctl that only writes down what it was asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mei.data.config_id import config_id
from mei.data.registry_db import put_config
from mei.model.yaml12 import load_yaml, parse_yaml
from tests.tools.loading import exit_code, tool

#: 2026-03-10T12:00:00Z
NOW = 1_773_144_000_000
SECOND_MS = 1_000
HOUR_MS = 3_600_000
YAML = Path("config/strategy_overrides.yaml")
ARTIFACTS = Path("artifacts")
REGISTRY = ARTIFACTS / "registry" / "registry.sqlite"

_VALID = """
# {name}
global:
  engine: {{interval: {interval}}}
  trade:
    {{allocation_pct: 0.1, leverage: 3.0, sl_atr_mult: 2.0, tp_atr_mult: {tp}, slippage_bps: {slippage},
     max_total_margin_pct: 0.8, min_notional_usd: 10.0, min_atr_pct: 0.001, max_open_positions: 4,
     bump_to_min_notional: true}}
  indicators: {{adx_window: 14, ema_fast_window: 8, ema_slow_window: 21, bb_window: 20, atr_window: 14}}
  thresholds: {{entry: {{min_adx: 20.0}}}}
"""
PROGRAM = """
import sys
from mei.web.fault_plan import install_fault_plan
install_fault_plan()
from mei.cli import deployment_tools
from mei.cli.tool_program import run_tool
sys.exit(run_tool(sys.argv[1], getattr(deployment_tools, sys.argv[1]), sys.argv[2:]))
"""
_SYSTEMCTL = """#!/bin/sh
echo "$@" >> "{log}"
while read -r word; do case "$*" in *"$word"*) echo "$word does not work" >&2; exit 3;; esac; done < "{broken}"
exit 0
"""


def strategy(name: str, *, interval: str = "1h", tp: float = 5.0, slippage: float = 10.0) -> str:
    """The text of a strategy file that may be deployed."""
    return _VALID.format(name=name, interval=interval, tp=tp, slippage=slippage)


def id_of(text: str) -> str:
    """What the file is known by."""
    return config_id(parse_yaml(text, "text"))


class Bench:
    """Runs the tools at a time that moves on by a minute with each call, and keeps what the last one said."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.now = NOW
        self.out = self.err = ""

    def run(self, name: str, line: str = "") -> int:
        """The exit code of tools/<name>.py."""
        return self.call(lambda: exit_code(tool(name), self.words(line)))

    def words(self, line: str) -> list[str]:
        """Flags with the time, which moves on."""
        self.now += 60 * SECOND_MS
        return [*line.split(), "--now-ms", str(self.now)]

    def call(self, program: Callable[[], int]) -> int:
        """The exit code of anything else."""
        self._capsys.readouterr()
        code = program()
        self.out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        assert "(a defect" not in self.err
        return code

    def killed(self, name: str, line: str, fault: str, env: dict[str, str] | None = None) -> int:
        """The exit code of the tool in a process of its own that is killed at a fault point."""
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, name, *self.words(line)],
            env={**os.environ, **(env or {}), "MEI_FAULT": fault},
            capture_output=True,
            text=True,
            check=False,
        )
        self.out, self.err = done.stdout, done.stderr
        return done.returncode

    def json(self) -> Any:
        """What stands on standard output."""
        found = json.loads(self.out)
        assert list(found) == sorted(found)
        return found

    def deploy(self, text: str, flags: str = "") -> Path:
        """Put a file into the registry and deploy it; the folder."""
        known = put_config(REGISTRY, text, self.now)
        assert self.run("paper_deploy", f"--config-id {known} {flags}") == 0, self.err
        return Path(self.json()["folder"])

    def event(self, folder: Path, name: str = "deploy_event.json") -> Any:
        """The record of a folder."""
        return json.loads((folder / name).read_text())

    def restarts(self) -> list[str]:
        """What systemctl was asked, a line each."""
        log = self.folder / "systemctl.log"
        return log.read_text().splitlines() if log.exists() else []

    def break_services(self, *words: str) -> None:
        """Let systemctl fail for command lines that have one of the words."""
        (self.folder / "broken").write_text("".join(f"{word}\n" for word in words))

    def snapshot(self) -> dict[str, bytes]:
        """Every file of the folder but the log of systemctl and what SQLite needs to read a log."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and not path.name.endswith(("systemctl.log", "-shm", "-wal"))
        }


@pytest.fixture(name="bench")
def _bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    monkeypatch.chdir(tmp_path)
    for name in ("RESTART_COMMAND", "PAPER_SERVICE", "LIVE_SERVICE"):
        monkeypatch.delenv(name, raising=False)
    programs = tmp_path / "bin"
    programs.mkdir()
    script = programs / "systemctl"
    script.write_text(_SYSTEMCTL.format(log=tmp_path / "systemctl.log", broken=tmp_path / "broken"))
    script.chmod(0o755)
    (tmp_path / "broken").touch()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    YAML.parent.mkdir()
    YAML.write_text(strategy("first"))
    assert load_yaml(YAML)["global"]["engine"]["interval"] == "1h"
    return Bench(tmp_path, capsys)
