"""All golden scenarios, where the checkout has them beside it."""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.goldens.answers import CSV_STEP, in_process, is_close

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "goldens"


def module_of(path: Path) -> ModuleType:
    """The module in file `path`."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_here(command: list[str], cwd: Path, **_unused: Any) -> subprocess.CompletedProcess[str]:
    """What the set's own runner calls in place of a process of its own."""
    return in_process(command[1:], cwd)


def strictly_close(runner: ModuleType) -> Callable[[float, float, float, float], bool]:
    """In place of the set's own measure: rounding alone, and the last decimal of trades; dumps as they are."""

    def close(a: float, b: float, _rel: float, absolute: float) -> bool:
        if absolute == runner.CSV_STEP:
            return is_close(a, b, CSV_STEP)
        return is_close(a, b, 0.0) if absolute == runner.TINY else a == b

    return close


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning"
)  # the set's scripts leave files to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(
    not SHARED.is_dir(), reason="the full set of goldens is not beside the checkout"
)
def test_every_shared_golden_is_met(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "set"
    shutil.copytree(SHARED, root, copy_function=shutil.copyfile)
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        folder.chmod(0o755)
    module_of(root / "make_candle_db.py").build_all(str(root))
    runner = module_of(root / "run_goldens.py")
    processes = SimpleNamespace(run=run_here, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr(runner, "subprocess", processes)
    monkeypatch.setattr(runner, "close", strictly_close(runner))
    options = argparse.Namespace(
        cmd="mei-backtester", append="--semantics reference", exact=False, rel=1e-12, timeout=120
    )
    scenarios = json.loads((root / "manifest.json").read_text())["scenarios"]
    answers = [runner.run(root, scenario, options) for scenario in scenarios]
    failed = {name: why for name, why in answers if why}
    with capsys.disabled():
        print(f"\n{len(answers) - len(failed)} passed, {len(failed)} failed")
    assert failed == {}
    assert len(answers) > 200
