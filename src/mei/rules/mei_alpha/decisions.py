"""What is decided about a symbol on a close: exits, flips, adds, entries (specification part 2, A.4, A.5, A.8)."""

from typing import Any

from mei.rules.mei_alpha.book import (
    WHOLE,
    Entry,
    add_to_position,
    leave_position,
    open_position,
    order_add,
    order_entry,
    order_exit,
)
from mei.rules.mei_alpha.codes import ENTRY, ENTRY_SUB_BAR, NO_REASON, PYRAMID, SIGNAL_FLIP
from mei.rules.mei_alpha.exits import Exit, exit_at_close, trail_base, trail_configured
from mei.rules.mei_alpha.market import rest_stop
from mei.rules.mei_alpha.portfolio import (
    activate,
    is_entry_cooling,
    is_exit_cooling,
    is_pesc_blocked,
    marked_equity_usd,
    may_add,
    n_open_positions,
    used_margin_usd,
)
from mei.rules.mei_alpha.records import BLOCKED_CONFIDENCE, BLOCKED_REEF, BLOCKED_SSF
from mei.rules.mei_alpha.sizing import OVER_MARGIN, SIZED, Size, entry_size
from mei.rules.mei_alpha.snapshot import snapshot_at
from mei.rules.mei_alpha.world import PICKED, SCORES, State, World

#: Rules that few steps need (engines/bind.py).
SELDOM = ("add",)


def evaluate_exit(world: World, state: State, symbol: int, close_px: float, now_ms: int) -> None:
    """Decide on a close whether the position ends; if it stays, trail its stop (A.4 step 4)."""
    whose = world.symbols[symbol]
    slot = state.slots[symbol]
    p = world.risk[whose.risk]
    if slot.side == 0 or slot.exit_order != 0 or is_exit_cooling(slot, now_ms, p):
        return
    run = world.run[0]
    x = snapshot_at(world.main, world.indicators, whose.first, slot.main_row, close_px)
    is_warm = slot.main_row - whose.first + 1 + whose.n_before >= whose.exit_bars
    found = exit_at_close(slot, x, p, whose.is_gold, is_warm)
    if found.reason != NO_REASON:
        decide_exit(run, p, state.account[0], slot, state.log, symbol, close_px, found, now_ms)
    elif run.trailing:
        trail_configured(slot, x, p)
    else:
        trail_base(slot, x, p)
    if run.exit_fill and slot.side != 0 and slot.exit_order != WHOLE:
        rest_stop(slot, x, p)


def decide_exit(
    run: Any,
    p: Any,
    account: Any,
    slot: Any,
    log: Any,
    symbol: int,
    close_px: float,
    found: Exit,
    now_ms: int,
) -> None:
    """Leave at this close, or order it for the next open (switch entry_fill)."""
    if run.entry_fill:
        order_exit(slot, found, now_ms)
        return
    leave_position(run, p, account, slot, log, symbol, close_px, found, now_ms)


def on_candidate(world: World, state: State, number: int) -> None:
    """A main-bar signal: flip an opposite position, add to one on its side, or stand as a candidate (A.4, 12 to 15)."""
    candidate = world.candidates[number]
    symbol = candidate.symbol
    slot = state.slots[symbol]
    p = world.risk[world.symbols[symbol].risk]
    if slot.side != 0:
        if slot.exit_order == WHOLE:
            return
        if slot.side == candidate.side:
            if p.enable_pyramiding and may_add(
                slot, candidate.confidence, candidate.close_px, candidate.known_ms, p
            ):
                add(world, state, symbol, candidate)
            return
        flip = Exit(SIGNAL_FLIP, 1.0, 0.0, 0.0)
        decide_exit(
            world.run[0],
            p,
            state.account[0],
            slot,
            state.log,
            symbol,
            candidate.close_px,
            flip,
            candidate.known_ms,
        )
    if slot.open_order == 0:
        filter_candidate(state.account[0], slot, state.picks, candidate, number, p)


def filter_candidate(
    account: Any, slot: Any, picks: Any, candidate: Any, number: int, p: Any
) -> None:
    """The filters in their order; the first that blocks is counted, a survivor is ranked (A.4, 14 and 15).

    A position about to be flipped counts as flipped, so PESC does not hold its other side back.
    """
    if candidate.blocked & BLOCKED_CONFIDENCE:
        account.blocked_by_confidence += 1
    elif slot.side == 0 and is_pesc_blocked(
        slot, candidate.side, candidate.adx, candidate.known_ms, p
    ):
        account.blocked_by_pesc += 1
    elif candidate.blocked & BLOCKED_SSF:
        account.blocked_by_ssf += 1
    elif candidate.blocked & BLOCKED_REEF:
        account.blocked_by_reef += 1
    else:
        pick(account, picks, number, candidate.confidence, candidate.adx)


def add(world: World, state: State, symbol: int, candidate: Any) -> None:
    """Pyramid: enlarge a winning position once more, if the margin allows (A.10)."""
    run = world.run[0]
    account = state.account[0]
    slot = state.slots[symbol]
    p = world.risk[world.symbols[symbol].risk]
    equity = account.balance_usd
    if run.equity:
        equity = marked_equity_usd(
            world.main, world.symbols, run, state.slots, account, state.active
        )
    margin = (equity * p.allocation_pct) * p.add_fraction_of_base_margin
    notional = margin * slot.leverage
    if notional < p.min_notional_usd:
        if not p.bump_to_min_notional:
            return
        notional = p.min_notional_usd
        if run.bump and slot.leverage > 0.0:
            margin = notional / slot.leverage
    used = used_margin_usd(state.slots, account, state.active)
    if equity * world.risk[0].max_total_margin_pct - (used + margin) < 0.0:
        return
    now_ms = candidate.known_ms
    slot.has_entered = 1
    slot.last_entry_ms = now_ms
    entry = Entry(
        slot.side,
        notional / candidate.close_px,
        notional,
        margin,
        slot.leverage,
        candidate.confidence,
        candidate.atr,
        slot.adx_threshold,
        PYRAMID,
    )
    if run.entry_fill:
        order_add(slot, entry, now_ms)
        return
    px = candidate.close_px
    add_to_position(run, p, account, slot, state.log, symbol, px, entry, now_ms, now_ms)


def pick(account: Any, picks: Any, number: int, confidence: int, adx: float) -> None:
    """Insert a candidate by score, descending; of equal scores the earlier symbol first (A.5)."""
    score = confidence * 100 + (int(adx) if adx == adx else 0)
    place = account.n_candidates
    while place > 0 and picks[SCORES, place - 1] < score:
        picks[SCORES, place] = picks[SCORES, place - 1]
        picks[PICKED, place] = picks[PICKED, place - 1]
        place -= 1
    picks[SCORES, place] = score
    picks[PICKED, place] = number
    account.n_candidates += 1


def open_ranked(world: World, state: State, rows: Any, equity_usd: float, now_ms: int) -> None:
    """Open the picked candidates in order, as long as orders, places and margin last (A.5, A.8)."""
    account = state.account[0]
    portfolio = world.risk[0]
    for i in range(account.n_candidates):
        if account.n_entries >= portfolio.max_entry_orders_per_loop:
            return
        candidate = rows[state.picks[PICKED, i]]
        used = used_margin_usd(state.slots, account, state.active)
        headroom = equity_usd * portfolio.max_total_margin_pct - used
        if n_open_positions(state.slots, account, state.active) >= portfolio.max_open_positions:
            if not candidate.is_tick:
                account.blocked_by_max_positions += 1
            return
        p = world.risk[world.symbols[candidate.symbol].risk]
        if is_entry_cooling(state.slots[candidate.symbol], now_ms, p):
            continue
        if headroom <= 0.0:
            if not candidate.is_tick:
                account.blocked_by_margin += 1
            continue
        size = entry_size(
            equity_usd,
            headroom,
            candidate.confidence,
            candidate.adx,
            candidate.atr,
            candidate.close_px,
            world.run[0].bump,
            p,
        )
        if size.verdict == SIZED:
            enter(world, state, candidate, size, now_ms)
        elif size.verdict == OVER_MARGIN and not candidate.is_tick:
            account.blocked_by_margin += 1


def enter(world: World, state: State, candidate: Any, size: Size, now_ms: int) -> None:
    """Open at the candidate's close, or order it for the next open (switch entry_fill)."""
    symbol = candidate.symbol
    slot = state.slots[symbol]
    account = state.account[0]
    run = world.run[0]
    whose = world.symbols[symbol]
    p = world.risk[whose.risk]
    account.n_entries += 1
    slot.has_entered = 1
    slot.last_entry_ms = now_ms
    slot.main_row = candidate.base_row
    if slot.side == 0:
        slot.exit_row = -1
        slot.entry_row = -1
    activate(account, state.active, symbol)
    entry = Entry(
        candidate.side,
        size.qty,
        size.notional_usd,
        size.margin_usd,
        size.leverage,
        candidate.confidence,
        candidate.atr,
        candidate.adx_threshold,
        ENTRY_SUB_BAR if candidate.is_tick else ENTRY,
    )
    if run.entry_fill:
        order_entry(slot, entry, now_ms)
        return
    px = candidate.close_px
    open_position(run, p, account, slot, state.log, symbol, px, entry, now_ms, now_ms)
    if run.exit_fill:
        x = snapshot_at(world.main, world.indicators, whose.first, slot.main_row, slot.entry_px)
        rest_stop(slot, x, p)
