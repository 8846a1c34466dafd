"""Promotion: a candidate serves only if it explains unseen bars better than the champion does."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mei.model.bars import FloatArray

#: Validation bars both sides must be scored on, at least.
GATE_MIN_BARS = 60
#: Neighbouring bars score alike; standard errors are taken over the means of blocks of so many.
BLOCK_BARS = 60


@dataclass(frozen=True, slots=True)
class Verdict:
    """promote and why; scores are means in nats per bar, None where there was nothing to score."""

    promote: bool
    reason: str
    n_bars: int
    candidate_score: float | None = None
    champion_score: float | None = None
    delta: float | None = None
    delta_standard_error: float | None = None


def judge_first(candidate: FloatArray) -> Verdict:
    """A candidate without a champion is promoted if it explains its validation bars at all. candidate: (n,) nats."""
    scores = candidate[~np.isnan(candidate)]
    score = _mean(scores)
    if score is None or not math.isfinite(score):
        return Verdict(False, "score_not_finite", int(scores.size))
    return Verdict(True, "first_model", int(scores.size), candidate_score=score)


def judge(candidate: FloatArray, champion: FloatArray, *, min_delta: float) -> Verdict:
    """Compare scores (n,), nats, of the same bars in the same order; promote if the mean gain is >= min_delta."""
    both = ~(np.isnan(candidate) | np.isnan(champion))
    difference = candidate[both] - champion[both]
    n_bars = int(difference.size)
    if n_bars < GATE_MIN_BARS:
        return Verdict(False, "too_few_clean_validation_bars", n_bars)
    delta = _mean(difference)
    scores = (_mean(candidate[both]), _mean(champion[both]))
    if delta is None or not math.isfinite(delta):
        return Verdict(False, "score_not_finite", n_bars)
    promote = delta >= min_delta
    reason = "better_than_champion" if promote else "not_better_than_champion"
    return Verdict(
        promote, reason, n_bars, scores[0], scores[1], delta, block_standard_error(difference)
    )


def block_standard_error(values: FloatArray) -> float | None:
    """Standard error of the mean of (n,) values that hang together in time; None with fewer than two whole blocks."""
    n_blocks = values.size // BLOCK_BARS
    if n_blocks < 2:
        return None
    means = [
        math.fsum(values[k * BLOCK_BARS : (k + 1) * BLOCK_BARS]) / BLOCK_BARS
        for k in range(n_blocks)
    ]
    centre = math.fsum(means) / n_blocks
    variance = math.fsum((mean - centre) ** 2 for mean in means) / (n_blocks - 1)
    return math.sqrt(variance / n_blocks)


def _mean(values: FloatArray) -> float | None:
    """Exactly rounded sum over the number; None of nothing. An infinity makes it an infinity or NaN, never an error."""
    if values.size == 0:
        return None
    if not np.isfinite(values).all():
        return math.nan
    return math.fsum(values) / int(values.size)
