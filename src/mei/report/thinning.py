"""Curves thinned for the eye: the lowest and highest row of each bucket, so that no spike is lost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mei.model.bars import FloatArray

Row = tuple[float, ...]


class Thinning:
    """Feed `n_rows` rows in blocks; at most `max_points` (≥ 4) of them come out, in order.

    The first column decides what is lowest and highest; first and last row are always kept.
    """

    def __init__(self, n_rows: int, max_points: int) -> None:
        self._n_rows = n_rows
        self._n_buckets = n_rows if n_rows <= max_points else (max_points - 2) // 2
        self._n_seen = 0
        self._kept: dict[int, Row] = {}
        self._bucket = -1
        self._low: tuple[int, Row] = (0, ())
        self._high: tuple[int, Row] = (0, ())

    def add(self, *columns: FloatArray) -> None:
        """Take the next rows; every column has shape (n,)."""
        n_new = len(columns[0])
        if n_new == 0:
            return
        rows = np.arange(self._n_seen, self._n_seen + n_new)
        buckets = rows * self._n_buckets // self._n_rows
        starts = np.flatnonzero(np.append(True, buckets[1:] != buckets[:-1]))
        ends = np.append(starts[1:], n_new)
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            self._add_stretch(int(buckets[start]), start, columns, end)
        for edge in (0, self._n_rows - 1):
            if 0 <= edge - self._n_seen < n_new:
                self._kept[edge] = _row(columns, edge - self._n_seen)
        self._n_seen += n_new

    def rows(self) -> list[Row]:
        """The kept rows, in order."""
        self._keep_bucket()
        return [self._kept[number] for number in sorted(self._kept)]

    def _add_stretch(
        self, bucket: int, start: int, columns: Sequence[FloatArray], end: int
    ) -> None:
        key = columns[0][start:end]
        low, high = start + int(key.argmin()), start + int(key.argmax())
        lowest = (self._n_seen + low, _row(columns, low))
        highest = (self._n_seen + high, _row(columns, high))
        if bucket != self._bucket:
            self._keep_bucket()
            self._bucket, self._low, self._high = bucket, lowest, highest
            return
        if lowest[1][0] < self._low[1][0]:
            self._low = lowest
        if highest[1][0] > self._high[1][0]:
            self._high = highest

    def _keep_bucket(self) -> None:
        if self._bucket >= 0:
            self._kept[self._low[0]] = self._low[1]
            self._kept[self._high[0]] = self._high[1]


def _row(columns: Sequence[FloatArray], index: int) -> Row:
    return tuple(float(column[index]) for column in columns)
