"""Quantity, profit and equity of a position. Fees are kept apart from profit."""


def order_qty(notional_usd: float, reference_px: float) -> float:
    """Quantity in base units for a notional at the price before slippage; 0 when there is no price."""
    if reference_px <= 0.0:
        return 0.0
    return notional_usd / reference_px


def pnl_usd(direction: int, qty: float, entry_px: float, exit_px: float) -> float:
    """Profit between two fills (or a fill and a mark), quote currency, fees apart; direction 1 long, -1 short."""
    return direction * (exit_px - entry_px) * qty


def net_pnl_bps(pnl: float, fees: float, notional_usd: float) -> float:
    """Profit after both fees in basis points of the entry notional; 0 when nothing was invested."""
    if notional_usd <= 0.0:
        return 0.0
    return (pnl - fees) / notional_usd * 1e4
