"""State labels that mean the same from one training to the next.

EM numbers its states as it likes. The first fit of a series is sorted by volatility (0 = calmest);
a later one takes the labels of the previous completed fit by the cheapest assignment of its states.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mei.learning.features import RANGE_COLUMN
from mei.learning.hmm import RegimeParameters
from mei.model.bars import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """order: (n_states,), the fitted state that gets label k; margin: 1 = beyond doubt, 0 = a tie."""

    order: IntArray
    margin: float


def align(fitted: RegimeParameters, previous: RegimeParameters | None) -> Alignment:
    """Labels for `fitted`: by volatility if there is no previous fit (or it had another number of states), else its."""
    if previous is None or previous.means.shape != fitted.means.shape:
        order = np.argsort(fitted.means[:, RANGE_COLUMN], kind="stable").astype(np.int64)
        return Alignment(order, 1.0)
    return _assign(_distances(_signature(previous), _signature(fitted)))


def _signature(parameters: RegimeParameters) -> FloatArray:
    """What tells states of one fit apart, free of the market's level and scale, (n_states, 2 n_features).

    Means as distances from the fit's average state in standard deviations within states; log-variances
    less their average. A feature whose means differ by noise only (the log return's) weighs little.
    """
    within = np.sqrt(parameters.variances.mean(axis=0))
    means = (parameters.means - parameters.means.mean(axis=0)) / within
    log_variances = np.log(parameters.variances)
    return np.hstack([means, log_variances - log_variances.mean(axis=0)])


def _distances(labels: FloatArray, states: FloatArray) -> FloatArray:
    """Squared distances, (n_labels, n_states)."""
    difference = labels[:, None, :] - states[None, :, :]
    squares: FloatArray = (difference * difference).sum(axis=2)
    return squares


def _assign(cost: FloatArray) -> Alignment:
    from scipy.optimize import linear_sum_assignment

    labels, order = linear_sum_assignment(cost)
    best = float(cost[labels, order].sum())
    second = _second_best(cost, order)
    margin = 0.0 if second <= 0.0 else 1.0 - best / second
    return Alignment(order.astype(np.int64), margin)


def _second_best(cost: FloatArray, order: IntArray) -> float:
    """Cost of the cheapest assignment other than `order`: it differs in one pair at least, so forbid each in turn."""
    from scipy.optimize import linear_sum_assignment

    totals = []
    forbidden = float(cost.sum()) + 1.0
    for label, state in enumerate(order):
        changed = cost.copy()
        changed[label, state] = forbidden
        rows, columns = linear_sum_assignment(changed)
        totals.append(float(changed[rows, columns].sum()))
    return min(totals)
