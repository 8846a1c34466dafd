"""Closing everything an account holds, with an account of it: what is closed, what is not, and why not.

An order is never repeated on a guess. After each one its fate and the account are read again, and the next one is made
of what is there then. All orders can only reduce, so the worst that a late or doubled one can do is to be refused.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mei.model.errors import DataError, ServiceUnavailableError
from mei.workflows.account.live_account import AccountState, LiveAccount, LivePosition, Side

#: How often in a row what is there may be unreadable or older than what is known, before a symbol is given up.
_MAX_REREADS = 6


@dataclass(frozen=True, slots=True)
class SymbolClose:
    """What became of one symbol. side, qty (base units): as first seen. attempts: orders made, rejected ones included.

    closed: the exchange has it flat, by a reading that is newer than the last order. reason: why not; "" when closed.
    left_qty: what is open still (base units); 0 when closed, None when that could not be read.
    """

    symbol: str
    side: Side
    qty: float
    attempts: int
    closed: bool
    reason: str
    left_qty: float | None


@dataclass(frozen=True, slots=True)
class CloseReport:
    """What became of every symbol that was open, or was opened meanwhile, ascending."""

    symbols: tuple[SymbolClose, ...]

    @property
    def closed(self) -> bool:
        """Whether nothing is left."""
        return all(symbol.closed for symbol in self.symbols)

    def lines(self) -> list[str]:
        """The report for people, a line a symbol."""
        return [_line(symbol) for symbol in self.symbols]


def random_order_id() -> str:
    """An order id that no other order has: `0x` and 32 hex digits."""
    return f"0x{uuid.uuid4().hex}"


def close_all(
    account: LiveAccount,
    *,
    max_attempts: int = 3,
    slippage_frac: float = 0.02,
    verify_after_s: float = 5.0,
    retry_after_s: float = 2.0,
    sleep: Callable[[float], object],
    tell: Callable[[str], None],
    new_id: Callable[[], str] = random_order_id,
) -> CloseReport:
    """Close every position of `account`, symbols ascending, at most `max_attempts` orders each.

    After an order that was accepted, or not answered, a symbol is read again `verify_after_s` later, after a rejected
    one `retry_after_s` later; symbols do not wait for each other. What was filled in part, has grown or turned is
    closed by the next order. A reading older than what is known already, or none, is repeated `retry_after_s` later and
    costs no attempt, a few times. `tell` hears every step.

    Raises ServiceUnavailableError or DataError when the account cannot be read before the first order, a few times in a
    row. From then on
    there is a report, whatever happens: `closed` tells whether all of it went well.
    """
    closing = _Closing(account, max_attempts, slippage_frac, new_id, tell)
    closing.verify_after_s, closing.retry_after_s = verify_after_s, retry_after_s
    slept_s = 0.0
    while not closing.has_begun(slept_s):
        sleep(retry_after_s)
        slept_s += retry_after_s
    while (next_s := closing.next_due_s()) is not None:
        if next_s > slept_s:
            sleep(next_s - slept_s)
            slept_s = next_s
        closing.step(slept_s)
    return closing.report()


@dataclass(slots=True)
class _Target:
    """A symbol on its way. due_s: when it is looked at again, in seconds slept. order_id: the order not settled yet."""

    first: LivePosition
    due_s: float
    attempts: int = 0
    rereads: int = 0
    order_id: str | None = None
    reason: str = ""
    left_qty: float | None = None
    ended: bool = False

    @property
    def closed(self) -> bool:
        return self.ended and self.left_qty == 0.0


class _Closing:
    """All symbols on their way. Times are seconds slept since the start: at least as much has passed in truth."""

    verify_after_s = 0.0
    retry_after_s = 0.0

    def __init__(
        self,
        account: LiveAccount,
        max_attempts: int,
        slippage_frac: float,
        new_id: Callable[[], str],
        tell: Callable[[str], None],
    ) -> None:
        self._account = account
        self._max_attempts = max_attempts
        self._slippage_frac = slippage_frac
        self._new_id = new_id
        self._tell = tell
        self._targets: dict[str, _Target] = {}
        #: The latest moment, by the exchange's clock, that anything is known of.
        self._newest_ms = 0
        self._first_rereads = 0

    def has_begun(self, now_s: float) -> bool:
        """Whether the account could be read at last; raises why not when that has failed often enough."""
        try:
            state = self._account.state()
        except (ServiceUnavailableError, DataError) as error:
            self._first_rereads += 1
            if self._first_rereads >= _MAX_REREADS:
                raise
            self._tell(f"the account could not be read, trying again: {error}")
            return False
        self._newest_ms = state.as_of_ms
        self._meet(state, now_s)
        return True

    def next_due_s(self) -> float | None:
        return min((one.due_s for one in self._targets.values() if not one.ended), default=None)

    def step(self, now_s: float) -> None:
        """Look at every symbol that is due."""
        due = [
            symbol
            for symbol, one in sorted(self._targets.items())
            if not one.ended and one.due_s <= now_s
        ]
        working = {symbol for symbol in due if not self._is_settled(self._targets[symbol])}
        state = self._fresh_state(due)
        if state is None:
            for symbol in due:
                self._read_again(symbol, now_s)
            return
        held = {position.symbol: position for position in state.positions}
        for symbol in due:
            if symbol in working:
                self._targets[symbol].reason = "an order is being worked on still"
                self._read_again(symbol, now_s)
            else:
                self._judge(symbol, held.get(symbol), now_s)
        self._meet(state, now_s)

    def report(self) -> CloseReport:
        return CloseReport(
            tuple(
                SymbolClose(
                    symbol=symbol,
                    side=one.first.side,
                    qty=one.first.qty,
                    attempts=one.attempts,
                    closed=one.closed,
                    reason="" if one.closed else one.reason,
                    left_qty=one.left_qty,
                )
                for symbol, one in sorted(self._targets.items())
            )
        )

    def _meet(self, state: AccountState, now_s: float) -> None:
        """Take up what is open and was not known to be: all of it at first, later what was opened meanwhile."""
        for position in state.positions:
            one = self._targets.get(position.symbol)
            if one is None:
                self._targets[position.symbol] = _Target(position, now_s)
                self._judge(position.symbol, position, now_s)
            elif one.closed:
                self._tell(f"{position.symbol}: was closed and is open again")
                one.ended = False
                self._judge(position.symbol, position, now_s)

    def _judge(self, symbol: str, position: LivePosition | None, now_s: float) -> None:
        """Decide what comes next for a symbol whose position is known."""
        one = self._targets[symbol]
        one.rereads = 0
        one.left_qty = 0.0 if position is None else position.qty
        if position is None:
            one.ended = True
            self._tell(f"{symbol}: flat")
        elif one.attempts >= self._max_attempts:
            one.ended = True
            one.reason = f"still open after {_orders(one.attempts)}; {one.reason or 'the orders were filled in part'}"
            self._tell(f"{symbol}: given up, {one.reason}")
        else:
            self._send(one, position, now_s)

    def _send(self, one: _Target, position: LivePosition, now_s: float) -> None:
        one.attempts += 1
        order_id = self._new_id()
        answer = self._account.reduce(position, self._slippage_frac, order_id)
        what = f"{position.symbol}: {position.side} {position.qty:.10g}, order {one.attempts} of {self._max_attempts}"
        if answer.outcome == "rejected":
            one.order_id = None
            one.reason = f"the last one was rejected: {answer.reason}"
            one.due_s = now_s + self.retry_after_s
            self._tell(f"{what} rejected: {answer.reason}")
            return
        one.order_id = order_id
        one.due_s = now_s + self.verify_after_s
        if answer.outcome == "accepted":
            one.reason = f"the last one filled {answer.filled_qty:.10g} of the {position.qty:.10g} there were"
            self._tell(f"{what} filled {answer.filled_qty:.10g} at {answer.avg_px}")
        else:
            one.reason = f"the last one was not answered ({answer.reason}) and may be executed within a minute"
            self._tell(f"{what} not answered ({answer.reason}): looking at what became of it")

    def _is_settled(self, one: _Target) -> bool:
        """Whether no order of the symbol is being worked on. Learns from its fate how new a reading must be."""
        if one.order_id is None:
            return True
        try:
            fate = self._account.fate(one.order_id)
        except (ServiceUnavailableError, DataError) as error:
            # The positions decide; the fate would only have told how new they must be.
            self._tell(f"{one.first.symbol}: the order could not be looked up: {error}")
            return True
        if fate.fate == "open":
            return False
        self._newest_ms = max(self._newest_ms, fate.at_ms)
        one.order_id = None
        if fate.fate == "done":
            one.reason = f"the last one ended as {fate.word}, {fate.filled_qty:.10g} filled"
        return True

    def _fresh_state(self, due: Sequence[str]) -> AccountState | None:
        """The account, unless it cannot be read or the reading is older than what is known; then why is noted."""
        try:
            state = self._account.state()
        except (ServiceUnavailableError, DataError) as error:
            why = str(error)
        else:
            if state.as_of_ms >= self._newest_ms:
                self._newest_ms = state.as_of_ms
                return state
            age_ms = self._newest_ms - state.as_of_ms
            why = f"the exchange shows positions {age_ms} ms older than what it has told already"
        self._tell(f"{', '.join(due)}: {why}")
        for symbol in due:
            self._targets[symbol].reason = why
        return None

    def _read_again(self, symbol: str, now_s: float) -> None:
        one = self._targets[symbol]
        one.rereads += 1
        one.due_s = now_s + self.retry_after_s
        if one.rereads >= _MAX_REREADS:
            one.ended = True
            one.left_qty = None
            one.reason = (
                f"what is open could not be read after {_orders(one.attempts)}: {one.reason}"
            )
            self._tell(f"{symbol}: given up, {one.reason}")


def _orders(count: int) -> str:
    return f"{count} order{'' if count == 1 else 's'}"


def _line(one: SymbolClose) -> str:
    what = f"{one.symbol} {one.side} {one.qty:.10g}"
    if one.closed:
        return f"{what}: closed, {_orders(one.attempts)}"
    left = "unknown how much is left" if one.left_qty is None else f"{one.left_qty:.10g} left"
    return f"{what}: NOT CLOSED, {left}: {one.reason}"
