"""Windows that can never hold what a training needs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mei.learning.reach import points_of, refuse_short_window
from mei.learning.split import split_window
from mei.model.errors import ConfigError
from mei.model.http import TrainingSettings


@given(st.integers(0, 400), st.integers(0, 90))
def test_points_are_those_of_the_split(n_window: int, purge_bars: int) -> None:
    split = split_window(np.arange(n_window, dtype=np.int64), purge_bars)
    assert points_of(n_window, purge_bars) == (split.n_points if split.fit.size else 0)


@pytest.mark.parametrize(
    ("timeframe", "given", "remedies"),
    [
        ("1h", {}, "TRAIN_WINDOW_DAYS=86, TRAIN_MIN_POINTS=108, EXACTLY_ONCE=true or TRAINING=off"),
        ("1d", {}, "TRAIN_WINDOW_DAYS=2060, EXACTLY_ONCE=true or TRAINING=off"),
        ("1w", {}, "EXACTLY_ONCE=true or TRAINING=off"),
        ("5m", {"train_window_days": 7.14}, "TRAIN_WINDOW_DAYS=8, TRAIN_MIN_POINTS=1997, EXACTLY_ONCE=true"),
        ("1m", {"purge_bars": 9000}, "TRAIN_WINDOW_DAYS=8, EXACTLY_ONCE=true or TRAINING=off"),
    ],
)  # fmt: skip
def test_a_window_too_short_is_refused_with_what_would_do(
    timeframe: str, given: dict[str, float], remedies: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_short_window(TrainingSettings.model_validate(given), timeframe)
    assert "\n" not in str(caught.value)
    assert f"TIMEFRAME={timeframe}: no model would ever be trained; set {remedies}" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("timeframe", "days"), [("1m", 2), ("15m", 22), ("1h", 86), ("4h", 344), ("1d", 2060)]
)
def test_what_is_proposed_does_and_a_day_less_does_not(timeframe: str, days: int) -> None:
    refuse_short_window(TrainingSettings(train_window_days=days), timeframe)
    with pytest.raises(ConfigError, match=f"TRAIN_WINDOW_DAYS={days},"):
        refuse_short_window(TrainingSettings(train_window_days=days - 1), timeframe)
    refuse_short_window(TrainingSettings(train_window_days=0.1, exactly_once=True), timeframe)
