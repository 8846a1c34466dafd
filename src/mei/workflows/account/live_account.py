"""What a program may ask of an account on an exchange, and what comes back, whichever exchange it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Side = Literal["LONG", "SHORT"]


@dataclass(frozen=True, slots=True)
class LivePosition:
    """A position as the exchange has it. qty in base units, above 0; entry_px in quote per base; margin in USD."""

    symbol: str
    side: Side
    qty: float
    entry_px: float
    leverage: float
    margin_usd: float


@dataclass(frozen=True, slots=True)
class AccountState:
    """The account at one moment. balance_usd: account value, open profit included. positions: symbols ascending.

    as_of_ms: when it was so, by the clock of the exchange, epoch ms UTC. Two states of one account can be told apart
    by it: the one with the smaller value is the older one, whenever it arrived.
    """

    balance_usd: float
    positions: tuple[LivePosition, ...]
    as_of_ms: int


@dataclass(frozen=True, slots=True)
class OrderAnswer:
    """What an exchange said to an order.

    accepted: it took the order; filled_qty (base units) may be less than was asked for, avg_px is None without a fill.
    rejected: it did not, for `reason`; nothing has happened. unknown: no answer, or none that can be read: the order
    may have been executed, may be executed still, or never arrived; ask for its fate.
    """

    outcome: Literal["accepted", "rejected", "unknown"]
    filled_qty: float = 0.0
    avg_px: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OrderFate:
    """What has become of an order. at_ms: when, by the clock of the exchange, epoch ms UTC; 0 for "absent".

    done: nothing more comes of it, filled_qty (base units) was filled. open: it is being worked on. absent: the
    exchange does not know it, or not yet. word: the exchange's own, for messages.
    """

    fate: Literal["done", "open", "absent"]
    filled_qty: float = 0.0
    at_ms: int = 0
    word: str = ""


class LiveAccount(Protocol):
    """An account that can be read, and whose positions can be made smaller. Nothing in it opens a position."""

    def state(self) -> AccountState:
        """What the account holds. ServiceUnavailableError without an answer, DataError for one that cannot be read."""

    def reduce(self, position: LivePosition, slippage_frac: float, order_id: str) -> OrderAnswer:
        """Send one order that closes `position`, at no worse than `slippage_frac` from the mid price.

        It is cancelled where it is not filled at once, and never opens or turns a position. order_id: 16 bytes as
        `0x` and 32 hex digits, unique, by which `fate` finds the order. An order that could not be sent is rejected.
        """

    def fate(self, order_id: str) -> OrderFate:
        """What has become of the order `order_id`. Raises as `state`."""
