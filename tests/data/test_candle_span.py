"""Candles that do not reach over the window of a run are told, a line for each kind."""

from __future__ import annotations

import numpy as np
import pytest

from mei.data.candle_span import Span, span_notes, span_of
from mei.model.candles import Candles, offsets_of

HOUR_MS = 3_600_000
START_MS = 1_679_659_200_000  # 2023-03-24T12:00:00Z


def at(hour: float) -> int:
    return START_MS + int(hour * HOUR_MS)


def candles(step_ms: int = HOUR_MS, **hours: list[int]) -> Candles:
    """Bars that open at these hours, symbol by symbol."""
    open_ms = np.array([at(hour) for part in hours.values() for hour in part], dtype=np.int64)
    px = np.ones(len(open_ms))
    offsets = offsets_of([len(part) for part in hours.values()])
    return Candles("1h", step_ms, tuple(hours), offsets, open_ms, px, px, px, px, px)


def notes(window: Span, step_ms: int = HOUR_MS, **hours: list[int]) -> list[str]:
    found = candles(step_ms, **hours)
    return span_notes(found, found.symbols, window, "the 1h candles of x.db")


FULL = list(range(10))


def test_candles_over_the_whole_window_are_not_told() -> None:
    assert notes(Span(at(0), at(10)), BTC=FULL, ETH=FULL) == []
    assert notes(Span(at(0.5), at(10.5)), BTC=FULL) == []
    # The bar known at 1:00 may lack, not the one after.
    assert notes(Span(at(1), at(10)), BTC=FULL[1:]) == []
    assert notes(Span(at(0), at(10.99)), BTC=FULL) == []


def test_late_starts_are_told_with_the_latest_first() -> None:
    (line,) = notes(Span(at(0), at(10)), AAA=FULL, BBB=FULL[1:], CCC=FULL[4:])
    assert line == (
        "the 1h candles of x.db must reach back to the window's start, 2023-03-24T12:00:00Z; 2 of 3 symbols start "
        "later (CCC from 2023-03-24T16:00:00Z, BBB from 2023-03-24T13:00:00Z): nothing is decided on them before; "
        "import earlier candles or start later"
    )
    assert notes(Span(at(4), at(10)), AAA=FULL, BBB=FULL[1:], CCC=FULL[4:]) == []


def test_early_ends_are_told_with_the_earliest_first() -> None:
    (line,) = notes(Span(at(0), at(10)), AAA=FULL, BBB=FULL[:-1], CCC=FULL[:4])
    assert (
        "must reach to the window's end, 2023-03-24T22:00:00Z; 2 of 3 symbols end earlier" in line
    )
    assert "(CCC to 2023-03-24T16:00:00Z, BBB to 2023-03-24T21:00:00Z): nothing" in line
    assert notes(Span(at(0), at(4)), AAA=FULL, BBB=FULL[:-1], CCC=FULL[:4]) == []


def test_holes_are_counted_and_the_longest_is_told() -> None:
    one, three = [0, 1, 2, 4, 5, 6, 8, 9], [0, 1, 5, 6, 7, 8, 9]
    (line,) = notes(Span(at(0), at(10)), AAA=one, BBB=three, CCC=FULL)
    assert (
        "2 of 3 symbols lack 5 bars (AAA, BBB; the longest hole is 3h: BBB 2023-03-24T14:00:00Z"
        in line
    )
    assert "to 2023-03-24T17:00:00Z): nothing is decided in a hole" in line


def test_holes_outside_the_window_are_not_told() -> None:
    three = [0, 1, 5, 6, 7, 8, 9]
    assert notes(Span(at(5), at(10)), BTC=three) == []
    assert notes(Span(at(0), at(2)), BTC=three) == []
    assert len(notes(Span(at(0), at(2.5)), BTC=three)) == 1
    assert len(notes(Span(at(4.5), at(10)), BTC=three)) == 1
    # The longest of the window, although there is a longer one before it.
    (line,) = notes(Span(at(6), at(10)), BTC=[0, 6, 8, 9])
    assert "lack 1 bars (BTC; the longest hole is 1h: BTC 2023-03-24T19:00:00Z" in line


def test_many_symbols_are_told_in_one_short_line() -> None:
    many = {f"S{number}": FULL[number:] for number in range(8)}
    (line,) = notes(Span(at(0), at(10)), **many)
    assert "7 of 8 symbols" in line
    assert "S7 from 2023-03-24T19:00:00Z, S6 from" in line
    assert ", …)" in line
    assert "S2 " not in line


def test_only_the_symbols_that_count_are_looked_at() -> None:
    found = candles(AAA=FULL, BBB=FULL[4:])
    window = Span(at(0), at(10))
    assert span_notes(found, ("AAA", "ZZZ"), window, "x") == []
    assert notes(window, step_ms=0, BTC=[4]) == []


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((None, None), Span(at(1), at(10))),
        ((at(3), None), Span(at(3), at(10))),
        ((None, at(4)), Span(at(1), at(4))),
    ],
)
def test_an_open_window_is_what_there_is(
    bounds: tuple[int | None, int | None], expected: Span
) -> None:
    assert span_of(candles(AAA=FULL[2:], BBB=FULL[1:4]), *bounds) == expected
