"""Prices and sizes as Hyperliquid takes them for perpetuals: multiples of a lot, prices of at most 5 digits."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal

_MAX_DECIMALS = 6
_SIGNIFICANT = 5


def limit_price(mid_px: Decimal, is_buy: bool, slippage_frac: Decimal, sz_decimals: int) -> Decimal:
    """The limit of an order that may pay `slippage_frac` more (sell: get less) than `mid_px`, in quote per base.

    A price has at most 5 significant digits, or is whole, and at most 6 - sz_decimals decimals. It is rounded towards
    the mid, so the bound holds exactly; 0 when no price that is allowed lies within it.
    """
    bound = mid_px * (1 + slippage_frac if is_buy else 1 - slippage_frac)
    decimals = min(_SIGNIFICANT - 1 - bound.adjusted(), _MAX_DECIMALS - sz_decimals)
    step = Decimal(1).scaleb(-max(decimals, 0))
    rounded = bound.quantize(step, ROUND_FLOOR if is_buy else ROUND_CEILING)
    return rounded


def lots(qty: float, sz_decimals: int) -> Decimal:
    """`qty` (base units) in whole lots of 10**-sz_decimals, rounded down: never more than there is."""
    return Decimal(repr(qty)).quantize(Decimal(1).scaleb(-sz_decimals), ROUND_DOWN)
