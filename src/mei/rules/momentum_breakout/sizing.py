"""How much is bought, and what an account with one position is worth."""

from mei.rules.accounting import pnl_usd


def entry_notional_usd(notional_usd: float, allocation_frac: float, equity_usd: float) -> float:
    """The notional of an entry decided at `equity_usd`: as it is set, or where that is 0 a fraction of equity."""
    if notional_usd == 0.0:
        return allocation_frac * equity_usd
    return notional_usd


def equity_at_px(
    cash_usd: float, direction: int, qty: float, entry_px: float, close_px: float
) -> float:
    """Equity with one position at a close: what `portfolio.mark` gives for a single book, with the same roundings.

    For qty >= 0 it never falls while the price goes the position's way, so over a stretch of bars its extremes are
    those at the extreme closes. A direction of 0 gives the flat account.
    """
    return cash_usd + (0.0 + pnl_usd(direction, qty, entry_px, close_px))
