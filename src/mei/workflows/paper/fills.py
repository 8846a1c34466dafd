"""What a paper trader says of the trades of a step, once they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mei.data.trading_db import TradeRow
from mei.model.replay import ACTIONS, FUNDING

_FUNDING = ACTIONS[FUNDING]


@dataclass(frozen=True, slots=True)
class Fill:
    """A trade that was written, or all funding of a step. at: ISO 8601. side: LONG or SHORT. qty in base units, px in
    quote per base, pnl (fee apart) and the balance afterwards in USD. Funding has None where it has none and names all
    its symbols.
    """

    at: str
    symbol: str
    action: str
    side: str | None
    qty: float | None
    px: float | None
    reason: str
    pnl_usd: float
    balance_usd: float

    @property
    def line(self) -> str:
        """In words."""
        if self.action == _FUNDING:
            return f"[paper] {self.action} {self.symbol}: {self.pnl_usd:+.2f} USD"
        return (
            f"[paper] {self.action} {self.side} {self.symbol}: {self.qty:.10g} at {self.px:.10g}, {self.reason}, "
            f"pnl {self.pnl_usd:+.2f} USD"
        )

    def fields(self) -> dict[str, Any]:
        """As a log line carries it."""
        return {
            "symbol": self.symbol,
            "action": self.action,
            "side": self.side,
            "qty": self.qty,
            "price": self.px,
            "reason": self.reason,
            "pnl": self.pnl_usd,
            "balance": self.balance_usd,
            "at": self.at,
        }


def fills_of(rows: Sequence[TradeRow]) -> list[Fill]:
    """One for each row of a step in their order, and one at the end for all its funding."""
    fills = [_fill(row) for row in rows if row.action != _FUNDING]
    paid = [row for row in rows if row.action == _FUNDING]
    if paid:
        names = sorted({row.symbol for row in paid}, key=str.encode)
        fills.append(
            Fill(
                at=paid[-1].timestamp,
                symbol=",".join(names),
                action=_FUNDING,
                side=None,
                qty=None,
                px=None,
                reason=paid[-1].reason or "",
                pnl_usd=sum(row.pnl or 0.0 for row in paid),
                balance_usd=paid[-1].balance or 0.0,
            )
        )
    return fills


def _fill(row: TradeRow) -> Fill:
    return Fill(
        at=row.timestamp,
        symbol=row.symbol,
        action=row.action,
        side=row.type,
        qty=row.size,
        px=row.price,
        reason=row.reason or "",
        pnl_usd=row.pnl or 0.0,
        balance_usd=row.balance or 0.0,
    )
