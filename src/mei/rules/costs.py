"""What a trade costs. Source of the formulas: the specification of momentum_breakout, section Money."""


def fill_px(reference_px: float, trade_direction: int, slippage_bps: float) -> float:
    """Price paid or received, quote per base: the reference moved against the trader.

    trade_direction: 1 for a buy, -1 for a sell.
    """
    return reference_px * (1.0 + trade_direction * slippage_bps / 1e4)


def fee_usd(qty: float, fill: float, fee_bps: float) -> float:
    """Fee of one side in quote currency; `fill` is the price after slippage."""
    return qty * fill * fee_bps / 1e4


def slippage_usd(qty: float, reference_px: float, fill: float) -> float:
    """What slippage took on one side, in quote currency, never negative."""
    difference = fill - reference_px
    if difference < 0.0:
        difference = -difference
    return qty * difference
