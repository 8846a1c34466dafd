"""Which part of the candles the tests of a walk-forward see, and which decides nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from mei.model.bars import DAY_MS
from mei.workflows.validate.splits import DEFAULT_SPLITS, Split, TestRange
from mei.workflows.window import iso_ms

#: How many tests a proposal has, after the first third of the candles.
_N_TESTS = 4
_TRAIN_FRAC = 1.0 / 3.0
#: So much may be left over at the end of the days that the usual splits are for.
_NO_MATTER_DAYS = 1.5


def seen_by(tests: Iterable[TestRange]) -> list[TestRange]:
    """What the tests see, in order, none of it twice; those that touch are one."""
    found: list[TestRange] = []
    for one in sorted(tests, key=lambda test: test.start_ms):
        if found and one.start_ms <= found[-1].end_ms + 1:
            found[-1] = TestRange(found[-1].start_ms, max(found[-1].end_ms, one.end_ms))
        else:
            found.append(one)
    return found


def left_beside(seen: Sequence[TestRange], start_ms: int, end_ms: int) -> list[TestRange]:
    """What is left of `start_ms` to `end_ms` (epoch ms UTC, both included) beside `seen`, as `seen_by` gives it."""
    found, next_ms = [], start_ms
    for one in seen:
        if one.start_ms > next_ms:
            found.append(TestRange(next_ms, one.start_ms - 1))
        next_ms = one.end_ms + 1
    if next_ms < end_ms:
        found.append(TestRange(next_ms, end_ms))
    return found


def whole_span(days: float) -> list[Split]:
    """Splits whose tests follow each other from the first third of the candles to their end, none for too few days."""
    train = max(1, math.floor(days * _TRAIN_FRAC))
    test = math.ceil((days - train) / _N_TESTS)
    offsets = (number * test for number in range(_N_TESTS))
    return [
        Split(f"split{number}", offset, train, test)
        for number, offset in enumerate(offsets, 1)
        if test > 0 and offset + train < days
    ]


def coverage(
    splits: Sequence[Split], tests: Iterable[TestRange], start_ms: int, end_ms: int
) -> str:
    """One line: which days are tested and which are not; for the usual splits, which flags test the rest.

    tests: where the splits were placed in `start_ms` to `end_ms`, epoch ms UTC, both included.
    """
    seen = seen_by(tests)
    left = left_beside(seen, start_ms, end_ms)
    days = TestRange(start_ms, end_ms).days
    n_tested = sum(one.days for one in seen)
    rest = _days(left, start_ms) if left else "none"
    line = (
        f"tested: days {_days(seen, start_ms)} of {_count(days)} ({n_tested / days * 100.0:.0f}%, "
        f"{iso_ms(seen[0].start_ms)[:10]} to {iso_ms(seen[-1].end_ms)[:10]}); not tested: {rest}"
    )
    is_short = any(one.start_ms > seen[0].start_ms and one.days > _NO_MATTER_DAYS for one in left)
    if tuple(splits) != DEFAULT_SPLITS or not is_short:
        return line
    flags = " ".join(
        f"--split {one.train_days},{one.test_days},{one.offset_days}" for one in whole_span(days)
    )
    return f"{line}: the usual splits end with day 19, {flags} test the rest, too"


def _days(ranges: Sequence[TestRange], start_ms: int) -> str:
    """As days from the start: `9-20, 30-40`."""

    def day(at_ms: int) -> str:
        return _count((at_ms - start_ms) / DAY_MS)

    return ", ".join(f"{day(one.start_ms)}-{day(one.end_ms + 1)}" for one in ranges)


def _count(days: float) -> str:
    return f"{days:.1f}".removesuffix(".0")
