from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mei.ledger.series import BarRange, count_bars, covers, merged, ranges_of, without

STEP = 5
_bars = st.sets(st.integers(-20, 40))
_spans = st.lists(
    st.tuples(st.integers(-20, 40), st.integers(0, 8)).map(
        lambda pair: BarRange(pair[0] * STEP, (pair[0] + pair[1]) * STEP)
    ),
    max_size=8,
)


def _as_set(ranges) -> set[int]:
    return {bar for span in ranges for bar in range(span.first_ms, span.last_ms + 1, STEP)}


def _is_canonical(ranges) -> bool:
    pairs = pairwise(ranges)
    return all(left.last_ms + STEP < right.first_ms for left, right in pairs)


@given(_bars)
def test_ranges_of_bars_are_those_bars(numbers: set[int]) -> None:
    times = sorted(number * STEP for number in numbers)
    ranges = ranges_of(times, STEP)
    assert _as_set(ranges) == set(times)
    assert _is_canonical(ranges)
    assert count_bars(ranges, STEP) == len(times)


@given(_spans)
def test_merged_ranges_are_the_union(spans: list[BarRange]) -> None:
    union = merged(spans, STEP)
    assert _as_set(union) == _as_set(spans)
    assert _is_canonical(union)


@given(_spans, _spans)
def test_ranges_without_others_are_the_difference(
    spans: list[BarRange], taken: list[BarRange]
) -> None:
    left = without(spans, taken, STEP)
    assert _as_set(left) == _as_set(spans) - _as_set(taken)
    assert _is_canonical(left)


@given(_spans, _spans)
def test_covering_is_being_a_subset(spans: list[BarRange], asked: list[BarRange]) -> None:
    union = merged(spans, STEP)
    for span in asked:
        assert covers(union, span) == (_as_set([span]) <= _as_set(union))
