"""How much to buy (specification part 2, section B). Margins and notionals in quote currency."""

from typing import Any, NamedTuple

from mei.rules.mei_alpha.codes import HIGH, MEDIUM

DROPPED, SIZED, OVER_MARGIN = 0, 1, 2


class Size(NamedTuple):
    """verdict: DROPPED (below the minimum), SIZED, or OVER_MARGIN (enlarged beyond the headroom)."""

    verdict: int
    qty: float
    notional_usd: float
    margin_usd: float
    leverage: float


def by_confidence(confidence: int, low: float, medium: float, high: float) -> float:
    """The value of the tier."""
    if confidence == HIGH:
        return high
    if confidence == MEDIUM:
        return medium
    return low


def clamped(value: float, lowest: float, highest: float) -> float:
    """`value` within bounds; NaN stays NaN."""
    if value < lowest:
        return lowest
    if value > highest:
        return highest
    return value


def entry_margin_usd(
    equity_usd: float, confidence: int, adx: float, atr: float, px: float, p: Any
) -> float:
    """Margin of a new position: a fraction of equity scaled by confidence, trend strength and volatility (B.2)."""
    margin = equity_usd * p.allocation_pct
    if not p.enable_dynamic_sizing:
        return margin
    confidence_mult = by_confidence(
        confidence, p.confidence_mult_low, p.confidence_mult_medium, p.confidence_mult_high
    )
    adx_mult = clamped(adx / p.adx_sizing_full_adx, p.adx_sizing_min_mult, 1.0)
    ratio = 1.0
    if p.vol_baseline_pct > 0.0 and px > 0.0:
        ratio = (atr / px) / p.vol_baseline_pct
    vol_scalar = clamped(1.0 / ratio if ratio > 0.0 else 1.0, p.vol_scalar_min, p.vol_scalar_max)
    return margin * ((confidence_mult * adx_mult) * vol_scalar)


def entry_leverage(confidence: int, p: Any) -> float:
    """Leverage of a new position; the cap holds for dynamic leverage only (B.3)."""
    if not p.enable_dynamic_leverage:
        return p.leverage
    chosen = by_confidence(confidence, p.leverage_low, p.leverage_medium, p.leverage_high)
    if p.leverage_max_cap > 0.0 and chosen > p.leverage_max_cap:
        return p.leverage_max_cap
    return chosen


def entry_size(
    equity_usd: float,
    headroom_usd: float,
    confidence: int,
    adx: float,
    atr: float,
    px: float,
    caps_bump: bool,
    p: Any,
) -> Size:
    """Size of a new position, cut to the headroom and lifted to or dropped at the minimum notional (B.4)."""
    margin = entry_margin_usd(equity_usd, confidence, adx, atr, px, p)
    leverage = entry_leverage(confidence, p)
    qty = margin * leverage / px if px > 0.0 else 0.0
    if margin > headroom_usd:
        qty *= headroom_usd / margin
        margin = headroom_usd
    notional = qty * px
    if notional < p.min_notional_usd:
        if not (p.bump_to_min_notional and px > 0.0):
            return Size(DROPPED, 0.0, 0.0, 0.0, leverage)
        qty = p.min_notional_usd / px
        notional = qty * px
        margin = notional / leverage
        if caps_bump and margin > headroom_usd:
            return Size(OVER_MARGIN, 0.0, 0.0, 0.0, leverage)
    return Size(SIZED, qty, notional, margin, leverage)
