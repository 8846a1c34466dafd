"""What is decided about a symbol on a close: exits, flips, adds, entries (specification part 2, A.4, A.5, A.8)."""

from typing import Any

from mei.rules.mei_alpha.book import (
    WHOLE,
    activate,
    leave_position,
    open_position,
    order_exit,
)
from mei.rules.mei_alpha.codes import ENTRY, ENTRY_SUB_BAR, NO_REASON, SIGNAL_FLIP
from mei.rules.mei_alpha.exits import exit_at_close, trail_base, trail_configured
from mei.rules.mei_alpha.market import rest_stop
from mei.rules.mei_alpha.portfolio import (
    is_entry_cooling,
    is_exit_cooling,
    is_pesc_blocked,
    n_open_positions,
    try_add,
    used_margin_usd,
)
from mei.rules.mei_alpha.records import BLOCKED_CONFIDENCE, BLOCKED_REEF, BLOCKED_SSF
from mei.rules.mei_alpha.sizing import OVER_MARGIN, SIZED, Size, entry_size
from mei.rules.mei_alpha.snapshot import snapshot_at
from mei.rules.mei_alpha.world import Candidates, State, World


def evaluate_exit(world: World, state: State, symbol: int, close_px: float, now_ms: int) -> None:
    """Decide on a close whether the position ends; if it stays, trail its stop (A.4 step 4)."""
    slot = state.slots[symbol]
    p = world.risk[world.risk_of[symbol]]
    if slot.side == 0 or slot.exit_order != 0 or is_exit_cooling(slot, now_ms, p):
        return
    switches = world.switches[0]
    first = world.main.first[symbol]
    x = snapshot_at(world.main, world.columns, first, slot.main_row, close_px)
    is_warm = slot.main_row - first + 1 >= world.exit_bars[symbol]
    found = exit_at_close(slot, x, p, world.is_gold[symbol], is_warm)
    if found.reason != NO_REASON:
        decide_exit(
            world,
            state,
            symbol,
            close_px,
            found.fraction,
            found.reason,
            found.detail_1,
            found.detail_2,
            now_ms,
        )
    elif switches.trailing:
        trail_configured(slot, x, p)
    else:
        trail_base(slot, x, p)
    if switches.exit_fill and slot.side != 0 and slot.exit_order != WHOLE:
        rest_stop(world, state, symbol, x)


def decide_exit(
    world: World,
    state: State,
    symbol: int,
    close_px: float,
    fraction: float,
    reason: int,
    detail_1: float,
    detail_2: float,
    now_ms: int,
) -> None:
    """Leave at this close, or order it for the next open (switch entry_fill)."""
    if world.switches[0].entry_fill:
        order_exit(state.slots[symbol], fraction, reason, detail_1, detail_2, now_ms)
        return
    leave_position(world, state, symbol, close_px, fraction, reason, detail_1, detail_2, now_ms)


def on_candidate(world: World, candidates: Candidates, state: State, number: int) -> None:
    """A main-bar signal: flip an opposite position, add to one on its side, or stand as a candidate (A.4, 12 to 15)."""
    candidate = candidates.main[number]
    slot = state.slots[candidate.symbol]
    account = state.account[0]
    now_ms = candidate.known_ms
    if slot.side != 0:
        if slot.exit_order == WHOLE:
            return
        if slot.side == candidate.side:
            if world.risk[world.risk_of[candidate.symbol]].enable_pyramiding:
                try_add(
                    world,
                    state,
                    candidate.symbol,
                    candidate.confidence,
                    candidate.close_px,
                    candidate.atr,
                    now_ms,
                )
            return
        decide_exit(
            world,
            state,
            candidate.symbol,
            candidate.close_px,
            1.0,
            SIGNAL_FLIP,
            0.0,
            0.0,
            now_ms,
        )
    if slot.open_order != 0:
        return
    if candidate.blocked & BLOCKED_CONFIDENCE:
        account.blocked_by_confidence += 1
    elif is_waiting(world, slot, candidate, now_ms):
        account.blocked_by_pesc += 1
    elif candidate.blocked & BLOCKED_SSF:
        account.blocked_by_ssf += 1
    elif candidate.blocked & BLOCKED_REEF:
        account.blocked_by_reef += 1
    else:
        pick(state, number, candidate.confidence, candidate.adx)


def is_waiting(world: World, slot: Any, candidate: Any, now_ms: int) -> bool:
    """PESC holds the candidate back; a position about to be flipped counts as flipped."""
    if slot.side != 0:
        return False
    p = world.risk[world.risk_of[candidate.symbol]]
    return is_pesc_blocked(slot, candidate.side, candidate.adx, now_ms, p)


def pick(state: State, number: int, confidence: int, adx: float) -> None:
    """Insert a candidate by score, descending; of equal scores the earlier symbol first (A.5)."""
    account = state.account[0]
    score = confidence * 100 + (int(adx) if adx == adx else 0)
    place = account.n_candidates
    while place > 0 and state.scores[place - 1] < score:
        state.scores[place] = state.scores[place - 1]
        state.picks[place] = state.picks[place - 1]
        place -= 1
    state.scores[place] = score
    state.picks[place] = number
    account.n_candidates += 1


def open_ranked(
    world: World, rows: Any, state: State, equity_usd: float, now_ms: int, is_tick: bool
) -> None:
    """Open the picked candidates in order, as long as orders, places and margin last (A.5, A.8)."""
    account = state.account[0]
    portfolio = world.risk[0]
    for i in range(account.n_candidates):
        if account.n_entries >= portfolio.max_entry_orders_per_loop:
            return
        candidate = rows[state.picks[i]]
        headroom = equity_usd * portfolio.max_total_margin_pct - used_margin_usd(state)
        if n_open_positions(state) >= portfolio.max_open_positions:
            if not is_tick:
                account.blocked_by_max_positions += 1
            return
        slot = state.slots[candidate.symbol]
        p = world.risk[world.risk_of[candidate.symbol]]
        if is_entry_cooling(slot, now_ms, p):
            continue
        if headroom <= 0.0:
            if not is_tick:
                account.blocked_by_margin += 1
            continue
        size = entry_size(
            equity_usd,
            headroom,
            candidate.confidence,
            candidate.adx,
            candidate.atr,
            candidate.close_px,
            world.switches[0].bump,
            p,
        )
        if size.verdict == SIZED:
            enter(world, state, candidate, size, now_ms, is_tick)
        elif size.verdict == OVER_MARGIN and not is_tick:
            account.blocked_by_margin += 1


def enter(
    world: World, state: State, candidate: Any, size: Size, now_ms: int, is_tick: bool
) -> None:
    """Open at the candidate's close, or order it for the next open (switch entry_fill)."""
    symbol = candidate.symbol
    slot = state.slots[symbol]
    reason = ENTRY_SUB_BAR if is_tick else ENTRY
    state.account[0].n_entries += 1
    slot.has_entered = 1
    slot.last_entry_ms = now_ms
    slot.main_row = candidate.base_row
    if slot.side == 0:
        slot.exit_row = -1
        slot.entry_row = -1
    activate(state, symbol)
    if not world.switches[0].entry_fill:
        open_position(
            world,
            state,
            symbol,
            candidate.side,
            candidate.close_px,
            size.qty,
            size.notional_usd,
            size.margin_usd,
            size.leverage,
            candidate.confidence,
            candidate.atr,
            candidate.adx_threshold,
            reason,
            now_ms,
            now_ms,
        )
        if world.switches[0].exit_fill:
            first = world.main.first[symbol]
            x = snapshot_at(world.main, world.columns, first, slot.main_row, slot.entry_px)
            rest_stop(world, state, symbol, x)
        return
    slot.open_order = candidate.side
    slot.open_notional_usd = size.notional_usd
    slot.open_margin_usd = size.margin_usd
    slot.open_leverage = size.leverage
    slot.open_atr = candidate.atr
    slot.open_adx_threshold = candidate.adx_threshold
    slot.open_confidence = candidate.confidence
    slot.open_reason = reason
    slot.open_decided_ms = now_ms
