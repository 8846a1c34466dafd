"""One pass over an equity curve, block by block: what the numbers need, without the curve in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mei.model.bars import DAY_MS, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Drawdown:
    """From a peak down and back: epoch ms; `recovered_ms` is None while under water at the end.

    `depth_frac` is the loss from the peak as a positive fraction of it.
    """

    peak_ms: int
    trough_ms: int
    recovered_ms: int | None
    depth_frac: float


@dataclass(slots=True)
class EquityScan:
    """What a whole equity curve amounts to. Times are bar closes, epoch ms.

    `day_close_ms` and `day_equity` hold the last row of each UTC day (a bar closing at midnight
    belongs to the day that ends then), the start excluded.
    """

    n_rows: int = 0
    first_ms: int = 0
    last_ms: int = 0
    first_equity: float = 0.0
    last_equity: float = 0.0
    min_equity: float = 0.0
    day_close_ms: list[int] = field(default_factory=list)
    day_equity: list[float] = field(default_factory=list)
    drawdowns: list[Drawdown] = field(default_factory=list)
    deepest: Drawdown | None = None
    under_water_ms: int = 0
    longest_under_water_ms: int = 0
    rows_in_market: int = 0
    equity_sum: float = 0.0


class EquityScanner:
    """Feed an equity curve in blocks, in time order, then `finish`.

    `initial_equity` is the account before the first row; it counts as the first peak.
    Only drawdowns of at least `min_depth_frac` are kept one by one, and the deepest of all.
    """

    def __init__(self, initial_equity: float, min_depth_frac: float = 1e-4) -> None:
        self._scan = EquityScan(first_equity=initial_equity, min_equity=initial_equity)
        self._min_depth_frac = min_depth_frac
        self._peak = initial_equity
        self._peak_ms = 0
        self._trough = initial_equity
        self._trough_ms = 0

    def add(self, close_ms: IntArray, equity: FloatArray, in_market: FloatArray) -> None:
        """Take the next rows, all of shape (n,); `in_market` is non-zero where a position is held."""
        if len(close_ms) == 0:
            return
        scan = self._scan
        if scan.n_rows == 0:
            scan.first_ms = self._peak_ms = self._trough_ms = int(close_ms[0])
        scan.n_rows += len(close_ms)
        scan.last_ms, scan.last_equity = int(close_ms[-1]), float(equity[-1])
        scan.min_equity = min(scan.min_equity, float(equity.min()))
        scan.rows_in_market += int(np.count_nonzero(in_market))
        scan.equity_sum += float(np.cumsum(equity)[-1])
        self._add_days(close_ms, equity)
        self._add_drawdowns(close_ms, equity)

    def finish(self) -> EquityScan:
        """The scan of everything added; a drawdown still open is closed without a recovery time."""
        self._end_drawdown(None)
        return self._scan

    def _add_days(self, close_ms: IntArray, equity: FloatArray) -> None:
        scan = self._scan
        day = (close_ms - 1) // DAY_MS
        last_of_day = np.flatnonzero(np.append(day[1:] != day[:-1], True))
        for row in last_of_day.tolist():
            if scan.day_close_ms and (scan.day_close_ms[-1] - 1) // DAY_MS == day[row]:
                scan.day_close_ms[-1], scan.day_equity[-1] = int(close_ms[row]), float(equity[row])
            else:
                scan.day_close_ms.append(int(close_ms[row]))
                scan.day_equity.append(float(equity[row]))

    def _add_drawdowns(self, close_ms: IntArray, equity: FloatArray) -> None:
        """Visit only the stretches under water: a year has few of them beside its rows."""
        peaks = np.maximum(np.maximum.accumulate(equity), self._peak)
        edges = np.diff(np.concatenate(([False], equity < peaks, [False])).astype(np.int8))
        starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        top = 0
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            if start > top:
                self._surface(
                    int(close_ms[start - 1]), float(equity[start - 1]), int(close_ms[top])
                )
            self._sink(close_ms[start:end], equity[start:end])
            top = end
        if top < len(equity):
            self._surface(int(close_ms[-1]), float(equity[-1]), int(close_ms[top]))

    def _surface(self, peak_ms: int, peak: float, recovered_ms: int) -> None:
        """The curve was back at its peak from `recovered_ms` on, last so at `peak_ms`."""
        self._end_drawdown(recovered_ms)
        self._peak, self._peak_ms = peak, peak_ms
        self._trough, self._trough_ms = peak, peak_ms

    def _sink(self, close_ms: IntArray, equity: FloatArray) -> None:
        if len(equity) == 0:
            return
        row = int(equity.argmin())
        if equity[row] < self._trough:
            self._trough, self._trough_ms = float(equity[row]), int(close_ms[row])

    def _end_drawdown(self, recovered_ms: int | None) -> None:
        if self._trough >= self._peak:
            return
        scan = self._scan
        end_ms = scan.last_ms if recovered_ms is None else recovered_ms
        scan.under_water_ms += end_ms - self._peak_ms
        scan.longest_under_water_ms = max(scan.longest_under_water_ms, end_ms - self._peak_ms)
        depth_frac = (self._peak - self._trough) / self._peak if self._peak > 0 else 1.0
        drawdown = Drawdown(self._peak_ms, self._trough_ms, recovered_ms, depth_frac)
        if depth_frac >= self._min_depth_frac:
            scan.drawdowns.append(drawdown)
        if scan.deepest is None or depth_frac > scan.deepest.depth_frac:
            scan.deepest = drawdown
