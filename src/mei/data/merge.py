"""Several candle files as one ascending stream, without holding more than a block of each that overlaps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

from mei.data.candle_file import FileHead, line_of
from mei.data.stamps import utc_text
from mei.model.bars import BarArray, empty_bars
from mei.model.errors import DataError


class BarSource(Protocol):
    """A file that can be opened when its turn comes."""

    @property
    def head(self) -> FileHead:
        """Its first row's open time orders the files."""

    def blocks(self) -> Iterator[BarArray]:
        """Its bars, ascending and unique, in blocks that are not empty."""


class _Cursor:
    """How far a file has been read: `waiting` are its next bars, empty only at its end."""

    def __init__(self, source: BarSource) -> None:
        self.head = source.head
        self._blocks = source.blocks()
        self.waiting = next(self._blocks, empty_bars())

    @property
    def last_ms(self) -> int:
        return int(self.waiting["timestamp"][-1])

    def take_through(self, open_ms: int) -> BarArray:
        """The waiting bars up to `open_ms`; reads on when none is left."""
        n_taken = int(np.searchsorted(self.waiting["timestamp"], open_ms, side="right"))
        taken, self.waiting = self.waiting[:n_taken], self.waiting[n_taken:]
        if not len(self.waiting):
            self.waiting = next(self._blocks, empty_bars())
        return taken


def merged(sources: Sequence[BarSource], on_overlap: Callable[[int], None]) -> Iterator[BarArray]:
    """Bars of all `sources` (ordered by their first row), ascending and unique, in blocks.

    A bar that stands in several files alike is given once, and `on_overlap(count)` hears of it; standing in two files
    with different values it is a DataError that names both lines.
    """
    unopened = list(reversed(sources))
    cursors: list[_Cursor] = []
    while unopened or cursors:
        if not cursors:
            cursors = [_Cursor(unopened.pop())]
        cursors = [cursor for cursor in cursors if len(cursor.waiting)]
        frontier_ms = min((cursor.last_ms for cursor in cursors), default=-1)
        if unopened and unopened[-1].head.first_ms <= frontier_ms:
            cursors.append(_Cursor(unopened.pop()))
            continue
        if cursors:
            parts = [(cursor.head, cursor.take_through(frontier_ms)) for cursor in cursors]
            yield _combined([part for part in parts if len(part[1])], on_overlap)


def _combined(
    parts: list[tuple[FileHead, BarArray]], on_overlap: Callable[[int], None]
) -> BarArray:
    if len(parts) == 1:
        return parts[0][1]
    bars = np.concatenate([part for _, part in parts])
    origin = np.repeat(np.arange(len(parts)), [len(part) for _, part in parts])
    order = np.argsort(bars["timestamp"], kind="stable")
    bars, origin = bars[order], origin[order]
    again = bars["timestamp"][1:] == bars["timestamp"][:-1]
    differs = again & (bars[1:] != bars[:-1])
    if differs.any():
        row = int(np.argmax(differs))
        raise _conflict(
            parts[origin[row]][0], parts[origin[row + 1]][0], int(bars["timestamp"][row])
        )
    on_overlap(int(np.count_nonzero(again)))
    unique: BarArray = bars[np.concatenate(([True], ~again))]
    return unique


def _conflict(first: FileHead, second: FileHead, open_ms: int) -> DataError:
    return DataError(
        f"{second.path}:{line_of(second, open_ms)}: the bar of {utc_text(open_ms)} must be the same in every file,"
        f" {first.path}:{line_of(first, open_ms)} has other values; remove one of the files"
    )
