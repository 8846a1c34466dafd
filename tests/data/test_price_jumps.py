"""Jumps and spikes of prices are told; what real markets do is not."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mei.data.price_jumps import (
    Jump,
    JumpCount,
    JumpTally,
    Spike,
    count_jumps,
    jump_notes,
    price_jumps,
    price_spikes,
)
from mei.data.sample import SAMPLE_SYMBOLS, sample_bars
from mei.model.bars import BAR_DTYPE, BarArray, interval_ms
from mei.model.candles import Candles, offsets_of
from tests.data.candles import SHARED_DATA

HOUR_MS = 3_600_000
START_MS = 1_679_659_200_000  # 2023-03-24T12:00:00Z
REAL = sorted(
    path for path in SHARED_DATA.glob("*/*_[13][mh].csv.gz") if "funding" not in path.name
)


def at(hour: int) -> int:
    return START_MS + hour * HOUR_MS


def series(*closes: float, hours: list[int] | None = None) -> BarArray:
    """Bars an hour apart, or at these hours, that open at the close before them and have no wicks."""
    opens = (closes[0], *closes[:-1])
    return flat(list(zip(opens, closes, strict=True)), hours)


def flat(opens_and_closes: list[tuple[float, float]], hours: list[int] | None = None) -> BarArray:
    rows = [
        (at(hour), o, max(o, c), min(o, c), c, 1.0)
        for hour, (o, c) in zip(
            hours or range(len(opens_and_closes)), opens_and_closes, strict=True
        )
    ]
    return np.array(rows, dtype=BAR_DTYPE)


def jumps_of(bars: BarArray, step_ms: int = HOUR_MS) -> list[Jump]:
    return list(price_jumps(bars["timestamp"], bars["open"], bars["close"], step_ms))


def count_of(bars: BarArray) -> JumpCount:
    return count_jumps(price_jumps(bars["timestamp"], bars["open"], bars["close"], HOUR_MS))


def spikes_of(bars: BarArray, step_ms: int = HOUR_MS) -> list[Spike]:
    columns = (bars[name] for name in ("timestamp", "open", "high", "low", "close"))
    return list(price_spikes(*columns, step_ms))


def candles(**of_symbols: BarArray) -> Candles:
    bars = np.concatenate(list(of_symbols.values()))
    names = ("timestamp", "open", "high", "low", "close", "volume")
    columns = (np.ascontiguousarray(bars[name]) for name in names)
    offsets = offsets_of([len(part) for part in of_symbols.values()])
    return Candles("1h", HOUR_MS, tuple(of_symbols), offsets, *columns)


def notes(*, to_ms: int = at(1000), **of_symbols: BarArray) -> list[str]:
    return jump_notes(candles(**of_symbols), tuple(of_symbols), to_ms, "the 1h candles of x.db")


def test_an_open_more_than_half_above_or_a_third_below_the_close_before_it_is_a_jump() -> None:
    up = flat([(100.0, 100.0), (150.0, 150.0), (225.1, 225.1)])
    assert jumps_of(up) == [Jump(at(1), at(2), 150.0, 225.1, 0)]
    down = flat([(150.0, 150.0), (100.0, 100.0), (66.6, 66.6)])
    assert jumps_of(down) == [Jump(at(1), at(2), 100.0, 66.6, 0)]


def test_a_bar_may_move_as_far_as_it_likes() -> None:
    assert jumps_of(series(100.0, 900.0, 20.0, 5000.0)) == []


def test_a_wrong_price_jumps_there_and_back() -> None:
    bars = flat([(100.0, 100.0), (100.0, 100.0), (10.0, 10.0), (100.0, 100.0)])
    assert [jump.at_ms for jump in jumps_of(bars)] == [at(2), at(3)]
    # Which is no spike besides.
    assert spikes_of(bars) == []


@pytest.mark.parametrize(
    ("hours", "factor"), [(1, 1.65), (4, 1.8), (24, 2.4), (168, 5.5), (720, 22.0), (9000, 49.0)]
)
def test_over_a_hole_prices_may_have_moved_on(hours: int, factor: float) -> None:
    where = [0, 1, 2 + hours, 3 + hours]
    near, far = (
        flat([(1.0, 1.0), (1.0, 1.0), (to, to), (to, to)], where) for to in (factor, 1.1 * factor)
    )
    assert jumps_of(near) == []
    hole_ms = hours * HOUR_MS
    assert jumps_of(far) == [Jump(at(1), at(2 + hours), 1.0, 1.1 * factor, hole_ms)]


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_prices_that_cannot_be_are_not_judged(wrong: float) -> None:
    bars = flat([(1.0, 1.0), (1.0, 1.0), (wrong, wrong), (1.0, 1.0), (1.0, 1.0)])
    assert jumps_of(bars) == []
    assert spikes_of(bars) == []
    bars = flat([(1.0, 1.0)] * 5)
    bars["low"][2] = wrong
    assert spikes_of(bars) == []


def test_the_largest_and_smallest_numbers_are_judged_in_silence() -> None:
    bars = flat([(1e308, 1e308), (1e308, 1e308), (1e-308, 1e-308), (1e-308, 1e-308)])
    assert [jump.at_ms for jump in jumps_of(bars)] == [at(2)]
    bars = flat([(1e308, 1e308)] * 3)
    bars["low"][1] = 1e-308
    assert spikes_of(bars) == [Spike(at(1), 1e-308, 1e308)]
    assert count_of(bars).describe() == ""
    assert len(notes(AAA=bars)) == 1


def test_labels_that_are_no_length_and_bars_that_stand_still_are_passed_over() -> None:
    bars = flat([(1.0, 1.0), (9.0, 9.0)])
    assert jumps_of(bars, 0) == []
    assert jumps_of(bars[:1]) == jumps_of(bars[:0]) == spikes_of(bars[:0]) == []
    assert jumps_of(flat([(1.0, 1.0), (9.0, 9.0)], [4, 4])) == []
    spiky = flat([(1.0, 1.0)] * 3)
    spiky["high"][1] = 9.0
    assert spikes_of(spiky, 0) == []


@pytest.mark.parametrize(
    ("column", "px", "near_px"), [("high", 301.0, 100.0), ("low", 33.0, 100.0)]
)
def test_a_wick_more_than_three_times_away_from_all_around_it_is_a_spike(
    column: str, px: float, near_px: float
) -> None:
    bars = series(100.0, 100.0, 100.0, 100.0)
    bars[column][1] = px
    assert spikes_of(bars) == [Spike(at(1), px, near_px)]
    assert jumps_of(bars) == []
    for place in (0, 2):
        # A neighbour that went there, too: the market did.
        fallen = bars.copy()
        fallen[column][place] = px
        assert [spike for spike in spikes_of(fallen) if spike.at_ms == at(1)] == []
    # Three times is not more than three times.
    bars[column][1] = 300.0 if column == "high" else 100.0 / 3.0
    assert spikes_of(bars) == []


def test_a_wick_without_a_neighbour_on_both_sides_is_not_judged() -> None:
    for place, hours in ((0, None), (3, None), (1, [0, 1, 3, 4]), (2, [0, 1, 3, 4])):
        bars = flat([(100.0, 100.0)] * 4, hours)
        bars["low"][place] = 1.0
        assert spikes_of(bars) == []


def test_notes_count_and_name_the_first_and_the_largest() -> None:
    one = flat([(1.0, 1.0), (1.0, 1.0), (100.0, 100.0), (10.0, 10.0)], [0, 1, 2, 3])
    two = flat([(5.0, 5.0), (0.001, 0.001), (0.001, 0.001)], [1, 2, 3])
    (line,) = notes(AAA=series(1.0, 1.0), BBB=one, CCC=two)
    assert line == (
        "the 1h candles of x.db must be of one market for each symbol; 2 of 3 symbols jump, 3 times, from a close to "
        "an open more than a factor 1.5 away (the first is BBB 2023-03-24T14:00:00Z from 1 to 100; the largest CCC "
        "2023-03-24T14:00:00Z from 5 to 0.001): check whether two markets were glued together, and import one of "
        "them alone"
    )
    hole = flat([(1.0, 1.0), (99.0, 99.0)], [0, 25])
    (line,) = notes(AAA=hole)
    assert "1 of 1 symbols jump, 1 times" in line
    assert "(AAA 2023-03-25T13:00:00Z from 1 to 99 after a hole of 1d): check" in line


def test_notes_of_spikes() -> None:
    bars = series(100.0, 100.0, 100.0, 100.0)
    bars["low"][2] = 0.5
    (line,) = notes(AAA=series(1.0, 1.0, 1.0), BBB=bars)
    assert line == (
        "the 1h candles of x.db must have prices that were traded; 1 of 2 symbols have a high or low, 1 in all, more "
        "than a factor 3 from all prices around it (BBB 2023-03-24T14:00:00Z at 0.5, around it 100): check for a "
        "wrong price"
    )


def test_one_symbol_after_the_other_is_no_jump_and_no_spike() -> None:
    # They follow each other in time as neighbouring bars would.
    one, two = flat([(1.0, 1.0)] * 3, [0, 1, 2]), flat([(100.0, 100.0)] * 3, [3, 4, 5])
    assert notes(AAA=one, BBB=two) == []
    one["high"][2], two["low"][0] = 50.0, 1.0
    assert notes(AAA=one, BBB=two) == []


def test_notes_are_of_bars_up_to_the_end_and_of_symbols_that_count() -> None:
    bars = flat([(1.0, 1.0), (1.0, 1.0), (100.0, 100.0), (100.0, 100.0)])
    assert len(notes(to_ms=at(3), AAA=bars)) == 1
    assert notes(to_ms=at(3) - 1, AAA=bars) == []
    both = candles(AAA=series(1.0, 1.0), BBB=bars)
    assert jump_notes(both, ("AAA",), at(9), "x") == []
    assert "1 of 1 symbols" in jump_notes(both, ("BBB",), at(9), "x")[0]


@pytest.mark.parametrize("n_rows", [1, 2, 3, 100])
def test_blocks_are_counted_as_the_whole(n_rows: int) -> None:
    bars = flat([(1.0, 1.0), (2.0, 2.0), (2.0, 2.0), (40.0, 40.0), (40.0, 40.0), (4.0, 4.0)])
    tally = JumpTally(HOUR_MS, lambda open_ms: open_ms < at(5))
    blocks = [bars[first : first + n_rows] for first in range(0, len(bars), n_rows)]
    assert np.concatenate(list(tally.watch(blocks))).tolist() == bars.tolist()
    assert tally.count == count_of(bars[:5])
    assert tally.count.n_jumps == 2
    assert tally.count.describe() == (
        "2 price jumps, the first 2023-03-24T13:00:00Z from 1 to 2, the largest 2023-03-24T15:00:00Z from 2 to 40 "
        "(check whether two markets were glued together)"
    )


def wide_wicks(n_bars: int) -> BarArray:
    """Highs that are far from everything but each other: no spike among them."""
    bars = flat([(1.0, 1.0)] * n_bars)
    bars["high"] = 9.0
    return bars


def two_scales(n_bars: int) -> BarArray:
    """A jump between any two bars."""
    return flat([(price, price) for price in (1.0, 100.0) * (n_bars // 2)])


def every_other_a_spike(n_bars: int) -> BarArray:
    bars = flat([(1.0, 1.0)] * n_bars)
    bars["low"][1::2] = 0.1
    return bars


def two_scales_with_holes(n_bars: int) -> BarArray:
    hours = [number + number // 3 for number in range(n_bars)]
    return flat([(price, price) for price in (1.0, 100.0) * (n_bars // 2)], hours)


def _n_calls(ask: Callable[[], object]) -> int:
    """How many functions Python calls, those of C included, to answer."""
    calls = 0

    def count(_frame: object, event: str, _of: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        ask()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize(
    "bars_of", [wide_wicks, two_scales, every_other_a_spike, two_scales_with_holes]
)
def test_far_prices_are_not_looked_at_one_by_one(bars_of: Callable[[int], BarArray]) -> None:
    few, many = bars_of(60), bars_of(6_000)
    of_few, of_many = (
        _n_calls(partial(jump_notes, candles(AAA=bars), ("AAA",), at(10_000), "x"))
        for bars in (few, many)
    )
    assert of_many == of_few
    of_few, of_many = (_n_calls(partial(_tallied, bars)) for bars in (few, many))
    assert of_many == of_few


def _tallied(bars: BarArray) -> None:
    list(JumpTally(HOUR_MS, lambda opens_ms: opens_ms > at(7)).watch([bars]))


def test_the_furthest_are_told_in_order_of_time() -> None:
    bars = flat([(price, price) for price in (1.0, 3.0, 3.0, 30.0, 3.0, 60.0)])
    found = price_jumps(bars["timestamp"], bars["open"], bars["close"], HOUR_MS)
    assert [jump.at_ms for jump in found.furthest(2)] == [at(3), at(5)]
    assert [jump.at_ms for jump in found.furthest(9)] == [at(1), at(3), at(4), at(5)]
    assert found.furthest(0) == []
    assert (found.first(), found.largest()) == (jumps_of(bars)[0], jumps_of(bars)[-1])


def test_a_hole_of_all_time_is_a_hole() -> None:
    bars = flat([(1.0, 1.0), (49.0, 49.0), (9_000.0, 9_000.0)], [0, 1, 2])
    bars["timestamp"][0] = -(2**63)
    assert [jump.open_px for jump in jumps_of(bars)] == [9_000.0]
    bars["open"][1] = 51.0
    first_ms, at_ms, _, _, hole_ms = jumps_of(bars)[0]
    assert (first_ms, at_ms, hole_ms) == (-(2**63), at(1), at(1) + 2**63 - HOUR_MS)


def test_the_sample_of_make_run_has_none() -> None:
    for symbol in SAMPLE_SYMBOLS:
        bars = sample_bars(symbol)
        assert jumps_of(bars, 60_000) == []
        assert spikes_of(bars, 60_000) == []


@pytest.mark.skipif(not REAL, reason="needs the candles in ../shared/data")
def test_real_candles_have_none() -> None:
    assert len(REAL) > 40
    found = {path.name: _told_of(path) for path in REAL}
    assert {name: told for name, told in found.items() if told} == {}


def _told_of(path: Path) -> list[str]:
    step_ms = interval_ms(path.name.removesuffix(".csv.gz").rpartition("_")[2])
    with gzip.open(path) as lines:
        rows = np.loadtxt(lines, dtype=BAR_DTYPE, delimiter=",", skiprows=1)
    return [one.describe() for one in (*jumps_of(rows, step_ms), *spikes_of(rows, step_ms))]
