"""Whether a sliding window can ever hold what a training needs: told before a run, not by skipped trainings."""

from __future__ import annotations

import math
from typing import Final

from mei.learning.split import VALIDATION_SHARE_PERCENT
from mei.model.bars import DAY_MS, interval_ms
from mei.model.errors import ConfigError
from mei.model.http import MAX_WINDOW_DAYS, TrainingSettings

#: Least TRAIN_MIN_POINTS that may be asked for.
_LEAST_POINTS: Final = 50


def points_of(n_window: int, purge_bars: int) -> int:
    """Fit and validation bars of a window of `n_window` bars without a gap; 0 if none is left to fit."""
    n_fit = n_window - n_window * VALIDATION_SHARE_PERCENT // 100 - purge_bars
    n_validation = n_window * VALIDATION_SHARE_PERCENT // 100
    return n_fit + n_validation if n_fit > 0 and n_validation > 0 else 0


def refuse_short_window(settings: TrainingSettings, timeframe: str) -> None:
    """ConfigError, with what would be right, if no window of `settings` can hold TRAIN_MIN_POINTS bars of `timeframe`.

    Exactly-once training has no window: it waits until there are enough bars.
    """
    if settings.exactly_once:
        return
    step_ms = interval_ms(timeframe)
    days, needed = settings.train_window_days, settings.train_min_points
    n_window = -(-round(days * DAY_MS) // step_ms)
    n_points = points_of(n_window, settings.purge_bars)
    if n_points >= needed:
        return
    remedies = ["EXACTLY_ONCE=true", "TRAINING=off"]
    if n_points >= _LEAST_POINTS:
        remedies.insert(0, f"TRAIN_MIN_POINTS={n_points}")
    enough = _days_for(needed, settings.purge_bars, step_ms)
    if enough <= MAX_WINDOW_DAYS:
        remedies.insert(0, f"TRAIN_WINDOW_DAYS={enough}")
    raise ConfigError(
        f"TRAIN_WINDOW_DAYS must hold TRAIN_MIN_POINTS={needed} bars beside PURGE_BARS={settings.purge_bars}, "
        f"{days:g} days hold {n_window} bars of TIMEFRAME={timeframe}: no model would ever be trained; set "
        f"{', '.join(remedies[:-1])} or {remedies[-1]}"
    )


def _days_for(n_points: int, purge_bars: int, step_ms: int) -> int:
    """The fewest whole days whose bars are `n_points` fit and validation bars."""
    days = max(1, (n_points + purge_bars) * step_ms // DAY_MS)
    while points_of(days * DAY_MS // step_ms, purge_bars) < n_points:
        days += max(1, math.ceil(days / 100))
    while days > 1 and points_of((days - 1) * DAY_MS // step_ms, purge_bars) >= n_points:
        days -= 1
    return days
