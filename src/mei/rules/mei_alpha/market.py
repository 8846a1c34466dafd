"""A position meets a bar: orders fill at its open, resting stop and target meet its range (docs/concepts/semantics.md)."""

from mei.rules.exits import STOP, protective_exit
from mei.rules.mei_alpha.book import add_to_position, leave_position, open_position
from mei.rules.mei_alpha.codes import NO_REASON, STOP_LOSS, TRAILING_STOP
from mei.rules.mei_alpha.exits import is_tighter, stop_level, take_profit_at, target_level
from mei.rules.mei_alpha.funding import pay_until
from mei.rules.mei_alpha.snapshot import Bars, Snapshot, snapshot_at
from mei.rules.mei_alpha.world import State, World


def rest_stop(world: World, state: State, symbol: int, x: Snapshot) -> None:
    """Place the resting stop for the bars to come: the tighter of stop-loss and trailing stop."""
    slot = state.slots[symbol]
    level = stop_level(slot, x, world.risk[world.risk_of[symbol]])
    slot.has_stop = 1
    slot.stop_px = level
    slot.stop_reason = STOP_LOSS
    if slot.has_trailing and is_tighter(slot.side, slot.trailing_px, level):
        slot.stop_px = slot.trailing_px
        slot.stop_reason = TRAILING_STOP


def fill_orders(
    world: World, state: State, symbol: int, open_px: float, open_ms: int, now_ms: int
) -> None:
    """Fill what waits for an open at or after its decision: the exit first, then the add, then the entry."""
    slot = state.slots[symbol]
    if slot.exit_order != 0 and open_ms >= slot.exit_decided_ms:
        leave_position(
            world,
            state,
            symbol,
            open_px,
            slot.exit_fraction,
            slot.exit_reason,
            slot.exit_detail_1,
            slot.exit_detail_2,
            now_ms,
        )
    if slot.add_order != 0 and open_ms >= slot.add_decided_ms:
        slot.add_order = 0
        add_to_position(
            world,
            state,
            symbol,
            open_px,
            slot.add_notional_usd / open_px if open_px > 0.0 else 0.0,
            slot.add_notional_usd,
            slot.add_margin_usd,
            slot.add_confidence,
            slot.add_atr,
            open_ms,
            now_ms,
        )
    if slot.open_order != 0 and slot.side == 0 and open_ms >= slot.open_decided_ms:
        side = slot.open_order
        slot.open_order = 0
        open_position(
            world,
            state,
            symbol,
            side,
            open_px,
            slot.open_notional_usd / open_px if open_px > 0.0 else 0.0,
            slot.open_notional_usd,
            slot.open_margin_usd,
            slot.open_leverage,
            slot.open_confidence,
            slot.open_atr,
            slot.open_adx_threshold,
            slot.open_reason,
            open_ms,
            now_ms,
        )
        if world.switches[0].funding:
            pay_until(world, state, symbol, now_ms, False, now_ms)


def meet_bar(world: World, state: State, symbol: int, bars: Bars, row: int, prior_row: int) -> bool:
    """Let a bar come: fill orders at its open, then try resting stop and target on its range.

    prior_row: the main bar whose indicators were known before this bar. Returns whether a resting order fired.
    """
    slot = state.slots[symbol]
    now_ms = bars.known_ms[row]
    open_ms = bars.open_ms[row]
    if world.switches[0].entry_fill:
        fill_orders(world, state, symbol, bars.open[row], open_ms, now_ms)
    if not world.switches[0].exit_fill or slot.side == 0 or open_ms < slot.met_ms:
        return False
    if slot.has_stop == 0:
        first = world.main.first[symbol]
        x = snapshot_at(world.main, world.columns, first, prior_row, slot.entry_px)
        rest_stop(world, state, symbol, x)
    slot.met_ms = open_ms + bars.interval_ms
    return meet_range(world, state, symbol, bars, row, prior_row)


def meet_range(
    world: World, state: State, symbol: int, bars: Bars, row: int, prior_row: int
) -> bool:
    """Fill the resting stop or target the bar's range touches, the stop if both; whether one fired."""
    slot = state.slots[symbol]
    p = world.risk[world.risk_of[symbol]]
    target_px = target_level(slot, p)
    taken = take_profit_at(slot, target_px, p)
    code, px = protective_exit(
        slot.side,
        bars.open[row],
        bars.high[row],
        bars.low[row],
        slot.stop_px,
        target_px if taken.reason != NO_REASON else 0.0,
    )
    now_ms = bars.known_ms[row]
    if code == 0:
        return False
    slot.exit_order = 0
    slot.add_order = 0
    if code == STOP:
        leave_position(world, state, symbol, px, 1.0, slot.stop_reason, 0.0, 0.0, now_ms)
        return True
    leave_position(world, state, symbol, px, taken.fraction, taken.reason, 0.0, 0.0, now_ms)
    if slot.side != 0:
        first = world.main.first[symbol]
        rest_stop(
            world, state, symbol, snapshot_at(world.main, world.columns, first, prior_row, px)
        )
    return True
