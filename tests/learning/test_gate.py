"""The gate promotes on evidence from the same bars, and says why it does not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mei.learning.gate import GATE_MIN_BARS, block_standard_error, judge, judge_first


@pytest.mark.parametrize(("gain", "promote"), [(0.02, True), (0.0199, False), (-1.0, False)])
def test_gain_must_reach_the_minimum(gain: float, promote: bool) -> None:
    champion = np.zeros(600)

    verdict = judge(champion + gain, champion, min_delta=0.02)

    assert verdict.promote is promote
    assert verdict.delta == pytest.approx(gain)
    assert verdict.reason == ("better_than_champion" if promote else "not_better_than_champion")


def test_only_bars_that_both_sides_scored_count() -> None:
    candidate, champion = np.zeros(300), np.zeros(300)
    candidate[:100] = np.nan
    champion[100:150] = np.nan
    champion[:100] = 50.0

    verdict = judge(candidate, champion, min_delta=0.0)

    assert verdict.n_bars == 150
    assert verdict.delta == 0.0


def test_too_few_clean_bars_reject() -> None:
    scores = np.ones(GATE_MIN_BARS - 1)

    verdict = judge(scores + 5, scores, min_delta=0.0)

    assert not verdict.promote
    assert verdict.reason == "too_few_clean_validation_bars"


@pytest.mark.parametrize("bad", [math.inf, -math.inf])
def test_score_that_is_not_finite_rejects(bad: float) -> None:
    candidate = np.ones(200)
    candidate[5] = bad

    assert judge(candidate, np.zeros(200), min_delta=0.0).reason == "score_not_finite"
    assert not judge_first(candidate).promote


def test_first_model_is_promoted_if_it_explains_anything() -> None:
    assert judge_first(np.ones(10)).reason == "first_model"
    assert judge_first(np.ones(10)).promote
    assert not judge_first(np.full(10, np.nan)).promote
    assert not judge_first(np.empty(0)).promote


def test_standard_error_is_that_of_block_means() -> None:
    blocks = np.repeat([1.0, 3.0, 5.0], 60)

    assert block_standard_error(blocks) == pytest.approx(2.0 / math.sqrt(3))
    assert block_standard_error(blocks[:119]) is None
