"""A part of the golden scenarios, on made-up candles, that lives in the repository."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.goldens import answers
from tests.goldens.answers import Scenario, build_databases, faults, scenarios_of

DATA = Path(__file__).parent / "data"
SCENARIOS = scenarios_of(DATA)
PROGRAM = Path(sys.executable).parent / "mei-backtester"
BY_NAME = {scenario["name"]: scenario for scenario in SCENARIOS}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the set with its databases."""
    copy = tmp_path_factory.mktemp("goldens") / "set"
    shutil.copytree(DATA, copy)
    build_databases(copy)
    return copy


@pytest.mark.parametrize("scenario", SCENARIOS, ids=BY_NAME)
def test_scenario_is_answered_as_expected(root: Path, scenario: Scenario) -> None:
    assert faults(root, scenario) == []


@pytest.mark.parametrize(
    "name",
    [
        "p014_gate_ranging_3votes_wide",
        "p091_symbol_lowercase_live",
        "p192_err_no_subcommand",
        "p213_err_universe_none_active",
    ],
)
def test_installed_program_answers_the_same(root: Path, name: str) -> None:
    def installed(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(PROGRAM), *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    assert faults(root, BY_NAME[name], installed) == []


def test_a_difference_is_found(root: Path) -> None:
    other = BY_NAME["p016_gate_extension_strict"]
    mixed_up = BY_NAME["p014_gate_ranging_3votes_wide"] | {"outputs": other["outputs"]}
    for output in other["outputs"]:
        target = root / mixed_up["dir"] / output
        shutil.copyfile(target, target.with_name(f"kept.{output}"))
        shutil.copyfile(root / other["dir"] / output, target)
    try:
        found = faults(root, mixed_up)
    finally:
        for output in other["outputs"]:
            target = root / mixed_up["dir"] / output
            target.with_name(f"kept.{output}").replace(target)
    assert len(found) == 2


@pytest.mark.parametrize(
    ("kind", "expected", "found", "is_same"),
    [
        ("report.json", '{"pnl": 1e-6}', '{"pnl": 1.0000000000005e-6}', True),
        ("report.json", '{"pnl": 1e-6}', '{"pnl": 1.000000000002e-6}', False),
        ("report.json", '{"price": 1000.0}', '{"price": 1000.000000002}', False),
        ("results.jsonl", '{"pnl": 0.0}', '{"pnl": 1e-13}', False),
        ("trades.csv", "price\n0.00000012\n", "price\n0.00000013\n", True),
        ("trades.csv", "price\n0.00000012\n", "price\n0.00000014\n", False),
        ("indicators.csv", "rsi\n50.0000\n", "rsi\n50.0000\n", True),
        ("indicators.csv", "rsi\n50.0000\n", "rsi\n50.000\n", False),
        ("indicators.csv", "rsi\n0.0000\n", "rsi\n-0.0000\n", False),
    ],
)
def test_small_differences_are_differences(
    kind: str, expected: str, found: str, is_same: bool
) -> None:
    assert (answers.difference(kind, expected, found) is None) is is_same
