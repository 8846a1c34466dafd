"""What the signal means for a position: stay, leave by time, leave by reversal, enter."""

STAY, CLOSE_TIME, CLOSE_REVERSE, OPEN = 0, 1, 2, 3


def is_time_exit(bars_held: int, max_hold_bars: int) -> bool:
    """Whether the position has been held for `max_hold_bars` bars or more; 0 switches the time exit off."""
    return max_hold_bars > 0 and bars_held >= max_hold_bars


def decision(
    signal: int, direction: int, bars_held: int, max_hold_bars: int, closed_this_bar: bool
) -> int:
    """The action at a close: STAY, CLOSE_TIME, CLOSE_REVERSE or OPEN (in the signal's direction).

    signal and direction: 1, -1 or 0. A bar on which something was closed opens nothing.
    """
    if direction != 0:
        if is_time_exit(bars_held, max_hold_bars):
            return CLOSE_TIME
        if signal == -direction:
            return CLOSE_REVERSE
        return STAY
    if signal != 0 and not closed_this_bar:
        return OPEN
    return STAY


def is_regime_allowed(
    regime: int, regime_prob: float, allowed_mask: int, min_regime_prob: float
) -> bool:
    """Whether entries are allowed: the most probable regime is listed and likely enough.

    regime: index, -1 = no model yet (no entry). allowed_mask: bit i set = regime i listed; 0 = every regime.
    """
    if allowed_mask == 0:
        return True
    if regime < 0:
        return False
    return (allowed_mask >> regime) & 1 == 1 and regime_prob >= min_regime_prob
