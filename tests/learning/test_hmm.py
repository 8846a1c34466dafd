"""Fits: pure, pinned to one thread, warm starts, and failures that say why."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import threadpoolctl

from mei.learning import hmm
from mei.learning.features import regime_features
from mei.learning.hmm import (
    COLD_ITERATIONS,
    WARM_ITERATIONS,
    Fit,
    FitError,
    fit_regimes,
    one_thread,
    sequence_lengths,
)
from mei.model.bars import FloatArray
from mei.model.errors import VerificationError
from tests.learning.market import STEP_MS, regime_bars


def rows_of(n_bars: int, *, seed: int = 0, level: float = 1.0) -> FloatArray:
    return regime_features(regime_bars(n_bars + 60, seed=seed, level=level), STEP_MS)[60:]


def digest(fit: Fit) -> str:
    p = fit.parameters
    content = b"".join(a.tobytes() for a in (p.startprob, p.transmat, p.means, p.variances))
    return hashlib.sha256(content).hexdigest()


def fit_digest() -> str:
    return digest(fit_regimes(rows_of(3000), [3000], n_states=4, seed=7))


def test_two_processes_fit_the_same_bits() -> None:
    program = "from tests.learning.test_hmm import fit_digest; print(fit_digest())"

    other = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )

    assert other.stdout.strip() == fit_digest()


def test_threads_allowed_outside_do_not_change_a_bit() -> None:
    with threadpoolctl.threadpool_limits(limits=2):
        allowed_two = fit_digest()

    assert allowed_two == fit_digest()


def test_every_thread_pool_runs_one_thread_during_a_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    run_em = hmm._run_em

    def spying(*args: object) -> object:
        seen.extend(pool["num_threads"] for pool in threadpoolctl.threadpool_info())
        return run_em(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(hmm, "_run_em", spying)
    with threadpoolctl.threadpool_limits(limits=2):
        fit_regimes(rows_of(600), [600], n_states=2, seed=1)

    assert seen
    assert set(seen) == {1}


def test_pool_that_cannot_be_pinned_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    stubborn = {"internal_api": "openblas", "num_threads": 2, "filepath": "libblas.so"}
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: [stubborn])

    with (
        pytest.raises(VerificationError, match=r"1 thread of openblas, found 2 in libblas\.so"),
        one_thread(),
    ):
        pass


def test_cold_fit_finds_regimes_within_its_iterations() -> None:
    fit = fit_regimes(rows_of(4000), [4000], n_states=4, seed=7)

    ranges = np.sort(fit.parameters.means[:, 1])
    assert not fit.warm
    assert 2 <= len(fit.log_likelihoods) <= COLD_ITERATIONS
    assert (ranges[1:] > 1.4 * ranges[:-1]).all()


def test_warm_fit_starts_from_its_parent_in_the_new_scaling() -> None:
    cold = fit_regimes(rows_of(4000), [4000], n_states=4, seed=7)

    # Another window at another scale: only a parent converted through raw units is near its optimum.
    warm = fit_regimes(rows_of(4000, seed=1), [4000], n_states=4, seed=8, parent=cold.parameters)

    assert warm.warm
    assert len(warm.log_likelihoods) <= WARM_ITERATIONS
    np.testing.assert_allclose(warm.parameters.means[:, 1], cold.parameters.means[:, 1], rtol=0.4)


def test_warm_fit_from_its_own_optimum_stays_there() -> None:
    rows = rows_of(4000)
    cold = fit_regimes(rows, [4000], n_states=4, seed=7)

    warm = fit_regimes(rows, [4000], n_states=4, seed=7, parent=cold.parameters)

    assert len(warm.log_likelihoods) < len(cold.log_likelihoods)
    assert warm.log_likelihoods[0] >= cold.log_likelihoods[-1] - 1.0


def test_parent_with_another_number_of_states_is_not_used() -> None:
    rows = rows_of(1000)
    parent = fit_regimes(rows, [1000], n_states=2, seed=7).parameters

    assert not fit_regimes(rows, [1000], n_states=3, seed=7, parent=parent).warm


def test_probabilities_keep_a_floor() -> None:
    parameters = fit_regimes(rows_of(4000), [4000], n_states=4, seed=7).parameters

    assert parameters.startprob.min() > 0.9e-6
    assert parameters.transmat.min() > 0.9e-6
    np.testing.assert_allclose(parameters.transmat.sum(axis=1), 1.0, rtol=1e-12)


def test_constant_feature_neither_divides_by_zero_nor_fails() -> None:
    rows = rows_of(1000)
    rows[:, 2] = 0.0

    parameters = fit_regimes(rows, [1000], n_states=2, seed=7).parameters

    assert (parameters.variances > 0).all()


def test_outlier_that_underflows_densities_is_fitted_in_logarithms() -> None:
    rows = rows_of(2000)
    parent = fit_regimes(rows, [2000], n_states=2, seed=7).parameters
    rows[1000, 0] = 0.2

    fit = fit_regimes(rows, [2000], n_states=2, seed=7, parent=parent)

    assert fit.implementation == "log"
    assert np.isfinite(fit.parameters.means).all()


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (np.array([[1.0, np.nan, 0.0]] * 50), "features_not_finite"),
        (np.ones((50, 3)), "fewer_than_4_distinct_rows: 1"),
        (np.empty((0, 3)), "fewer_than_4_distinct_rows: 0"),
    ],
)
def test_rows_that_cannot_be_fitted_fail_with_a_reason(rows: FloatArray, reason: str) -> None:
    with pytest.raises(FitError, match=reason):
        fit_regimes(rows, [rows.shape[0]], n_states=2, seed=1)


@pytest.mark.parametrize(
    ("history", "reason"),
    [
        ([-900.0, -500.0, -600.0], "likelihood_fell_by_100.000_nats"),
        ([-900.0, float("nan")], "likelihood_not_finite"),
        ([], "likelihood_not_finite"),
    ],
)
def test_likelihood_is_judged_by_its_history(
    monkeypatch: pytest.MonkeyPatch, history: list[float], reason: str
) -> None:
    fake = SimpleNamespace(monitor_=SimpleNamespace(history=history, converged=True))
    monkeypatch.setattr(hmm, "_run_em", lambda *args: (fake, "scaling"))

    with pytest.raises(FitError, match=reason):
        fit_regimes(rows_of(600), [600], n_states=2, seed=1)


def test_sequences_are_cut_at_gaps_in_time_and_in_rows() -> None:
    rows = np.array([0, 1, 2, 5, 6, 7, 8])
    timestamp = np.array([0, 1, 2, 5, 6, 9, 10]) * STEP_MS

    assert sequence_lengths(rows, timestamp, STEP_MS) == [3, 2, 2]
