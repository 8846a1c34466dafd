"""Hand-made results of a replay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mei.model.replay import ACTIONS, TRADE_DTYPE, ReplayResult

DAY_MS = 86_400_000


def result_of(
    rows: Sequence[tuple[Any, ...]],
    *,
    symbols: tuple[str, ...] = ("AAA", "BBB"),
    curve: Sequence[tuple[int, float]] = (),
    final_balance_usd: float = 1000.0,
    **more: Any,
) -> ReplayResult:
    """rows: (timestamp_ms, symbol, action, price, qty, pnl, fee[, position_id[, confidence]])."""
    trades = np.zeros(len(rows), dtype=TRADE_DTYPE)
    for trade, (at_ms, symbol, action, price, qty, pnl, fee, *rest) in zip(
        trades, rows, strict=True
    ):
        trade["timestamp_ms"], trade["symbol"] = at_ms, symbols.index(symbol)
        trade["action"] = ACTIONS.index(action)
        trade["price"], trade["qty"], trade["notional_usd"] = price, qty, price * qty
        trade["pnl_usd"], trade["fee_usd"] = pnl, fee
        trade["position_id"] = rest[0] if rest else 0
        trade["confidence"] = rest[1] if len(rest) > 1 else 1
    return ReplayResult(
        symbols=symbols,
        initial_balance_usd=1000.0,
        final_balance_usd=final_balance_usd,
        trades=trades,
        equity_ms=np.array([at for at, _ in curve], dtype=np.int64),
        equity_usd=np.array([value for _, value in curve], dtype=np.float64),
        n_signals=more.pop("n_signals", 0),
        **more,
    )
