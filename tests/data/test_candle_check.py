"""Bars that no market can have made are named before a strict run computes with them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mei.data.candle_check import refuse_impossible
from mei.model.candles import Candles, offsets_of
from mei.model.errors import DataError

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
