"""What happens to positions when a bar arrives: pending orders, resting orders, exits decided on its close.

Readings of docs/concepts/semantics.md that its text leaves open are marked `Reading:`.
"""

from __future__ import annotations

import math
from typing import Any

from tests.oracles.mei_alpha.bank import Bar, Config, Snapshot
from tests.oracles.mei_alpha.book import AddOrder, Book, ExitOrder, OpenOrder
from tests.oracles.mei_alpha.position import (
    Exit,
    Hole,
    Position,
    check_exit,
    take_profit_at,
    target_level,
    update_trailing,
    update_trailing_as_configured,
)

FLIP = "Signal Flip"


def readiness(c: Config) -> int:
    """R of warm_up = ready: bars until every indicator in use has left its start-up phase."""
    i = "indicators."
    need = [
        2 * int(c[i + "adx_window"]),
        int(c[i + "ema_slow_window"]),
        int(c[i + "ema_fast_window"]),
        int(c[i + "bb_window"]) + int(c[i + "bb_width_avg_window"]) - 1,
        int(c[i + "atr_window"]),
        int(c[i + "rsi_window"]) + 1,
        int(c[i + "vol_sma_window"]),
        int(c[i + "vol_trend_window"]),
        int(c["thresholds.entry.ave_avg_atr_window"]),
        34,
    ]
    if c["filters.require_macro_alignment"]:
        need.append(int(c[i + "ema_macro_window"]))
    if c["thresholds.entry.enable_slow_drift_entries"]:
        need.append(int(c["thresholds.entry.slow_drift_slope_window"]))
    if c["filters.use_stoch_rsi_filter"]:
        windows = ("rsi_window", "stoch_rsi_window", "stoch_rsi_smooth1")
        need.append(sum(int(c[i + name]) for name in windows) - 1)
    return max(need)


def _covers(bars: list[tuple[int, Bar]], begin: float, end: float) -> bool:
    """Bars with the times they end leave no time between begin and end."""
    covered = begin
    for known, bar in sorted(bars, key=lambda one: one[1][0]):
        if bar[0] <= covered:
            covered = max(covered, known)
    return covered >= end


def _hole_fill(
    p: Position, opens: int, open_px: float, holes: list[Hole], worst: float
) -> tuple[float, str] | None:
    """The stop fill that costs most among those an unseen extreme allows, with its reason."""
    by_level = sorted(holes, key=lambda hole: hole.stop_px, reverse=p.is_long)  # nearest first
    reached = [hole for hole in by_level if p.reached_stop(worst, hole.stop_px)]
    if not reached:
        return None
    levels = {hole.stop_px for hole in holes}
    if len(levels) > 2 and len(reached) < len(holes):
        # Stops between the nearest and the farthest count as lying anywhere there.
        return worst, reached[0].stop_reason
    fills = [(hole.stop_px, hole.stop_reason) for hole in reached]
    fills += [
        (open_px, hole.stop_reason)
        for hole in holes
        if hole.start <= opens < hole.end and p.reached_stop(open_px, hole.stop_px)
    ]
    # Of equal ones the first: the stop that came first, and a level before the open.
    return min(fills, key=lambda fill: fill[0] if p.is_long else -fill[0])


class Market(Book):
    """The book, and the orders that wait for a bar."""

    from_ms: int | None = None
    to_ms: int | None = None

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.pending_exits: dict[str, list[ExitOrder]] = {}
        self.pending_adds: dict[str, AddOrder] = {}
        self.pending_opens: dict[str, OpenOrder] = {}
        self.ready_after = {symbol: readiness(c) for symbol, c in self.configs.items()}

    def in_window(self, now: int) -> bool:
        return not (
            (self.from_ms is not None and now < self.from_ms)
            or (self.to_ms is not None and now > self.to_ms)
        )

    # -- what pending orders hold ---------------------------------------------------------------------------

    def leaving(self, symbol: str) -> bool:
        """A full exit is pending."""
        return any(order.exit.whole for order in self.pending_exits.get(symbol, ()))

    def flipping(self, symbol: str) -> bool:
        return any(order.exit.reason == FLIP for order in self.pending_exits.get(symbol, ()))

    def margin_used(self) -> float:
        """Sum of margins. Reading: symbols ascending, in each the position, its add, its order to open."""
        total = 0.0
        for symbol in sorted({*self.positions, *self.pending_opens, *self.pending_adds}):
            if symbol in self.positions and not self.leaving(symbol):
                total += self.positions[symbol].margin
            if symbol in self.pending_adds:
                total += self.pending_adds[symbol].margin
            if symbol in self.pending_opens:
                total += self.pending_opens[symbol].sized.margin
        return total

    def open_count(self) -> int:
        staying = sum(not self.leaving(symbol) for symbol in self.positions)
        return staying + len(self.pending_opens)

    def taken(self, symbol: str) -> bool:
        """Whether the symbol takes no decision to open: its position stays or leaves for another reason than a flip."""
        if symbol in self.pending_opens:
            return True
        return symbol in self.positions and not self.flipping(symbol)

    # -- a bar arrives --------------------------------------------------------------------------------------

    def sub_bars_of(self, symbol: str) -> list[tuple[int, Bar]]:
        """Every exit and entry bar of the symbol with the time it ends."""
        raise NotImplementedError

    def arrive(
        self, symbol: str, bar: Bar, interval: int, now: int, *, is_main: bool = False
    ) -> bool:
        """Pending orders fill at the bar's open, then the position meets the bar. True when a resting order fired."""
        if not self.in_window(now):
            return False
        if self.switches.next_open:
            pays = self.switches.held and self.switches.known_at_close
            orders = self.pending_exits.get(symbol, [])
            if pays and any(bar[0] >= order.now for order in orders):
                self.pay_to(self.positions[symbol], bar[0], now)
            self._fill_orders(symbol, bar, now)
            if pays and symbol in self.positions:
                self.pay_held(self.positions[symbol], now, inclusive=False)
        if symbol not in self.positions or not (self.switches.level or self.switches.lived):
            return False
        p = self.positions[symbol]
        if bar[0] < p.met_until:
            late = is_main and self.switches.known_at_close
            return late and self._meet_unseen(p, bar, interval, now)
        if p.stop_reason == "":  # from an init-state: the first bar it meets
            self.rest(p, self.banks[symbol].newest, p.entry)
        if not is_main:
            if p.met_until < bar[0]:
                p.holes.append(Hole(p.met_until, bar[0], p.stop_px, p.stop_reason))
            p.sub_bars.append(bar)
        p.met_until = bar[0] + interval
        fired = self.switches.level and self._meet(p, bar, now)
        if symbol in self.positions:
            p.lived += [bar[2], bar[3]]
        return fired

    def _meet_unseen(self, p: Position, bar: Bar, interval: int, now: int) -> bool:
        """A main bar whose sub-bars were met, but not all of it: its extremes that no sub-bar showed."""
        begin, end = bar[0], bar[0] + interval
        inside = [met for met in p.sub_bars if begin <= met[0] < end]
        holes = [hole for hole in p.holes if hole.meets(begin, end)]
        fill = p.open_time if self.from_ms is None else max(p.open_time, self.from_ms)
        before = [
            (known, sub)
            for known, sub in self.sub_bars_of(p.symbol)
            if begin <= sub[0] and known <= fill
        ]
        seen = inside + [sub for _, sub in before]
        if not seen or not (holes or p.met_until < end):
            return False
        if p.stop_reason == "":
            self.rest(p, self.banks[p.symbol].newest, p.entry)
        if p.met_until < end:
            holes.append(Hole(p.met_until, end, p.stop_px, p.stop_reason))
        low = bar[3] if bar[3] < min(sub[3] for sub in seen) else None
        high = bar[2] if bar[2] > max(sub[2] for sub in seen) else None
        worst, best = (low, high) if p.is_long else (high, low)
        if not _covers(before, begin, fill):
            best = None
        fired = self.switches.level and self._fire_unseen(p, bar, holes, worst, best, now)
        if p.symbol in self.positions:
            p.lived += [px for px in (worst, best) if px is not None]
        return fired

    def _fire_unseen(
        self,
        p: Position,
        bar: Bar,
        holes: list[Hole],
        worst: float | None,
        best: float | None,
        now: int,
    ) -> bool:
        c = self.configs[p.symbol]
        target = target_level(p, c)
        stopped = None if worst is None else _hole_fill(p, bar[0], bar[1], holes, worst)
        if stopped is not None:
            px, exit_ = stopped[0], Exit(stopped[1])
            lived = [px]
        elif best is not None and p.reached_target(best, target):
            taken = take_profit_at(p, target, c)
            if taken is None:
                return False
            exit_, px = taken, target
            lived = [px] if worst is None else [px, worst]
        else:
            return False
        self._fired(p, exit_, px, lived, now)
        return True

    def _fired(self, p: Position, exit_: Exit, px: float, lived: list[float], now: int) -> None:
        self.pending_exits.pop(p.symbol, None)
        self.pending_adds.pop(p.symbol, None)
        p.lived += lived
        self.apply_exit(p, exit_, px, now)
        if not exit_.whole:
            # Reading: "the fill price" is the level (or open) it fired at, before slippage.
            self.rest(p, self.banks[p.symbol].newest, px)

    def _fill_orders(self, symbol: str, bar: Bar, now: int) -> None:
        """Exits first (in the order of decision: a partial one, then a flip), then the add, then the opening."""
        t, open_px = bar[0], bar[1]
        waiting = []
        for order in self.pending_exits.pop(symbol, []):
            if t < order.now:
                waiting.append(order)
            elif symbol in self.positions:
                self.apply_exit(self.positions[symbol], order.exit, open_px, now)
        if waiting:
            self.pending_exits[symbol] = waiting
        add = self.pending_adds.get(symbol)
        if add is not None and t >= add.now:
            del self.pending_adds[symbol]
            if symbol in self.positions:
                self.fill_add(add, open_px, now, t)
        order_to_open = self.pending_opens.get(symbol)
        if order_to_open is not None and t >= order_to_open.now:
            del self.pending_opens[symbol]
            # Reading: dropped while a position is there (its flip was removed by a resting partial exit).
            if symbol not in self.positions:
                self._open_at(order_to_open, bar, now)

    def _open_at(self, order: OpenOrder, bar: Bar, now: int) -> None:
        t, open_px = bar[0], bar[1]
        p = self.fill_open(order, open_px, order.sized.notional / open_px, now, t)
        if self.switches.level:
            self.rest(p, self.banks[order.symbol].newest, p.entry)

    def _meet(self, p: Position, bar: Bar, now: int) -> bool:
        _, open_px, high, low, _, _ = bar
        c = self.configs[p.symbol]
        worst, best = (low, high) if p.is_long else (high, low)
        stop, target = p.stop_px, target_level(p, c)
        if p.reached_stop(worst, stop):
            exit_ = Exit(p.stop_reason)
            px = open_px if p.reached_stop(open_px, stop) else stop
            lived = [open_px, px]
        elif p.reached_target(best, target):
            taken = take_profit_at(p, target, c)
            if taken is None:
                return False
            exit_ = taken
            px = open_px if p.reached_target(open_px, target) else target
            lived = [open_px, px] if px == open_px else [open_px, px, worst]
        else:
            return False
        self._fired(p, exit_, px, lived, now)
        return True

    # -- decisions on a close -------------------------------------------------------------------------------

    def evaluate(self, symbol: str, x: Snapshot, now: int) -> None:
        """A.4 step 4 and A.7: exit checks on x, else the trailing update."""
        if symbol not in self.positions or self.pending_exits.get(symbol):
            return
        if self.exit_cooldown(symbol, now):
            return
        p, c = self.positions[symbol], self.configs[symbol]
        smart = not self.switches.ready or self.banks[symbol].n >= self.ready_after[symbol]
        exit_ = check_exit(p, x, c, smart=smart)
        if exit_ is not None:
            self.decide_exit(p, exit_, x.close, now)
        elif self.switches.configured:
            update_trailing_as_configured(p, x, c)
        else:
            update_trailing(p, x, c)
        if self.switches.level and symbol in self.positions and not self.leaving(symbol):
            self.rest(p, x, x.close)

    def decide_exit(self, p: Position, exit_: Exit, close: float, now: int) -> None:
        if self.switches.next_open:
            if exit_.reason == FLIP:  # takes the place of a partial exit
                self.pending_exits.pop(p.symbol, None)
            self.pending_exits.setdefault(p.symbol, []).append(ExitOrder(exit_, now))
        else:
            self.apply_exit(p, exit_, close, now)

    def decide_open(self, order: OpenOrder) -> None:
        self.last_entry[order.symbol] = order.now
        if self.switches.next_open:
            self.pending_opens[order.symbol] = order
            return
        p = self.fill_open(order, order.snapshot.close, order.sized.size, order.now, order.now)
        if self.switches.level:
            self.rest(p, order.snapshot, p.entry)

    def decide_add(self, order: AddOrder, close: float) -> None:
        self.last_entry[order.symbol] = order.now
        if self.switches.next_open:
            self.pending_adds[order.symbol] = order
        else:
            self.fill_add(order, close, order.now, order.now)

    def start_with(self, position: dict[str, Any], first_step: float) -> None:
        """A position of an init-state. Its resting stop is made when it first meets a bar."""
        p = Position(
            symbol=position["symbol"],
            is_long=position["side"] == "long",
            entry=float(position["entry_price"]),
            size=float(position["size"]),
            confidence=int(position["confidence"]),
            entry_atr=float(position["entry_atr"]),
            adx_threshold=float(position.get("entry_adx_threshold", 0.0)),
            leverage=float(position["leverage"]),
            margin=float(position["margin_used"]),
            open_time=int(position.get("open_time_ms", 0)),
            last_add_time=int(position.get("last_add_time_ms", 0)),
            trailing=position.get("trailing_sl"),
            adds=int(position.get("adds_count", 0)),
            tp1_taken=bool(position.get("tp1_taken", False)),
            met_until=max(
                -math.inf if self.from_ms is None else self.from_ms,
                int(position.get("open_time_ms", 0)),
                int(position.get("last_add_time_ms", 0)),
            ),
            paid_until=first_step,
            lived=[float(position["entry_price"])],
        )
        self.positions[p.symbol] = p
