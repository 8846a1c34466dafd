"""Shorter bars to longer ones: first open, highest high, lowest low, last close, sum of volumes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mei.data.stamps import grid_offset_ms, utc_text
from mei.model.bars import BarArray, FloatArray, IntArray, empty_bars, interval_ms
from mei.model.errors import ConfigError


class Resampled(NamedTuple):
    """Longer bars, and what was not whole about them.

    n_short: bars kept although they lack some of their `per_bar` shorter ones, n_missing: how many those lack in all.
    left_out: (open time in epoch ms UTC, shorter bars it has) of a last bar that was left out, else None.
    """

    bars: BarArray
    per_bar: int
    n_short: int
    n_missing: int
    left_out: tuple[int, int] | None

    def describe(self) -> str:
        """One line for people."""
        said = [f"{len(self.bars)} bars of {self.per_bar}"]
        if self.n_short:
            said.append(f"{self.n_short} of them lack {self.n_missing} of theirs")
        if self.left_out is not None:
            at_ms, n_there = self.left_out
            said.append(
                f"left out the last one, {utc_text(at_ms)}, which ends after {n_there} of {self.per_bar}"
                " (--keep-partial keeps it)"
            )
        return "; ".join(said)


def resampled(
    bars: BarArray, timeframe: str, longer: str, *, keep_partial: bool = False
) -> Resampled:
    """`bars` of `timeframe` (ascending, unique) as bars of `longer`, on the grid of `longer` in UTC.

    A last bar whose end the shorter ones do not reach is left out unless `keep_partial`. Bars with holes inside stay
    and are counted. Volumes are added from first to last. ConfigError unless `longer` is a multiple of `timeframe`.
    """
    step_ms, longer_ms = interval_ms(timeframe), interval_ms(longer)
    if longer_ms <= step_ms or longer_ms % step_ms:
        raise ConfigError(
            f"--resample must be a multiple of --timeframe {timeframe}, was {longer}; give a longer one"
        )
    offset = grid_offset_ms(longer_ms)
    opens = (bars["timestamp"] - offset) // longer_ms * longer_ms + offset
    starts = np.flatnonzero(np.diff(opens, prepend=opens[:1] - 1))
    counts = np.diff(starts, append=len(bars))
    made = _aggregated(bars, opens, starts, counts)
    left_out = None
    if len(made) and not keep_partial:
        end_ms = int(made["timestamp"][-1]) + longer_ms
        if int(bars["timestamp"][-1]) + step_ms < end_ms:
            left_out = int(made["timestamp"][-1]), int(counts[-1])
            made, counts = made[:-1], counts[:-1]
    per_bar = longer_ms // step_ms
    lacking = per_bar - counts
    return Resampled(made, per_bar, int((lacking > 0).sum()), int(lacking.sum()), left_out)


def _aggregated(bars: BarArray, opens: IntArray, starts: IntArray, counts: IntArray) -> BarArray:
    made = empty_bars(len(starts))
    if not len(starts):
        return made
    made["timestamp"] = opens[starts]
    made["open"] = bars["open"][starts]
    made["high"] = np.maximum.reduceat(bars["high"], starts)
    made["low"] = np.minimum.reduceat(bars["low"], starts)
    made["close"] = bars["close"][starts + counts - 1]
    made["volume"] = _sums(bars["volume"], starts, counts)
    return made


def _sums(values: FloatArray, starts: IntArray, counts: IntArray) -> FloatArray:
    """Sums from first to last; numpy's own would add in another order, with other last bits."""
    sums = np.zeros(len(starts))
    for place in range(int(counts.max())):
        there = counts > place
        sums[there] += values[starts[there] + place]
    return sums
