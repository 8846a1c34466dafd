"""Balance, positions, the trade log: sizing and accounting (part 2, B and C)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tests.oracles.mei_alpha.bank import Bank, Config, Snapshot
from tests.oracles.mei_alpha.position import Exit, Position, stop_level
from tests.oracles.mei_alpha.signals import clamp, divide, number
from tests.oracles.mei_alpha.switches import Switches

FEE_RATE = 0.00035
HOUR_MS = 3_600_000
TIERS = ("low", "medium", "high")


@dataclass(frozen=True)
class Sized:
    size: float
    margin: float
    notional: float
    leverage: float


@dataclass(frozen=True)
class OpenOrder:
    """A decision to open; `now` is the known time of the decision."""

    symbol: str
    is_long: bool
    confidence: int
    atr: float
    adx_threshold: float
    sized: Sized
    reason: str
    snapshot: Snapshot
    now: int


@dataclass(frozen=True)
class AddOrder:
    symbol: str
    confidence: int
    atr: float
    margin: float
    notional: float
    now: int


@dataclass(frozen=True)
class ExitOrder:
    exit: Exit
    now: int


def base_margin(
    c: Config, confidence: int, adx: float, atr: float, price: float, equity: float
) -> float:
    """B.2; `atr` is floored."""
    margin = equity * number(c, "trade.allocation_pct")
    if not c["trade.enable_dynamic_sizing"]:
        return margin
    conf_mult = number(c, f"trade.confidence_mult_{TIERS[confidence]}")
    adx_mult = clamp(
        divide(adx, number(c, "trade.adx_sizing_full_adx")),
        number(c, "trade.adx_sizing_min_mult"),
        1.0,
    )
    baseline = number(c, "trade.vol_baseline_pct")
    vol_ratio = (atr / price) / baseline if baseline > 0 and price > 0 else 1.0
    raw = 1.0 / vol_ratio if vol_ratio > 0 else 1.0
    vol_scalar = clamp(raw, number(c, "trade.vol_scalar_min"), number(c, "trade.vol_scalar_max"))
    return margin * ((conf_mult * adx_mult) * vol_scalar)


def leverage_of(c: Config, confidence: int) -> float:
    """B.3."""
    if not c["trade.enable_dynamic_leverage"]:
        return number(c, "trade.leverage")
    leverage = number(c, f"trade.leverage_{TIERS[confidence]}")
    cap = number(c, "trade.leverage_max_cap")
    return min(leverage, cap) if cap > 0 else leverage


class Book:
    """State of a run that money touches. Symbols in ascending order wherever order matters."""

    def __init__(
        self,
        switches: Switches,
        portfolio: Config,
        by_symbol: Mapping[str, Config],
        symbols: list[str],
        balance: float,
    ) -> None:
        self.switches = switches
        self.portfolio = portfolio
        self.configs = {symbol: by_symbol.get(symbol, portfolio) for symbol in symbols}
        self.banks = {symbol: Bank(self.configs[symbol]) for symbol in symbols}
        self.balance = balance
        self.positions: dict[str, Position] = {}
        self.trades: list[dict[str, Any]] = []
        self.last_entry: dict[str, int] = {}
        self.last_exit: dict[str, int] = {}
        self.last_close: dict[str, tuple[int, bool, str]] = {}
        self.funding: Mapping[str, list[tuple[int, float]]] = {}

    # -- values ---------------------------------------------------------------------------------------------

    def held_symbols(self) -> list[str]:
        return sorted(self.positions)

    def mark(self, p: Position) -> float:
        """Last main close. Without a bar so far: 0 as the bank has it, the entry price under equity = marked."""
        bank = self.banks[p.symbol]
        return p.entry if bank.n == 0 and self.switches.marked else bank.last_close

    def marked_equity(self) -> float:
        total = 0.0
        for symbol in self.held_symbols():
            p = self.positions[symbol]
            total += p.unrealised(self.mark(p))
        return self.balance + total

    def entry_cooldown(self, symbol: str, now: int) -> bool:
        return self._cooling("trade.entry_cooldown_s", self.last_entry, symbol, now)

    def exit_cooldown(self, symbol: str, now: int) -> bool:
        return self._cooling("trade.exit_cooldown_s", self.last_exit, symbol, now)

    def _cooling(self, key: str, last: dict[str, int], symbol: str, now: int) -> bool:
        seconds = int(self.configs[symbol][key])
        return seconds > 0 and symbol in last and now - last[symbol] < seconds * 1000

    # -- sizing ---------------------------------------------------------------------------------------------

    def size_entry(
        self, symbol: str, confidence: int, x: Snapshot, atr: float, equity: float, headroom: float
    ) -> Sized | str:
        """B.2 to B.4; "small" when dropped for its notional, "margin" when a bump does not fit (bump = capped)."""
        c = self.configs[symbol]
        price = x.close
        margin = base_margin(c, confidence, x.adx, atr, price, equity)
        leverage = leverage_of(c, confidence)
        size = margin * leverage / price if price > 0 else 0.0
        if margin > headroom:
            size *= headroom / margin
            margin = headroom
        notional = size * price
        least = number(c, "trade.min_notional_usd")
        if notional < least:
            if not (c["trade.bump_to_min_notional"] and price > 0):
                return "small"
            size = least / price
            margin = divide(size * price, leverage)
            notional = size * price
            if self.switches.capped and margin > headroom:
                return "margin"
        return Sized(size, margin, notional, leverage)

    # -- actions --------------------------------------------------------------------------------------------

    def log(self, p: Position, now: int, action: str, reason: str, **values: float) -> None:
        row: dict[str, Any] = {
            "timestamp": now,
            "symbol": p.symbol,
            "action": action,
            "reason": reason,
            "pnl": 0.0,
            "fee": 0.0,
            "balance": self.balance,
            "confidence": p.confidence,
            "entry_atr": p.entry_atr,
            "leverage": p.leverage,
            "margin": p.margin,
            "lowest": min(p.lived),
            "highest": max(p.lived),
        }
        self.trades.append(row | values)

    def slipped(self, symbol: str, px: float, buying: bool, *, leaving: bool) -> float:
        bps = number(self.configs[symbol], "trade.slippage_bps")
        if leaving:
            bps = max(bps, 0.0) if self.switches.both_sides else 0.5
        return px * (1.0 + bps / 10000.0) if buying else px * (1.0 - bps / 10000.0)

    def fill_open(
        self, order: OpenOrder, px: float, size: float, now: int, open_time: int
    ) -> Position:
        """C.2. px: the close of the decision, or the open of the filling bar."""
        fill = self.slipped(order.symbol, px, order.is_long, leaving=False)
        notional = order.sized.notional
        fee = size * fill * FEE_RATE if self.switches.both_sides else notional * FEE_RATE
        self.balance -= fee
        p = Position(
            symbol=order.symbol,
            is_long=order.is_long,
            entry=fill,
            size=size,
            confidence=order.confidence,
            entry_atr=order.atr,
            adx_threshold=order.adx_threshold,
            leverage=order.sized.leverage,
            margin=order.sized.margin,
            open_time=open_time,
            last_add_time=open_time,
            met_until=open_time,
            paid_until=open_time,
            lived=[fill],
        )
        self.positions[order.symbol] = p
        action = "OPEN_LONG" if p.is_long else "OPEN_SHORT"
        self.log(p, now, action, order.reason, price=fill, size=size, notional=notional, fee=fee)
        return p

    def fill_add(self, order: AddOrder, px: float, now: int, open_time: int) -> None:
        """A.10, from `Apply` on."""
        p = self.positions[order.symbol]
        size = order.notional / px
        fill = self.slipped(order.symbol, px, p.is_long, leaving=False)
        fee = size * fill * FEE_RATE if self.switches.both_sides else order.notional * FEE_RATE
        self.balance -= fee
        self.log(
            p,
            now,
            "ADD_LONG" if p.is_long else "ADD_SHORT",
            f"Pyramid #{p.adds + 1}",
            price=fill,
            size=size,
            notional=order.notional,
            fee=fee,
            confidence=order.confidence,
            entry_atr=order.atr,
            margin=order.margin,
        )
        total = p.size + size
        if total > 0:
            p.entry = (p.entry * p.size + fill * size) / total
        p.size = total
        p.margin += order.margin
        p.adds += 1
        p.last_add_time = open_time

    def apply_exit(self, p: Position, exit_: Exit, px: float, now: int) -> None:
        """C.3, at px."""
        fill = self.slipped(p.symbol, px, not p.is_long, leaving=True)
        size = p.size if exit_.whole else p.size * exit_.fraction
        notional = size * fill
        fee = notional * FEE_RATE
        pnl = (fill - p.entry) * size if p.is_long else (p.entry - fill) * size
        self.balance += pnl - fee
        side = "LONG" if p.is_long else "SHORT"
        values = {"price": fill, "size": size, "notional": notional, "pnl": pnl, "fee": fee}
        self.last_close[p.symbol] = (now, p.is_long, exit_.reason)
        self.last_exit[p.symbol] = now
        p.lived.append(fill)
        if exit_.whole:
            self.log(p, now, f"CLOSE_{side}", exit_.reason, **values)
            del self.positions[p.symbol]
            return
        margin = p.margin * exit_.fraction
        self.log(p, now, f"REDUCE_{side}", exit_.reason, margin=margin, **values)
        p.size -= size
        p.margin *= 1.0 - exit_.fraction
        if self.switches.latches:
            p.tp1_taken = True
            p.store_trailing(p.entry)

    def rest(self, p: Position, x: Snapshot, close: float) -> None:
        """Put the resting stop where the indicators x and this close have it (exit_fill = level)."""
        sl = stop_level(p, x, close, self.configs[p.symbol])
        p.stop_px, p.stop_reason = sl, "Stop Loss"
        if p.trailing is not None and p.better(p.trailing, sl):
            p.stop_px, p.stop_reason = p.trailing, "Trailing Stop"

    # -- funding --------------------------------------------------------------------------------------------

    def pay_funding(self, p: Position, boundary: int, stamp: int) -> None:
        """C.4: one boundary of one position, if a rate is known.

        funding = held: at the close of the newest main bar known at the boundary.
        """
        rates = self.funding.get(p.symbol, [])
        known = bisect_right(rates, boundary, key=lambda entry: entry[0])
        if known == 0:
            return
        rate = rates[known - 1][1]
        bank = self.banks[p.symbol]
        price = self.known_close(p, boundary) if self.switches.held else bank.last_close
        signed = p.size if p.is_long else -p.size
        delta = (-signed * price) * rate
        self.balance += delta
        self.log(
            p,
            stamp,
            "FUNDING",
            f"Funding rate={rate:.6f}",
            price=price,
            size=p.size,
            notional=p.size * price,
            pnl=delta,
        )

    def known_close(self, p: Position, moment: int) -> float:
        """Close of the newest main bar of p's symbol known at the moment; the entry price before the first."""
        price = p.entry
        for known in self.main.times:
            if known <= moment:
                price = next((bar[4] for s, bar in self.main.at[known] if s == p.symbol), price)
        return price

    def pay_between(self, prev: int, now: int) -> None:
        """funding = after_step: the boundaries in (prev, now], every open position at each."""
        boundary = (prev // HOUR_MS + 1) * HOUR_MS
        while boundary <= now:
            for symbol in self.held_symbols():
                self.pay_funding(self.positions[symbol], boundary, boundary)
            boundary += HOUR_MS

    def pay_held(self, p: Position, now: int, *, inclusive: bool) -> None:
        """funding = held: what p owes up to now, stamped now; with an exit ordered, up to its decision."""
        last = now if inclusive else now - 1
        orders = self.pending_exits.get(p.symbol, [])
        if orders and self.switches.known_at_close:
            last = min(last, min(order.now for order in orders))
        self.pay_to(p, last, now)

    def pay_to(self, p: Position, last: int, now: int) -> None:
        """The boundaries up to and including `last` that p has not paid yet, stamped now."""
        if p.paid_until >= last:
            return
        boundary = int(p.paid_until // HOUR_MS + 1) * HOUR_MS
        while boundary <= last:
            self.pay_funding(p, boundary, now)
            boundary += HOUR_MS
        p.paid_until = last

    def pay_all_held(
        self, now: int, *, inclusive: bool, only: Collection[str] | None = None
    ) -> None:
        """only: the symbols that have a sub-bar of their own now; None = a step, all of them."""
        for symbol in self.held_symbols():
            if only is None or symbol in only:
                self.pay_held(self.positions[symbol], now, inclusive=inclusive)
