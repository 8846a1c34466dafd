"""From indicators to candidates: gates and signals of every bar, before any position is known (part 1, D; part 2, A.4).

What comes out depends on bars and on the screening configuration alone, so configurations that differ in risk share it.
"""

from typing import Any, NamedTuple

from mei.model.bars import FloatArray, IntArray
from mei.rules.mei_alpha.entries import blocked_bits, floored_atr, transformed_side
from mei.rules.mei_alpha.gates import (
    BTC_DOWN,
    BTC_UNKNOWN,
    BTC_UP,
    Gates,
    judge_gates,
    judge_signal,
)
from mei.rules.mei_alpha.snapshot import Bars, Columns, snapshot_at


class Scene(NamedTuple):
    """What is fixed at the start of each step (D.1): breadth in percent, BTC_*; and which step a main bar belongs to."""

    step_ms: IntArray
    step_of_row: IntArray
    btc: Any
    breadth: FloatArray
    from_ms: int
    to_ms: int


def fill_breadth(
    bars: Bars,
    columns: Columns,
    step_of_row: IntArray,
    n_symbols: int,
    totals: IntArray,
    rising: IntArray,
    breadth: FloatArray,
) -> None:
    """Share of symbols, in percent, whose fast EMA was above the slow one after the steps before (D.1).

    totals, rising: zeroed scratch of shape (n_steps + 1,).
    """
    n_steps = len(breadth)
    for symbol in range(n_symbols):
        was_rising = False
        for row in range(bars.first[symbol] + 1, bars.end[symbol]):
            step = step_of_row[row]
            if row == bars.first[symbol] + 1:
                totals[step + 1] += 1
            is_rising = columns.ema_fast[row] > columns.ema_slow[row]
            if is_rising != was_rising:
                rising[step + 1] += 1 if is_rising else -1
                was_rising = is_rising
    total = 0
    up = 0
    for step in range(n_steps):
        total += totals[step]
        up += rising[step]
        breadth[step] = (up / total) * 100.0 if total > 0 else 50.0


def fill_btc(
    bars: Bars, columns: Columns, step_of_row: IntArray, symbol: int, fallback: int, btc: Any
) -> None:
    """BTC direction at the start of each step: its newest close against its newest slow EMA (D.1).

    symbol, fallback: the symbols to ask, -1 = there is none; the second only answers before the first has a bar.
    """
    n_steps = len(btc)
    for step in range(n_steps):
        btc[step] = BTC_UNKNOWN
    for source in (fallback, symbol):
        if source < 0:
            continue
        for row in range(bars.first[source], bars.end[source]):
            direction = BTC_UP if bars.close[row] > columns.ema_slow[row] else BTC_DOWN
            last = n_steps
            if row + 1 < bars.end[source]:
                last = step_of_row[row + 1] + 1
            for step in range(step_of_row[row] + 1, min_of(last, n_steps)):
                btc[step] = direction


def min_of(a: int, b: int) -> int:
    """The smaller of two integers."""
    return a if a < b else b


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


def screen_main_bars(
    bars: Bars,
    columns: Columns,
    scene: Scene,
    symbol: int,
    is_exempt: bool,
    needed_bars: int,
    is_traded: bool,
    keeps_candidates: bool,
    p: Any,
    gates: IntArray,
    found: Any,
    n_found: int,
) -> int:
    """Evaluate the main bars of one symbol; candidates go to `found` from number `n_found` on, counted beyond its end.

    is_traded: otherwise the symbol is context only. keeps_candidates: false when sub-bars drive the entries. Returns
    the new number of candidates.
    """
    if not is_traded:
        return n_found
    first = bars.first[symbol]
    skipped = needed_bars - 1 if needed_bars > 1 else 0
    for row in range(first + skipped, bars.end[symbol]):
        known_ms = bars.known_ms[row]
        if known_ms < scene.from_ms or known_ms > scene.to_ms:
            continue
        step = scene.step_of_row[row]
        slope = columns.slope[row]
        x = snapshot_at(bars, columns, first, row, bars.close[row])
        g = judge_gates(x, slope, scene.btc[step], is_exempt, p)
        signal = judge_signal(x, g, slope, p)
        count_gates(gates, g, signal.side)
        if signal.side == 0 or not keeps_candidates:
            continue
        side = transformed_side(signal.side, scene.breadth[step], p)
        if side == 0:
            continue
        if n_found < len(found):
            record = found[n_found]
            record.known_ms = known_ms
            record.symbol = symbol
            record.row = row
            record.base_row = row
            record.side = side
            record.confidence = signal.confidence
            record.blocked = blocked_bits(side, signal.confidence, x, p)
            record.close_px = x.close
            record.adx = x.adx
            record.atr = floored_atr(x.atr, x.close, p.min_atr_pct)
            record.adx_threshold = signal.adx_threshold
        n_found += 1
    return n_found


def screen_entry_bars(
    bars: Bars,
    columns: Columns,
    entries: Bars,
    scene: Scene,
    symbol: int,
    is_exempt: bool,
    needed_bars: int,
    p: Any,
    found: Any,
    step_of_found: IntArray,
    n_found: int,
) -> int:
    """Evaluate the entry sub-bars of one symbol against the newest main bar before them (A.8).

    Only signals that pass every filter but PESC are kept. A sub-bar belongs to the newest step known before it. Its slope is that of the
    main bar of that very step, evaluated inside the window; else 0. Returns the new number of candidates.
    """
    first = bars.first[symbol]
    base = first - 1
    step = -1
    n_steps = len(scene.step_ms)
    for row in range(entries.first[symbol], entries.end[symbol]):
        known_ms = entries.known_ms[row]
        if known_ms < scene.from_ms or known_ms > scene.to_ms:
            continue
        while step + 1 < n_steps and scene.step_ms[step + 1] < known_ms:
            step += 1
        while base + 1 < bars.end[symbol] and scene.step_of_row[base + 1] <= step:
            base += 1
        if step < 0 or base < first or base - first + 1 < needed_bars:
            continue
        slope = 0.0
        base_ms = bars.known_ms[base]
        if scene.step_of_row[base] == step and scene.from_ms <= base_ms and base_ms <= scene.to_ms:
            slope = columns.slope[base]
        x = snapshot_at(bars, columns, first, base, entries.close[row])
        g = judge_gates(x, slope, scene.btc[step], is_exempt, p)
        signal = judge_signal(x, g, slope, p)
        side = 0
        if signal.side != 0:
            side = transformed_side(signal.side, scene.breadth[step], p)
        if side == 0 or blocked_bits(side, signal.confidence, x, p) != 0:
            continue
        if n_found < len(found):
            record = found[n_found]
            record.known_ms = known_ms
            record.symbol = symbol
            record.row = row
            record.base_row = base
            record.side = side
            record.confidence = signal.confidence
            record.blocked = 0
            record.close_px = x.close
            record.adx = x.adx
            record.atr = floored_atr(x.atr, x.close, p.min_atr_pct)
            record.adx_threshold = signal.adx_threshold
            step_of_found[n_found] = step
        n_found += 1
    return n_found
