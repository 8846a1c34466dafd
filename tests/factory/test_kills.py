"""A run killed at every step: what goes on from there leaves the same folder, byte for byte."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from tests.factory.conftest import Bench, furnish
from tests.factory.market import contents, factory_line, killed_at, start

pytestmark = pytest.mark.slow

#: Few candidates and few replays each: a run is started dozens of times.
SPEC = """
axes:
- {path: trade.trailing_start_atr, values: [1.0, 3.0]}
- {path: trade.tp_atr_mult, values: [2.0, 4.0]}
lookback: 100
"""
MORE = ("--slippage-bps", "10,20", "--split", "12,7,0", "--no-sensitivity-checks")
FAULTS = [
    "report.state.before_rename:1",
    "factory.metadata.before_state:1",
    "factory.metadata.after_state:1",
    "factory.inputs.before_state:1",
    "factory.window.after_state:1",
    "factory.data_checks.before_state:1",
    "sweep.journal.appended:1",
    "sweep.merge.written:1",
    "factory.sweep.before_state:1",
    "factory.sweep.after_state:1",
    "factory.configs.before_state:1",
    "factory.replay.before_state:1",
    "factory.replay.after_state:2",
    "factory.monte_carlo.before_state:1",
    "factory.concentration.before_state:2",
    "factory.walk_forward.before_state:1",
    "factory.slippage_stress.after_state:2",
    "report.state.before_rename:9",
    "report.state.after_rename:9",
    "report.report.before_rename:1",
    "factory.report.before_state:1",
    "data.registry.after_commit:1",
    "factory.ingest.before_state:1",
    "factory.selection.before_state:1",
    "factory.selection.after_state:1",
]


@pytest.fixture(scope="module")
def undisturbed(market: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run leaves that nobody kills."""
    folder = furnished(market, tmp_path_factory.mktemp("undisturbed"))
    process = start(folder, factory_line("k", "--no-deploy", *MORE))
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said[-2000:]
    return contents(folder / "artifacts/runs")


def furnished(market: Path, folder: Path) -> Path:
    furnish(market, folder)
    (folder / "spec.yaml").write_text(SPEC)
    return folder


@pytest.mark.parametrize("fault", FAULTS)
def test_killed_at_every_step(bench: Bench, undisturbed: dict[str, bytes], fault: str) -> None:
    (bench.folder / "spec.yaml").write_text(SPEC)
    line = factory_line("k", "--no-deploy", *MORE)
    assert killed_at(bench.folder, line, fault), "the point is not on the way"
    is_begun = (bench.folder / "artifacts/runs/k").is_dir()
    assert bench.run(*line, *(["--resume"] if is_begun else [])) == 0
    assert same(contents(bench.folder / "artifacts/runs"), undisturbed)


def same(found: dict[str, bytes], wanted: dict[str, bytes]) -> bool:
    assert sorted(found) == sorted(wanted)
    for name, content in wanted.items():
        assert found[name] == content, name
    return True


def n_steps(state: Path) -> int:
    """How many are written down."""
    return len(json.loads(state.read_bytes())["steps"]) if state.exists() else 0


def test_killed_again_and_again_by_the_clock(bench: Bench, undisturbed: dict[str, bytes]) -> None:
    """Each life does a few steps more; none begins again."""
    (bench.folder / "spec.yaml").write_text(SPEC)
    line = factory_line("k", "--no-deploy", *MORE)
    state = bench.folder / "artifacts/runs/k/state.json"
    lives = 0
    while True:
        lives += 1
        before = n_steps(state)
        process = start(bench.folder, [*line, *(["--resume"] if before else [])])
        while process.poll() is None and n_steps(state) < before + 4:
            time.sleep(0.01)
        process.kill()
        _, said = process.communicate(timeout=300)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, said[-2000:]
        assert n_steps(state) >= before + 4
    assert lives > 1
    assert same(contents(bench.folder / "artifacts/runs"), undisturbed)
