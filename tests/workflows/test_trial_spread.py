"""What never trades must not make luck look harmless."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mei.metrics.overfitting import (
    Moments,
    Spread,
    deflated_sharpe_ratio,
    probabilistic_sharpe_ratio,
)
from mei.workflows.trial_spread import add_traded, trials_so_spread

WINNER = Moments(n_returns=200, sharpe=0.15, skew=0.0, kurtosis=3.0)
Tried = list[tuple[float, float]]


def deflated(tried: Tried) -> float | None:
    """The winner against all of them."""
    spread = Spread()
    add_traded(spread, tried)
    return deflated_sharpe_ratio(WINNER, trials_so_spread(len(tried), spread)).value


@given(
    st.lists(st.tuples(st.floats(-9.0, 9.0), st.integers(1, 400).map(float)), min_size=1),
    st.integers(1, 600),
)
def test_trials_that_never_trade_never_raise_the_ratio(traded: Tried, n_idle: int) -> None:
    before, after = deflated(traded), deflated(traded + [(0.0, 0.0)] * n_idle)
    assert before is not None
    assert after is None or after <= before


def test_a_winner_of_few_does_not_survive_for_idle_ones() -> None:
    traded = [((-1.0) ** n * n / 8.0, 30.0) for n in range(24)]
    before = deflated(traded)
    after = deflated(traded + [(0.0, 0.0)] * 456)
    assert before is not None
    assert after is not None
    assert 0.01 < before < 0.5
    assert after < before


@pytest.mark.parametrize("tried", [[(1.0, 5.0), (0.0, 0.0)], [(0.0, 0.0)] * 3])
def test_the_spread_of_one_that_trades_among_several_is_not_known(tried: Tried) -> None:
    assert deflated(tried) is None


def test_a_trial_alone_is_not_deflated() -> None:
    assert deflated([(1.0, 5.0)]) == probabilistic_sharpe_ratio(WINNER).value
