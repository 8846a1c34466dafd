"""A position meets a bar: orders fill at its open, resting stop and target meet its range
(docs/concepts/semantics.md)."""

from typing import Any

from mei.rules.exits import NO_EXIT, STOP, TARGET, protective_exit
from mei.rules.mei_alpha.book import (
    add_to_position,
    leave_position,
    live_through,
    open_position,
    ordered_add,
    ordered_entry,
    ordered_exit,
)
from mei.rules.mei_alpha.codes import NO_REASON, STOP_LOSS, TRAILING_STOP
from mei.rules.mei_alpha.exits import (
    Exit,
    is_reached,
    is_tighter,
    stop_level,
    take_profit_at,
    target_level,
)
from mei.rules.mei_alpha.funding import pay_until
from mei.rules.mei_alpha.holes import has_hole, hole_stop, note_hole, note_sub_bar, unseen
from mei.rules.mei_alpha.snapshot import Snapshot, snapshot_at
from mei.rules.mei_alpha.world import State, World

#: Rules that few walks need (engines/bind.py).
SELDOM = ("meet_holes",)


def rest_stop(slot: Any, x: Snapshot, p: Any) -> None:
    """Place the resting stop for the bars to come: the tighter of stop-loss and trailing stop."""
    level = stop_level(slot, x, p)
    slot.has_stop = 1
    slot.stop_px = level
    slot.stop_reason = STOP_LOSS
    if slot.has_trailing and is_tighter(slot.side, slot.trailing_px, level):
        slot.stop_px = slot.trailing_px
        slot.stop_reason = TRAILING_STOP


def fill_orders(run: Any, p: Any, account: Any, slot: Any, log: Any, symbol: int, bar: Any) -> None:
    """Fill what waits for an open at or after its decision: exit, add, entry."""
    open_px, open_ms, now_ms = bar.open, bar.open_ms, bar.known_ms
    if slot.exit_order != 0 and open_ms >= slot.exit_decided_ms:
        leave_position(run, p, account, slot, log, symbol, open_px, ordered_exit(slot), now_ms)
    if slot.add_order != 0 and open_ms >= slot.add_decided_ms:
        entry = ordered_add(slot, open_px)
        slot.add_order = 0
        add_to_position(run, p, account, slot, log, symbol, open_px, entry, open_ms, now_ms)
    if slot.open_order == 0 or open_ms < slot.open_decided_ms:
        return
    entry = ordered_entry(slot, open_px)
    slot.open_order = 0
    if slot.side == 0:
        open_position(run, p, account, slot, log, symbol, open_px, entry, open_ms, now_ms)


def meet_bar(
    world: World, state: State, symbol: int, bar: Any, interval_ms: int, is_sub_bar: bool
) -> bool:
    """Let a bar come: fill orders at its open, then try resting stop and target on its range.

    The slot's main_row is the main bar whose indicators were known before this bar. Returns whether a resting order
    fired.
    """
    run = world.run[0]
    whose = world.symbols[symbol]
    p = world.risk[whose.risk]
    slot = state.slots[symbol]
    if run.entry_fill:
        pays = run.bar_time and run.funding and run.has_funding
        if pays and slot.exit_order != 0 and bar.open_ms >= slot.exit_decided_ms:
            pay_until(world, state, symbol, bar.open_ms, bar.known_ms)
        fill_orders(run, p, state.account[0], slot, state.log, symbol, bar)
        if pays and slot.side != 0 and slot.exit_order == 0:
            pay_until(world, state, symbol, bar.known_ms - 1, bar.known_ms)
    if slot.side == 0 or not (run.exit_fill or run.excursions):
        return False
    is_new = bar.open_ms >= slot.met_ms
    if not is_new and (is_sub_bar or not run.bar_time):
        return False
    if not is_new and not has_hole(world, slot, symbol, bar):
        return False
    if slot.has_stop == 0 and run.exit_fill:
        x = snapshot_at(world.main, world.indicators, whose.first, slot.main_row, slot.entry_px)
        rest_stop(slot, x, p)
    if is_new:
        if is_sub_bar and run.bar_time:
            note_sub_bar(world, slot, symbol, bar)
        slot.met_ms = bar.open_ms + interval_ms
        px = meet_range(run, p, state.account[0], slot, state.log, symbol, bar)
    else:
        px = meet_holes(world, state, symbol, bar)
    if px > 0.0 and slot.side != 0:
        x = snapshot_at(world.main, world.indicators, whose.first, slot.main_row, px)
        rest_stop(slot, x, p)
    return px > 0.0


def meet_range(run: Any, p: Any, account: Any, slot: Any, log: Any, symbol: int, bar: Any) -> float:
    """Fill the resting stop or target the bar's range touches, the stop if both; the level filled at, 0 if none was."""
    code, px = NO_EXIT, 0.0
    if run.exit_fill:
        target_px = target_level(slot, p)
        taken = take_profit_at(slot, target_px, p)
        code, px = protective_exit(
            slot.side,
            bar.open,
            bar.high,
            bar.low,
            slot.stop_px,
            target_px if taken.reason != NO_REASON else 0.0,
        )
        if code != NO_EXIT:
            live_through(slot, bar.open)
            if code == TARGET and px != bar.open:
                live_through(slot, bar.low if slot.side > 0 else bar.high)
            if code == STOP:
                taken = Exit(slot.stop_reason, 1.0, 0.0, 0.0)
            fire(run, p, account, slot, log, symbol, px, taken, bar.known_ms)
    if slot.side != 0:
        live_through(slot, bar.low)
        live_through(slot, bar.high)
    return px


def meet_holes(world: World, state: State, symbol: int, bar: Any) -> float:
    """The same for a main bar with a hole, in the extremes that no sub-bar showed (holes.py)."""
    run = world.run[0]
    p = world.risk[world.symbols[symbol].risk]
    slot = state.slots[symbol]
    if slot.met_ms < bar.known_ms:
        note_hole(slot, bar.open_ms)
    found = unseen(world, slot, symbol, bar)
    px = 0.0
    if run.exit_fill:
        target_px = target_level(slot, p)
        taken = take_profit_at(slot, target_px, p)
        if found.has_worst and is_reached(slot.side, found.worst_px, slot.hole_near_px):
            touched = hole_stop(slot, bar, found.worst_px)
            px = touched.px
            taken = Exit(touched.reason, 1.0, 0.0, 0.0)
        elif (
            found.has_best
            and taken.reason != NO_REASON
            and is_reached(-slot.side, found.best_px, target_px)
        ):
            px = target_px
            if found.has_worst:
                live_through(slot, found.worst_px)
        if px > 0.0:
            account = state.account[0]
            fire(run, p, account, slot, state.log, symbol, px, taken, bar.known_ms)
    if slot.side != 0:
        if found.has_worst:
            live_through(slot, found.worst_px)
        if found.has_best:
            live_through(slot, found.best_px)
    return px


def fire(
    run: Any,
    p: Any,
    account: Any,
    slot: Any,
    log: Any,
    symbol: int,
    px: float,
    taken: Exit,
    now_ms: int,
) -> None:
    """A resting order fills at `px`; what waits for an open to exit or add is dropped."""
    slot.exit_order = 0
    slot.add_order = 0
    live_through(slot, px)
    leave_position(run, p, account, slot, log, symbol, px, taken, now_ms)
