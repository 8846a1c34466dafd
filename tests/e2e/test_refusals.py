"""What is wrong with a variable, a folder, a port or the machine is told in one line, with the remedy."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.composed import ML, ROOT, Composed, compose_command


def make_up(composed: Composed, **settings: str) -> tuple[int, list[str]]:
    """`make up`: its exit code, and what it printed after the line about building."""
    env: Mapping[str, str] = composed.environment(settings)
    done = subprocess.run(
        ["make", "up", f"COMPOSE={' '.join(compose_command())}"],
        cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if not line.startswith(("building", "make"))]
    return done.returncode, lines


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("UID", "nobody"),
        ("CHUNK_ROWS", "0"),
        ("FEE_BP", "cheap"),
        ("TRAIN_MIN_POINTS", "few"),
        ("EXACTLY_ONCE", "perhaps"),
        ("POLICY", "greedy"),
        ("LEDGER_DB", "shared/manifest.sqlite"),
        ("PAPER_LOOKBACK", "many"),
        ("BAR_GRACE_SECONDS", "7"),
    ],
)
def test_wrong_variable_is_one_line_and_code_2(
    composed: Composed, variable: str, value: str
) -> None:
    done = composed.compose("run", "--rm", "preflight", settings={variable: value}, check=False)
    told = [line for line in done.stdout.splitlines() if "error" in line]
    assert done.returncode == 2, done.stdout
    assert len(told) == 1
    assert variable in told[0]
    assert value in told[0]
    assert "Traceback" not in done.stdout


def test_unwritable_results_name_the_remedy(composed: Composed) -> None:
    composed.environment()
    composed.results.chmod(0o555)
    code, lines = make_up(composed)
    composed.results.chmod(0o755)
    told = [line for line in lines if line.startswith("error: results/ (RESULTS_DIR)")]
    assert code != 0
    assert len(told) == 1
    assert "chown" in told[0]


def test_occupied_port_is_named(composed: Composed) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", composed.ports[ML]))
        taken.listen()
        code, lines = make_up(composed)
    assert code != 0
    assert any(str(composed.ports[ML]) in line and "ML_SERVICE_PORT" in line for line in lines)
    assert len(lines) <= 2, lines


def test_missing_research_folder_is_one_line(composed: Composed, tmp_path: Path) -> None:
    code, lines = make_up(composed, RESEARCH_DIR=str(tmp_path / "typo"))
    assert code != 0
    assert [line.startswith("error: RESEARCH_DIR must be a folder") for line in lines] == [True]
    assert not (tmp_path / "typo").exists()


def test_gpu_overlay_without_a_gpu_is_one_line(composed: Composed) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine has a GPU")
    code, lines = make_up(composed, COMPOSE_FILE="compose.yml:compose.gpu.yml")
    assert code != 0
    assert [line.startswith("error: compose.gpu.yml needs") for line in lines] == [True]
