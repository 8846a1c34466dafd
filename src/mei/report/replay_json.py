"""The report of a replay as JSON (specification part 2, F.5), and the rows of a sweep (G.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mei.metrics.reason_codes import reason_code
from mei.metrics.replay import Group, ReplayNumbers, SymbolNumbers
from mei.model.replay import ACTIONS, CONFIDENCES, ReplayResult

_TRADE_FIELDS = (
    "timestamp_ms",
    "symbol",
    "action",
    "confidence",
    "price",
    "qty",
    "pnl_usd",
    "fee_usd",
    "balance_usd",
)


def numbers_object(config_id: str, numbers: ReplayNumbers) -> dict[str, Any]:
    """F.1 to F.4 by the names of the report."""
    return {
        "config_id": config_id,
        "initial_balance": numbers.initial_balance_usd,
        "final_balance": numbers.final_balance_usd,
        "total_pnl": numbers.total_pnl_usd,
        "total_trades": numbers.total_trades,
        "total_wins": numbers.total_wins,
        "total_losses": numbers.total_losses,
        "win_rate": numbers.win_rate,
        "profit_factor": numbers.profit_factor,
        "avg_trade_pnl": numbers.avg_trade_pnl_usd,
        "avg_win": numbers.avg_win_usd,
        "avg_loss": numbers.avg_loss_usd,
        "total_fees": numbers.total_fees_usd,
        "total_signals": numbers.total_signals,
        "neutral_pct": 0.0,  # of logged signals, and neutral ones are not logged
        "sharpe_ratio": numbers.sharpe_ratio,
        "max_drawdown_usd": numbers.max_drawdown_usd,
        "max_drawdown_pct": numbers.max_drawdown_frac,
        "by_confidence": _groups("confidence", numbers.by_confidence, with_average=True),
        "by_exit_reason": _groups("reason", numbers.by_exit_reason),
        "by_reason_code": _groups("reason_code", numbers.by_reason_code),
        "by_symbol": _groups("symbol", numbers.by_symbol),
        "by_side": _groups("side", numbers.by_side),
        "gate_stats": {**numbers.gates, "signal_pct": numbers.signal_frac},
    }


def replay_object(
    numbers: ReplayNumbers,
    by_symbol: Mapping[str, SymbolNumbers],
    slippage_bps: float,
) -> dict[str, Any]:
    """The report of a replay without its curve and its trades."""
    per_symbol = {symbol: _symbol_object(one) for symbol, one in by_symbol.items()}
    extra = {"per_symbol": per_symbol, "slippage_bps": float(slippage_bps)}
    return numbers_object("replay", numbers) | extra


def curve_rows(result: ReplayResult) -> list[list[int | float]]:
    """`equity_curve`: [epoch ms, USD] of each point."""
    points = zip(result.equity_ms.tolist(), result.equity_usd.tolist(), strict=True)
    return [list(point) for point in points]


def trade_rows(result: ReplayResult, reasons: Sequence[str]) -> list[dict[str, Any]]:
    """`trades`: every record in log order; `reasons` words the reason of each."""
    columns = (result.trades[name].tolist() for name in _TRADE_FIELDS)
    rows = []
    for at_ms, symbol, action, confidence, price, qty, pnl, fee, balance, reason in zip(
        *columns, reasons, strict=True
    ):
        rows.append(
            {
                "timestamp": at_ms,
                "symbol": result.symbols[symbol],
                "action": ACTIONS[action],
                "price": price,
                "size": qty,
                "pnl": pnl,
                "fee": fee,
                "reason": reason,
                "reason_code": reason_code(ACTIONS[action], reason),
                "confidence": CONFIDENCES[confidence],
                "balance": balance,
            }
        )
    return rows


def _groups(
    name: str, groups: Mapping[str, Group], with_average: bool = False
) -> list[dict[str, Any]]:
    objects = []
    for key, group in groups.items():
        one = {name: key, "trades": group.trades, "pnl": group.pnl_usd, "win_rate": group.win_rate}
        if with_average:
            one["avg_pnl"] = group.avg_pnl_usd
        objects.append(one)
    return objects


def _symbol_object(one: SymbolNumbers) -> dict[str, Any]:
    return {
        "trades": one.trades,
        "wins": one.wins,
        "losses": one.losses,
        "win_rate": one.win_rate,
        "realised_pnl_usd": one.realised_pnl_usd,
        "funding_pnl_usd": one.funding_pnl_usd,
        "fees_usd": one.fees_usd,
        "net_pnl_usd": one.net_pnl_usd,
        "max_drawdown_usd": one.max_drawdown_usd,
        "estimated_slippage_usd": one.estimated_slippage_usd,
        "fills": one.fills,
        "funding_events": one.funding_events,
    }
