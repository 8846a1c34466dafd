"""From indicators to candidates: gates and signals of every bar, before any position is known (part 1, D; part 2, A.4).

What comes out depends on bars and on the screening configuration alone, so configurations that differ in risk share it.
Records: bars BAR_ROW_DTYPE, indicators INDICATOR_ROW_DTYPE, symbols SYMBOL_DTYPE, steps STEP_DTYPE, run RUN_DTYPE,
p SCREEN_DTYPE.
"""

from typing import Any

from mei.model.bars import IntArray
from mei.rules.mei_alpha.entries import blocked_bits, floored_atr, transformed_side
from mei.rules.mei_alpha.gates import (
    BTC_DOWN,
    BTC_UNKNOWN,
    BTC_UP,
    Gates,
    judge_gates,
    judge_signal,
)
from mei.rules.mei_alpha.snapshot import Snapshot, snapshot_at


def fill_timeline(bars: Any, symbols: Any, cursors: IntArray, times_ms: IntArray) -> int:
    """The distinct known times of all main bars, ascending, into `times_ms`; each bar learns its step. How many.

    cursors: scratch, one a symbol. times_ms: as long as there are bars. The bars of a symbol ascend in time.
    """
    n_symbols = len(symbols)
    for symbol in range(n_symbols):
        cursors[symbol] = symbols[symbol].first
    n_steps = 0
    while True:
        earliest_ms = 0
        has_bar = False
        for symbol in range(n_symbols):
            row = cursors[symbol]
            if row < symbols[symbol].end and (not has_bar or bars[row].known_ms < earliest_ms):
                earliest_ms = bars[row].known_ms
                has_bar = True
        if not has_bar:
            return n_steps
        for symbol in range(n_symbols):
            row = cursors[symbol]
            if row < symbols[symbol].end and bars[row].known_ms == earliest_ms:
                bars[row].step = n_steps
                cursors[symbol] = row + 1
        times_ms[n_steps] = earliest_ms
        n_steps += 1


def fill_breadth(
    bars: Any,
    indicators: Any,
    symbols: Any,
    totals: IntArray,
    rising: IntArray,
    counts_untraded: bool,
    steps: Any,
    n_steps: int,
) -> None:
    """Share of symbols, in percent, whose fast EMA was above the slow one after the steps before; 50 without any (D.1).

    totals, rising: zeroed scratch of shape (n_steps + 1,).
    """
    for symbol in range(len(symbols)):
        whose = symbols[symbol]
        if not (counts_untraded or whose.is_traded):
            continue
        was_rising = False
        for row in range(whose.first + 1, whose.end):
            step = bars[row].step
            if row == whose.first + 1:
                totals[step + 1] += 1
            is_rising = indicators[row].ema_fast > indicators[row].ema_slow
            if is_rising != was_rising:
                rising[step + 1] += 1 if is_rising else -1
                was_rising = is_rising
    total = 0
    up = 0
    for step in range(n_steps):
        total += totals[step]
        up += rising[step]
        steps[step].breadth = (up / total) * 100.0 if total > 0 else 50.0


def fill_btc(
    bars: Any, indicators: Any, symbols: Any, sources: IntArray, steps: Any, n_steps: int
) -> None:
    """BTC direction at the start of each step: its newest close against its newest slow EMA (D.1).

    sources: the symbols to ask, in order; a later one answers only before those before it have a bar.
    """
    for step in range(n_steps):
        steps[step].btc = BTC_UNKNOWN
    for i in range(len(sources) - 1, -1, -1):
        symbol = sources[i]
        first, end = symbols[symbol].first, symbols[symbol].end
        for row in range(first, end):
            direction = BTC_UP if bars[row].close > indicators[row].ema_slow else BTC_DOWN
            last = n_steps
            if row + 1 < end and bars[row + 1].step + 1 < n_steps:
                last = bars[row + 1].step + 1
            for step in range(bars[row].step + 1, last):
                steps[step].btc = direction


def count_gates(gates: IntArray, g: Gates, side: int) -> None:
    """Counters of one evaluated bar, in the order of records.GATES."""
    gates[0] += 1
    if side > 0:
        gates[2] += 1
    elif side < 0:
        gates[3] += 1
    else:
        gates[1] += 1
    if g.is_ranging:
        gates[4] += 1
    if g.is_anomaly:
        gates[5] += 1
    if g.is_extended:
        gates[6] += 1
    if not g.is_adx_above:
        gates[7] += 1
    if not g.is_adx_rising:
        gates[8] += 1
    if not g.is_volume_ok:
        gates[9] += 1
    if not (g.is_btc_ok_long and g.is_btc_ok_short):
        gates[10] += 1


def store_candidate(
    record: Any,
    known_ms: int,
    step: int,
    symbol: int,
    base_row: int,
    is_tick: bool,
    side: int,
    confidence: int,
    adx_threshold: float,
    blocked: int,
    x: Snapshot,
    atr: float,
) -> None:
    """Write a candidate."""
    record.known_ms = known_ms
    record.step = step
    record.symbol = symbol
    record.base_row = base_row
    record.is_tick = is_tick
    record.side = side
    record.confidence = confidence
    record.blocked = blocked
    record.close_px = x.close
    record.adx = x.adx
    record.atr = atr
    record.adx_threshold = adx_threshold


def screen_main_bars(
    bars: Any,
    indicators: Any,
    steps: Any,
    symbols: Any,
    symbol: int,
    run: Any,
    p: Any,
    gates: IntArray,
    found: Any,
    n_found: int,
) -> int:
    """Evaluate the main bars of one symbol; candidates go to `found` from number `n_found` on, counted beyond its end.

    When sub-bars drive the entries only the gates are counted. Returns the new number of candidates.
    """
    whose = symbols[symbol]
    first = whose.first
    skipped = whose.entry_bars - 1 - whose.n_before
    for row in range(first + skipped if skipped > 0 else first, whose.end):
        known_ms = bars[row].known_ms
        if known_ms < run.from_ms or known_ms > run.to_ms or known_ms <= run.resumed_ms:
            continue
        now = steps[bars[row].step]
        slope = indicators[row].slope
        x = snapshot_at(bars, indicators, first, row, bars[row].close)
        g = judge_gates(x, slope, now.btc, whose.is_btc_exempt, p)
        signal = judge_signal(x, g, slope, p)
        count_gates(gates, g, signal.side)
        if signal.side == 0 or run.has_entries:
            continue
        side = transformed_side(signal.side, now.breadth, p)
        if side == 0:
            continue
        if n_found < len(found):
            store_candidate(
                found[n_found],
                known_ms,
                bars[row].step,
                symbol,
                row,
                run.has_entries,
                side,
                signal.confidence,
                signal.adx_threshold,
                blocked_bits(side, signal.confidence, x, p),
                x,
                floored_atr(x.atr, x.close, p.min_atr_pct),
            )
        n_found += 1
    return n_found


def screen_entry_bars(
    bars: Any,
    indicators: Any,
    entries: Any,
    steps: Any,
    symbols: Any,
    symbol: int,
    run: Any,
    p: Any,
    n_steps: int,
    found: Any,
    n_found: int,
) -> int:
    """Evaluate the entry sub-bars of one symbol against the newest main bar before them (A.8).

    Only signals that pass every filter but PESC are kept. A sub-bar belongs to the newest step known before it. Its
    slope is that of the main bar of that very step, evaluated inside the window; else 0. Returns the new number of
    candidates.
    """
    whose = symbols[symbol]
    first = whose.first
    base = first - 1
    step = -1
    for row in range(whose.entry_first, whose.entry_end):
        known_ms = entries[row].known_ms
        if known_ms < run.from_ms or known_ms > run.to_ms or known_ms <= run.resumed_ms:
            continue
        while step + 1 < n_steps and steps[step + 1].known_ms < known_ms:
            step += 1
        while base + 1 < whose.end and bars[base + 1].step <= step:
            base += 1
        if step < 0 or base < first or base - first + 1 + whose.n_before < whose.entry_bars:
            continue
        base_ms = bars[base].known_ms
        has_slope = bars[base].step == step and run.from_ms <= base_ms and base_ms <= run.to_ms
        slope = indicators[base].slope if has_slope else 0.0
        x = snapshot_at(bars, indicators, first, base, entries[row].close)
        g = judge_gates(x, slope, steps[step].btc, whose.is_btc_exempt, p)
        signal = judge_signal(x, g, slope, p)
        side = 0
        if signal.side != 0:
            side = transformed_side(signal.side, steps[step].breadth, p)
        if side == 0 or blocked_bits(side, signal.confidence, x, p) != 0:
            continue
        if n_found < len(found):
            store_candidate(
                found[n_found],
                known_ms,
                step,
                symbol,
                base,
                run.has_entries,
                side,
                signal.confidence,
                signal.adx_threshold,
                0,
                x,
                floored_atr(x.atr, x.close, p.min_atr_pct),
            )
        n_found += 1
    return n_found


def order_candidates(found: Any, n_found: int, first: IntArray, ordered: Any) -> None:
    """Candidates in the order of their steps, stable; first[i] to first[i + 1] - 1 are those of step i.

    first: zeroed, shape (n_steps + 2,).
    """
    n_steps = len(first) - 2
    for i in range(n_found):
        first[found[i].step + 2] += 1
    for step in range(n_steps):
        first[step + 2] += first[step + 1]
    for i in range(n_found):
        step = found[i].step
        ordered[first[step + 1]] = found[i]
        first[step + 1] += 1
