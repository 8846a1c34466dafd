"""From a signal to a candidate: floor, transforms, and the filters that need no position (part 1, D.6 to D.8)."""

from typing import Any

from mei.rules.mei_alpha.records import BLOCKED_CONFIDENCE, BLOCKED_REEF, BLOCKED_SSF
from mei.rules.mei_alpha.snapshot import Snapshot


def floored_atr(atr: float, px: float, min_atr_pct: float) -> float:
    """ATR, at least `min_atr_pct` of the price (a fraction; <= 0 = no floor)."""
    if min_atr_pct > 0.0 and atr < px * min_atr_pct:
        return px * min_atr_pct
    return atr


def transformed_side(side: int, breadth: float, p: Any) -> int:
    """The side after reversal and the breadth filter; 0 = filtered out. breadth: percent of symbols going up."""
    reverses = p.reverse_entry_signal
    if p.enable_auto_reverse:
        reverses = p.auto_reverse_breadth_low <= breadth and breadth <= p.auto_reverse_breadth_high
    if reverses:
        side = -side
    if p.enable_regime_filter:
        if side < 0 and breadth > p.breadth_block_short_above:
            return 0
        if side > 0 and breadth < p.breadth_block_long_below:
            return 0
    return side


def is_ssf_blocked(side: int, x: Snapshot, p: Any) -> bool:
    """The MACD histogram is not on the side's side (SSF)."""
    if not p.enable_ssf_filter:
        return False
    if side > 0:
        return not x.macd_hist > 0.0
    return not x.macd_hist < 0.0


def is_reef_blocked(side: int, x: Snapshot, p: Any) -> bool:
    """RSI is too far gone for an entry; a strong ADX allows more (REEF)."""
    if not p.enable_reef_filter:
        return False
    is_weak = x.adx < p.reef_adx_threshold
    if side > 0:
        return x.rsi > (p.reef_long_rsi_block_gt if is_weak else p.reef_long_rsi_extreme_gt)
    return x.rsi < (p.reef_short_rsi_block_lt if is_weak else p.reef_short_rsi_extreme_lt)


def blocked_bits(side: int, confidence: int, x: Snapshot, p: Any) -> int:
    """BLOCKED_* of every filter that blocks an entry to `side`."""
    bits = 0
    if confidence < p.entry_min_confidence:
        bits |= BLOCKED_CONFIDENCE
    if is_ssf_blocked(side, x, p):
        bits |= BLOCKED_SSF
    if is_reef_blocked(side, x, p):
        bits |= BLOCKED_REEF
    return bits
