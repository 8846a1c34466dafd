"""Rates that a run would take for something else are refused or told."""

from __future__ import annotations

import numpy as np
import pytest

from mei.data.candle_span import Span
from mei.data.funding_check import funding_notes, refuse_unusable
from mei.model.candles import FundingRates, offsets_of
from mei.model.errors import DataError

HOUR_MS = 3_600_000
START_MS = 1_679_659_200_000  # 2023-03-24T12:00:00Z
WINDOW = Span(START_MS, START_MS + 48 * HOUR_MS)


def every(hours: float, first: float = 0.0, last: float = 48.0, late_ms: int = 0) -> list[int]:
    """Times from `first` to `last` hours after the start."""
    n_times = int((last - first) / hours) + 1
    return [START_MS + late_ms + int((first + i * hours) * HOUR_MS) for i in range(n_times)]


def notes(span: Span = WINDOW, **times: list[int]) -> list[str]:
    names = tuple(name for name in times if times[name])
    parts = [times[name] for name in names]
    time_ms = np.array([moment for part in parts for moment in part], dtype=np.int64)
    rates = FundingRates(names, offsets_of([len(p) for p in parts]), time_ms, np.ones(len(time_ms)))
    extents = {name: (times[name][0], times[name][-1]) for name in names}
    return funding_notes("f.db", rates, extents, dict.fromkeys(times, span))


def test_hourly_rates_over_the_window_are_not_told() -> None:
    assert notes(BTC=every(1), ETH=every(1, -30, 47)) == []


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        (8, "are mostly 8h apart (BTC): each is paid 8 times; if a rate stands for 8h, divide it"),
        (4, "are mostly 4h apart (BTC): each is paid 4 times"),
        (0.25, "are mostly 15m apart (BTC): all but the newest of an hour are left out"),
    ],
)
def test_rates_of_other_lengths_are_told(hours: float, said: str) -> None:
    line = notes(BTC=every(hours), ETH=every(1))[0]
    assert line.startswith("f.db must have hourly rates, as every full hour pays the newest one; ")
    assert "those of 1 of 2 symbols" in line
    assert said in line


def test_eight_hourly_rates_before_the_window_do_not_count() -> None:
    assert notes(BTC=[*every(8, -80, -8), *every(1)]) == []
    before = notes(BTC=[*every(8, -80, 24), *every(1, 25)])
    assert len(before) == 1
    assert (
        "1 of 1 symbols have holes (BTC; the longest, of BTC, from one rate to the next 8h)"
        in before[0]
    )


def test_the_rate_that_holds_at_the_start_counts() -> None:
    (line,) = notes(BTC=[*every(1, -19, -19), *every(1, 1)])
    assert "from one rate to the next 20h" in line


def test_stale_rates_are_told() -> None:
    (line,) = notes(BTC=every(1, 0, 46), ETH=every(1))
    assert "those of 1 of 2 symbols end earlier (BTC to 2023-03-26T10:00:00Z)" in line
    assert "every hour after pays the last rate again" in line
    assert notes(BTC=every(1, 0, 47)) == []
    assert len(notes(BTC=every(8, 0, 40))) == 1  # the length alone
    assert len(notes(BTC=every(8, 0, 32))) == 2


def test_rates_that_begin_late_are_told() -> None:
    (line,) = notes(BTC=every(1, 2), ETH=every(1))
    assert "begin later (BTC from 2023-03-24T14:00:00Z): the hours before pay nothing" in line
    assert notes(BTC=every(1, 1)) == []


def test_times_off_the_hour_are_told() -> None:
    (line,) = notes(BTC=every(1, late_ms=7), ETH=every(1))
    assert "those of 1 of 2 symbols are not (BTC at 2023-03-24T12:00:00.007000Z)" in line
    assert "paid from the next full hour on" in line
    wobbling = [moment + -number % 3 for number, moment in enumerate(every(8))]
    assert "mostly 8h apart" in notes(BTC=wobbling)[0]


def test_symbols_without_a_rate_are_told_with_the_name_that_is_there() -> None:
    rates = every(1)
    lines = notes(BTC=rates, ETHUSDT=[], SOL=[])
    assert len(lines) == 1
    assert "2 of 3 have none in the window and pay none: ETHUSDT, SOL;" in lines[0]
    found = FundingRates(("BTC",), offsets_of([49]), np.array(rates), np.ones(49))
    extents = {"BTC": (rates[0], rates[-1]), "ETH/USDT": (rates[0], rates[-1])}
    (line,) = funding_notes("f.db", found, extents, {"BTC": WINDOW, "ETHUSDT": WINDOW})
    assert "ETHUSDT (there is ETH/USDT for ETHUSDT); import them" in line
    # Rates of another time are no other name.
    (line,) = funding_notes("f.db", found, {**extents, "ETHUSDT": (1, 2)}, {"ETHUSDT": WINDOW})
    assert "there is" not in line


@pytest.mark.parametrize(
    ("stamp", "unit"),
    [
        (1_679_659_200, ", which is a time in s"),
        (1_679_659_200_000_000, ", which is a time in µs"),
        (1_679_659_200_000_000_000, ", which is a time in ns"),
        (17, ""),
        (-5, ""),
    ],
)
@pytest.mark.parametrize("is_last", [False, True])
def test_times_that_are_not_in_ms_are_refused(stamp: int, unit: str, is_last: bool) -> None:
    ends = (START_MS, stamp) if is_last else (stamp, START_MS)
    said = f"f.db: time must be in epoch ms from 2009 to 2099, found {stamp} of ETH{unit}: convert"
    with pytest.raises(DataError, match=said):
        refuse_unusable("f.db", {"BTC": (START_MS, START_MS), "ETH": ends}, ["BTC"])


def test_rates_of_other_symbols_alone_are_refused() -> None:
    ends = (START_MS, START_MS)
    with pytest.raises(DataError, match="of the candles, BTCUSDT; found SOL: import"):
        refuse_unusable("f.db", {"SOL": ends}, ["BTCUSDT"])
    with pytest.raises(DataError, match=r"\(there is BTC/USDT for BTCUSDT\)"):
        refuse_unusable("f.db", {"BTC/USDT": ends, "SOL": ends}, ["BTCUSDT", "ETHUSDT"])
    with pytest.raises(DataError, match="table is empty"):
        refuse_unusable("f.db", {}, ["BTC"])
    refuse_unusable("f.db", {"BTC": ends, "SOL": ends}, ["BTC", "ETH"])
