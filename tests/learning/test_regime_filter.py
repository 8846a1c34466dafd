"""The filter: against an oracle and hmmlearn's forward pass; the same bits however a series is cut."""

from __future__ import annotations

import numpy as np
import pytest

from mei.learning.features import FILTER_PRIME_BARS, PREDICT_WARM_UP_BARS, regime_features
from mei.learning.regime_filter import RESET_GAP_BARS, filtered_probabilities, sequence_scores
from mei.learning.regime_model import RegimeModel
from mei.model.bars import BarArray, FloatArray, IntArray
from tests.learning.market import STEP_MS, regime_bars
from tests.learning.oracle_filter import filtered


def a_model(features: FloatArray, n_states: int = 4) -> RegimeModel:
    """Sticky, with states spread over the features' own range."""
    usable = features[~np.isnan(features).any(axis=1)]
    levels = np.linspace(0.1, 0.9, n_states)
    transmat = np.full((n_states, n_states), 0.1 / (n_states - 1))
    np.fill_diagonal(transmat, 0.9)
    return RegimeModel(
        startprob=np.arange(1.0, n_states + 1) / (n_states * (n_states + 1) / 2),
        transmat=transmat,
        means=np.quantile(usable, levels, axis=0),
        variances=np.outer(levels, usable.var(axis=0)),
        trained_through_ms=0,
        version=1,
    )


def opens(bars: BarArray) -> IntArray:
    return np.ascontiguousarray(bars["timestamp"])


def answers(bars: BarArray, rows: IntArray, model: RegimeModel | None = None) -> FloatArray:
    features = regime_features(bars, STEP_MS)
    return filtered_probabilities(model or a_model(features), features, opens(bars), rows, STEP_MS)


def oracle(bars: BarArray, rows: IntArray) -> FloatArray:
    features = regime_features(bars, STEP_MS)
    model = a_model(features)
    parameters = (model.startprob, model.transmat, model.means, model.variances)
    plain = [p.tolist() for p in parameters]
    found = [
        filtered(*plain, features.tolist(), bars["timestamp"].tolist(), int(row), STEP_MS)
        for row in rows
    ]
    return np.array([[np.nan] * model.n_states if f is None else f for f in found])


@pytest.mark.parametrize("row", [30, 60, 61, 300, 559, 560, 561, 900, 1199])
def test_agrees_with_the_oracle(row: int) -> None:
    bars = regime_bars(1200)
    rows = np.array([row])

    np.testing.assert_allclose(answers(bars, rows), oracle(bars, rows), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("missing_bars", [1, RESET_GAP_BARS - 1, RESET_GAP_BARS, 5000])
def test_agrees_with_the_oracle_around_a_gap(missing_bars: int) -> None:
    bars = regime_bars(1000)
    bars["timestamp"][700:] += missing_bars * STEP_MS
    rows = np.arange(690, 1000, 31)

    np.testing.assert_allclose(answers(bars, rows), oracle(bars, rows), rtol=1e-9, atol=1e-15)


def test_gap_longer_than_the_limit_forgets_everything_before_it() -> None:
    bars = regime_bars(1000)
    bars["timestamp"][700:] += (RESET_GAP_BARS + 1) * STEP_MS
    features = regime_features(bars, STEP_MS)
    model = a_model(features)
    changed = features.copy()
    changed[:700] *= 3.0
    rows = np.arange(700, 1000)

    kept, other = (
        filtered_probabilities(model, values, opens(bars), rows, STEP_MS)
        for values in (features, changed)
    )

    np.testing.assert_array_equal(kept, other)


@pytest.mark.parametrize("batch", [1, 37, 64, 65, 400])
def test_batching_does_not_change_a_bit(batch: int) -> None:
    bars = regime_bars(PREDICT_WARM_UP_BARS + 400)
    rows = np.arange(PREDICT_WARM_UP_BARS, bars.size)
    model = a_model(regime_features(bars, STEP_MS))

    parts = [
        answers(
            bars[first - PREDICT_WARM_UP_BARS : first + batch],
            np.arange(n) + PREDICT_WARM_UP_BARS,
            model,
        )
        for first in range(PREDICT_WARM_UP_BARS, bars.size, batch)
        for n in [min(batch, bars.size - first)]
    ]

    np.testing.assert_array_equal(np.concatenate(parts), answers(bars, rows, model))


def test_scattered_rows_get_what_they_get_among_their_neighbours() -> None:
    bars = regime_bars(1200)
    some = np.array([58, 59, 60, 61, 700, 702, 703, 1199])

    np.testing.assert_array_equal(answers(bars, some), answers(bars, np.arange(1200))[some])


def test_later_bars_do_not_move_earlier_answers() -> None:
    bars = regime_bars(1300)
    model = a_model(regime_features(bars, STEP_MS))
    changed = bars.copy()
    changed[1000:] = regime_bars(1300, seed=4)[1000:]
    rows = np.arange(900, 1000)

    for other in (bars[:1000], changed):
        np.testing.assert_array_equal(answers(other, rows, model), answers(bars, rows, model))


def test_bars_without_features_are_undefined_and_passed_over() -> None:
    bars = regime_bars(1200)
    features = regime_features(bars, STEP_MS)
    model = a_model(features)
    holes = features.copy()
    holes[1100:1110] = np.nan
    rows = np.array([1105, 1110])
    without = np.r_[0:1100, 1110:1200]

    found = filtered_probabilities(model, holes, opens(bars), rows, STEP_MS)
    closed = filtered_probabilities(
        model, features[without], opens(bars)[without], np.array([1100]), STEP_MS
    )

    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[1:], closed)


def test_impossible_bar_still_gives_probabilities() -> None:
    bars = regime_bars(1200)
    features = regime_features(bars, STEP_MS)
    model = a_model(features)
    features[1000] *= 1e6

    found = filtered_probabilities(model, features, opens(bars), np.arange(990, 1010), STEP_MS)

    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("n_states", [2, 4, 8])
def test_scores_add_up_to_hmmlearns_forward_likelihood(n_states: int) -> None:
    from hmmlearn.hmm import GaussianHMM

    bars = regime_bars(860)
    features = regime_features(bars, STEP_MS)
    model = a_model(features, n_states)
    peer = GaussianHMM(n_states, covariance_type="diag", implementation="log")
    peer.startprob_, peer.transmat_ = model.startprob, model.transmat
    peer.means_, peer.covars_ = model.means, model.variances

    scores = sequence_scores(model, features, opens(bars), 60, STEP_MS)

    assert scores.sum() == pytest.approx(peer.score(features[60:]), rel=1e-10)


def test_filter_at_the_last_bar_is_hmmlearns_posterior_there() -> None:
    from hmmlearn.hmm import GaussianHMM

    bars = regime_bars(561)
    features = regime_features(bars, STEP_MS)
    model = a_model(features)
    peer = GaussianHMM(4, covariance_type="diag", implementation="log")
    peer.startprob_, peer.transmat_ = model.startprob, model.transmat
    peer.means_, peer.covars_ = model.means, model.variances

    # Smoothing and filtering agree at the end of the data, and only there.
    expected = peer.predict_proba(features[60:])[-1]

    np.testing.assert_allclose(answers(bars, np.array([560]), model)[0], expected, rtol=1e-8)


def test_scores_are_primed_on_the_bars_before_and_only_on_those() -> None:
    bars = regime_bars(1500)
    features = regime_features(bars, STEP_MS)
    model = a_model(features)
    first = 1200

    whole = sequence_scores(model, features, opens(bars), first, STEP_MS)
    oldest = first - FILTER_PRIME_BARS
    cut = sequence_scores(model, features[oldest:], opens(bars)[oldest:], first - oldest, STEP_MS)
    unprimed = sequence_scores(model, features[first:], opens(bars)[first:], 0, STEP_MS)

    np.testing.assert_array_equal(whole, cut)
    assert whole.shape == (300,)
    assert whole[0] != unprimed[0]
