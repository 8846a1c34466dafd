"""What goes into a replay and what comes out, for any strategy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
#: (FUNDING: the payment); balance_usd: after the action. lowest_px, highest_px: of what the position has lived
#: through so far, if the result `has_excursions`.
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
        ("lowest_px", "<f8"),
        ("highest_px", "<f8"),
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
    """State of version 1 (balance and positions) or 2 (`continuation` has everything else, as JSON carries it).

    path: the file it was read from, for messages.
    """

    version: int
    source: str
    exported_at_ms: int
    balance_usd: float
    positions: tuple[InitPosition, ...] = ()
    continuation: Mapping[str, Any] | None = None
    path: str = field(default="", compare=False)

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"{self.path}: the init-state" if self.path else "the init-state"

    @property
    def peak_usd(self) -> float | None:
        """The highest point of the curve so far; None where the state does not tell (version 1)."""
        return None if self.continuation is None else self.continuation.get("equity_peak_usd")


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

    continuation: the state at the end, before end-of-run closes, as JSON carries it (init-state version 2); then also
    left_usd and left_positions, the balance (cash) and the positions of that moment. n_ending: records at the end of
    the log that only the end of the run made. peak_usd: the highest point of the curve of the run that was continued.
    has_excursions: the records tell what their positions lived through.
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
    left_usd: float = 0.0
    left_positions: tuple[InitPosition, ...] = ()
    n_ending: int = 0
    peak_usd: float | None = None
    has_excursions: bool = False


def highest_usd(before_usd: float | None, curve_usd: FloatArray) -> float | None:
    """The highest point of a curve that goes on from one whose highest was `before_usd`; None without any point."""
    points = curve_usd if before_usd is None else np.append(curve_usd, before_usd)
    return float(np.fmax.reduce(points)) if len(points) else None


def state_fault(
    state: InitState, balance_usd: float, positions: Sequence[InitPosition]
) -> str | None:
    """How what a state shows differs from the balance and the positions its continuation goes on with, in words."""
    if state.balance_usd != balance_usd:
        return f"balance must be {balance_usd!r} as in its continuation, is {state.balance_usd!r}"
    shown = {position.symbol: position for position in state.positions}
    kept = {position.symbol: position for position in positions}
    for symbol in sorted(shown.keys() | kept.keys(), key=str.encode):
        if shown.get(symbol) != kept.get(symbol):
            return f"the position of {symbol} must be that of its continuation, is not"
    return None
