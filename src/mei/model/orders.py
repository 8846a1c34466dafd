"""What a strategy says and what the market answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Action = Literal["open", "add", "reduce", "close"]
ACTIONS: tuple[Action, ...] = ("open", "add", "reduce", "close")


class Bar(NamedTuple):
    """A closed candle. `timestamp` is its open, `close_ms` the moment it is known; epoch ms UTC."""

    timestamp: int
    close_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True, slots=True)
class Order:
    """What a strategy wants done at the next bar's open (or at this close, by `entry_fill`).

    action: "open" or "close". direction: 1 long, -1 short (open only). Size: `notional_usd` if > 0, else
    `allocation_frac` of the account's equity at the decision. Stop and target: bps of the fill price before
    slippage, fixed at the fill; 0 = none. `reason` ends up in trades.csv.
    """

    action: Literal["open", "close"]
    direction: int = 0
    notional_usd: float = 0.0
    allocation_frac: float = 0.0
    stop_bps: float = 0.0
    take_profit_bps: float = 0.0
    reason: str = "signal"


@dataclass(frozen=True, slots=True)
class Execution:
    """What a portfolio strategy did to one of its positions.

    `price` includes slippage; `reference_px` is before it. `pnl` is realised, fees apart; 0 for an open or an add.
    """

    instrument: str
    action: Action
    side: Literal["buy", "sell"]
    qty: float
    reference_px: float
    price: float
    fee: float
    pnl: float
    reason: str


@dataclass(frozen=True, slots=True)
class Fill:
    """An executed action. `price` includes slippage; `reference_px` is before it. `pnl` is realised, fees apart."""

    timestamp: int
    instrument: str
    strategy: str
    action: Action
    side: Literal["buy", "sell"]
    qty: float
    reference_px: float
    price: float
    notional: float
    fee: float
    slippage: float
    pnl: float
    config_id: str
    model_version: int | None
    reason: str
