"""Forward-only regime filter. hmmlearn's predict and predict_proba smooth, that is, look ahead; nothing here does.

The answer at bar t is a function of the model and of the last 501 bars with features: the filter
starts from `startprob` 500 bars before t. It is therefore the same however a series is cut into
requests. The bars of a batch are the lanes of the innermost loops: the compiler works on several bars
at once, each in the same order of operations.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mei.jit import compiled
from mei.learning.features import FILTER_PRIME_BARS
from mei.learning.regime_model import RegimeModel
from mei.model.bars import FloatArray, IntArray

#: Bars farther apart than this many intervals do not inform each other.
RESET_GAP_BARS = 500

Mask = npt.NDArray[np.bool_]

_LANES = 64
_LOG_2PI = math.log(2.0 * math.pi)


def _log_density(
    row: FloatArray,
    means: FloatArray,
    variances: FloatArray,
    log_norm: FloatArray,
    out: FloatArray,
) -> float:
    """log N(row; state) of every state into `out`; returns their maximum."""
    top = -math.inf
    for i in range(means.shape[0]):
        total = log_norm[i]
        for d in range(means.shape[1]):
            distance = row[d] - means[i, d]
            total -= 0.5 * (distance * distance / variances[i, d])
        out[i] = total
        if total > top:
            top = total
    return top


_log_density_c = compiled(_log_density)


def _emissions(
    rows: FloatArray,
    means: FloatArray,
    variances: FloatArray,
    log_norm: FloatArray,
    pad: int,
    out: FloatArray,
) -> None:
    """Densities relative to the most likely state, (n_states, pad + n_rows); the first `pad` are 1."""
    log_density = np.empty(means.shape[0])
    for i in range(out.shape[0]):
        for t in range(pad):
            out[i, t] = 1.0
    for t in range(rows.shape[0]):
        top = _log_density_c(rows[t], means, variances, log_norm, log_density)
        for i in range(out.shape[0]):
            out[i, pad + t] = math.exp(log_density[i] - top)


def _weigh(
    predicted: FloatArray, emission: FloatArray, base: int, weight: FloatArray, total: FloatArray
) -> None:
    """Posterior of every lane from its prediction and the densities of its bar, normalised."""
    total[:] = 0.0
    for i in range(weight.shape[0]):
        density = emission[i, base : base + total.size]
        prior = predicted[i]
        posterior = weight[i]
        for lane in range(total.size):
            posterior[lane] = prior[lane] * density[lane]
            total[lane] += posterior[lane]
    for lane in range(total.size):
        total[lane] = 1.0 / total[lane]
    for i in range(weight.shape[0]):
        posterior = weight[i]
        for lane in range(total.size):
            posterior[lane] *= total[lane]


def _move(weight: FloatArray, transmat: FloatArray, state: int, moved: FloatArray) -> None:
    """Chance of every lane to be in `state` one bar later."""
    moved[:] = 0.0
    for i in range(weight.shape[0]):
        posterior = weight[i]
        chance = transmat[i, state]
        for lane in range(moved.size):
            moved[lane] += posterior[lane] * chance


_weigh_c = compiled(_weigh)
_move_c = compiled(_move)


def _filter_block(
    startprob: FloatArray,
    transmat: FloatArray,
    emission: FloatArray,
    begin: IntArray,
    lo: int,
    steps: int,
    out: FloatArray,
) -> None:
    """Filter rows lo .. lo + out.shape[0] - 1; a lane takes part from step begin[lo + lane] on."""
    n_lanes, n_states = out.shape
    predicted = np.empty((n_states, n_lanes))
    weight = np.empty((n_states, n_lanes))
    lanes = np.empty(n_lanes)
    starts = begin[lo : lo + n_lanes]
    for i in range(n_states):
        predicted[i, :] = startprob[i]
    for k in range(steps):
        _weigh_c(predicted, emission, lo + k, weight, lanes)
        for j in range(n_states):
            _move_c(weight, transmat, j, lanes)
            prior = predicted[j]
            for lane in range(n_lanes):
                prior[lane] = lanes[lane] if starts[lane] <= k else startprob[j]
    for i in range(n_states):
        for lane in range(n_lanes):
            out[lane, i] = weight[i, lane]


_filter_block_c = compiled(_filter_block)


def _filter_rows(
    startprob: FloatArray,
    transmat: FloatArray,
    emission: FloatArray,
    begin: IntArray,
    lo: int,
    steps: int,
    out: FloatArray,
) -> None:
    """Filter rows lo .. lo + out.shape[0] - 1, block by block."""
    for start in range(0, out.shape[0], _LANES):
        block = out[start : min(start + _LANES, out.shape[0])]
        _filter_block_c(startprob, transmat, emission, begin, lo + start, steps, block)


def _score_rows(
    startprob: FloatArray,
    transmat: FloatArray,
    means: FloatArray,
    variances: FloatArray,
    log_norm: FloatArray,
    rows: FloatArray,
    reset: Mask,
    out: FloatArray,
) -> None:
    """One forward pass over `rows`, starting again where `reset`; log of each normaliser into `out`."""
    predicted = startprob.copy()
    weight = np.empty(startprob.size)
    log_density = np.empty(startprob.size)
    for t in range(rows.shape[0]):
        if reset[t]:
            predicted[:] = startprob
        top = _log_density_c(rows[t], means, variances, log_norm, log_density)
        total = 0.0
        for i in range(startprob.size):
            weight[i] = predicted[i] * math.exp(log_density[i] - top)
            total += weight[i]
        out[t] = top + math.log(total)
        for j in range(startprob.size):
            moved = 0.0
            for i in range(startprob.size):
                moved += weight[i] / total * transmat[i, j]
            predicted[j] = moved


_emissions_c = compiled(_emissions)
_filter_rows_c = compiled(_filter_rows)
_score_rows_c = compiled(_score_rows)


def _log_norm(model: RegimeModel) -> FloatArray:
    """-(d log 2 pi + sum of log variances) / 2 of every state, summed in the order of features."""
    total = np.zeros(model.n_states)
    for d in range(model.variances.shape[1]):
        total += np.log(model.variances[:, d]) + _LOG_2PI
    return -0.5 * total


def _segment_starts(timestamp: IntArray, interval_ms: int) -> tuple[IntArray, Mask]:
    """For every row the first row of its segment, and whether it is that row itself."""
    is_first = np.ones(timestamp.size, dtype=np.bool_)
    is_first[1:] = np.diff(timestamp) > RESET_GAP_BARS * interval_ms
    rows = np.arange(timestamp.size, dtype=np.int64)
    return np.maximum.accumulate(np.where(is_first, rows, 0)), is_first


def _runs(rows: IntArray) -> list[tuple[int, int]]:
    """Ascending row numbers as [lo, hi) runs of consecutive ones."""
    cuts = np.flatnonzero(np.diff(rows) != 1) + 1
    return [(int(run[0]), int(run[-1]) + 1) for run in np.split(rows, cuts) if run.size]


def filtered_probabilities(
    model: RegimeModel,
    features: FloatArray,
    timestamp: IntArray,
    rows: IntArray,
    interval_ms: int,
) -> FloatArray:
    """P(regime at bar | bars up to it), ndarray (rows.size, n_states); NaN where the bar has no features.

    features: (n_bars, n_features) of `regime_features`; timestamp: (n_bars,) bar opens; rows: the bars
    wanted, ascending. Bars without features are passed over; nothing before a gap of more than 500
    intervals is used.
    """
    out = np.full((rows.size, model.n_states), np.nan)
    if rows.size == 0:
        return out
    oldest = max(0, int(rows[0]) - 2 * FILTER_PRIME_BARS)
    usable = np.flatnonzero(~np.isnan(features[oldest : int(rows[-1]) + 1]).any(axis=1)) + oldest
    if np.count_nonzero(usable < rows[0]) < FILTER_PRIME_BARS:
        usable = np.flatnonzero(~np.isnan(features[: int(rows[-1]) + 1]).any(axis=1))
    return _filter_usable(
        model, features[usable], timestamp[usable], usable, rows, interval_ms, out
    )


def _filter_usable(
    model: RegimeModel,
    features: FloatArray,
    timestamp: IntArray,
    usable: IntArray,
    rows: IntArray,
    interval_ms: int,
    out: FloatArray,
) -> FloatArray:
    """`features` and `timestamp` are those of the `usable` rows; fills and returns `out`."""
    positions = np.searchsorted(usable, rows)
    found = positions < usable.size
    found[found] = usable[positions[found]] == rows[found]
    emission = np.empty((model.n_states, FILTER_PRIME_BARS + usable.size))
    _emissions_c(
        features, model.means, model.variances, _log_norm(model), FILTER_PRIME_BARS, emission
    )
    starts, _ = _segment_starts(timestamp, interval_ms)
    begin = starts - np.arange(usable.size) + FILTER_PRIME_BARS
    answers = []
    for lo, hi in _runs(positions[found]):
        block = np.empty((hi - lo, model.n_states))
        _filter_rows_c(
            model.startprob, model.transmat, emission, begin, lo, FILTER_PRIME_BARS + 1, block
        )
        answers.append(block)
    if answers:
        out[found] = np.concatenate(answers)
    return out


def sequence_scores(
    model: RegimeModel, features: FloatArray, timestamp: IntArray, first: int, interval_ms: int
) -> FloatArray:
    """One-step predictive log-density of the bars from row `first` on, nats in raw feature units, (n_bars - first,).

    One forward pass, primed on the 500 bars with features before `first`; NaN where a bar has no features.
    """
    out = np.full(features.shape[0] - first, np.nan)
    usable = np.flatnonzero(~np.isnan(features).any(axis=1))
    start = max(0, int(np.searchsorted(usable, first)) - FILTER_PRIME_BARS)
    usable = usable[start:]
    if usable.size == 0:
        return out
    _, reset = _segment_starts(timestamp[usable], interval_ms)
    scores = np.empty(usable.size)
    _score_rows_c(
        model.startprob,
        model.transmat,
        model.means,
        model.variances,
        _log_norm(model),
        features[usable],
        reset,
        scores,
    )
    wanted = usable >= first
    out[usable[wanted] - first] = scores[wanted]
    return out
