"""Signals and decisions of momentum_breakout; the compiled rules give the bits of the plain ones."""

from __future__ import annotations

import numpy as np
import pytest

from mei.engines.bind import bind_cpu
from mei.rules.momentum_breakout import decisions, signals

HIGH = np.array([10.0, 11.0, 12.0, 11.0, 12.1])
LOW = np.array([9.0, 9.5, 10.0, 9.6, 9.4])


@pytest.mark.parametrize(
    ("close", "lookback", "breakout_bps", "allow_short", "expected"),
    [
        (12.0, 2, 0.0, True, 0),  # equal to the highest high of the two bars before
        (12.01, 2, 0.0, True, 1),
        (12.01, 2, 100.0, True, 0),  # needs 12.12
        (12.13, 2, 100.0, True, 1),
        (9.6, 2, 0.0, True, 0),  # equal to the lowest low
        (9.59, 2, 0.0, True, -1),
        (9.59, 2, 0.0, False, 0),
        (9.59, 3, 0.0, True, 0),  # three bars back the low was 9.5
        (8.9, 4, 0.0, True, -1),
        (99.0, 5, 0.0, True, 0),  # only four earlier bars
    ],
)
def test_channel_signal_by_hand(
    close: float, lookback: int, breakout_bps: float, allow_short: bool, expected: int
) -> None:
    closes = np.array([9.5, 10.5, 11.0, 10.0, close])
    arguments = (HIGH, LOW, closes, 5, lookback, breakout_bps, allow_short)
    assert signals.channel_signal(*arguments) == expected
    assert bind_cpu(signals.channel_signal)(*arguments) == expected


def test_zscore_signal_by_hand() -> None:
    # closes 1, 2, 3, 8: mean 3.5, sample deviation sqrt(29/3) = 3.109, z = 1.447
    closes = np.array([5.0, 1.0, 2.0, 3.0, 8.0])
    assert signals.zscore_signal(closes, 5, 4, 1.44, True) == 1
    assert signals.zscore_signal(closes, 5, 4, 1.45, True) == 0
    assert signals.zscore_signal(-closes, 5, 4, 1.44, True) == -1
    assert signals.zscore_signal(-closes, 5, 4, 1.44, False) == 0
    assert signals.zscore_signal(np.full(5, 7.0), 5, 4, 0.0, True) == 0, "no spread"
    assert signals.zscore_signal(closes, 4, 4, 0.1, True) == 0, "needs four earlier bars"


def test_compiled_zscore_gives_the_bits_of_the_plain_rule() -> None:
    rng = np.random.default_rng(0)
    closes = 100 * np.cumprod(1 + 0.001 * rng.standard_normal(400))
    compiled = bind_cpu(signals.zscore_signal)
    found = [compiled(closes, n, 30, 1.0, True) for n in range(1, 401)]
    assert found == [signals.zscore_signal(closes, n, 30, 1.0, True) for n in range(1, 401)]
    assert {-1, 0, 1} == set(found)


@pytest.mark.parametrize(
    ("signal", "direction", "held", "max_hold", "closed", "expected"),
    [
        (1, 0, 0, 5, False, decisions.OPEN),
        (-1, 0, 0, 5, False, decisions.OPEN),
        (1, 0, 0, 5, True, decisions.STAY),  # something was closed on this bar
        (0, 0, 0, 5, False, decisions.STAY),
        (1, 1, 4, 5, False, decisions.STAY),
        (1, 1, 5, 5, False, decisions.CLOSE_TIME),
        (-1, 1, 5, 5, False, decisions.CLOSE_TIME),  # time comes before reverse
        (-1, 1, 1, 5, False, decisions.CLOSE_REVERSE),
        (1, -1, 1, 0, False, decisions.CLOSE_REVERSE),
        (0, -1, 10_000, 0, False, decisions.STAY),  # time exit off
    ],
)
def test_decision_by_hand(
    signal: int, direction: int, held: int, max_hold: int, closed: bool, expected: int
) -> None:
    assert decisions.decision(signal, direction, held, max_hold, closed) == expected


@pytest.mark.parametrize(
    ("regime", "prob", "mask", "allowed"),
    [
        (-1, 0.0, 0, True),  # every regime, no model needed
        (-1, 1.0, 0b1100, False),  # no model yet: no entry
        (2, 0.6, 0b1100, True),
        (2, 0.59, 0b1100, False),
        (1, 0.99, 0b1100, False),
    ],
)
def test_regime_gate_by_hand(regime: int, prob: float, mask: int, allowed: bool) -> None:
    assert decisions.is_regime_allowed(regime, prob, mask, 0.6) == allowed
