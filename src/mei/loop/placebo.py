"""The placebo: regimes with shuffled labels, to see what the labels are worth.

Per symbol and block of six hours one permutation of the labels, drawn by a counter-based hash: persistence and
frequencies survive within a block, which regime is which does not.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import lru_cache

from mei.loop.ports import Regimes

BLOCK_MS = 6 * 3_600_000


def shuffle_labels(regimes: Regimes, symbol: str, as_of_ms: list[int], seed: int) -> Regimes:
    """The same answers with the labels of each six-hour block permuted."""
    if regimes.probabilities is None:
        return regimes
    n_states = len(regimes.probabilities)
    columns: list[list[float | None]] = [[] for _ in range(n_states)]
    labels: list[int] = []
    for row, close_ms in enumerate(as_of_ms):
        order = _permutation(n_states, symbol, close_ms // BLOCK_MS, seed)
        label = regimes.regime[row]
        labels.append(order[label] if label >= 0 else -1)
        for old, new in enumerate(order):
            columns[new].append(regimes.probabilities[old][row])
    return replace(regimes, regime=labels, probabilities=columns)


@lru_cache(maxsize=4096)
def _permutation(n_states: int, symbol: str, block: int, seed: int) -> list[int]:
    keys = [
        hashlib.sha256(f"placebo|{seed}|{symbol}|{block}|{state}".encode()).digest()
        for state in range(n_states)
    ]
    return sorted(range(n_states), key=keys.__getitem__)
