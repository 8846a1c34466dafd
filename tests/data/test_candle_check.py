"""Bars that no market can have made are named before a strict run computes with them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mei.data.candle_check import refuse_impossible, refuse_month, refuse_spacing
from mei.model.candles import Candles, offsets_of
from mei.model.errors import ConfigError, DataError

START_MS = 1_679_661_600_000


def two_symbols(**cells: float) -> Candles:
    """Three bars each of BTC and ETH; the second of ETH with other cells."""
    columns = {"open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 5.0}
    arrays = {name: np.full(6, value) for name, value in columns.items()}
    for name, value in cells.items():
        arrays[name][4] = value
    open_ms = START_MS + 3_600_000 * np.tile(np.arange(3, dtype=np.int64), 2)
    return Candles("1h", 3_600_000, ("BTC", "ETH"), offsets_of([3, 3]), open_ms, **arrays)


@pytest.mark.parametrize(
    "cells",
    [
        {},
        {"volume": 0.0},
        {"open": 9.0, "high": 9.0, "low": 9.0, "close": 9.0},
        {"low": 10.0, "high": 11.0},
    ],
)
def test_bars_that_can_be_are_taken(cells: dict[str, float]) -> None:
    refuse_impossible(two_symbols(**cells), "x.db")


def test_no_bars_are_no_fault() -> None:
    refuse_impossible(two_symbols().restricted_to(()), "x.db")


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        ({"open": 0.0, "high": 0.0, "low": 0.0, "close": 0.0}, "o=0.0, h=0.0, l=0.0, c=0.0"),
        ({"high": math.inf, "close": math.inf}, "h=inf, l=9.0, c=inf"),
        ({"high": math.inf}, "h=inf"),
        ({"low": -5.0, "close": -5.0}, "l=-5.0, c=-5.0"),
        ({"low": 0.0}, "l=0.0"),
        ({"low": 10.5}, "l=10.5"),
        ({"close": 8.5}, "c=8.5"),
        ({"high": 10.5}, "h=10.5"),
        ({"open": 12.5}, "o=12.5"),
        ({"open": math.nan}, "o=nan"),
        ({"volume": -1.0}, "v=-1.0"),
        ({"volume": math.inf}, "v=inf"),
    ],
)
def test_a_bar_that_cannot_be_is_named(cells: dict[str, float], found: str) -> None:
    with pytest.raises(DataError) as caught:
        refuse_impossible(two_symbols(**cells), "x.db")
    said = str(caught.value)
    assert said.startswith("x.db: the bar of ETH (1h) at 2023-03-24T13:40:00Z must have")
    assert found in said
    assert "more" not in said


def test_further_bars_are_counted_and_odd_times_told() -> None:
    candles = two_symbols(low=0.0)
    candles.low[0] = -1.0
    candles.open_ms[0] = -(10**17)
    with pytest.raises(DataError, match=r"BTC \(1h\) at t=-1\d+ .*and 1 more bars"):
        refuse_impossible(candles, "x.db")


HOUR_MS = 3_600_000


def opening(label: str, label_ms: int, *minutes: int) -> Candles:
    """Three bars of BTC as the label says, and ETH with bars that open at these minutes."""
    opens = [0, 60, 120] if label == "1h" else [0, 1, 2]
    open_ms = START_MS + 60_000 * np.array([*opens, *minutes], dtype=np.int64)
    px = np.ones(len(open_ms))
    offsets = offsets_of([3, len(minutes)])
    return Candles(label, label_ms, ("BTC", "ETH"), offsets, open_ms, px, px, px, px, px)


@pytest.mark.parametrize(
    "minutes",
    [
        (),
        (7,),
        (0, 60, 120),
        (0, 300, 600),  # two holes can be chance
        (0, 60, 120, 180, 360, 540, 720),  # as many holes of one length as bars without one
        (17, 77, 137),  # off the full hour, but an hour apart
    ],
)
def test_bars_with_holes_are_what_their_label_says(minutes: tuple[int, ...]) -> None:
    refuse_spacing(opening("1h", HOUR_MS, *minutes), "x.db")


def test_bars_longer_than_their_label_are_refused() -> None:
    hours = tuple(range(0, 60 * 6, 60))
    said = r"x.db: bars labelled 1m must open 1m apart, those of ETH mostly open 1h apart \(5 of 5"
    with pytest.raises(DataError, match=said + ".* --timeframe 1h"):
        refuse_spacing(opening("1m", 60_000, *hours), "x.db")
    with pytest.raises(DataError, match=r"mostly open 1h apart \(3 of 5 .*from 2023-03-24T12:40"):
        refuse_spacing(opening("1m", 60_000, 0, 1, 2, 62, 122, 182), "x.db")
    refuse_spacing(opening("1m", 0, *hours), "x.db")


def test_bars_shorter_than_their_label_are_refused() -> None:
    said = (
        r"x.db: bars labelled 1h must open at least 1h apart, those of ETH at 2023-03-24T14:40:00Z and "
        r"2023-03-24T14:45:00Z open 5m apart.*--timeframe 5m --resample 1h"
    )
    with pytest.raises(DataError, match=said):
        refuse_spacing(opening("1h", HOUR_MS, 0, 60, 120, 125, 180, 240, 300), "x.db")


@pytest.mark.parametrize(("label", "meant"), [("1M", "1m"), ("12M", "12m")])
def test_months_are_not_taken_for_minutes(label: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"--interval must .* '{label}', which .* {meant} .min"):
        refuse_month(label, "--interval")


@pytest.mark.parametrize("label", ["", "1m", "1H", "1D", "M", "MAX", "1Mo"])
def test_other_labels_are_no_months(label: str) -> None:
    refuse_month(label, "--interval")
