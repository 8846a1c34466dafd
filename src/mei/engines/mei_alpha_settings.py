"""What a sweep sets, column by column: each distinct number is converted once, however many configurations have it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mei.model.bars import FloatArray, IntArray
from mei.rules.mei_alpha.keys import set_swept
from mei.rules.mei_alpha.records import capped, field_of, reads_risk

Columns = Mapping[str, FloatArray]


class SweptSettings:
    """Settings of `n` configurations over a base: dotted path -> numbers as swept, one a configuration.

    A later column wins where two set the same path. Unknown paths are without effect.
    """

    def __init__(self, columns: Columns, n: int) -> None:
        self.n = n
        self._columns: list[tuple[list[dict[str, Any]], IntArray]] = []
        for path, numbers in columns.items():
            # By their bits: -0.0 is another number than 0.0, and a NaN the same as itself.
            bits = np.asarray(numbers, dtype=np.float64).view(np.int64)
            distinct, which = np.unique(bits, return_inverse=True)
            typed = [_typed(path, value) for value in distinct.view(np.float64).tolist()]
            self._columns.append((typed, which.astype(np.int64)))

    def of(self, number: int) -> dict[str, Any]:
        """Dotted path -> typed value of one configuration."""
        settings: dict[str, Any] = {}
        for typed, which in self._columns:
            settings.update(typed[which[number]])
        return settings

    def alike(self, reads: Callable[[str], bool]) -> list[IntArray]:
        """The configurations in lists that agree on every path `reads` says yes to, by first appearance."""
        codes = np.zeros(self.n, dtype=np.int64)
        for typed, which in self._columns:
            seen: dict[tuple[tuple[str, Any], ...], int] = {}
            of_value = np.array(
                [
                    seen.setdefault(
                        tuple(item for item in one.items() if reads(item[0])), len(seen)
                    )
                    for one in typed
                ],
                dtype=np.int64,
            )
            if len(seen) > 1:
                # Numbered anew each time, so that no product of many columns overflows.
                _, codes = np.unique(codes * len(seen) + of_value[which], return_inverse=True)
        _, first, group = np.unique(codes, return_index=True, return_inverse=True)
        order = np.argsort(first, kind="stable")
        members = np.split(
            np.argsort(group, kind="stable"), np.cumsum(np.bincount(group, minlength=len(first)))
        )
        return [members[number] for number in order]

    def risks(self, base: Any, members: Sequence[int] | IntArray) -> Any:
        """Risk records of some configurations, (n, n_records): what is set holds for every symbol."""
        chosen = np.asarray(members, dtype=np.int64)
        risks = np.tile(base, (len(chosen), 1))
        for typed, which in self._columns:
            for path in filter(reads_risk, typed[0] if typed else ()):
                values = np.array([capped(one[path]) for one in typed])
                risks[field_of(path)] = values[which[chosen]][:, np.newaxis]
        return risks


def _typed(path: str, value: float) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    set_swept(settings, path, value)
    return settings
