"""Whether two sweeps of the same combinations agree: row by row, and in how they rank them.

Specification part 3, section 4. One sweep is called `cpu`, the other `gpu`, after what they usually are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

#: What a row is known by: (path, value) in the order of the paths.
Key = tuple[tuple[str, float | str], ...]
_DECIMALS: Final = 12


class Outcome(NamedTuple):
    """What is compared of a row: profit in USD, and closes."""

    total_pnl: float
    total_trades: float


Rows = Mapping[Key, Outcome]


class Differences(NamedTuple):
    """How far one number is apart over the rows in common: rows beyond the tolerance, largest and mean distance."""

    n_beyond: int
    largest: float
    mean: float


class Parity(NamedTuple):
    """Two sweeps, row by row. n_matched: rows in common."""

    n_matched: int
    n_missing_in_gpu: int
    n_missing_in_cpu: int
    total_pnl: Differences
    total_trades: Differences


class Overlap(NamedTuple):
    """Rows among the best k of both sweeps. effective_k: k, or all rows if there are fewer."""

    overlap: int
    effective_k: int


class Ranking(NamedTuple):
    """Two sweeps ranked by profit over their rows in common. best_cpu, best_gpu: None without a row."""

    overlaps: Mapping[int, Overlap]
    best_cpu: Key | None
    best_gpu: Key | None
    spearman_rho: float


def row_key(overrides: Mapping[str, Any]) -> Key:
    """What a row with these overrides is known by: numbers to 12 decimals, truth as 0 and 1, anything else as text."""
    return tuple((path, _key_value(overrides[path])) for path in sorted(overrides))


def key_text(key: Key) -> str:
    """`path=value,path=value`."""
    return ",".join(f"{path}={value}" for path, value in key)


def compare_rows(cpu: Rows, gpu: Rows, *, pnl_tolerance: float, trade_tolerance: float) -> Parity:
    """Row by row. A difference is beyond its tolerance when it is larger, not when it is equal."""
    common = [key for key in cpu if key in gpu]
    pnl = [abs(cpu[key].total_pnl - gpu[key].total_pnl) for key in common]
    trades = [abs(cpu[key].total_trades - gpu[key].total_trades) for key in common]
    return Parity(
        n_matched=len(common),
        n_missing_in_gpu=len(cpu) - len(common),
        n_missing_in_cpu=len(gpu) - len(common),
        total_pnl=_differences(pnl, pnl_tolerance),
        total_trades=_differences(trades, trade_tolerance),
    )


def compare_ranking(cpu: Rows, gpu: Rows, top_ks: Iterable[int]) -> Ranking:
    """How alike the rows in common are ranked; of equal profits the smaller text of the key is first."""
    texts = {key: key_text(key) for key in cpu if key in gpu}
    orders = [
        sorted(texts, key=lambda key: (-rows[key].total_pnl, texts[key])) for rows in (cpu, gpu)
    ]
    n = len(texts)
    overlaps = {}
    for k in top_ks:
        best = [set(order[:k]) for order in orders]
        overlaps[k] = Overlap(len(best[0] & best[1]), min(k, n))
    firsts = [order[0] if order else None for order in orders]
    return Ranking(overlaps, firsts[0], firsts[1], _spearman_rho(*orders))


def _key_value(value: Any) -> float | str:
    if isinstance(value, (int, float)):
        # Adding zero turns -0 into 0.
        return round(float(value), _DECIMALS) + 0.0
    return str(value)


def _differences(distances: Sequence[float], tolerance: float) -> Differences:
    n_beyond, largest, total = 0, 0.0, 0.0
    for distance in distances:
        n_beyond += distance > tolerance
        largest = distance if distance > largest else largest
        total += distance
    return Differences(n_beyond, largest, total / len(distances) if distances else 0.0)


def _spearman_rho(first: Sequence[Key], second: Sequence[Key]) -> float:
    """1 - 6 sum d^2 / (n (n^2 - 1)) of two orders of the same keys; 1 for fewer than two."""
    n = len(first)
    if n < 2:
        return 1.0
    places = {key: place for place, key in enumerate(second)}
    squares = sum((place - places[key]) ** 2 for place, key in enumerate(first))
    return 1.0 - 6.0 * squares / (n * (n * n - 1))
