"""A trader over a recorded feed in a folder of its own, and the replay it must equal."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mei.data.trading_db import (
    AuditEvent,
    EquityPoint,
    SignalRow,
    TradeRow,
    audit_since,
    equity_since,
    open_trading_db,
    read_engine_state,
    signals_since,
    trades_since,
)
from mei.workflows.paper.request import PaperRequest
from mei.workflows.paper.state import PaperState, state_of
from mei.workflows.paper.trader import Advanced, PaperTrader
from mei.workflows.replay import ReplayRequest, run_replay
from tests.paper_trader.market import CONFIG, HOUR_MS, START_MS, SUB_MS, Market

LOOKBACK = 30
#: Hours before the first trade.
WARM_HOURS = 60
END = "End of Backtest"

Deal = tuple[Any, ...]


def nothing(_: str) -> None:
    """Hear a line."""


class Desk:
    """One trading database, market and strategy file. The trader is started anew by `restart`."""

    def __init__(self, folder: Path, market: Market, **more: Any) -> None:
        self.folder = folder
        self.market = market
        self.config = folder / "c.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(CONFIG)
        self.request = PaperRequest(
            **{
                "db": str(folder / "paper.db"),
                "market": market.request,
                "config": str(self.config),
                "lookback": LOOKBACK,
                "grace_ms": 0,
                **more,
            }
        )
        self.lines: list[str] = []
        self.trader = PaperTrader(self.request, self.lines.append)
        self.start_ms = START_MS + WARM_HOURS * HOUR_MS

    @property
    def step_ms(self) -> int:
        """Between two boundaries."""
        return SUB_MS if self.market.has_sub_bars else HOUR_MS

    def open(self, *, whole: bool = False) -> None:
        """Warm up with what is known at the start. whole: all that will ever come lies in the databases already."""
        self.market.feed(self.market.end_ms if whole else self.start_ms)
        self.trader.open(self.start_ms)

    def restart(self, **more: Any) -> None:
        """Another process over the same files."""
        self.request = replace(self.request, **more)
        self.trader.close()
        self.trader = PaperTrader(self.request, self.lines.append)

    def boundaries(self) -> range:
        """Every boundary after the start."""
        return range(self.start_ms + self.step_ms, self.market.end_ms + 1, self.step_ms)

    def advance(self, at_ms: int) -> Advanced:
        """The bars until a moment come, and the trader looks."""
        if at_ms > self.market.fed_ms:
            self.market.feed(at_ms)
        return self.trader.advance(at_ms)

    def through(self, stops: Iterable[int]) -> None:
        """From stop to stop."""
        for at_ms in stops:
            self.advance(at_ms)

    def rows(self) -> list[TradeRow]:
        """Every trade."""
        with open_trading_db(self.request.db, create=False, read_only=True) as conn:
            return trades_since(conn, 0)

    def signals(self) -> list[SignalRow]:
        """Every signal."""
        with open_trading_db(self.request.db, create=False, read_only=True) as conn:
            return signals_since(conn, 0)

    def deals(self) -> list[Deal]:
        """Every trade as `replayed` gives it."""
        return [deal_of(row) for row in self.rows()]

    def points(self) -> list[tuple[int, float]]:
        """The curve."""
        with open_trading_db(self.request.db, create=False, read_only=True) as conn:
            found: list[EquityPoint] = equity_since(conn, 0)
        return [(point.timestamp_ms, point.equity_usd) for point in found]

    def state(self) -> PaperState:
        """What it goes on from."""
        with open_trading_db(self.request.db, create=False, read_only=True) as conn:
            row = read_engine_state(conn)
        assert row is not None
        return state_of(row, self.request.db)

    def audits(self, event: str) -> list[AuditEvent]:
        """Audit events of a name."""
        with open_trading_db(self.request.db, create=False, read_only=True) as conn:
            return [one for one in audit_since(conn, 0) if one.event == event]

    def replayed(
        self,
        *,
        init_state: str | None = None,
        from_ms: int | None = None,
        balance_usd: float = 10_000.0,
    ) -> tuple[list[Deal], list[tuple[int, float]]]:
        """Trades and curve of a replay over the same databases, without what only its end made."""
        output = self.folder / "replay.json"
        if init_state is None and from_ms is None:
            from_ms = self.start_ms + 1
        request = ReplayRequest(
            market=replace(self.request.market, start_ms=from_ms, auto_scope=False),
            config=self.request.config,
            lookback=LOOKBACK,
            initial_balance_usd=balance_usd,
            init_state=init_state,
            output=str(output),
            with_trades=True,
            with_curve=True,
        )
        run_replay(request, nothing)
        report = json.loads(output.read_text())
        deals = [
            (
                one["timestamp"],
                one["symbol"],
                one["action"],
                one["price"],
                one["size"],
                one["pnl"],
                one["fee"],
                one["balance"],
                one["reason"],
                one["confidence"],
            )
            for one in report["trades"]
            if one["reason"] != END
        ]
        return deals, [tuple(point) for point in report["equity_curve"]][:-1]


def deal_of(row: TradeRow) -> Deal:
    """A row as the report of a replay has it."""
    action = row.action if row.action == "FUNDING" else f"{row.action}_{row.type}"
    at_ms = json.loads(row.meta_json or "")["timestamp_ms"]
    return (
        at_ms,
        row.symbol,
        action,
        row.price,
        row.size,
        row.pnl,
        row.fee_usd,
        row.balance,
        row.reason,
        row.confidence,
    )
