"""One step of a walk that has no history at hand: bars come one at a time, and few of them are kept.

The kept rows of a symbol are renumbered at each bar, and what a rule counts from the first bar on is corrected by the
bars that are gone; everything else is what a walk over a whole history calls.
"""

from typing import Any, NamedTuple

from mei.model.bars import FloatArray, IntArray
from mei.rules.mei_alpha.columns import fill_symbol
from mei.rules.mei_alpha.portfolio import marked_equity_usd
from mei.rules.mei_alpha.screen import fill_breadth, fill_btc, screen_main_bars
from mei.rules.mei_alpha.walk import walk_step
from mei.rules.mei_alpha.world import State, World

#: Newest bars kept of a symbol: the one at hand, the one known before it, and the three before that one.
KEPT_BARS = 5
#: The step at hand; what happened before is step 0.
NOW = 1


class Feed(NamedTuple):
    """What goes on from step to step besides World and State; arrays of one row a symbol where not said otherwise.

    new: BAR_ROW_DTYPE, the bar that becomes known, if has_new. n_bars: bars seen. entry_bars, exit_bars: bars needed.
    banks: (n_symbols, N_COLUMNS, n_past + 1). sources: symbols that give BTC's direction, in order. counts: scratch,
    (2, 3). screen_run: RUN_DTYPE (1,), the window that holds this step alone. blank: ACCOUNT_DTYPE (1,) without
    money. unrealised: (1,).
    """

    new: Any
    has_new: IntArray
    n_bars: IntArray
    entry_bars: IntArray
    exit_bars: IntArray
    banks: FloatArray
    states: Any
    windows: Any
    screens: Any
    sources: IntArray
    gates: IntArray
    counts: IntArray
    screen_run: Any
    blank: Any
    unrealised: FloatArray


def append_bar(world: World, state: State, feed: Feed, symbol: int) -> None:
    """Make the new bar the newest row of its symbol; the oldest row goes when there is no room."""
    whose = world.symbols[symbol]
    slot = state.slots[symbol]
    first = whose.first
    if whose.end - first == KEPT_BARS:
        for row in range(first, whose.end - 1):
            world.main[row] = world.main[row + 1]
            world.indicators[row] = world.indicators[row + 1]
        if slot.main_row >= first:
            slot.main_row -= 1
    else:
        whose.end += 1
    row = whose.end - 1
    world.main[row] = feed.new[symbol]
    bank = feed.banks[symbol]
    seen = feed.n_bars[symbol]
    fill_symbol(
        world.main,
        world.indicators,
        bank,
        bank.shape[1] - 1,
        row - seen,
        row,
        row + 1,
        feed.windows[symbol],
        feed.states[symbol],
    )
    feed.n_bars[symbol] = seen + 1
    n_gone = seen + 1 - (whose.end - first)
    whose.entry_bars = feed.entry_bars[symbol] - n_gone
    whose.exit_bars = feed.exit_bars[symbol] - n_gone


def screen_step(world: World, feed: Feed, counts_untraded: bool) -> None:
    """Context and candidates of the step at hand, symbols ascending."""
    totals, rising = feed.counts[0], feed.counts[1]
    for i in range(len(totals)):
        totals[i] = 0
        rising[i] = 0
    steps = world.steps
    main, indicators, symbols = world.main, world.indicators, world.symbols
    n_steps = len(steps) - 1
    fill_breadth(main, indicators, symbols, totals, rising, counts_untraded, steps, n_steps)
    fill_btc(main, indicators, symbols, feed.sources, steps, n_steps)
    n_found = 0
    for symbol in range(len(symbols)):
        if feed.has_new[symbol] and symbols[symbol].is_traded:
            n_found = screen_main_bars(
                main,
                indicators,
                steps,
                symbols,
                symbol,
                feed.screen_run[0],
                feed.screens[symbol],
                feed.gates,
                world.candidates,
                n_found,
            )
    steps[n_steps].first_candidate = n_found


def live_step(
    world: World, state: State, feed: Feed, counts_untraded: bool, is_inside: bool
) -> None:
    """Take the new bars in and walk the step they make. is_inside: it lies in the window in which one may trade."""
    account = state.account[0]
    account.n_trades = 0
    for symbol in range(len(world.symbols)):
        if feed.has_new[symbol]:
            append_bar(world, state, feed, symbol)
    if is_inside:
        screen_step(world, feed, counts_untraded)
    walk_step(world, state, NOW)
    for symbol in range(len(world.symbols)):
        if feed.has_new[symbol]:
            world.main[world.symbols[symbol].end - 1].step = 0
    blank = feed.blank[0]
    blank.n_active = account.n_active
    feed.unrealised[0] = marked_equity_usd(
        world.main, world.symbols, world.run[0], state.slots, blank, state.active
    )
