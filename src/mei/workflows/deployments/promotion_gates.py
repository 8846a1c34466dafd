"""What a strategy file did on paper since it was deployed, and the gates between it and real money."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mei.data.trading_db import (
    TradeRow,
    audit_since,
    equity_before,
    equity_since,
    open_trading_db,
    read_engine_state,
    stamp_ms,
    trades_since,
)
from mei.model.errors import ConfigError, DataError

_HOUR_MS: Final = 3_600_000.0
_KILL: Final = "RISK_KILL"
#: Rows that a tool or the operator made, no decision of the strategy.
_SYSTEM: Final = "SYSTEM"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The gates. Hours are told since the deployment; drawdown in percent; slippage in bps, 0 or less = not asked.

    allow_live_layer: pass a file with a `live` layer, which paper did not trade.
    """

    min_trades: int = 20
    min_hours: float = 24.0
    min_profit_factor: float = 1.2
    max_drawdown_pct: float = 10.0
    max_config_slippage_bps: float = 20.0
    max_kill_events: int = 0
    allow_live_layer: bool = False

    def check(self) -> None:
        """ConfigError for thresholds that cannot be meant."""
        for flag, value in (
            ("--min-trades", self.min_trades),
            ("--min-hours", self.min_hours),
            ("--min-profit-factor", self.min_profit_factor),
            ("--max-drawdown-pct", self.max_drawdown_pct),
            ("--max-kill-events", self.max_kill_events),
        ):
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{flag} must be at least 0, was {value:g}")
        if not math.isfinite(self.max_config_slippage_bps):
            raise ConfigError(
                f"--max-config-slippage-bps must be finite, was {self.max_config_slippage_bps:g}"
            )


@dataclass(frozen=True, slots=True)
class PaperRecord:
    """What the paper trader did in a stretch of time.

    hours: until now, or until the trader's last step where its database tells that. n_closes: rows CLOSE that the
    strategy made; profit_factor: gains over losses of CLOSE and REDUCE, whoever made them, net of fees, infinite
    without a loss; drawdown_pct: deepest fall from a peak, in percent, of the balance or of the equity, whichever is
    worse; equity_drawdown_pct: that of the equity, None where the database has none; n_kills: audit events that begin
    with RISK_KILL; n_without_fee: rows whose fee is not known and counts as 0; trader_config_id: what the trader runs,
    None where its database does not say.
    """

    hours: float
    n_closes: int
    n_realised: int
    net_usd: float
    profit_factor: float
    drawdown_pct: float
    equity_drawdown_pct: float | None
    n_kills: int
    n_without_fee: int
    trader_config_id: str | None

    def plain(self) -> dict[str, Any]:
        """As JSON has it; an infinite profit factor is null."""
        is_finite = math.isfinite(self.profit_factor)
        return {
            "hours": self.hours,
            "closes": self.n_closes,
            "realised": self.n_realised,
            "net_usd": self.net_usd,
            "profit_factor": self.profit_factor if is_finite else None,
            "no_loss": not is_finite,
            "max_drawdown_pct": self.drawdown_pct,
            "equity_drawdown_pct": self.equity_drawdown_pct,
            "kill_events": self.n_kills,
            "rows_without_fee": self.n_without_fee,
            "trader_config_id": self.trader_config_id,
        }


@dataclass(frozen=True, slots=True)
class Gate:
    """name: a word for programs; said: a sentence for people."""

    name: str
    passed: bool
    said: str


def paper_record(path: str, since_ms: int, now_ms: int) -> PaperRecord:
    """Read what was done at or after `since_ms` (epoch ms UTC) from a trading database.

    DataError when it cannot be read, naming the row where a time cannot be read or a profit is missing.
    """
    with open_trading_db(path, create=False, read_only=True) as conn:
        rows = trades_since(conn, 0)
        events = audit_since(conn, 0)
        state = read_engine_state(conn)
        marked = _equity_usd(conn, since_ms)
    first = next((at for at, row in enumerate(rows) if _at_ms(path, row) >= since_ms), len(rows))
    # By time, not by id: a row is of the stretch when it is stamped in it.
    inside = [row for row in rows if _at_ms(path, row) >= since_ms]
    before = [row.balance for row in rows[:first] if row.balance is not None][-1:]
    balances = [*before, *(row.balance for row in inside if row.balance is not None)]
    # A loss that the operator took is a loss. A tool that knew no price left no profit, and says nothing.
    realised = [
        row
        for row in inside
        if row.action in ("CLOSE", "REDUCE") and not (row.type == _SYSTEM and row.pnl is None)
    ]
    results = [_net_usd(path, row) for row in realised]
    until_ms = now_ms if state is None else min(now_ms, state.as_of_ms)
    fallen_pct = drawdown_pct(marked) if marked else None
    return PaperRecord(
        hours=max(0, until_ms - since_ms) / _HOUR_MS,
        n_closes=sum(row.action == "CLOSE" and row.type != _SYSTEM for row in realised),
        n_realised=len(realised),
        net_usd=math.fsum(results),
        profit_factor=profit_factor(results),
        drawdown_pct=max(drawdown_pct(balances), fallen_pct or 0.0),
        equity_drawdown_pct=fallen_pct,
        n_kills=sum(
            event.event.upper().startswith(_KILL)
            and _event_ms(path, event.id, event.timestamp) >= since_ms
            for event in events
        ),
        n_without_fee=sum(row.fee_usd is None for row in realised),
        trader_config_id=None if state is None else state.config_id,
    )


def profit_factor(results_usd: Iterable[float]) -> float:
    """Sum of gains over sum of losses; infinite for gains without a loss, 0 without a gain."""
    results = list(results_usd)
    gains = math.fsum(result for result in results if result > 0.0)
    losses = -math.fsum(result for result in results if result < 0.0)
    if losses > 0.0:
        return gains / losses
    return math.inf if gains > 0.0 else 0.0


def drawdown_pct(balances_usd: Sequence[float]) -> float:
    """The deepest fall from the highest balance so far, in percent of it; 0 without two balances."""
    peak = deepest = 0.0
    for balance in balances_usd:
        peak = max(peak, balance)
        if peak > 0.0:
            deepest = max(deepest, (peak - balance) / peak * 100.0)
    return deepest


def gates(
    record: PaperRecord,
    config_id: str,
    slippage_bps: float,
    live_layer: Mapping[str, Any],
    limits: Thresholds,
) -> list[Gate]:
    """All gates, in order; a promotion takes all of them.

    slippage_bps: the highest of the file; live_layer: its settings of `live`, by path.
    """
    enough = record.n_closes >= limits.min_trades or record.hours >= limits.min_hours
    factor = record.profit_factor
    found = [
        Gate(
            "enough_evidence",
            enough,
            f"{record.n_closes} closed trades (at least {limits.min_trades}) or {record.hours:.2f} hours (at least "
            f"{limits.min_hours:g})",
        ),
        Gate(
            "profit_factor",
            factor >= limits.min_profit_factor,
            f"profit factor {factor:.4f} (at least {limits.min_profit_factor:g})",
        ),
        Gate(
            "max_drawdown_pct",
            record.drawdown_pct <= limits.max_drawdown_pct,
            f"drawdown {record.drawdown_pct:.4f} % (at most {limits.max_drawdown_pct:g} %)",
        ),
    ]
    if limits.max_config_slippage_bps > 0.0:
        found.append(
            Gate(
                "config_slippage_bps",
                slippage_bps <= limits.max_config_slippage_bps,
                f"slippage {slippage_bps:g} bps (at most {limits.max_config_slippage_bps:g})",
            )
        )
    if live_layer:
        told = ", ".join(f"{path} {value!r}" for path, value in live_layer.items())
        found.append(
            Gate(
                "live_layer",
                limits.allow_live_layer,
                f"the layer `live` applies to the live trader alone, paper did not trade it ({told}): "
                f"{'allowed' if limits.allow_live_layer else 'look at it, then give'} --allow-live-layer",
            )
        )
    found.append(
        Gate(
            "kill_events",
            record.n_kills <= limits.max_kill_events,
            f"{record.n_kills} kill events (at most {limits.max_kill_events})",
        )
    )
    if record.trader_config_id is not None:
        found.append(
            Gate(
                "trader_runs_it",
                record.trader_config_id == config_id,
                f"the trader runs {record.trader_config_id[:12]} (must be {config_id[:12]})",
            )
        )
    return found


def _equity_usd(conn: sqlite3.Connection, since_ms: int) -> list[float]:
    """Positions marked, from the last point before the stretch on; empty without the table."""
    before = equity_before(conn, since_ms)
    points = [*(() if before is None else (before,)), *equity_since(conn, since_ms)]
    return [point.equity_usd for point in points]


def _at_ms(path: str, row: TradeRow) -> int:
    at_ms = stamp_ms(row.timestamp)
    if at_ms is None:
        raise DataError(
            f"{path}: the time of a trade must be ISO 8601, row {row.id} has {row.timestamp!r:.40}; correct it"
        )
    return at_ms


def _event_ms(path: str, event_id: int, timestamp: str) -> int:
    at_ms = stamp_ms(timestamp)
    if at_ms is None:
        raise DataError(
            f"{path}: the time of an audit event must be ISO 8601, row {event_id} has {timestamp!r:.40}; correct it"
        )
    return at_ms


def _net_usd(path: str, row: TradeRow) -> float:
    if row.pnl is None or not math.isfinite(row.pnl):
        raise DataError(
            f"{path}: pnl of a {row.action} must be a number, row {row.id} of {row.symbol} has {row.pnl!r}"
        )
    return row.pnl - (row.fee_usd or 0.0)
