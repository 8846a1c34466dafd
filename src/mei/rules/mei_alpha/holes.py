"""Main bars whose sub-bars are not all there: what only the main bar shows (docs/concepts/semantics.md, exit_fill).

A hole is a time in a main bar, after the position's fill, in which the position met no bar. While a walk goes through
sub-bars it keeps what those showed and which stops rested in the holes; at the main bar's close the position meets the
extremes that no sub-bar showed. Only with bar_time = close, where a main bar comes after its sub-bars.
"""

from math import inf
from typing import Any, NamedTuple

from mei.rules.mei_alpha.exits import is_reached, is_tighter
from mei.rules.mei_alpha.world import World

#: Rules that few walks need (engines/bind.py).
SELDOM = ("unseen", "covered_until")


class Unseen(NamedTuple):
    """Extremes of a main bar that lie in holes: against the position, in its favour; whether there is one."""

    has_worst: bool
    worst_px: float
    has_best: bool
    best_px: float


class HoleStop(NamedTuple):
    """A stop that an unseen extreme touched: where it fills, and why it rested."""

    px: float
    reason: int


def first_known_after(bars: Any, first: int, end: int, moment_ms: int) -> int:
    """The first of a symbol's bars that is known after the moment; `end` if there is none."""
    low, high = first, end
    while low < high:
        middle = (low + high) // 2
        if bars[middle].known_ms > moment_ms:
            high = middle
        else:
            low = middle + 1
    return low


def main_open_ms(world: World, slot: Any, symbol: int, moment_ms: int) -> int:
    """When the main bar that the moment lies in opens, counted from the newest one the symbol has had."""
    anchor_ms = 0
    if slot.main_row >= world.symbols[symbol].first:
        anchor_ms = world.main[slot.main_row].known_ms
    interval_ms = world.run[0].main_interval_ms
    return anchor_ms + (moment_ms - anchor_ms) // interval_ms * interval_ms


def note_sub_bar(world: World, slot: Any, symbol: int, bar: Any) -> None:
    """A position is about to meet a sub-bar: keep its range, and the stop that rested if a hole ends here."""
    if slot.met_ms < bar.open_ms:
        note_hole(slot, main_open_ms(world, slot, symbol, bar.open_ms - 1))
    if bar.open_ms < slot.seen_ms or bar.open_ms >= slot.seen_ms + world.run[0].main_interval_ms:
        slot.seen_ms = main_open_ms(world, slot, symbol, bar.open_ms)
        slot.seen_low = bar.low
        slot.seen_high = bar.high
        return
    if bar.low < slot.seen_low:
        slot.seen_low = bar.low
    if bar.high > slot.seen_high:
        slot.seen_high = bar.high


def note_hole(slot: Any, open_ms: int) -> None:
    """Keep the stop that rested in a hole of the main bar that opens at `open_ms`: the first, nearest, farthest one."""
    px, reason = slot.stop_px, slot.stop_reason
    if slot.hole_ms != open_ms:
        slot.hole_ms = open_ms
        slot.hole_at_open = 1 if slot.met_ms <= open_ms else 0
        slot.hole_between = 0
        slot.hole_first_px = slot.hole_near_px = slot.hole_far_px = px
        slot.hole_first_reason = slot.hole_near_reason = slot.hole_far_reason = reason
        return
    near_px, far_px = slot.hole_near_px, slot.hole_far_px
    if near_px != far_px and px != near_px and px != far_px:
        slot.hole_between = 1
    if is_tighter(slot.side, px, near_px):
        slot.hole_near_px = px
        slot.hole_near_reason = reason
    if is_tighter(slot.side, far_px, px):
        slot.hole_far_px = px
        slot.hole_far_reason = reason


def has_hole(world: World, slot: Any, symbol: int, bar: Any) -> bool:
    """Not all of this main bar's time since the fill was met, though sub-bars of it were, or were known at the fill."""
    if slot.met_ms >= bar.known_ms and slot.hole_ms != bar.open_ms:
        return False
    if slot.seen_ms == bar.open_ms:
        return True
    low, high = seen_range(world, slot, symbol, bar)
    return low <= high


def unseen(world: World, slot: Any, symbol: int, bar: Any) -> Unseen:
    """What of a main bar with a hole no sub-bar showed.

    A position filled inside the bar: what sub-bars showed before the fill is seen, too. An extreme in its favour counts
    only if there was no hole before the fill, in which it may lie.
    """
    held_ms = held_from_ms(world, slot)
    low, high = seen_range(world, slot, symbol, bar)
    is_certain = True
    if held_ms > bar.open_ms:
        is_certain = covered_until(world, symbol, bar.open_ms, held_ms) >= held_ms
    if slot.side > 0:
        return Unseen(bar.low < low, bar.low, is_certain and bar.high > high, bar.high)
    return Unseen(bar.high > high, bar.high, is_certain and bar.low < low, bar.low)


def held_from_ms(world: World, slot: Any) -> int:
    """The position's fill, or the window's start if that is later."""
    if slot.opened_ms < world.run[0].from_ms:
        return world.run[0].from_ms
    return slot.opened_ms


def seen_range(world: World, slot: Any, symbol: int, bar: Any) -> tuple[float, float]:
    """Low and high of the main bar's sub-bars that the position met or that were known at its fill; none: inf, -inf."""
    low, high = inf, -inf
    if slot.seen_ms == bar.open_ms:
        low, high = slot.seen_low, slot.seen_high
    held_ms = held_from_ms(world, slot)
    if held_ms > bar.open_ms:
        whose = world.symbols[symbol]
        exits, entries = world.exits, world.entries
        ends = whose.exit_first, whose.exit_end
        low, high = range_between(exits, ends, bar.open_ms, held_ms, low, high)
        ends = whose.entry_first, whose.entry_end
        low, high = range_between(entries, ends, bar.open_ms, held_ms, low, high)
    return low, high


def range_between(
    bars: Any, ends: tuple[int, int], open_ms: int, until_ms: int, low: float, high: float
) -> tuple[float, float]:
    """A range widened by a symbol's bars that open at or after `open_ms` and are known at `until_ms`."""
    row = first_known_after(bars, ends[0], ends[1], open_ms)
    while row < ends[1] and bars[row].known_ms <= until_ms:
        if bars[row].open_ms >= open_ms:
            if bars[row].low < low:
                low = bars[row].low
            if bars[row].high > high:
                high = bars[row].high
        row += 1
    return low, high


def covered_until(world: World, symbol: int, open_ms: int, until_ms: int) -> int:
    """How far from `open_ms` on the bars that `range_between` reads follow one another without a hole."""
    whose = world.symbols[symbol]
    exits = whose.exit_first, whose.exit_end
    entries = whose.entry_first, whose.entry_end
    covered_ms = open_ms
    before_ms = open_ms - 1
    while before_ms < covered_ms:
        before_ms = covered_ms
        covered_ms = covered_further(world.exits, exits, open_ms, until_ms, covered_ms)
        covered_ms = covered_further(world.entries, entries, open_ms, until_ms, covered_ms)
    return covered_ms


def covered_further(
    bars: Any, ends: tuple[int, int], open_ms: int, until_ms: int, covered_ms: int
) -> int:
    """The same for the bars of one series, from `covered_ms` on."""
    row = first_known_after(bars, ends[0], ends[1], open_ms)
    while row < ends[1] and bars[row].known_ms <= until_ms:
        is_next = bars[row].open_ms >= open_ms and bars[row].open_ms <= covered_ms
        if is_next and bars[row].known_ms > covered_ms:
            covered_ms = bars[row].known_ms
        row += 1
    return covered_ms


def hole_stop(slot: Any, bar: Any, worst_px: float) -> HoleStop:
    """Where the unseen extreme fills, given that it touches the nearest stop: at the worst of those it touches.

    Which stops lay between nearest and farthest is not kept: the extreme itself, which none of those touched is worse
    than. The bar's open is a fill only against the stop of the hole that holds it.
    """
    side = slot.side
    px, reason = slot.hole_near_px, slot.hole_near_reason
    if is_reached(side, worst_px, slot.hole_far_px):
        px, reason = slot.hole_far_px, slot.hole_far_reason
    elif slot.hole_between:
        px = worst_px
    if (
        slot.hole_at_open
        and is_reached(side, bar.open, slot.hole_first_px)
        and is_tighter(side, px, bar.open)
    ):
        px, reason = bar.open, slot.hole_first_reason
    return HoleStop(px, reason)
