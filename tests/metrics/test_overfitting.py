"""Probabilistic and deflated Sharpe ratio: the papers' figures, and sums done by hand."""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mei.metrics.overfitting import (
    Moments,
    Trials,
    deflated_sharpe_ratio,
    expected_best_sharpe,
    moments,
    per_period,
    probabilistic_sharpe_ratio,
    trials_of,
)
from mei.metrics.replay import daily_returns, sharpe_ratio
from mei.model.bars import DAY_MS

#: Of the paper on the deflated ratio: 2.5 a year from 5 years of 250 days, trials with a variance of 1/2 a year.
PAPER = Moments(n_returns=1250, sharpe=per_period(2.5, 250), skew=-3.0, kurtosis=10.0)
PAPER_VARIANCE = 0.5 / 250


def test_the_papers_example() -> None:
    trials = Trials(100, PAPER_VARIANCE)
    assert expected_best_sharpe(trials) == pytest.approx(0.1132, abs=5e-5)
    assert deflated_sharpe_ratio(PAPER, trials).value == pytest.approx(0.9004, abs=5e-5)
    fewer = deflated_sharpe_ratio(PAPER, Trials(46, PAPER_VARIANCE))
    assert fewer.value == pytest.approx(0.9505, abs=5e-5)
    normal = replace(PAPER, skew=0.0, kurtosis=3.0)
    more = deflated_sharpe_ratio(normal, Trials(88, PAPER_VARIANCE))
    assert more.value == pytest.approx(0.9505, abs=5e-5)
    assert more.unit == "frac"


def test_moments_done_by_hand() -> None:
    # Mean 1; deviations -2, 0, 0, 2: variance 2, third moment 0, fourth 32 / 4 = 8.
    assert moments([-1.0, 1.0, 1.0, 3.0]) == Moments(4, 1.0 / math.sqrt(2.0), 0.0, 2.0)
    # Mean 1; deviations -1, -1, -1, 3: variance 3, third (27 - 3) / 4 = 6, fourth (81 + 3) / 4 = 21.
    found = moments([0.0, 0.0, 0.0, 4.0])
    assert found is not None
    assert found.sharpe == pytest.approx(1.0 / math.sqrt(3.0), rel=1e-15)
    assert found.skew == pytest.approx(6.0 / 3.0**1.5, rel=1e-15)
    assert found.kurtosis == pytest.approx(21.0 / 9.0, rel=1e-15)


def test_a_probability_done_by_hand() -> None:
    # Normal returns, Sharpe ratio 0.2 of 401: (0.2 * 20) / sqrt(1 + 0.02) = 3.9606 above 0; Phi of it.
    found = Moments(401, 0.2, 0.0, 3.0)
    score = 4.0 / math.sqrt(1.02)
    expected = 0.5 * math.erfc(-score / math.sqrt(2.0))
    assert probabilistic_sharpe_ratio(found).value == pytest.approx(expected, rel=1e-12)
    assert probabilistic_sharpe_ratio(found, 0.2).value == 0.5
    # A long left tail widens the error of a gain: 1 + 0.2 + 2.25 * 0.04 = 1.29.
    tailed = Moments(401, 0.2, -1.0, 10.0)
    wide = 0.5 * math.erfc(-4.0 / math.sqrt(1.29) / math.sqrt(2.0))
    assert probabilistic_sharpe_ratio(tailed).value == pytest.approx(wide, rel=1e-12)


def test_the_best_of_trials_without_merit_is_as_good_as_expected() -> None:
    draw = random.Random(11)
    best = [max(draw.gauss(0.0, 0.1) for _ in range(100)) for _ in range(1500)]
    assert statistics.fmean(best) == pytest.approx(
        expected_best_sharpe(Trials(100, 0.01)), rel=0.02
    )


def test_moments_of_daily_returns_have_the_reports_sharpe_ratio() -> None:
    equity_ms = np.arange(0, 40 * DAY_MS, DAY_MS // 4)
    equity_usd = 1000.0 + 50.0 * np.sin(np.arange(160) / 7.0) + np.arange(160)
    returns = daily_returns(equity_ms, equity_usd)
    assert len(returns) == 39
    assert returns[0] == (equity_usd[7] - equity_usd[3]) / equity_usd[3]
    found = moments(returns)
    assert found is not None
    annualised = sharpe_ratio(equity_ms, equity_usd)
    assert found.sharpe == pytest.approx(per_period(annualised, 365), rel=1e-12)
    assert daily_returns(equity_ms[:1], equity_usd[:1]) == daily_returns(*[equity_ms[:3]] * 2) == []


def test_one_trial_deflates_nothing() -> None:
    assert expected_best_sharpe(Trials(1, 0.3)) == expected_best_sharpe(Trials(50, 0.0)) == 0.0
    assert deflated_sharpe_ratio(PAPER, Trials(1, 0.0)) == probabilistic_sharpe_ratio(PAPER)


def test_more_trials_deflate_more_without_end() -> None:
    values = [
        deflated_sharpe_ratio(PAPER, Trials(10**power, PAPER_VARIANCE)).value
        for power in range(1, 19)
    ]
    assert values == sorted(values, key=lambda value: -(value or 0.0))
    assert len(set(values)) == len(values)


@given(st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=40))
def test_moments_are_those_of_other_sums(returns: list[float]) -> None:
    found = moments(returns)
    array = np.asarray(returns)
    deviation = array.std()
    if found is None:
        assert deviation <= 1.0001e-12
        return
    scores = (array - array.mean()) / deviation
    near = {"rel": 1e-6, "abs": 1e-6}
    if deviation > 1e-6:
        assert found.sharpe == pytest.approx(array.mean() / deviation, **near)
        assert found.skew == pytest.approx((scores**3).mean(), **near)
        assert found.kurtosis == pytest.approx((scores**4).mean(), **near)
    value = probabilistic_sharpe_ratio(found).value
    assert value is None or 0.0 <= value <= 1.0


@given(st.lists(st.floats(-3.0, 3.0), max_size=30))
def test_trials_are_counted_in_one_pass(sharpes: list[float]) -> None:
    found = trials_of(iter([*sharpes, math.nan, math.inf]))
    assert found.n_trials == len(sharpes)
    expected = statistics.variance(sharpes) if len(sharpes) > 1 else 0.0
    assert found.variance == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_per_period_undoes_the_year() -> None:
    assert per_period(1.9, 361) == 1.9 / 19.0


@pytest.mark.parametrize("returns", [[], [0.1], [0.1] * 5, [0.1, math.nan], [0.1, math.inf]])
def test_returns_without_a_sharpe_ratio(returns: list[float]) -> None:
    assert moments(returns) is None
    number = deflated_sharpe_ratio(None, Trials(3, 0.1))
    assert number.value is None
    assert number.reason == "fewer than 2 returns, or they do not vary"


@pytest.mark.parametrize(
    ("found", "trials", "reason"),
    [
        (PAPER, Trials(0, 0.0), "no trial"),
        (PAPER, Trials(5, math.nan), "the variance of the trials is not defined"),
        (PAPER, Trials(5, -1.0), "the variance of the trials is not defined"),
        (Moments(10, 1.0, 2.0, 1.0), Trials(5, 0.1), "the Sharpe ratio's error is not defined"),
        (
            Moments(10, math.nan, 0.0, 3.0),
            Trials(5, 0.1),
            "the Sharpe ratio's error is not defined",
        ),
        (Moments(1, 1.0, 0.0, 3.0), Trials(5, 0.1), "the Sharpe ratio's error is not defined"),
    ],
)
def test_what_is_undefined_says_why(found: Moments, trials: Trials, reason: str) -> None:
    number = deflated_sharpe_ratio(found, trials)
    assert (number.value, number.reason) == (None, reason)
