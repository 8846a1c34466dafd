"""Labels survive any order in which EM numbers its states, and follow through to the answers."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from mei.learning.alignment import align
from mei.learning.features import regime_features
from mei.learning.hmm import RegimeParameters, fit_regimes
from mei.learning.regime_filter import filtered_probabilities
from mei.learning.regime_model import RegimeModel
from tests.learning.market import STEP_MS, regime_bars


@pytest.fixture(scope="module")
def first_fit() -> RegimeParameters:
    rows = regime_features(regime_bars(4060), STEP_MS)[60:]
    fitted = fit_regimes(rows, [4000], n_states=4, seed=7).parameters
    return fitted.permuted(align(fitted, None).order)


@pytest.fixture(scope="module")
def next_fit(first_fit: RegimeParameters) -> RegimeParameters:
    rows = regime_features(regime_bars(4060, seed=1), STEP_MS)[60:]
    return fit_regimes(rows, [4000], n_states=4, seed=8, parent=first_fit).parameters


def test_first_fit_is_labelled_by_volatility(first_fit: RegimeParameters) -> None:
    shuffled = first_fit.permuted(np.array([2, 0, 3, 1]))

    alignment = align(shuffled, None)

    assert (np.diff(first_fit.means[:, 1]) > 0).all()
    np.testing.assert_array_equal(shuffled.permuted(alignment.order).means, first_fit.means)


@pytest.mark.parametrize("order", list(permutations(range(4))))
@pytest.mark.parametrize("level", [1.0, 0.2, 8.0])
def test_labels_are_recovered_from_every_order_at_any_market_level(
    first_fit: RegimeParameters, next_fit: RegimeParameters, order: tuple[int, ...], level: float
) -> None:
    scale = np.array([level, level, 1.0])
    moved = RegimeParameters(
        next_fit.startprob, next_fit.transmat, next_fit.means * scale, next_fit.variances * scale**2
    )
    numbered = moved.permuted(np.array(order))

    alignment = align(numbered, first_fit)

    np.testing.assert_array_equal(np.array(order)[alignment.order], np.arange(4))
    assert alignment.margin > 0.5


def test_labels_follow_what_tells_states_apart_and_not_the_largest_numbers() -> None:
    """Ranges differ by many standard deviations, volume z-scores by a tenth of one, though that is a larger number."""
    variances = np.tile([1e-8, 1e-8, 1.0], (4, 1))
    uniform = np.full(4, 0.25)
    ranges = np.arange(1.0, 5.0) * 1e-3
    previous, fitted = (
        RegimeParameters(
            uniform,
            np.full((4, 4), 0.25),
            np.column_stack([np.zeros(4), ranges, noise]),
            variances,
        )
        for noise in (np.arange(4) / 10, np.arange(4)[::-1] / 10)
    )

    np.testing.assert_array_equal(align(fitted, previous).order, np.arange(4))


@pytest.mark.parametrize("order", [(1, 0, 3, 2), (3, 2, 1, 0), (1, 2, 3, 0)])
def test_filtered_probabilities_follow_the_labels(
    first_fit: RegimeParameters, next_fit: RegimeParameters, order: tuple[int, ...]
) -> None:
    bars = regime_bars(900, seed=3)
    features = regime_features(bars, STEP_MS)
    numbered = next_fit.permuted(np.array(order))

    def answers(parameters: RegimeParameters) -> np.ndarray:
        aligned = parameters.permuted(align(parameters, first_fit).order)
        model = RegimeModel(
            aligned.startprob, aligned.transmat, aligned.means, aligned.variances, 0, 1
        )
        opens = np.ascontiguousarray(bars["timestamp"])
        return filtered_probabilities(model, features, opens, np.arange(600, 900), STEP_MS)

    np.testing.assert_allclose(answers(numbered), answers(next_fit), rtol=1e-9, atol=1e-12)


def test_other_number_of_states_starts_labels_anew(first_fit: RegimeParameters) -> None:
    rows = regime_features(regime_bars(2060), STEP_MS)[60:]
    fewer = fit_regimes(rows, [2000], n_states=2, seed=7).parameters

    order = align(fewer, first_fit).order

    assert fewer.means[order[0], 1] < fewer.means[order[1], 1]


def test_indistinguishable_states_have_no_margin(first_fit: RegimeParameters) -> None:
    twins = first_fit.permuted(np.array([0, 1, 1, 3]))

    assert align(twins, first_fit).margin == pytest.approx(0.0, abs=1e-12)
