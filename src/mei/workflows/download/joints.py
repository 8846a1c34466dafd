"""Where new bars join bars that were there: whether the price goes on."""

from __future__ import annotations

import numpy as np

from mei.data.candle_writer import CandleWriter, Series
from mei.data.price_jumps import Jump, price_jumps
from mei.model.bars import BarArray

#: How many slots are looked through for the bar before a run; all of them, if it is in none.
_LOOKED_THROUGH = (1, 1_000)


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
            self._look_at(self._before(self._first_ms), bars[:1])
        self._newest = bars[-1:]

    def close(self, last_ms: int) -> None:
        """The run, whose last open is `last_ms`, is as full as it gets."""
        if self._newest is not None:
            after = self._writer.bars(self._series, last_ms + 1, 2**62, at_most=1)
            self._look_at(self._newest, after)

    def _look_at(self, left: BarArray, right: BarArray) -> None:
        bars = np.concatenate((left, right))
        self.jumps += price_jumps(bars["timestamp"], bars["open"], bars["close"], self._step_ms)

    def _before(self, at_ms: int) -> BarArray:
        """The newest bar that opens before; an empty array when there is none."""
        for n_slots in _LOOKED_THROUGH:
            bars = self._writer.bars(self._series, at_ms - n_slots * self._step_ms, at_ms - 1)
            if len(bars):
                return bars[-1:]
        return self._writer.bars(self._series, 0, at_ms - 1)[-1:]
