"""Numbers of an equity curve, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mei.metrics.equity import EquityScan, EquityScanner
from mei.metrics.performance import (
    cagr,
    calmar_ratio,
    daily_equity,
    daily_returns,
    monthly_returns,
    performance,
    sharpe_ratio,
    sortino_ratio,
    volatility,
    worst_drawdowns,
)
from mei.model.bars import DAY_MS

HOUR_MS = 3_600_000


def scan_of(
    rows: list[tuple[int, float]], initial: float = 100.0, block: int = 1_000, held: float = 0.0
) -> EquityScan:
    """Scan (close_ms, equity) rows fed in blocks of `block`."""
    scanner = EquityScanner(initial)
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        close_ms = np.array([row[0] for row in part], dtype=np.int64)
        equity = np.array([row[1] for row in part])
        scanner.add(close_ms, equity, np.full(len(part), held))
    return scanner.finish()


def days(values: list[float]) -> list[tuple[int, float]]:
    """One row a day, closing at midnight."""
    return [((day + 1) * DAY_MS, value) for day, value in enumerate(values)]


def test_bar_closing_at_midnight_belongs_to_the_day_that_ends() -> None:
    scan = scan_of([(DAY_MS - HOUR_MS, 101.0), (DAY_MS, 102.0), (DAY_MS + HOUR_MS, 103.0)])
    assert daily_equity(scan) == [(0, 102.0), (1, 103.0)]


def test_day_without_rows_repeats_the_last_equity() -> None:
    scan = scan_of([(DAY_MS, 110.0), (4 * DAY_MS, 121.0)])
    assert daily_equity(scan) == [(0, 110.0), (1, 110.0), (2, 110.0), (3, 121.0)]
    assert daily_returns(scan) == pytest.approx([0.1, 0.0, 0.0, 0.1])


def test_total_return_counts_from_the_initial_equity() -> None:
    numbers = performance(scan_of(days([90.0, 120.0])))
    assert numbers["total_return"].value == pytest.approx(0.2)


def test_cagr_of_a_doubling_over_one_year_is_one() -> None:
    scan = scan_of([(DAY_MS, 100.0), (366 * DAY_MS, 200.0)])
    growth = cagr(scan, 365)
    assert growth.value == pytest.approx(1.0)
    assert growth.periods_per_year == 365


def test_ratios_of_three_days_match_the_hand_computation() -> None:
    returns = [0.02, -0.01, 0.02]
    # mean 0.01, sample variance ((0.01)^2 + (0.02)^2 + (0.01)^2) / 2 = 3e-4
    deviation = math.sqrt(3e-4)
    assert volatility(returns, 365).value == pytest.approx(deviation * math.sqrt(365))
    assert sharpe_ratio(returns, 365).value == pytest.approx(0.01 / deviation * math.sqrt(365))
    # downside: only one day of three loses 1 %: sqrt(1e-4 / 3)
    downside = math.sqrt(1e-4 / 3)
    assert sortino_ratio(returns, 365).value == pytest.approx(0.01 / downside * math.sqrt(365))


def test_periods_per_year_scale_a_ratio_by_its_root_and_stand_beside_it() -> None:
    returns = [0.02, -0.01, 0.02]
    year, quarter = sharpe_ratio(returns, 364), sharpe_ratio(returns, 91)
    assert year.value == pytest.approx(2.0 * (quarter.value or 0.0))
    assert year.as_json()["periods_per_year"] == 364


def test_calmar_is_cagr_over_the_deepest_drawdown() -> None:
    scan = scan_of([(DAY_MS, 100.0), (100 * DAY_MS, 75.0), (366 * DAY_MS, 150.0)])
    assert calmar_ratio(cagr(scan, 365), 0.25, 365).value == pytest.approx(0.5 / 0.25)
    assert performance(scan)["calmar_ratio"].value == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("returns", "reason"),
    [([], "fewer than 2 days"), ([0.1], "fewer than 2 days"), ([0.0, 0.0], "do not vary")],
)
def test_sharpe_that_is_not_defined_is_none_with_a_reason(
    returns: list[float], reason: str
) -> None:
    number = sharpe_ratio(returns, 365)
    assert number.value is None
    assert reason in str(number.reason)


def test_sortino_without_a_losing_day_is_none_with_a_reason() -> None:
    number = sortino_ratio([0.01, 0.02], 365)
    assert (number.value, number.reason) == (None, "no losing day")


def test_flat_equity_has_no_drawdown_and_no_calmar() -> None:
    numbers = performance(scan_of(days([100.0, 100.0, 100.0])))
    assert numbers["max_drawdown"].value == 0.0
    assert numbers["calmar_ratio"].reason == "no drawdown"


def test_equity_below_zero_leaves_growth_undefined_not_nan() -> None:
    numbers = performance(scan_of(days([100.0, -5.0, -6.0])))
    assert numbers["cagr"].value is None
    assert numbers["total_return"].value == pytest.approx(-1.06)


def test_no_rows_give_an_undefined_return() -> None:
    assert performance(scan_of([]))["total_return"].reason == "no rows"


@pytest.mark.parametrize("block", [1, 2, 3, 100])
def test_drawdowns_have_peak_trough_and_recovery_however_rows_are_fed(block: int) -> None:
    # peaks at day 2 (120), lowest at day 4 (90), back at day 5; then 130 and down to 117 at the end
    values = [110.0, 120.0, 108.0, 90.0, 121.0, 130.0, 117.0, 118.0]
    scan = scan_of(days(values), block=block)
    first, second = worst_drawdowns(scan, 5)
    assert (first.peak_ms, first.trough_ms, first.recovered_ms) == (
        2 * DAY_MS,
        4 * DAY_MS,
        5 * DAY_MS,
    )
    assert first.depth_frac == pytest.approx(0.25)
    assert (second.peak_ms, second.trough_ms, second.recovered_ms) == (
        6 * DAY_MS,
        7 * DAY_MS,
        None,
    )
    assert second.depth_frac == pytest.approx(0.1)
    assert scan.under_water_ms == 3 * DAY_MS + 2 * DAY_MS
    assert scan.longest_under_water_ms == 3 * DAY_MS


def test_loss_on_the_first_row_is_a_drawdown_from_the_initial_equity() -> None:
    numbers = performance(scan_of(days([80.0, 90.0])))
    assert numbers["max_drawdown"].value == pytest.approx(0.2)


def test_plateau_at_the_peak_is_not_under_water() -> None:
    scan = scan_of(days([100.0, 100.0, 99.0, 100.0, 100.0]))
    assert scan.under_water_ms == 2 * DAY_MS
    assert worst_drawdowns(scan, 1)[0].peak_ms == 2 * DAY_MS


def test_drawdown_too_small_to_list_still_is_the_maximum() -> None:
    scan = scan_of(days([100.0, 99.999, 100.0]))
    assert scan.drawdowns == []
    assert performance(scan)["max_drawdown"].value == pytest.approx(1e-5)


def test_scan_of_a_random_walk_does_not_depend_on_the_blocks() -> None:
    rng = np.random.default_rng(3)
    walk = 100.0 * np.exp(np.cumsum(rng.normal(0, 0.001, 5_000)))
    rows = [((k + 1) * 60_000, float(value)) for k, value in enumerate(walk)]
    whole, parts = scan_of(rows, block=10_000), scan_of(rows, block=77)
    assert whole.drawdowns == parts.drawdowns
    assert whole.day_equity == parts.day_equity
    peaks = np.maximum(np.maximum.accumulate(walk), 100.0)
    assert performance(whole)["max_drawdown"].value == pytest.approx(
        float((1 - walk / peaks).max())
    )


def test_exposure_is_the_share_of_rows_with_a_position() -> None:
    scanner = EquityScanner(100.0)
    scanner.add(np.arange(1, 5), np.full(4, 100.0), np.array([0.0, -3.0, 2.0, 0.0]))
    assert performance(scanner.finish())["exposure"].value == 0.5


def test_months_compound_from_the_initial_equity() -> None:
    scan = scan_of([(31 * DAY_MS, 110.0), (59 * DAY_MS, 99.0)])
    assert monthly_returns(scan) == [
        ("1970-01", pytest.approx(0.1)),
        ("1970-02", pytest.approx(-0.1)),
    ]
