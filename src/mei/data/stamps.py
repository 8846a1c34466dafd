"""Timestamps of candle files: their unit, the timeframe's grid, and how they are written for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from mei.model.bars import DAY_MS, IntArray

#: Candles lie in [2009-01-01, 2100-01-01): in that span the four units cannot be taken for one another.
EARLIEST_MS = 1_230_768_000_000
LATEST_MS = 4_102_444_800_000

#: Weeks begin on Monday, and the epoch was a Thursday.
_MONDAY_MS = 4 * DAY_MS
_WEEK_MS = 7 * DAY_MS


class Unit(NamedTuple):
    """A unit of time; a millisecond is `numerator / denominator` of it."""

    name: str
    numerator: int
    denominator: int

    def from_ms(self, ms: int) -> int:
        """`ms` (whole seconds) in this unit."""
        return ms * self.numerator // self.denominator

    def to_ms(self, stamps: IntArray) -> IntArray:
        """Stamps of this unit in ms; exact for stamps on a grid of whole seconds."""
        return stamps * self.denominator // self.numerator

    def holds(self, stamp: int) -> bool:
        """Whether `stamp`, read in this unit, lies between 2009 and 2100."""
        return self.from_ms(EARLIEST_MS) <= stamp < self.from_ms(LATEST_MS)


UNITS = (
    Unit("s", 1, 1_000),
    Unit("ms", 1, 1),
    Unit("µs", 1_000, 1),
    Unit("ns", 1_000_000, 1),
)


def unit_of(stamp: int) -> Unit | None:
    """The unit in which `stamp` lies between 2009 and 2100; None if there is no such unit."""
    return next((unit for unit in UNITS if unit.holds(stamp)), None)


def grid_offset_ms(step_ms: int) -> int:
    """Where the grid of bars of `step_ms` starts after the epoch: Monday for weeks, else 0."""
    return _MONDAY_MS if step_ms % _WEEK_MS == 0 else 0


def utc_text(ms: int) -> str:
    """`ms` as ISO 8601 in UTC: 2023-03-24T12:40:00Z."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat().replace("+00:00", "Z")


def time_text(ms: int) -> str:
    """`utc_text`, or the number itself where a calendar ends: t=-100000000000000000."""
    try:
        return utc_text(ms)
    except (ValueError, OverflowError, OSError):
        return f"t={ms}"


def length_text(ms: int) -> str:
    """A length of time as an interval is written: 90_000 is 90s, 3_600_000 is 1h; parts of seconds as 1.5s."""
    for unit_ms, name in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m")):
        if ms and ms % unit_ms == 0:
            return f"{ms // unit_ms}{name}"
    return f"{ms / 1000:g}s"
