"""Which bars are fitted, which validate, which are clean."""

from __future__ import annotations

import numpy as np

from mei.learning.split import covered, outside_lineage, runs_of, split_window
from tests.learning.market import STEP_MS


def test_newest_fifth_validates_and_the_purge_lies_before_it() -> None:
    split = split_window(np.arange(100, 1100), purge_bars=60)

    np.testing.assert_array_equal(split.validation, np.arange(900, 1100))
    np.testing.assert_array_equal(split.fit, np.arange(100, 840))
    assert split.n_points == 940


def test_purge_counts_bars_of_the_series_not_of_the_window() -> None:
    # Bars 800..849 were consumed before: they are 50 of the 60 between fit and validation.
    window = np.r_[0:800, 850:1050]

    split = split_window(window, purge_bars=60)

    assert split.validation[0] == 850
    np.testing.assert_array_equal(split.fit, np.arange(790))


def test_window_too_short_to_validate_fits_nothing() -> None:
    split = split_window(np.arange(4), purge_bars=0)

    assert split.n_points == 0


def test_ranges_hold_exactly_the_bars_and_no_gap() -> None:
    timestamp = np.r_[0:10, 20:30] * STEP_MS
    rows = np.array([2, 3, 4, 8, 9, 10, 11])

    ranges = runs_of(rows, timestamp, STEP_MS)

    assert ranges == [
        (2 * STEP_MS, 4 * STEP_MS),
        (8 * STEP_MS, 9 * STEP_MS),
        (20 * STEP_MS, 21 * STEP_MS),
    ]
    np.testing.assert_array_equal(np.flatnonzero(covered(timestamp, ranges)), rows)
    assert runs_of(rows[:0], timestamp, STEP_MS) == []


def test_bars_whose_window_saw_a_fitted_bar_are_not_clean() -> None:
    timestamp = np.arange(300) * STEP_MS
    lineage = [(0, 99 * STEP_MS), (200 * STEP_MS, 209 * STEP_MS)]

    clean = outside_lineage(np.arange(50, 300), timestamp, lineage, embargo_bars=60)

    np.testing.assert_array_equal(clean, np.r_[160:200, 270:300])
