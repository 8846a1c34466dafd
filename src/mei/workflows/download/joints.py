"""Where new bars join bars that were there: whether the price goes on."""

from __future__ import annotations

import numpy as np

from mei.data.candle_writer import CandleWriter, Series
from mei.data.price_jumps import Jump, price_jumps
from mei.model.bars import BarArray


class Joints:
    """Looks at both ends of each run of missing slots, while it is filled. jumps: those found so far."""

    def __init__(self, series: Series, writer: CandleWriter, step_ms: int) -> None:
        self.jumps: list[Jump] = []
        self._series = series
        self._writer = writer
        self._step_ms = step_ms
        self._first_ms = 0
        self._newest: BarArray | None = None

    def open(self, first_ms: int) -> None:
        """A run begins; `first_ms` is its first open."""
        self._first_ms, self._newest = first_ms, None

    def take(self, bars: BarArray) -> None:
        """Bars of the run that are written, ascending."""
        if not len(bars):
            return
        if self._newest is None:
            self._look_at(self._writer.newest_before(self._series, self._first_ms), bars[:1])
        self._newest = bars[-1:]

    def close(self, last_ms: int) -> None:
        """The run, whose last open is `last_ms`, is as full as it gets."""
        if self._newest is not None:
            after = self._writer.bars(self._series, last_ms + 1, 2**62, at_most=1)
            self._look_at(self._newest, after)

    def _look_at(self, left: BarArray, right: BarArray) -> None:
        bars = np.concatenate((left, right))
        self.jumps += price_jumps(bars["timestamp"], bars["open"], bars["close"], self._step_ms)
