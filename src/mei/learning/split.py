"""Which bars of a training window are fitted and which validate, and which the features cannot be known of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mei.model.bars import IntArray

#: Share of the window that validates: its newest bars.
VALIDATION_SHARE_PERCENT = 20

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Row numbers into the series' bars, ascending. What lies between the two is purged."""

    fit: IntArray
    validation: IntArray

    @property
    def n_points(self) -> int:
        """Fit and validation bars, as TRAIN_MIN_POINTS counts them."""
        return int(self.fit.size + self.validation.size)


def split_window(window: IntArray, purge_bars: int) -> Split:
    """Cut a window (row numbers, ascending, (n,)): the newest 20 % validate, what comes before is fitted.

    Fitted rows lie more than `purge_bars` rows of the series before the first validation row.

    The purge is as long as a feature's window, so that no bar is seen by a fit and by a validation row.
    """
    n_validation = window.size * VALIDATION_SHARE_PERCENT // 100
    cut = window.size - n_validation
    if n_validation == 0:
        return Split(window[:0], window[:0])
    validation = window[cut:]
    fit = window[:cut]
    return Split(fit[fit < validation[0] - purge_bars], validation)


def covered(timestamp: IntArray, ranges: list[tuple[int, int]]) -> Mask:
    """Whether a bar lies in one of the ranges of bar opens (first_ms, last_ms, both inclusive), (n,)."""
    mask = np.zeros(timestamp.size, dtype=np.bool_)
    for first_ms, last_ms in ranges:
        lo = int(np.searchsorted(timestamp, first_ms, side="left"))
        hi = int(np.searchsorted(timestamp, last_ms, side="right"))
        mask[lo:hi] = True
    return mask


def runs_of(rows: IntArray, timestamp: IntArray, interval_ms: int) -> list[tuple[int, int]]:
    """Bars `rows` as ranges of bar opens (first_ms, last_ms, both inclusive), cut at every gap in time.

    timestamp: opens of the whole series, (n_bars,). A range never spans a bar that was not in `rows`, nor one missing
    from the data that may arrive later.
    """
    if rows.size == 0:
        return []
    opens = timestamp[rows]
    cuts = np.flatnonzero((np.diff(rows) != 1) | (np.diff(opens) != interval_ms)) + 1
    return [(int(run[0]), int(run[-1])) for run in np.split(opens, cuts)]


def outside_lineage(
    rows: IntArray,
    timestamp: IntArray,
    lineage: list[tuple[int, int]],
    embargo_bars: int,
) -> IntArray:
    """Those of `rows` whose window of features saw no bar of the lineage's fits.

    That is: neither fitted, nor among the `embargo_bars` rows after a fitted one.
    """
    fitted = covered(timestamp, lineage)
    seen = np.concatenate([[0], np.cumsum(fitted)])
    oldest = np.maximum(rows - embargo_bars, 0)
    n_fitted = seen[rows + 1] - seen[oldest]
    clean: IntArray = rows[n_fitted == 0]
    return clean
