"""What `--version` says, and the stamp a build leaves."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mei.cli import versions

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The build tool, with a home folder of its own; installing and compiling are only noted."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("GITHUB_SHA", "SOURCE_DATE_EPOCH"):
        monkeypatch.delenv(name, raising=False)
    path = ROOT / "tools" / "build_mei_backtester.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "install", lambda gpu: None)
    monkeypatch.setattr(module, "compile_kernels", lambda: None)
    return module


def test_unstamped_line_tells_the_checkout(tool: ModuleType) -> None:
    head = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    line = versions.version_line()
    assert re.fullmatch(
        r"mei-backtester 0\.1\.0 git:\S+ build:unstamped gpu:[01] kernels:[0-9a-f]{16}", line
    )
    assert f"git:{head or 'unknown'} " in line


def test_line_of_a_package_outside_of_a_checkout(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(versions, "_ROOT", tmp_path)
    assert " git:unknown " in versions.version_line()


def test_build_stamps_and_tells(
    tool: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GITHUB_SHA", "0123456789abcdef0123")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert tool.main(["--out-dir", str(tmp_path / "dist")]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info == json.loads((tmp_path / "dist" / "build_info.json").read_text())
    assert info["version"] == "mei_backtester_build_v1"
    assert info["git_head"] == "0123456789ab"
    line = versions.version_line()
    assert " git:0123456789ab build:1700000000 gpu:0 " in line
    (artefact,) = info["artefacts"]
    assert artefact["kind"] == "cpu"
    assert artefact["version"] == line
    program = Path(artefact["path"])
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == line


def test_stamp_is_void_once_a_source_changed(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tool.main(["--out-dir", str(tmp_path / "dist")]) == 0
    assert "build:unstamped" not in versions.version_line()
    monkeypatch.setattr("mei.jit.sources_hash", lambda: "f" * 16)
    for installed in (None, object()):
        monkeypatch.setattr("importlib.util.find_spec", lambda name, found=installed: found)
        gpu = int(installed is not None)
        assert versions.version_line().endswith(f"build:unstamped gpu:{gpu} kernels:{'f' * 16}")
    stamp = versions.stamp_path("f" * 16)
    stamp.write_text("{")
    assert "build:unstamped" in versions.version_line()


def test_failed_step_ends_with_its_log(
    tool: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "import sys; print('what was done'); sys.exit(3)"
    monkeypatch.setattr(tool, "install", lambda gpu: tool.run(sys.executable, "-c", script))
    assert tool.main([]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("what was done\nerror: ")
    assert "failed (3)" in said.err
