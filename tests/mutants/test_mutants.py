"""Every mutant of the rules is found out by the comparison with an oracle; the rules as they are pass it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.mutants.killing import DECKS, FIRST_KILLS
from tests.mutants.table import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
FIRST = json.loads(FIRST_KILLS.read_text())


def name_of(mutant: Mutant) -> str:
    return mutant.name


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
def test_a_mutant_is_one_change_of_a_file_that_still_compiles(mutant: Mutant) -> None:
    text = (ROOT / "src" / "mei" / mutant.file).read_text()
    mutated = mutant.applied_to(text)
    assert mutated != text
    compile(mutated, mutant.file, "exec")


def test_no_mutant_is_there_twice() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS)


def test_a_kill_is_known_of_every_mutant() -> None:
    """After a change of rules, cases or mutants: `python -m tests.mutants.killing --all --write`."""
    assert {mutant.name for mutant in MUTANTS} == FIRST.keys()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One process tries them all; it must not have the package imported, so it is not this one."""
    answers = tmp_path_factory.mktemp("mutants") / "outcomes.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutants.killing", "--json", str(answers)],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=3600,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(answers.read_text()))


@pytest.mark.slow
@pytest.mark.parametrize("deck", DECKS)
def test_the_rules_as_they_are_pass_the_cases_that_kill(
    deck: str, outcomes: dict[str, Any]
) -> None:
    unchanged = outcomes["unchanged"][deck]
    assert unchanged["error"] is None
    assert unchanged["difference"] is None
    killers = {FIRST[mutant.name] for mutant in MUTANTS if mutant.deck == deck}
    assert unchanged["n_cases"] == len(killers) > 0


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
def test_a_mutant_is_killed(mutant: Mutant, outcomes: dict[str, Any]) -> None:
    outcome = outcomes["mutants"][mutant.name]
    assert outcome["error"] is None
    assert outcome["n_cases"] == 1
    assert outcome["difference"], f"survived case {FIRST[mutant.name]}: {mutant.change()}"
