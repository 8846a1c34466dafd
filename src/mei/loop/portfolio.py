"""A portfolio strategy at work: a seat for each of its instruments, and what its executions mean to loop and policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from mei.loop.execution import Book, ClosedTrade, Decision, trade_id
from mei.loop.hooks import hook_error, kept_state, strategy_hook
from mei.model.errors import MeiError, StrategyError
from mei.model.orders import Bar, Execution, Fill
from mei.rules import accounting, costs
from mei.strategies.base import Params, PortfolioContext, PortfolioStrategy

#: The policy's context of an instrument at the close at hand.
FeaturesOf = Callable[[str], dict[str, float | None]]


class Seat:
    """One instrument of a portfolio strategy: its parameters, and the trade at hand.

    decision: of the open position; pending: of an order to enter. notional_usd, fees, pnl: sums over the actions of
    the open position, notional of open and adds alone.
    """

    __slots__ = (
        "book",
        "decision",
        "fees",
        "frozen_values",
        "n_trades",
        "notional_usd",
        "params",
        "pending",
        "pnl",
        "qty",
        "settings",
    )

    def __init__(self, book: Book, settings: Mapping[str, Any]) -> None:
        self.book = book
        self.settings = settings
        self.params = Params()
        #: Parameters frozen since the decision to enter; None = free to follow the policy.
        self.frozen_values: dict[str, Any] | None = None
        self.decision: Decision | None = None
        self.pending: Decision | None = None
        self.notional_usd = self.fees = self.pnl = 0.0
        #: Signed quantity held.
        self.qty = 0.0
        self.n_trades = 0

    def take(self, done: Execution) -> ClosedTrade | None:
        """Count an action of the open position; the trade it closed, or None."""
        if done.action in ("open", "add"):
            self.notional_usd += done.qty * done.price
        self.fees += done.fee
        self.pnl += done.pnl
        if done.action != "close":
            return None
        assert self.decision is not None, "a position has a decision"
        self.n_trades += 1
        net_pnl_bps = accounting.net_pnl_bps(self.pnl, self.fees, self.notional_usd)
        trade = ClosedTrade(self.decision, net_pnl_bps, trade_id(self.book, self.n_trades))
        self.decision = None
        self.notional_usd = self.fees = self.pnl = 0.0
        return trade

    def state(self) -> dict[str, Any]:
        """Everything that must survive a restart, as JSON can carry it."""
        return {
            "frozen_values": self.frozen_values,
            "preset": self.params.preset,
            "decision": asdict(self.decision) if self.decision else None,
            "pending": asdict(self.pending) if self.pending else None,
            "sums": [self.notional_usd, self.fees, self.pnl],
            "qty": self.qty,
            "n_trades": self.n_trades,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up where `state` left off."""
        self.frozen_values = state["frozen_values"]
        if self.frozen_values is not None:
            self.params.preset = state["preset"]
            self.params.values = self.frozen_values
        self.decision = Decision(**state["decision"]) if state["decision"] else None
        self.pending = Decision(**state["pending"]) if state["pending"] else None
        self.notional_usd, self.fees, self.pnl = state["sums"]
        self.qty = state["qty"]
        self.n_trades = state["n_trades"]


class Portfolio:
    """A portfolio strategy with its seats, in the order of SYMBOLS."""

    def __init__(self, strategy: PortfolioStrategy, context: PortfolioContext) -> None:
        self.strategy = strategy
        self.context = context
        self.book = Book(strategy.name, "all instruments")
        self.seats = {
            name: Seat(Book(strategy.name, name), context.settings) for name in context.instruments
        }
        #: Unrealised profit of its positions at the newest closes.
        self.value_usd = 0.0

    def step(
        self,
        close_ms: int,
        bars: Mapping[str, Bar],
        features_of: FeaturesOf,
        cash_usd: float,
        other_equity_usd: float,
        fills: list[Fill],
    ) -> list[tuple[str, ClosedTrade]]:
        """Let the strategy take the bars; its actions go to `fills`. (instrument, trade) of each trade it closed."""
        self.context.cash_usd = cash_usd
        self.context.other_equity_usd = other_equity_usd
        params = {name: self.seats[name].params for name in bars}
        strategy = self.strategy
        try:
            executed = strategy.on_step(close_ms, bars, params)
            self.value_usd = strategy.unrealised_usd()
            quantities = strategy.quantities()
            ordered = {name for name in quantities if strategy.is_entry_ordered(name)}
        except MeiError:
            raise
        except Exception as error:
            opened_ms = next(iter(bars.values())).timestamp
            raise hook_error(self.book, "on_step", opened_ms, error) from error
        closed = []
        for done in executed:
            trade = self._take(done, close_ms, bars, features_of, fills)
            if trade is not None:
                closed.append((done.instrument, trade))
        for name in bars:
            self._settle(self.seats[name], name, close_ms, quantities, ordered, features_of)
        return closed

    def state(self) -> dict[str, Any]:
        """Everything that must survive a restart, as JSON can carry it."""
        return {
            "value_usd": self.value_usd,
            "seats": {name: seat.state() for name, seat in self.seats.items()},
            "strategy": kept_state(self.book, self.strategy),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up where `state` left off."""
        self.value_usd = state["value_usd"]
        for name, seat in self.seats.items():
            seat.restore(state["seats"][name])
        with strategy_hook(self.book, "restore"):
            self.strategy.restore(state["strategy"])

    def _take(
        self,
        done: Execution,
        close_ms: int,
        bars: Mapping[str, Bar],
        features_of: FeaturesOf,
        fills: list[Fill],
    ) -> ClosedTrade | None:
        if done.instrument not in bars:
            raise StrategyError(
                f"an action must be on an instrument with a bar, strategy {self.strategy.name} executed {done!r} at "
                f"{close_ms}"
            )
        seat = self.seats[done.instrument]
        if (done.action == "open") == (seat.decision is not None):
            raise StrategyError(
                f"actions must open and close in turn, strategy {self.strategy.name} executed {done!r} at {close_ms}"
            )
        if done.action == "open":
            pending = seat.pending or self._decision(seat, close_ms, features_of)
            seat.decision, seat.pending = pending, None
        decision = seat.decision
        assert decision is not None, "checked above"
        fills.append(_fill(seat.book, done, decision, close_ms))
        return seat.take(done)

    def _settle(
        self,
        seat: Seat,
        name: str,
        close_ms: int,
        quantities: Mapping[str, float],
        ordered: set[str],
        features_of: FeaturesOf,
    ) -> None:
        """Note what was decided, and freeze or free the parameters."""
        seat.qty = quantities.get(name, 0.0)
        if name not in ordered:
            seat.pending = None
        elif seat.pending is None:
            seat.pending = self._decision(seat, close_ms, features_of)
        if name not in quantities:
            seat.frozen_values = None
        elif seat.frozen_values is None:
            seat.frozen_values = dict(seat.params.values)

    @staticmethod
    def _decision(seat: Seat, close_ms: int, features_of: FeaturesOf) -> Decision:
        params = seat.params
        return Decision(
            preset=params.preset,
            model_version=params.model_version,
            regime=params.regime,
            decided_at_ms=close_ms,
            notional_usd=0.0,
            features=features_of(seat.book.instrument),
        )


def _fill(book: Book, done: Execution, decision: Decision, close_ms: int) -> Fill:
    return Fill(
        timestamp=close_ms,
        instrument=book.instrument,
        strategy=book.strategy,
        action=done.action,
        side=done.side,
        qty=done.qty,
        reference_px=done.reference_px,
        price=done.price,
        notional=done.qty * done.price,
        fee=done.fee,
        slippage=costs.slippage_usd(done.qty, done.reference_px, done.price),
        pnl=done.pnl,
        config_id=decision.preset,
        model_version=decision.model_version,
        reason=done.reason,
    )
