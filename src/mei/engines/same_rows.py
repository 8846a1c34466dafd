"""Rows of a sweep against the same configurations run elsewhere: how far apart the two are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Compared:
    """n_rows: compared. n_different: those that differ in any bit. largest_difference: of any two numbers, 0 = none.

    where: the field of the largest difference, "" when there is none. A NaN equals a NaN and is infinitely far from
    a number.
    """

    n_rows: int
    n_different: int
    largest_difference: float
    where: str = ""


def compare_rows(found: Any, expected: Any) -> Compared:
    """Compare rows of one dtype, records in records included, field by field."""
    largest, where = 0.0, ""
    for name, one, other in _numbers(found, expected, ""):
        difference = _largest(one, other)
        if difference > largest:
            largest, where = difference, name
    pairs = zip(found, expected, strict=True)
    n_different = sum(one.tobytes() != other.tobytes() for one, other in pairs)
    return Compared(len(found), n_different, largest, where)


def verify(rows: Any, numbers: Any, run: Callable[[Any], Any]) -> Compared:
    """Run the configurations of these numbers again (`run` gives their rows in order) and compare."""
    return compare_rows(rows[numbers], run(numbers))


def sample_of(n_rows: int, best: Any, n_random: int, seed: int) -> Any:
    """Numbers of rows to run again, ascending: the best, and others drawn without replacement."""
    best = np.unique(np.asarray(best, dtype=np.int64))
    others = np.setdiff1d(np.arange(n_rows), best)
    drawn = np.random.default_rng(seed).choice(others, min(n_random, len(others)), replace=False)
    return np.union1d(best, drawn)


def _numbers(found: Any, expected: Any, path: str) -> Any:
    if found.dtype.names is None:
        yield path, found, expected
        return
    for name in found.dtype.names:
        yield from _numbers(found[name], expected[name], f"{path}.{name}" if path else name)


def _largest(one: Any, other: Any) -> float:
    if one.size == 0:
        return 0.0
    with np.errstate(invalid="ignore"):
        distance = np.abs(one.astype(np.float64) - other.astype(np.float64))
    distance[(one == other) | (np.isnan(one) & np.isnan(other))] = 0.0
    distance[np.isnan(distance)] = np.inf
    return float(np.max(distance))
