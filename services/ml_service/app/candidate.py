"""From a window of bars to a judged candidate: features, split, fit, labels, scores, gate. No ledger, no files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mei.learning.alignment import align
from mei.learning.features import FEATURE_NAMES, FEATURE_WARM_UP_BARS, regime_features
from mei.learning.gate import Verdict, judge, judge_first
from mei.learning.hmm import Fit, RegimeParameters, fit_regimes, sequence_lengths
from mei.learning.regime_filter import sequence_scores
from mei.learning.regime_model import RegimeModel
from mei.learning.split import Split, outside_lineage, runs_of, split_window
from mei.model.bars import FloatArray, IntArray
from mei.model.http import TrainingSettings
from services.ml_service.app.window import TrainingWindow


@dataclass(frozen=True, slots=True, eq=False)
class Rival:
    """Whom a candidate has to beat (None: nobody yet), and the bars that the fits of either side have seen."""

    champion: RegimeModel | None
    lineage: list[tuple[int, int]]


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A completed fit and its verdict. fitted: ranges of bar opens, both inclusive, n_fit bars in all."""

    parameters: RegimeParameters
    is_warm: bool
    verdict: Verdict
    fitted: list[tuple[int, int]]
    n_fit: int
    n_validation: int
    trained_through_ms: int
    metrics: dict[str, Any]

    def model(self, version: int) -> RegimeModel:
        """The candidate as the stream's model number `version`."""
        return _as_model(self.parameters, self.trained_through_ms, version)


def make_candidate(
    window: TrainingWindow,
    settings: TrainingSettings,
    *,
    parent: RegimeModel | None,
    rival: Rival,
    step_ms: int,
    seed: int,
) -> Candidate | str:
    """Fit and judge; or why the window is too small. Raises FitError.

    A bar in the fit part that has no features yet (the first 60 of a series) is context, and consumed with the rest.
    """
    opens = np.ascontiguousarray(window.bars["timestamp"])
    split = split_window(window.rows, settings.purge_bars)
    too_small = _too_small(window.rows.size, split, settings)
    if too_small is not None:
        return too_small
    features = regime_features(window.bars, step_ms)
    rows = split.fit[~np.isnan(features[split.fit]).any(axis=1)]
    previous = None if parent is None else _parameters(parent)
    fit = fit_regimes(
        features[rows],
        sequence_lengths(rows, opens[rows], step_ms),
        n_states=settings.hmm_states,
        seed=seed,
        parent=previous,
    )
    alignment = align(fit.parameters, previous)
    parameters = fit.parameters.permuted(alignment.order)
    fitted = runs_of(split.fit, opens, step_ms)
    trained_through_ms = int(opens[split.fit[-1]]) + step_ms
    contender = _as_model(parameters, trained_through_ms, 0)
    # A purge shorter than a feature's window would leave fitted bars in the windows of those that judge.
    embargo_bars = max(settings.purge_bars, FEATURE_WARM_UP_BARS)
    clean = outside_lineage(split.validation, opens, [*rival.lineage, *fitted], embargo_bars)
    verdict = _judge(contender, rival.champion, features, opens, clean, settings, step_ms)
    metrics = {
        **_fit_metrics(fit, rows.size),
        "alignment_margin": alignment.margin,
        "validation_first_ms": int(opens[split.validation[0]]) if split.validation.size else None,
        "validation_last_ms": int(opens[split.validation[-1]]) if split.validation.size else None,
    }
    return Candidate(
        parameters,
        fit.warm,
        verdict,
        fitted,
        int(split.fit.size),
        int(split.validation.size),
        trained_through_ms,
        metrics,
    )


def _too_small(n_window: int, split: Split, settings: TrainingSettings) -> str | None:
    """Why nothing can be fitted, None if something can."""
    if split.fit.size == 0 and n_window >= settings.train_min_points:
        return "no_fit_bars_after_purge"
    if split.fit.size == 0 or split.n_points < settings.train_min_points:
        return f"{split.n_points}_of_{settings.train_min_points}_points"
    return None


def _judge(
    contender: RegimeModel,
    champion: RegimeModel | None,
    features: FloatArray,
    opens: IntArray,
    clean: IntArray,
    settings: TrainingSettings,
    step_ms: int,
) -> Verdict:
    own = _scores(contender, features, opens, clean, step_ms)
    if champion is None:
        return judge_first(own)
    theirs = _scores(champion, features, opens, clean, step_ms)
    return judge(own, theirs, min_delta=settings.promotion_min_delta)


def _scores(
    model: RegimeModel, features: FloatArray, opens: IntArray, rows: IntArray, step_ms: int
) -> FloatArray:
    """Scores of `rows`, (rows.size,); both sides are primed alike, on the bars before the first row."""
    if rows.size == 0:
        return np.empty(0)
    first = int(rows[0])
    scores = sequence_scores(model, features, opens, first, step_ms)
    return scores[rows - first]


def _fit_metrics(fit: Fit, n_rows: int) -> dict[str, Any]:
    return {
        "iterations": len(fit.log_likelihoods),
        "warm_start": fit.warm,
        "implementation": fit.implementation,
        "n_fit_with_features": n_rows,
        "log_likelihood_per_bar_scaled": fit.log_likelihoods[-1] / n_rows,
    }


def _parameters(model: RegimeModel) -> RegimeParameters:
    return RegimeParameters(model.startprob, model.transmat, model.means, model.variances)


def _as_model(parameters: RegimeParameters, trained_through_ms: int, version: int) -> RegimeModel:
    return RegimeModel(
        startprob=parameters.startprob,
        transmat=parameters.transmat,
        means=parameters.means,
        variances=parameters.variances,
        trained_through_ms=trained_through_ms,
        version=version,
        feature_names=FEATURE_NAMES,
    )
