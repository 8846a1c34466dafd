"""One generic function, several strategies: nobody is handed the machine code of another."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from mei.engines import bind
from mei.engines.bind import bind_cpu
from mei.rules import mei_alpha
from mei.rules.mei_alpha.subbars import next_row
from mei.rules.mei_alpha.walk import walk_step

GENERIC = '''
"""A walk that knows no strategy."""

def score(value):
    """What a strategy puts its own rule in place of."""
    return value

def walk(values, scores):
    for i in range(len(values)):
        scores[i] = score(values[i])
'''
PROGRAM = """
import json, sys
import numpy as np
import generic, strategy
from mei.engines.bind import bind_cpu

scores = np.zeros(3)
walk = bind_cpu(generic.walk, {"score": strategy.score})
walk(np.arange(3.0), scores)
hits = sum(walk.stats.cache_hits.values())
print(json.dumps([scores.tolist(), hits]))
"""
DOUBLE = "def score(value):\n    return value * 2.0\n"
SQUARE = "def score(value):\n    return value * value\n"


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str], str]:
    """Runs the generic walk with the strategy of a folder, over one cache root; what it printed."""
    (tmp_path / "generic.py").write_text(GENERIC)

    def run(folder: str) -> str:
        path = f"{tmp_path}{os.pathsep}{tmp_path / folder}"
        environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": path}
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


def write_strategy(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "strategy.py").write_text(text)


def test_two_strategies_of_one_name_share_a_cache_root(
    tmp_path: Path, run: Callable[[str], str]
) -> None:
    write_strategy(tmp_path / "one", DOUBLE)
    write_strategy(tmp_path / "other", SQUARE)
    assert run("one") == "[[0.0, 2.0, 4.0], 0]"
    assert run("other") == "[[0.0, 1.0, 4.0], 0]"
    assert run("one") == "[[0.0, 2.0, 4.0], 1]"
    write_strategy(
        tmp_path / "one", "FACTOR = 3.0\n\ndef score(value):\n    return value * FACTOR\n"
    )
    assert run("one") == "[[0.0, 3.0, 6.0], 0]"
    write_strategy(
        tmp_path / "one", "FACTOR = 5.0\n\ndef score(value):\n    return value * FACTOR\n"
    )
    assert run("one") == "[[0.0, 5.0, 10.0], 0]"


def score(value: float) -> float:
    """Stands for a strategy's rule."""
    return value


def walk(values: np.ndarray, scores: np.ndarray) -> None:
    """A generic function in a file of its own."""
    for i in range(len(values)):
        scores[i] = score(values[i])


def times(factor: float) -> Callable[[float], float]:
    """A rule made by a function: same name, same line, another factor."""

    def rule(value: float) -> float:
        return value * factor

    return rule


def test_two_rules_of_one_line_are_two_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    scores = np.zeros((3, 2))
    rules = times(2.0), times(3.0), lambda value: value + 1.0, lambda value: value - 1.0
    for rule, expected in zip(rules, (4.0, 6.0, 3.0, 1.0), strict=True):
        bind_cpu(walk, {"score": rule})(np.full(3, 2.0), scores[:, 0])
        assert scores[:, 0].tolist() == [expected] * 3


def test_what_is_seldom_is_a_rule_that_would_be_part_of_its_caller() -> None:
    named = set()
    for path in Path(mei_alpha.__path__[0]).glob("*.py"):
        module = import_module(f"{mei_alpha.__name__}.{path.stem}")
        for name in getattr(module, "SELDOM", ()):
            named.add(name)
            rule = getattr(module, name)
            assert rule.__module__ == module.__name__
            assert bind._is_part(rule) is False
    assert "walk_sub_bars" in named
    assert bind._is_part(walk_step) is True
    assert bind._is_part(next_row) is None
