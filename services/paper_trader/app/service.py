"""What paper_trader does: looks for new bars by the clock, steps, and says how it stands."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mei.data.trading_db import (
    TradeRow,
    one_view,
    open_trading_db,
    read_engine_state,
    read_trader_state,
    stamp_text,
    trades_since,
)
from mei.model.errors import ConflictError, DataError, MeiError, RequestError
from mei.workflows.paper.fills import Fill
from mei.workflows.paper.request import HALT_ALL, PaperRequest
from mei.workflows.paper.risk import memory_of, mode_of, paused_by
from mei.workflows.paper.state import PaperState, Slot, state_of, unrealised_usd
from mei.workflows.paper.trader import Advanced, PaperTrader
from services.paper_trader.app.bodies import (
    HeldView,
    OrderView,
    StateView,
    TradeList,
    TradeView,
    WarmUpView,
)
from services.paper_trader.app.settings import Settings

_log = logging.getLogger("paper_trader")
#: How long a shutdown waits for the step at work; Docker kills after ten seconds.
_CLOSE_WITHIN_S = 5.0


class PaperService:
    """One trader, one step at a time, whoever asks. Raises MeiError."""

    def __init__(self, settings: Settings, now_ms: Callable[[], int]) -> None:
        # By a recorded feed's clock nothing comes while time stands still.
        is_wall = settings.paper_clock == "wall"
        self._request: PaperRequest = replace(settings.request(), awaits_fetches=is_wall)
        self._poll_s = settings.poll_seconds
        self._now_ms = now_ms
        self._trader = PaperTrader(self._request, self._hear, hear_fill=self._hear_fill)
        self._step = threading.Lock()
        self._is_closing = threading.Event()
        self._last_error = ""
        self._loop = threading.Thread(target=self._work, name="paper", daemon=True)
        try:
            self._trader.open(now_ms())
        except DataError as error:
            # Candles may come yet; settings that are wrong stay wrong and are refused.
            self._failed(str(error))

    def start(self) -> None:
        """Begin to look for bars."""
        self._loop.start()

    def close(self) -> None:
        """End after the step at work."""
        self._is_closing.set()
        if self._loop.is_alive():
            self._loop.join(_CLOSE_WITHIN_S)
        if self._step.acquire(timeout=_CLOSE_WITHIN_S):
            self._trader.close()
            self._step.release()

    def advance(self, now_ms: int) -> Advanced:
        """Take every boundary that may be taken by a moment, now."""
        with self._step:
            return self._trader.advance(now_ms)

    def pause(self, mode: str) -> StateView:
        """Stop entries, or every step, from the next boundary on."""
        with self._step:
            self._trader.pause(mode, self._now_ms())
        return self.state()

    def resume(self) -> StateView:
        """Forget a pause and a kill."""
        with self._step:
            self._trader.resume(self._now_ms())
        return self.state()

    def state(self) -> StateView:
        """How the trader stands, by its database."""
        path = self._request.db
        row, remembered = None, None
        if Path(path).is_file():
            with open_trading_db(path, create=False, read_only=True) as conn, one_view(conn):
                row, remembered = read_engine_state(conn), read_trader_state(conn)
        paused, fault = paused_by(self._request.pause_file)
        mode, why = mode_of(memory_of(remembered), paused)
        state = None if row is None else state_of(row, path)
        newest_ms = None if state is None else _newest_bar_ms(state)
        warm_up = [] if state is None else self._trader.warm_up(state)
        return StateView(
            as_of_ms=None if state is None else state.as_of_ms,
            mode=mode,
            why="; ".join(part for part in (why, fault) if part),
            balance_usd=None if state is None else state.balance_usd,
            equity_usd=None if state is None else state.equity_usd(),
            unrealised_usd=None
            if state is None
            else sum(unrealised_usd(state, name) for name in state.held()),
            positions=[] if state is None else _positions(state),
            orders=[] if state is None else _orders(state),
            config_id=None if state is None else state.config_id,
            config_fault=self._trader.config_fault,
            last_error=self._last_error,
            newest_bar_ms=newest_ms,
            is_stale=state is None or newest_ms is None or self._is_stale(state, newest_ms),
            warm_up=[
                WarmUpView(symbol=one.symbol, bars=one.n_bars, bars_needed=one.n_needed)
                for one in warm_up
            ],
            warming_up=[one.symbol for one in warm_up if one.is_warming_up],
            not_waited_for=[one.symbol for one in warm_up if not one.is_waited_for],
        )

    def trades(self, since: str, limit: int) -> TradeList:
        """At most `limit` rows with an id above `since`, or stamped at or after it if it is an ISO time."""
        if not Path(self._request.db).is_file():
            return TradeList(trades=[])
        is_id = since.isascii() and since.isdigit() and len(since) < 19
        with open_trading_db(self._request.db, create=False, read_only=True) as conn:
            try:
                rows = trades_since(conn, int(since) if is_id else since)
            except DataError as error:
                if is_id:
                    raise
                raise RequestError(f"since must be the id of a trade or a time: {error}") from None
        return TradeList(trades=[_trade(row) for row in rows[:limit]])

    def readiness(self) -> dict[str, Any]:
        """Facts for /ready."""
        state = self.state()
        reasons = [] if self._loop.is_alive() else ["the thread that looks for bars has ended"]
        if self._last_error:
            reasons.append(self._last_error)
        elif state.is_stale and state.mode != HALT_ALL:
            # In a halt no bar is used, whether or not there are some.
            reasons.append(
                "main bars must be no older than two intervals and the grace, the newest one used closed "
                + ("never" if state.newest_bar_ms is None else stamp_text(state.newest_bar_ms))
            )
        return {
            "as_of_ms": state.as_of_ms,
            "mode": state.mode,
            "is_stale": state.is_stale,
            "config_fault": state.config_fault,
            "reasons": reasons,
        }

    def _work(self) -> None:
        while not self._is_closing.is_set():
            try:
                self.advance(self._now_ms())
                self._last_error = ""
            except ConflictError as error:
                # Somebody closed positions meanwhile; the next look goes on from there.
                _log.warning("step given up: %s", error)
            except MeiError as error:
                self._failed(str(error))
            except Exception as error:
                _log.exception("unexpected error")
                self._last_error = f"unexpected {type(error).__name__}, the log says more"
            self._is_closing.wait(self._poll_s)

    def _failed(self, reason: str) -> None:
        if reason != self._last_error:
            _log.error("no step taken: %s", reason)
        self._last_error = reason

    def _hear(self, line: str) -> None:
        _log.info("%s", line)

    def _hear_fill(self, fill: Fill) -> None:
        _log.info("%s", fill.line, extra=fill.fields())

    def _is_stale(self, state: PaperState, newest_ms: int) -> bool:
        allowed_ms = 2 * int(state.continuation["interval_ms"]) + self._request.grace_ms
        return self._now_ms() - newest_ms > allowed_ms


def _newest_bar_ms(state: PaperState) -> int | None:
    opens = [
        kept["bars"]["open_ms"][-1] for kept in state.symbols.values() if kept["bars"]["open_ms"]
    ]
    return max(opens) + int(state.continuation["interval_ms"]) if opens else None


def _positions(state: PaperState) -> list[HeldView]:
    return [
        HeldView(
            symbol=held.symbol,
            side="LONG" if held.side > 0 else "SHORT",
            size=held.qty,
            entry_price=held.entry_px,
            mark=state.last_close(held.symbol),
            unrealised_usd=unrealised_usd(state, held.symbol),
            leverage=held.leverage,
            margin_used=held.margin_usd,
            trailing_sl=held.trailing_px,
            adds_count=held.adds_count,
            tp1_taken=held.tp1_taken,
            opened_at_ms=held.opened_ms,
        )
        for held in state.positions
    ]


def _orders(state: PaperState) -> list[OrderView]:
    found = []
    for symbol, slot in {**state.held(), **state.ordered()}.items():
        if slot["side"] != 0 and slot["exit_order"] != 0:
            found.append(_order(symbol, "exit", slot, slot["side"], None))
        if slot["side"] != 0 and slot["add_order"] != 0:
            found.append(_order(symbol, "add", slot, slot["side"], slot["add_notional_usd"]))
        if slot["open_order"] != 0:
            found.append(
                _order(symbol, "open", slot, slot["open_order"], slot["open_notional_usd"])
            )
    return found


def _order(symbol: str, kind: Any, slot: Slot, side: int, notional_usd: float | None) -> OrderView:
    return OrderView(
        symbol=symbol,
        kind=kind,
        side="LONG" if side > 0 else "SHORT",
        notional_usd=notional_usd,
        decided_at_ms=slot[f"{kind}_decided_ms"],
    )


def _trade(row: TradeRow) -> TradeView:
    values = {name: getattr(row, name) for name in TradeView.model_fields if name != "meta"}
    try:
        meta = json.loads(row.meta_json or "null")
    except ValueError:
        meta = row.meta_json
    return TradeView(**values, meta=meta)
