"""The names of things in the ledger, and arithmetic on ranges of bars.

Ranges are of bar *open* times, both ends inclusive, on a grid of `interval_ms`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

#: How bars are spent: each one once for ever, or each one once a window.
TrainingRule = Literal["exactly_once", "sliding"]


class SeriesKey(NamedTuple):
    """One instrument at one timeframe in one stream: what a model is trained for."""

    stream: str
    symbol: str
    timeframe: str


class BarRange(NamedTuple):
    """A run of bars without a gap: the open times of its first and its last bar, epoch ms UTC."""

    first_ms: int
    last_ms: int


def ranges_of(open_ms: npt.ArrayLike, interval_ms: int) -> tuple[BarRange, ...]:
    """The runs without a gap in `open_ms`, which is how fitted bars and files are told to the ledger.

    open_ms: shape (n_bars,), integers, ascending and unique, epoch ms. Empty gives ().
    """
    times = np.asarray(open_ms, dtype=np.int64)
    if times.size == 0:
        return ()
    cuts = np.flatnonzero(np.diff(times) != interval_ms)
    firsts = np.concatenate((times[:1], times[cuts + 1]))
    lasts = np.concatenate((times[cuts], times[-1:]))
    return tuple(BarRange(int(first), int(last)) for first, last in zip(firsts, lasts, strict=True))


def count_bars(ranges: Iterable[BarRange], interval_ms: int) -> int:
    """How many bars the grid has in `ranges`."""
    return sum((span.last_ms - span.first_ms) // interval_ms + 1 for span in ranges)


def merged(ranges: Iterable[BarRange], interval_ms: int) -> list[BarRange]:
    """The union of `ranges`, ascending; neighbours on the grid become one."""
    union: list[BarRange] = []
    for span in sorted(ranges):
        if union and span.first_ms <= union[-1].last_ms + interval_ms:
            union[-1] = BarRange(union[-1].first_ms, max(union[-1].last_ms, span.last_ms))
        else:
            union.append(span)
    return union


def covers(union: Sequence[BarRange], span: BarRange) -> bool:
    """Whether every bar of `span` is in `union`, which must come from `merged`."""
    at = bisect_right(union, span.first_ms, key=lambda candidate: candidate.first_ms) - 1
    return at >= 0 and union[at].last_ms >= span.last_ms


def without(
    ranges: Iterable[BarRange], taken: Iterable[BarRange], interval_ms: int
) -> list[BarRange]:
    """The bars of `ranges` that are not in `taken`, ascending."""
    left: list[BarRange] = []
    union = merged(taken, interval_ms)
    for span in merged(ranges, interval_ms):
        first_ms = span.first_ms
        for hole in union:
            if hole.last_ms < first_ms or hole.first_ms > span.last_ms:
                continue
            if hole.first_ms > first_ms:
                left.append(BarRange(first_ms, hole.first_ms - interval_ms))
            first_ms = hole.last_ms + interval_ms
        if first_ms <= span.last_ms:
            left.append(BarRange(first_ms, span.last_ms))
    return left
