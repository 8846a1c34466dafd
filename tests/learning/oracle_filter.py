"""The regime filter as a reader would write it: one bar at a time, plain floats, no batching."""

from __future__ import annotations

import math
from collections.abc import Sequence

PRIME_BARS = 500
RESET_GAP_BARS = 500


def log_density(row: Sequence[float], means: Sequence[float], variances: Sequence[float]) -> float:
    """log of a Gaussian with independent columns."""
    return sum(
        -0.5 * (math.log(2 * math.pi * variance) + (value - mean) ** 2 / variance)
        for value, mean, variance in zip(row, means, variances, strict=True)
    )


def forward(
    startprob: Sequence[float],
    transmat: Sequence[Sequence[float]],
    densities: Sequence[Sequence[float]],
) -> list[float]:
    """P(state at the last row | rows), from startprob at the first."""
    predicted = list(startprob)
    posterior: list[float] = []
    for row in densities:
        top = max(row)
        joint = [p * math.exp(d - top) for p, d in zip(predicted, row, strict=True)]
        posterior = [value / sum(joint) for value in joint]
        predicted = [
            sum(posterior[i] * transmat[i][j] for i in range(len(posterior)))
            for j in range(len(posterior))
        ]
    return posterior


def filtered(
    startprob: Sequence[float],
    transmat: Sequence[Sequence[float]],
    means: Sequence[Sequence[float]],
    variances: Sequence[Sequence[float]],
    features: Sequence[Sequence[float]],
    timestamps: Sequence[int],
    row: int,
    step_ms: int,
) -> list[float] | None:
    """The answer at `row`: None if it has no features, else from the last 501 rows that have, since the last reset."""
    if any(math.isnan(value) for value in features[row]):
        return None
    rows: list[int] = []
    for candidate in range(row, -1, -1):
        if any(math.isnan(value) for value in features[candidate]):
            continue
        if rows and timestamps[rows[-1]] - timestamps[candidate] > RESET_GAP_BARS * step_ms:
            break
        rows.append(candidate)
        if len(rows) == PRIME_BARS + 1:
            break
    densities = [
        [log_density(features[r], m, v) for m, v in zip(means, variances, strict=True)]
        for r in reversed(rows)
    ]
    return forward(startprob, transmat, densities)
