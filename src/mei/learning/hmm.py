"""Fitting a regime model with hmmlearn. A fit is a pure function: the same arguments give the same bits."""

from __future__ import annotations

import importlib
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mei.model.bars import FloatArray, IntArray
from mei.model.errors import VerificationError

COLD_ITERATIONS = 50
WARM_ITERATIONS = 15
#: EM stops when an iteration gains less than this, nats per bar.
TOLERANCE_NATS = 1e-4
#: A fit whose likelihood ends this far under its best failed, nats per bar. hmmlearn's prior on variances makes EM lose
#: a few nats in all near the optimum; a broken fit loses them on every bar.
FALL_LIMIT_NATS = 1e-2
#: Standard deviations below this count as this: a constant feature must not divide by zero.
SCALE_FLOOR = 1e-6
#: Floors of the fitted parameters; an exact 0 could never be left or entered again. Variances: in scaled units.
PROBABILITY_FLOOR = 1e-6
VARIANCE_FLOOR = 1e-4
#: Chance to stay in a state, at the start of a cold fit.
STICKINESS = 0.95

#: Thread limits belong to the process: while one fit is pinned, none other may end and un-pin it.
_PINNED = threading.Lock()

Implementation = Literal["scaling", "log"]


class FitError(Exception):
    """A fit that did not succeed; the text is the reason to record."""


@dataclass(frozen=True, slots=True, eq=False)
class RegimeParameters:
    """startprob (n_states,), transmat (n_states, n_states), means and variances (n_states, n_features), raw units."""

    startprob: FloatArray
    transmat: FloatArray
    means: FloatArray
    variances: FloatArray

    def permuted(self, order: IntArray) -> RegimeParameters:
        """The same model with state `order[k]` as its k-th."""
        return RegimeParameters(
            self.startprob[order],
            self.transmat[np.ix_(order, order)],
            self.means[order],
            self.variances[order],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A completed fit: parameters in raw units, log-likelihood (scaled units) before each iteration."""

    parameters: RegimeParameters
    log_likelihoods: tuple[float, ...]
    implementation: Implementation
    warm: bool


def sequence_lengths(rows: IntArray, timestamp: IntArray, interval_ms: int) -> list[int]:
    """Lengths of the runs of adjacent bars. rows: bar numbers, ascending; timestamp: their opens; both (n,)."""
    adjacent = (np.diff(rows) == 1) & (np.diff(timestamp) == interval_ms)
    cuts = np.flatnonzero(~adjacent) + 1
    return [int(run.size) for run in np.split(rows, cuts)]


def fit_regimes(
    features: FloatArray,
    lengths: list[int],
    *,
    n_states: int,
    seed: int,
    parent: RegimeParameters | None = None,
) -> Fit:
    """Fit by EM on `features` (n_rows, n_features; raw units, finite), cut into sequences of `lengths`.

    Without parent: k-means start drawn from `seed`, at most 50 iterations. With parent: from its
    parameters, at most 15. BLAS and OpenMP run one thread meanwhile. Raises FitError(reason) when the
    result cannot be used.
    """
    _check_rows(features, n_states)
    if parent is not None and parent.means.shape != (n_states, features.shape[1]):
        parent = None
    centre = features.mean(axis=0)
    scale = np.maximum(features.std(axis=0), SCALE_FLOOR)
    scaled = (features - centre) / scale
    start = None if parent is None else _to_scaled(parent, centre, scale)
    with one_thread(), np.errstate(all="ignore"):
        model, implementation = _run_em(scaled, lengths, n_states, seed, start)
    history = tuple(float(value) for value in model.monitor_.history)
    _check_history(history, features.shape[0])
    parameters = _to_raw(model, centre, scale)
    return Fit(parameters, history, implementation, warm=start is not None)


@contextmanager
def one_thread() -> Iterator[None]:
    """Pin BLAS and OpenMP to one thread: their number changes the bits of a fit.

    Raises VerificationError if a library stays at more.
    """
    from threadpoolctl import threadpool_info, threadpool_limits

    # Importing a library may start a pool with threads of its own, so all are loaded before the pin.
    for name in ("hmmlearn.hmm", "sklearn.cluster", "scipy.linalg"):
        importlib.import_module(name)
    with _PINNED, threadpool_limits(limits=1):
        for pool in threadpool_info():
            if pool["num_threads"] != 1:
                raise VerificationError(
                    f"fits must run on 1 thread of {pool['internal_api']}, found {pool['num_threads']} "
                    f"in {pool['filepath']}; its number of threads cannot be limited from here"
                )
        yield


def _check_rows(features: FloatArray, n_states: int) -> None:
    if not np.isfinite(features).all():
        raise FitError("features_not_finite")
    distinct = np.unique(features, axis=0).shape[0] if features.size else 0
    if distinct < 2 * n_states:
        raise FitError(f"fewer_than_{2 * n_states}_distinct_rows: {distinct}")


def _check_history(history: tuple[float, ...], n_rows: int) -> None:
    """hmmlearn calls a fit converged at its last iteration and also when the likelihood falls: judge by the values."""
    if not history or not all(math.isfinite(value) for value in history):
        raise FitError("likelihood_not_finite")
    fall = max(history) - history[-1]
    if fall > FALL_LIMIT_NATS * n_rows:
        raise FitError(f"likelihood_fell_by_{fall:.3f}_nats")


def _run_em(
    scaled: FloatArray,
    lengths: list[int],
    n_states: int,
    seed: int,
    start: RegimeParameters | None,
) -> tuple[Any, Implementation]:
    """EM in hmmlearn's fast arithmetic; where an outlier underflows that, in logarithms (three times slower)."""
    implementations: tuple[Implementation, ...] = ("scaling", "log")
    for implementation in implementations:
        model = _estimator(implementation, scaled.shape[0], n_states, seed, start)
        try:
            model.fit(scaled, lengths)
        except ValueError as error:
            if implementation == "scaling" and "underflow" in str(error):
                continue
            raise FitError(f"em_failed: {error}") from error
        return model, implementation
    raise FitError("em_underflow")


def _estimator(
    implementation: Implementation,
    n_rows: int,
    n_states: int,
    seed: int,
    start: RegimeParameters | None,
) -> Any:
    from hmmlearn.hmm import GaussianHMM

    n_iterations = COLD_ITERATIONS if start is None else WARM_ITERATIONS
    tolerance = TOLERANCE_NATS * n_rows
    model = GaussianHMM(
        n_components=n_states,
        covariance_type="diag",
        n_iter=n_iterations,
        tol=tolerance,
        random_state=seed,
        params="stmc",
        init_params="mc" if start is None else "",
        implementation=implementation,
    )
    model.monitor_ = _quiet_monitor(tolerance, n_iterations)
    if start is None:
        model.startprob_ = np.full(n_states, 1.0 / n_states)
        model.transmat_ = _sticky(n_states)
    else:
        model.startprob_ = start.startprob
        model.transmat_ = start.transmat
        model.means_ = start.means
        model.covars_ = start.variances
    return model


def _quiet_monitor(tolerance: float, n_iterations: int) -> Any:
    """hmmlearn's monitor without its log lines; the history is judged afterwards."""
    from hmmlearn.base import ConvergenceMonitor

    class QuietMonitor(ConvergenceMonitor):  # type: ignore[misc]
        def report(self, log_prob: float) -> None:
            self.history.append(log_prob)
            self.iter += 1

    return QuietMonitor(tolerance, n_iterations, False)


def _sticky(n_states: int) -> FloatArray:
    transmat = np.full((n_states, n_states), (1.0 - STICKINESS) / (n_states - 1))
    np.fill_diagonal(transmat, STICKINESS)
    return transmat


def _to_scaled(raw: RegimeParameters, centre: FloatArray, scale: FloatArray) -> RegimeParameters:
    return RegimeParameters(
        raw.startprob,
        raw.transmat,
        (raw.means - centre) / scale,
        np.maximum(raw.variances / (scale * scale), VARIANCE_FLOOR),
    )


def _to_raw(model: Any, centre: FloatArray, scale: FloatArray) -> RegimeParameters:
    """Parameters of a fitted estimator with floors applied, in raw units. Raises FitError if one is not finite."""
    means = np.asarray(model.means_, dtype=np.float64)
    variances = np.diagonal(np.asarray(model.covars_), axis1=1, axis2=2)
    fitted = (means, variances, model.startprob_, model.transmat_)
    if not all(np.isfinite(values).all() for values in fitted):
        raise FitError("parameters_not_finite")
    return RegimeParameters(
        _floored(model.startprob_),
        _floored(model.transmat_),
        means * scale + centre,
        np.maximum(variances, VARIANCE_FLOOR) * (scale * scale),
    )


def _floored(probabilities: FloatArray) -> FloatArray:
    """Rows that sum to 1 and hold nothing below the floor (to within its own size)."""
    floored = np.maximum(np.asarray(probabilities, dtype=np.float64), PROBABILITY_FLOOR)
    rows: FloatArray = floored / floored.sum(axis=-1, keepdims=True)
    return rows
