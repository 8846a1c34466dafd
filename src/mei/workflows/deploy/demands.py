"""What a row must have shown before it is deployed: enough trades, and a profit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mei.data.sweep_results import SweepResult
from mei.model.errors import DataError

#: With fewer trades a result is not told from luck; the factory's score marks such rows down, too.
ENOUGH_TRADES: Final = 30


@dataclass(frozen=True, slots=True)
class Demands:
    """min_trades: fewer are refused, None = told from ENOUGH_TRADES down, 0 = any; require_profit: refuse a loss."""

    min_trades: int | None = None
    require_profit: bool = False


def require(row: SweepResult, demands: Demands) -> list[str]:
    """What there is to warn of, a line each. DataError, naming the row, for what `demands` refuse or is no number."""
    found = (_trades(row, demands.min_trades), _profit(row, is_required=demands.require_profit))
    return [line for line in found if line is not None]


def _trades(row: SweepResult, min_trades: int | None) -> str | None:
    if min_trades == 0:
        return None
    if row.fields.get("total_trades") is None:
        line = "the row has no total_trades, whether it traded enough cannot be judged"
        if min_trades is None:
            return line
        raise DataError(f"{row.where}: {line}: sweep again, or give --min-trades 0")
    n_trades = row.number("total_trades")
    if min_trades is None:
        if n_trades >= ENOUGH_TRADES:
            return None
        return (
            f"{n_trades:g} trades are few: below {ENOUGH_TRADES} a few lucky ones make profit factor, win rate and "
            "Sharpe ratio; --min-trades refuses such rows"
        )
    if n_trades < min_trades:
        raise DataError(
            f"{row.where}: the row must have at least --min-trades {min_trades} trades, has {n_trades:g}: take "
            "another --rank, or sweep more candles"
        )
    return None


def _profit(row: SweepResult, *, is_required: bool) -> str | None:
    if row.fields.get("total_pnl") is None:
        line = "the row has no total_pnl, whether it made a profit cannot be judged"
        if not is_required:
            return line
        raise DataError(f"{row.where}: {line}: sweep again, or leave out --require-profit")
    pnl_usd = row.number("total_pnl")
    if pnl_usd > 0.0:
        return None
    if is_required:
        raise DataError(
            f"{row.where}: the row must have a profit (--require-profit), its net PnL is ${pnl_usd:.2f}: the best of "
            "losers is a loser"
        )
    return f"THE ROW MAKES NO PROFIT (net PnL ${pnl_usd:.2f}): --require-profit refuses such rows"
