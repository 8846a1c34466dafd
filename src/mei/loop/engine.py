"""The order of events within one bar, for every book of the account.

A book is one strategy on one instrument. All books share one account: cash changes by realised profit and fees;
equity is cash plus the unrealised profit of all books, summed in the order of the books.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mei.loop.execution import (
    Book,
    ClosedTrade,
    Decision,
    Position,
    close_position,
    meet_range,
    open_position,
    trade_id,
)
from mei.loop.hooks import hook_error, kept_state, strategy_hook
from mei.loop.portfolio import FeaturesOf, Portfolio
from mei.model.errors import MeiError, StrategyError
from mei.model.orders import Bar, Fill, Order
from mei.model.settings import Costs, EntryFill
from mei.rules import accounting
from mei.strategies.base import Context, Params, Strategy


class Leg:
    """One book at work: the strategy, its pending order, its position, its frozen parameters."""

    __slots__ = (
        "book",
        "context",
        "frozen_values",
        "n_trades",
        "params",
        "pending",
        "pending_decision",
        "position",
        "strategy",
    )

    def __init__(self, book: Book, strategy: Strategy, context: Context) -> None:
        self.book = book
        self.strategy = strategy
        self.context = context
        self.params = Params()
        self.pending: Order | None = None
        self.pending_decision: Decision | None = None
        self.position: Position | None = None
        #: Parameters frozen since the decision to enter; None = free to follow the policy.
        self.frozen_values: dict[str, Any] | None = None
        self.n_trades = 0

    @property
    def settings(self) -> Mapping[str, Any]:
        """The strategy's static settings."""
        return self.context.settings

    @property
    def is_idle(self) -> bool:
        """Nothing pending and no position: the opening steps of a bar cannot touch this book."""
        return self.pending is None and self.position is None

    def state(self) -> dict[str, Any]:
        """Everything that must survive a restart, as JSON can carry it."""
        return {
            "pending": asdict(self.pending) if self.pending else None,
            "pending_decision": asdict(self.pending_decision) if self.pending_decision else None,
            "position": asdict(self.position) if self.position else None,
            "frozen_values": self.frozen_values,
            "n_trades": self.n_trades,
            "strategy": kept_state(self.book, self.strategy),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up where `state` left off."""
        self.pending = Order(**state["pending"]) if state["pending"] else None
        decision = state["pending_decision"]
        self.pending_decision = Decision(**decision) if decision else None
        position = state["position"]
        if position:
            self.position = Position(**{**position, "decision": Decision(**position["decision"])})
        self.frozen_values = state["frozen_values"]
        self.n_trades = state["n_trades"]
        with strategy_hook(self.book, "restore"):
            self.strategy.restore(state["strategy"])
        self._restore_params()
        self._show_position()

    def _restore_params(self) -> None:
        held = self.position.decision if self.position else self.pending_decision
        if held is not None and self.frozen_values is not None:
            self.params.preset = held.preset
            self.params.values = self.frozen_values

    def _show_position(self) -> None:
        context, position = self.context, self.position
        context.direction = position.direction if position else 0
        context.qty = position.qty if position else 0.0
        context.entry_px = position.entry_px if position else 0.0
        context.bars_held = position.bars_held if position else 0


class Engine:
    """The account and the steps of a bar that need nobody else's answer."""

    def __init__(
        self,
        legs: list[Leg],
        costs: Costs,
        initial_cash: float,
        entry_fill: EntryFill,
        portfolios: Sequence[Portfolio] = (),
    ) -> None:
        self.legs = legs
        self.portfolios = portfolios
        self.cash = initial_cash
        self.equity = initial_cash
        #: Entries that found no positive equity to size them with.
        self.n_refused_entries = 0
        self.position_value = 0.0
        self._legs_value = 0.0
        self._costs = costs
        self._entry_fill = entry_fill

    def open_bar(self, leg: Leg, bar: Bar, fills: list[Fill]) -> ClosedTrade | None:
        """Steps 1 and 2: the pending order fills at the open, then resting orders meet the bar's range."""
        closed = self._fill_pending(leg, bar.open, bar.close_ms, fills)
        position = leg.position
        if position is None:
            return closed
        if position.opened_at_ms != bar.close_ms:
            position.bars_held += 1
            leg.context.bars_held = position.bars_held
        touched = meet_range(position, bar)
        if touched is None:
            return closed
        return self._close(leg, position, touched[1], bar.close_ms, touched[0], fills)

    def mark(self, last_close_px: dict[str, float]) -> None:
        """Mark every book at its instrument's last close; sums run in the order of the books, portfolios last."""
        value = 0.0
        for leg in self.legs:
            position = leg.position
            if position is not None:
                close_px = last_close_px[leg.book.instrument]
                value += accounting.pnl_usd(
                    position.direction, position.qty, position.entry_px, close_px
                )
        self._legs_value = value
        for portfolio in self.portfolios:
            value += portfolio.value_usd
        self.position_value = value
        self.equity = self.cash + value

    def step_portfolio(
        self,
        portfolio: Portfolio,
        close_ms: int,
        bars: Mapping[str, Bar],
        features_of: FeaturesOf,
        fills: list[Fill],
    ) -> list[tuple[str, ClosedTrade]]:
        """Let a portfolio take the bars that close now; the account changes by what it executed.

        features_of: the policy's context of an instrument. Answers (instrument, trade) of each trade it closed.
        """
        others = self._legs_value
        for other in self.portfolios:
            if other is not portfolio:
                others += other.value_usd
        n_fills = len(fills)
        closed = portfolio.step(close_ms, bars, features_of, self.cash, others, fills)
        for fill in fills[n_fills:]:
            self.cash += fill.pnl - fill.fee
        return closed

    def settle_order(
        self, leg: Leg, bar: Bar, features: dict[str, float | None], fills: list[Fill]
    ) -> ClosedTrade | None:
        """Size and freeze the order just given; by `signal_close` it fills at this close, at once.

        features: the policy's context at this close, kept for the outcome of the trade.
        """
        order = leg.pending
        if order is None:
            return None
        if order.action == "open":
            leg.pending_decision = self._decide(leg, order, bar.close_ms, features)
            if leg.pending_decision is None:
                leg.pending = None
                return None
            leg.frozen_values = dict(leg.params.values)
        if self._entry_fill == "signal_close":
            return self._fill_pending(leg, bar.close, bar.close_ms, fills)
        return None

    def ask(self, leg: Leg, bar: Bar) -> Order | None:
        """Let the strategy see the bar; its order becomes the pending one."""
        try:
            order = leg.strategy.on_bar(bar, leg.params)
        except MeiError:
            raise
        except Exception as error:
            raise hook_error(leg.book, "on_bar", bar.timestamp, error) from error
        if order is None:
            return None
        _check_order(leg, order, bar)
        leg.pending = order
        return order

    def state(self) -> dict[str, Any]:
        """Account and books, as JSON can carry them."""
        return {
            "cash": self.cash,
            "n_refused_entries": self.n_refused_entries,
            "legs": [leg.state() for leg in self.legs],
            "portfolios": [portfolio.state() for portfolio in self.portfolios],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up where `state` left off."""
        self.cash = state["cash"]
        self.n_refused_entries = state["n_refused_entries"]
        for leg, leg_state in zip(self.legs, state["legs"], strict=True):
            leg.restore(leg_state)
        for portfolio, portfolio_state in zip(self.portfolios, state["portfolios"], strict=True):
            portfolio.restore(portfolio_state)

    def _decide(
        self, leg: Leg, order: Order, now_ms: int, features: dict[str, float | None]
    ) -> Decision | None:
        notional_usd = order.notional_usd or order.allocation_frac * self.equity
        if self.equity <= 0.0:
            self.n_refused_entries += 1
            return None
        params = leg.params
        return Decision(
            preset=params.preset,
            model_version=params.model_version,
            regime=params.regime,
            decided_at_ms=now_ms,
            notional_usd=notional_usd,
            features=features,
        )

    def _fill_pending(
        self, leg: Leg, reference_px: float, now_ms: int, fills: list[Fill]
    ) -> ClosedTrade | None:
        order, decision = leg.pending, leg.pending_decision
        if order is None:
            return None
        leg.pending = leg.pending_decision = None
        if order.action == "close":
            position = leg.position
            if position is None:
                return None
            return self._close(leg, position, reference_px, now_ms, order.reason, fills)
        assert decision is not None, "an entry is pending only together with its decision"
        position, fill = open_position(leg.book, order, decision, reference_px, now_ms, self._costs)
        self.cash -= fill.fee
        leg.position = position
        leg._show_position()
        fills.append(fill)
        with strategy_hook(leg.book, "on_fill"):
            leg.strategy.on_fill(fill)
        return None

    def _close(
        self,
        leg: Leg,
        position: Position,
        reference_px: float,
        now_ms: int,
        reason: str,
        fills: list[Fill],
    ) -> ClosedTrade:
        fill = close_position(leg.book, position, reference_px, now_ms, self._costs, reason)
        self.cash += fill.pnl
        self.cash -= fill.fee
        leg.position = None
        leg.pending = leg.pending_decision = None
        leg.frozen_values = None
        leg.n_trades += 1
        leg._show_position()
        leg.context.closed_this_bar = True
        fills.append(fill)
        with strategy_hook(leg.book, "on_fill"):
            leg.strategy.on_fill(fill)
        fees = position.entry_fee + fill.fee
        net_pnl_bps = accounting.net_pnl_bps(fill.pnl, fees, position.notional_usd)
        return ClosedTrade(position.decision, net_pnl_bps, trade_id(leg.book, leg.n_trades))


def _check_order(leg: Leg, order: Order, bar: Bar) -> None:
    fault = _order_fault(leg, order)
    if fault is not None:
        raise StrategyError(
            f"{fault} (by strategy {leg.book.strategy} on {leg.book.instrument} at the bar that opened at "
            f"{bar.timestamp})"
        )


def _order_fault(leg: Leg, order: Order) -> str | None:
    if not isinstance(order, Order):
        return f"on_bar must answer with an Order or None, answered {order!r}"
    if order.action == "close":
        return None if leg.position else "a close needs a position, the book was flat"
    if order.action != "open":
        return f"Order.action must be open or close, was {order.action!r}"
    if leg.position is not None:
        return "an entry needs a flat book, a position was open"
    if order.direction not in (1, -1):
        return f"Order.direction must be 1 or -1, was {order.direction!r}"
    for name in ("notional_usd", "allocation_frac", "stop_bps", "take_profit_bps"):
        value = getattr(order, name)
        if not (isinstance(value, int | float) and math.isfinite(value) and value >= 0):
            return f"Order.{name} must be a finite number >= 0, was {value!r}"
    if not (order.notional_usd or order.allocation_frac):
        return "an entry must have a size, notional_usd and allocation_frac were both 0"
    return None
