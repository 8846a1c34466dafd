"""What goes into a replay and what comes out, for any strategy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mei.model.bars import FloatArray, IntArray
from mei.model.candles import Candles, FundingRates

#: Actions of a trade record; its `action` is an index into this.
ACTIONS = (
    "OPEN_LONG",
    "OPEN_SHORT",
    "ADD_LONG",
    "ADD_SHORT",
    "CLOSE_LONG",
    "CLOSE_SHORT",
    "REDUCE_LONG",
    "REDUCE_SHORT",
    "FUNDING",
)
OPEN_LONG, OPEN_SHORT, ADD_LONG, ADD_SHORT = 0, 1, 2, 3
CLOSE_LONG, CLOSE_SHORT, REDUCE_LONG, REDUCE_SHORT, FUNDING = 4, 5, 6, 7, 8

CONFIDENCES = ("low", "medium", "high")

#: One executed action. timestamp_ms: when it was known (bar_time). symbol: index into the replay's symbols. reason: a
#: REASON_* of the strategy, worded by its `reason_text(record)` from detail_1 and detail_2. confidence: 0, 1, 2.
#: price: fill with slippage; notional_usd as the report's slippage estimate takes it; pnl_usd: realised, fees apart
#: (FUNDING: the payment); balance_usd: after the action.
TRADE_DTYPE = np.dtype(
    [
        ("timestamp_ms", "<i8"),
        ("symbol", "<i4"),
        ("action", "<i4"),
        ("reason", "<i4"),
        ("confidence", "<i4"),
        ("detail_1", "<f8"),
        ("detail_2", "<f8"),
        ("price", "<f8"),
        ("qty", "<f8"),
        ("notional_usd", "<f8"),
        ("pnl_usd", "<f8"),
        ("fee_usd", "<f8"),
        ("balance_usd", "<f8"),
        ("entry_atr", "<f8"),
        ("leverage", "<f8"),
        ("margin_usd", "<f8"),
        ("position_id", "<i8"),
    ]
)


@dataclass(frozen=True, slots=True)
class InitPosition:
    """A position a replay starts with. side: 1 long, -1 short. confidence: 0, 1, 2. trailing_px: None = none yet."""

    symbol: str
    side: int
    qty: float
    entry_px: float
    entry_atr: float
    confidence: int
    leverage: float
    margin_usd: float
    trailing_px: float | None = None
    adds_count: int = 0
    tp1_taken: bool = False
    opened_ms: int = 0
    last_add_ms: int = 0
    entry_adx_threshold: float = 0.0


@dataclass(frozen=True, slots=True)
class InitState:
    """State of version 1 (balance and positions) or 2 (`continuation` has everything else, as JSON carries it)."""

    version: int
    source: str
    exported_at_ms: int
    balance_usd: float
    positions: tuple[InitPosition, ...] = ()
    continuation: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ReplayInputs:
    """Everything a replay reads besides the strategy's configuration.

    from_ms, to_ms: inclusive bounds on the time a bar is known, None = none. traded: symbols that may be traded (None =
    all of `candles`); the others only serve as context. exports_state: the result shall carry a continuation.
    """

    candles: Candles
    exit_candles: Candles | None = None
    entry_candles: Candles | None = None
    funding: FundingRates | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    initial_balance_usd: float = 10_000.0
    lookback: int = 200
    init_state: InitState | None = None
    traded: frozenset[str] | None = None
    exports_state: bool = False


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """trades: TRADE_DTYPE in log order. equity_ms, equity_usd: the curve. gates: counters by the names of the report.

    continuation: the state at the end, before end-of-run closes, as JSON carries it (init-state version 2).
    """

    symbols: tuple[str, ...]
    initial_balance_usd: float
    final_balance_usd: float
    trades: Any
    equity_ms: IntArray
    equity_usd: FloatArray
    n_signals: int
    gates: Mapping[str, int] = field(default_factory=dict)
    continuation: Mapping[str, Any] | None = None
