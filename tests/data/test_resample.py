"""Shorter bars to longer ones, against the plainest way to say it."""

from __future__ import annotations

import numpy as np
import pytest

from mei.data.resample import resampled
from mei.model.bars import BarArray, empty_bars
from mei.model.errors import ConfigError
from tests.data.databases import HOUR_MS, START_MS

MINUTE_MS = 60_000


def bars_at(minutes: list[int], seed: int = 1) -> BarArray:
    draw = np.random.default_rng(seed)
    bars = empty_bars(len(minutes))
    bars["timestamp"] = START_MS + MINUTE_MS * np.array(minutes)
    for name in ("open", "close"):
        bars[name] = draw.uniform(90, 110, len(minutes))
    bars["high"] = np.maximum(bars["open"], bars["close"]) + draw.random(len(minutes))
    bars["low"] = np.minimum(bars["open"], bars["close"]) - draw.random(len(minutes))
    bars["volume"] = draw.lognormal(3, 4, len(minutes))
    return bars


def by_hand(bars: BarArray, longer_ms: int) -> list[tuple[float, ...]]:
    made: dict[int, list[float]] = {}
    for t, o, h, low, c, v in bars.tolist():
        one = made.setdefault(t // longer_ms * longer_ms, [o, h, low, c, 0.0])
        one[1:4] = max(one[1], h), min(one[2], low), c
        one[4] += v
    return [(t, *cells) for t, cells in made.items()]


def test_every_bar_is_what_its_minutes_make_it() -> None:
    holes = {5, 60, 61, 119, *range(180, 300)}
    bars = bars_at([minute for minute in range(600) if minute not in holes])
    made = resampled(bars, "1m", "1h")
    assert made.bars.tolist() == by_hand(bars, HOUR_MS)
    assert (made.per_bar, made.n_short, made.n_missing, made.left_out) == (60, 2, 4, None)
    assert made.describe() == "8 bars of 60; 2 of them lack 4 of theirs"


def test_the_grid_is_that_of_utc_whatever_the_first_bar() -> None:
    made = resampled(bars_at(list(range(-10, 60))), "1m", "1h")
    assert made.bars["timestamp"].tolist() == [START_MS - HOUR_MS, START_MS]
    assert (made.n_short, made.n_missing) == (1, 50)
    weeks = bars_at([60 * hour for hour in range(24 * 21)])
    first = resampled(weeks, "1h", "1w").bars["timestamp"][1]
    assert np.datetime64(int(first), "ms").astype(object).strftime("%a %H:%M") == "Mon 00:00"


def test_a_last_bar_that_is_not_over_is_left_out_unless_wanted() -> None:
    bars = bars_at(list(range(132)))
    made = resampled(bars, "1m", "1h")
    assert len(made.bars) == 2
    assert made.left_out == (START_MS + 2 * HOUR_MS, 12)
    assert (
        "left out the last one, 2023-11-15T02:00:00Z, which ends after 12 of 60" in made.describe()
    )
    kept = resampled(bars, "1m", "1h", keep_partial=True)
    assert kept.bars.tolist() == by_hand(bars, HOUR_MS)
    assert (kept.left_out, kept.n_short, kept.n_missing) == (None, 1, 48)


def test_a_last_bar_whose_end_is_there_is_kept_in_spite_of_holes() -> None:
    made = resampled(bars_at([*range(60), 70, 119]), "1m", "1h")
    assert (len(made.bars), made.left_out, made.n_missing) == (2, None, 58)


def test_no_bars_make_no_bars() -> None:
    assert len(resampled(empty_bars(), "1m", "1h").bars) == 0


@pytest.mark.parametrize(
    ("timeframe", "longer"), [("1h", "1m"), ("1h", "1h"), ("3m", "10m"), ("1m", "x")]
)
def test_only_a_multiple_can_be_made(timeframe: str, longer: str) -> None:
    with pytest.raises(ConfigError):
        resampled(bars_at([0, 1]), timeframe, longer)
