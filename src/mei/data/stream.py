"""Steps between the merged files and the reader: gaps, filling, window, block size. Each takes and gives blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mei.model.bars import BarArray, IntArray, empty_bars

Blocks = Iterator[BarArray]

#: How many gaps a report lists; all are counted.
MAX_LISTED_GAPS = 100
#: How many bars of a filled gap are made at once.
_FILL_ROWS = 20_000


class Gap(NamedTuple):
    """Bars missing between the bar opening at `after_ms` and the one at `before_ms`; `n_missing` in the window."""

    after_ms: int
    before_ms: int
    n_missing: int


class Window(NamedTuple):
    """Bars with start_ms <= timestamp < end_ms; None = open on that side."""

    start_ms: int | None
    end_ms: int | None

    def holds(self, opens_ms: IntArray) -> npt.NDArray[np.bool_]:
        """Whether each bar of these opens lies inside."""
        is_inside = np.ones(len(opens_ms), dtype=np.bool_)
        if self.start_ms is not None:
            is_inside &= opens_ms >= self.start_ms
        if self.end_ms is not None:
            is_inside &= opens_ms < self.end_ms
        return is_inside

    def clip(self, bars: BarArray) -> BarArray:
        """The part of ascending `bars` inside the window."""
        stamps = bars["timestamp"]
        first = 0 if self.start_ms is None else int(np.searchsorted(stamps, self.start_ms))
        last = len(bars) if self.end_ms is None else int(np.searchsorted(stamps, self.end_ms))
        return bars[first:last]

    def n_bars_between(self, after_ms: int, before_ms: int, step_ms: int) -> int:
        """How many bars of the grid lie strictly between two bars and inside the window."""
        first, last = after_ms + step_ms, before_ms - step_ms
        if self.start_ms is not None and first < self.start_ms:
            first += -(-(self.start_ms - first) // step_ms) * step_ms
        if self.end_ms is not None and last >= self.end_ms:
            last -= ((last - self.end_ms) // step_ms + 1) * step_ms
        return max(0, (last - first) // step_ms + 1)


class GapTally:
    """Finds the gaps in passing blocks; lists the first MAX_LISTED_GAPS and counts all."""

    def __init__(self, step_ms: int, window: Window) -> None:
        self.gaps: list[Gap] = []
        self.n_gaps = 0
        self.n_missing = 0
        self.step_ms = step_ms
        self._window = window

    def watch(self, blocks: Blocks, on_gap: Callable[[Gap], None]) -> Blocks:
        """Give the blocks on unchanged; `on_gap` hears of each gap of which a part lies in the window."""
        newest_ms: int | None = None
        for bars in blocks:
            stamps = bars["timestamp"]
            before = stamps[:1] - self.step_ms if newest_ms is None else np.array([newest_ms])
            before = np.concatenate((before, stamps[:-1]))
            for row in np.flatnonzero(stamps - before != self.step_ms).tolist():
                self._count(int(before[row]), int(stamps[row]), on_gap)
            newest_ms = int(stamps[-1])
            yield bars

    def _count(self, after_ms: int, before_ms: int, on_gap: Callable[[Gap], None]) -> None:
        n_missing = self._window.n_bars_between(after_ms, before_ms, self.step_ms)
        if not n_missing:
            return
        gap = Gap(after_ms, before_ms, n_missing)
        self.n_gaps += 1
        self.n_missing += n_missing
        if len(self.gaps) < MAX_LISTED_GAPS:
            self.gaps.append(gap)
        on_gap(gap)


def filled(blocks: Blocks, step_ms: int) -> Blocks:
    """Put flat bars of no volume, at the last close, where bars are missing."""
    newest: BarArray = empty_bars()
    for bars in blocks:
        joined = np.concatenate((newest, bars))
        starts = np.flatnonzero(np.diff(joined["timestamp"]) != step_ms) + 1
        begin = len(newest)
        for start in starts.tolist():
            if start > begin:
                yield joined[begin:start]
            yield from _flat(joined[start - 1], int(joined["timestamp"][start]), step_ms)
            begin = start
        yield joined[begin:]
        newest = bars[-1:].copy()


def _flat(last: np.void, until_ms: int, step_ms: int) -> Blocks:
    stamps_ms = range(int(last["timestamp"]) + step_ms, until_ms, step_ms)
    for begin in range(0, len(stamps_ms), _FILL_ROWS):
        part = stamps_ms[begin : begin + _FILL_ROWS]
        bars = empty_bars(len(part))
        bars["timestamp"] = part
        for price in ("open", "high", "low", "close"):
            bars[price] = last["close"]
        yield bars


def clipped(blocks: Blocks, window: Window, *, stop_at_end: bool) -> Blocks:
    """The bars inside the window. With `stop_at_end` nothing is read beyond its end; else all of it is."""
    for bars in blocks:
        inside = window.clip(bars)
        if len(inside):
            yield inside
        if stop_at_end and window.end_ms is not None and bars["timestamp"][-1] >= window.end_ms:
            return


def in_blocks_of(blocks: Blocks, n_rows: int) -> Blocks:
    """The same bars in blocks of exactly `n_rows`; the last one may be shorter."""
    waiting: list[BarArray] = []
    n_waiting = 0
    for bars in blocks:
        waiting.append(bars)
        n_waiting += len(bars)
        if n_waiting < n_rows:
            continue
        joined = np.concatenate(waiting)
        n_given = n_waiting - n_waiting % n_rows
        for begin in range(0, n_given, n_rows):
            yield joined[begin : begin + n_rows].copy()
        waiting, n_waiting = [joined[n_given:].copy()], n_waiting - n_given
    if n_waiting:
        yield np.concatenate(waiting)
