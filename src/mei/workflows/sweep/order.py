"""The order in which combinations are run: those that share a stage one after another.

A combination's *index* is its place in the product of the axes as the spec lists them (the first axis the slowest).
Its *turn* is its place in the product of the same axes with those of early stages first: neighbours differ in the walk
alone and share what came before it. Rows are named and sorted by index; the turn only says when they are run.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mei.model.bars import IntArray
from mei.workflows.sweep_spec import SweepSpec


class Turns:
    """Turn -> index, both from 0 to the product less one, without ever holding the product."""

    def __init__(self, spec: SweepSpec, stage_of: Callable[[str], int]) -> None:
        """stage_of: the stage that reads a path, 0 the first."""
        sizes = [len(axis.values) for axis in spec.axes]
        strides = [1] * len(sizes)
        for place in range(len(sizes) - 2, -1, -1):
            strides[place] = strides[place + 1] * sizes[place + 1]
        by_stage = sorted(range(len(sizes)), key=lambda place: stage_of(spec.axes[place].path))
        self._digits = [(sizes[place], strides[place]) for place in by_stage]

    @property
    def order(self) -> tuple[tuple[int, int], ...]:
        """(values, stride) of each axis, the slowest first: what a turn means."""
        return tuple(self._digits)

    def indices(self, turns: IntArray) -> IntArray:
        """The indices of turns, same shape."""
        rest = np.asarray(turns, dtype=np.int64)
        indices = np.zeros_like(rest)
        for size, stride in reversed(self._digits):
            rest, digits = np.divmod(rest, size)
            indices += digits * stride
        return indices
