"""What is asked of paper_trader, and what it answers. Money in USD, prices in quote per base, times in epoch ms UTC."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class PauseBody(BaseModel):
    """Until POST /resume."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["close_only", "halt_all"] = Field(
        "close_only",
        description="close_only: nothing is opened or added; halt_all: no step is taken",
    )


class HeldView(BaseModel):
    """A position at the newest close of its main bars."""

    symbol: str
    side: Literal["LONG", "SHORT"]
    size: float
    entry_price: float
    mark: float | None = Field(description="null before the first bar")
    unrealised_usd: float
    leverage: float
    margin_used: float
    trailing_sl: float | None
    adds_count: int
    tp1_taken: bool
    opened_at_ms: int


class OrderView(BaseModel):
    """What waits for the next open."""

    symbol: str
    kind: Literal["open", "add", "exit"]
    side: Literal["LONG", "SHORT"]
    notional_usd: float | None = Field(description="null of an exit")
    decided_at_ms: int


class WarmUpView(BaseModel):
    """Why a symbol does not trade yet."""

    symbol: str
    bars: int = Field(description="main bars the indicators have seen")
    bars_needed: int = Field(description="the bar of this number is the first that may signal")


class StateView(BaseModel):
    """How the trader stands. Null where nothing was started yet."""

    as_of_ms: int | None = Field(description="every boundary until then is taken")
    mode: Literal["run", "close_only", "halt_all"]
    why: str = Field(description="of a mode other than run")
    balance_usd: float | None
    equity_usd: float | None
    unrealised_usd: float | None
    positions: list[HeldView]
    orders: list[OrderView]
    config_id: str | None
    config_fault: str = Field(description="why the strategy file's content is not in use")
    last_error: str = Field(description="of the last look for bars; empty when it went well")
    newest_bar_ms: int | None = Field(description="when the newest main bar used closed")
    is_stale: bool = Field(description="no main bar for two intervals and the grace")
    warm_up: list[WarmUpView] = Field(description="of every symbol traded, ascending")
    warming_up: list[str] = Field(description="symbols of which no bar has been able to signal yet")
    not_waited_for: list[str] = Field(description="symbols without a main bar for 24 intervals")


class TradeView(BaseModel):
    """A row of `trades`."""

    id: int | None
    timestamp: str
    symbol: str
    type: str
    action: str
    price: float | None
    size: float | None
    notional: float | None
    reason: str | None
    confidence: str | None
    pnl: float | None
    fee_usd: float | None
    balance: float | None
    meta: Any


class TradeList(BaseModel):
    """Rows in the order of their ids; ask again with the last id for more."""

    trades: list[TradeView]
