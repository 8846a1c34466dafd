"""What time it is: by the wall, or by a recorded feed, where it is the newest close."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from mei.data.candle_db import interval_ms_or_zero, time_range_ms


def wall_ms() -> int:
    """Epoch ms UTC."""
    return time.time_ns() // 1_000_000


def feed_clock(series: Sequence[tuple[str, str]]) -> Callable[[], int]:
    """A clock that shows the newest close in candle databases. series: (set of databases, interval), at least one.

    Called without a bar it raises DataError.
    """

    def now_ms() -> int:
        return max(
            time_range_ms(db_set, interval)[1] + interval_ms_or_zero(interval)
            for db_set, interval in series
        )

    return now_ms
