"""One instrument's bars, one at a time, from blocks: memory does not grow with the length of the run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mei.model.bars import BAR_DTYPE, BarArray
from mei.model.errors import DataError
from mei.model.orders import Bar

#: Later than any bar: what `next_open_ms` says at the end.
END_MS = 2**63 - 1


class SymbolFeed:
    """A cursor over an instrument's bars that keeps the newest `keep_bars` of the past and one block of the future.

    Bars are counted from the start of the run: `n_taken` bars have closed, the bar at hand is `n_taken - 1`.
    The future of a block is for asking services ahead (each answer depends on bars up to its own close only).
    """

    def __init__(
        self, symbol: str, interval_ms: int, blocks: Iterator[BarArray], keep_bars: int
    ) -> None:
        self.symbol = symbol
        self.interval_ms = interval_ms
        self.n_taken = 0
        self.next_open_ms = END_MS
        self._blocks = blocks
        self._keep_bars = keep_bars
        self._window: BarArray = np.zeros(0, dtype=BAR_DTYPE)
        self._rows: list[tuple[int, float, float, float, float, float]] = []
        self._window_start = 0
        self._rows_start = 0
        self._row = 0
        self._load()

    @property
    def n_loaded(self) -> int:
        """How many bars from the start of the run are at hand, the read-ahead included."""
        return self._window_start + len(self._window)

    def take(self) -> Bar:
        """The next bar, as of its close."""
        row = self._row
        timestamp, open_px, high, low, close, volume = self._rows[row]
        self._row = row = row + 1
        self.n_taken += 1
        if row < len(self._rows):
            self.next_open_ms = self._rows[row][0]
        else:
            self._load()
        return Bar(timestamp, timestamp + self.interval_ms, open_px, high, low, close, volume)

    def skip_to(self, n_taken: int) -> None:
        """Move on to the state after `n_taken` bars; the past that is kept is as if they had been taken."""
        while self.n_loaded <= n_taken and self.next_open_ms != END_MS:
            self.n_taken = self.n_loaded
            self._load()
        if n_taken > self.n_loaded:
            raise DataError(
                f"the checkpoint says that {n_taken} bars of {self.symbol} were taken, the candles hold only "
                f"{self.n_loaded}: put back the files the run was started with, or start again with RERUN=1"
            )
        self.n_taken = n_taken
        self._row = n_taken - self._rows_start
        self.next_open_ms = self._rows[self._row][0] if n_taken < self.n_loaded else END_MS

    def bars(self, first: int, end: int) -> BarArray:
        """Bars number `first` to `end - 1` of the run, clipped to what is kept; ndarray of BAR_DTYPE."""
        start = self._window_start
        return self._window[max(0, first - start) : max(0, end - start)]

    def _load(self) -> None:
        block = next(self._blocks, None)
        if block is None or not len(block):
            self.next_open_ms = END_MS
            return
        past = self._window[max(0, len(self._window) - self._keep_bars) :]
        self._window_start += len(self._window) - len(past)
        self._window = np.concatenate([past, block])
        self._rows_start = self._window_start + len(past)
        self._rows = block.tolist()
        self._row = 0
        self.next_open_ms = self._rows[0][0]
