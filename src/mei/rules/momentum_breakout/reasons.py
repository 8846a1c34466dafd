"""Why momentum_breakout did something: numbers inside compiled rules, and their words."""

from __future__ import annotations

BREAKOUT_LONG, BREAKOUT_SHORT, STOP, TAKE_PROFIT, TIME, REVERSE = 0, 1, 2, 3, 4, 5
NO_REASON = -1

_WORDS = ("breakout_long", "breakout_short", "stop", "take_profit", "time", "reverse")


def reason_text(reason: int, confidence: int, detail_1: float, detail_2: float) -> str:
    """What the `reason` column says, as in the learning loop's trades.csv; only `reason` counts."""
    return _WORDS[reason]
