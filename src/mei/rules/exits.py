"""Resting stops and targets of a position against the range of one bar, pessimistic when both are touched."""

NO_EXIT, STOP, TARGET = 0, 1, 2


def stop_px(reference_px: float, direction: int, stop_bps: float) -> float:
    """Stop level, quote per base; 0 = no stop. `reference_px` is the fill price before slippage."""
    if stop_bps <= 0.0:
        return 0.0
    return reference_px * (1.0 - direction * stop_bps / 1e4)


def target_px(reference_px: float, direction: int, take_profit_bps: float) -> float:
    """Take-profit level, quote per base; 0 = no target."""
    if take_profit_bps <= 0.0:
        return 0.0
    return reference_px * (1.0 + direction * take_profit_bps / 1e4)


def protective_exit(
    direction: int, open_px: float, high_px: float, low_px: float, stop: float, target: float
) -> tuple[int, float]:
    """Which resting order the bar fills, and where: (NO_EXIT | STOP | TARGET, price before slippage).

    A stop fills at its level, or at the open if the bar opens beyond it; a target likewise, at a better open.
    Both touched in one bar: the stop, since the order of the touches is not known.
    """
    if direction > 0:
        if stop > 0.0 and low_px <= stop:
            return STOP, (open_px if open_px < stop else stop)
        if target > 0.0 and high_px >= target:
            return TARGET, (open_px if open_px > target else target)
    else:
        if stop > 0.0 and high_px >= stop:
            return STOP, (open_px if open_px > stop else stop)
        if target > 0.0 and low_px <= target:
            return TARGET, (open_px if open_px < target else target)
    return NO_EXIT, 0.0
