"""Mutants of momentum_breakout and of what it shares: signals, positions, costs. file -> (old, new, why)."""

BREAKING: dict[str, tuple[tuple[str, str, str], ...]] = {
    "rules/momentum_breakout/signals.py": (
        (
            "if close_px > highest * (1.0 + breakout_bps / 1e4):",
            "if close_px >= highest * (1.0 + breakout_bps / 1e4):",
            "a close at the top of the channel breaks out",
        ),
        (
            "close_px < lowest * (1.0 - breakout_bps / 1e4)",
            "close_px < lowest * (1.0 + breakout_bps / 1e4)",
            "shorts break out before the bottom of the channel",
        ),
        (
            "if allow_short and close_px <",
            "if close_px <",
            "a channel sells short although it may not",
        ),
        (
            "for i in range(newest - lookback + 1, newest):",
            "for i in range(newest - lookback + 1, newest + 1):",
            "the loop's channel holds the bar that should leave it",
        ),
        (
            "        if low[i] < lowest:\n            lowest = low[i]\n",
            "        if close[i] < lowest:\n            lowest = close[i]\n",
            "the loop's channel of closes instead of lows",
        ),
        (
            "    for i in range(n_bars - lookback, n_bars):\n        total += close[i]",
            "    for i in range(n_bars - lookback - 1, n_bars - 1):\n        total += close[i]",
            "the loop's mean without the newest close",
        ),
        (
            "deviation = sqrt(squares / (lookback - 1))",
            "deviation = sqrt(squares / lookback)",
            "the loop's population deviation",
        ),
        ("z < -breakout_z", "z < breakout_z", "whatever is not long is short"),
    ),
    "rules/momentum_breakout/windows.py": (
        ("        if t >= lookback:\n", "        if t > lookback:\n", "a channel a bar late"),
        (
            "out[t] = tail[t - lookback] if tail[t - lookback] > head else head",
            "out[t] = tail[t - lookback] if values[t] < tail[t - lookback] else values[t]",
            "the channel holds the bar that should leave it",
        ),
        (
            "        if in_block == lookback:\n",
            "        if in_block == lookback + 1:\n",
            "blocks of a bar too many",
        ),
        (
            "            if values[i] > largest:\n",
            "            if values[i] < largest:\n",
            "the lowest of the highs",
        ),
        (
            "oldest = first - lookback + 1",
            "oldest = first - lookback",
            "a z-score of the closes before",
        ),
        ("            squares[i] = 0.0\n", "", "the squares of a chunk run on into the next"),
        (
            "deviation = sqrt(squares[i] / (lookback - 1))",
            "deviation = sqrt(squares[i] / lookback)",
            "population deviation in a z-score",
        ),
    ),
    "rules/momentum_breakout/decisions.py": (
        (
            "return max_hold_bars > 0 and bars_held >= max_hold_bars",
            "return max_hold_bars > 0 and bars_held > max_hold_bars",
            "a position is held a bar too long",
        ),
        (
            "return max_hold_bars > 0 and bars_held >= max_hold_bars",
            "return bars_held >= max_hold_bars",
            "no longest time means no time at all",
        ),
        (
            "        if signal == -direction:\n",
            "        if signal == direction:\n",
            "the position's own signal closes it",
        ),
        (
            "        if is_time_exit(bars_held, max_hold_bars):\n"
            "            return CLOSE_TIME\n        if signal == -direction:\n"
            "            return CLOSE_REVERSE\n",
            "        if signal == -direction:\n            return CLOSE_REVERSE\n"
            "        if is_time_exit(bars_held, max_hold_bars):\n"
            "            return CLOSE_TIME\n",
            "a reversal goes before time",
        ),
        (
            "if signal != 0 and not closed_this_bar:",
            "if signal != 0:",
            "what was closed on a bar opens again on it",
        ),
    ),
    "rules/momentum_breakout/portfolio.py": (
        (
            "            if was_open:\n                book.bars_held += 1",
            "            book.bars_held += 1",
            "the bar of the entry counts as held",
        ),
        (
            "book.last_close_px = bars.close[row]",
            "book.last_close_px = bars.open[row]",
            "marked at the open",
        ),
        (
            "fill_pending(symbol, bars.open[row], now_ms,",
            "fill_pending(symbol, bars.close[row], now_ms,",
            "orders of the bar before fill at the close",
        ),
        (
            "STOPPED if touched == STOP else TOOK_PROFIT",
            "TOOK_PROFIT if touched == STOP else STOPPED",
            "stops are called targets",
        ),
        (
            "    mark(books, account)\n    n_trades = account.n_trades",
            "    n_trades = account.n_trades",
            "the curve knows a bar's closes a bar later",
        ),
        (
            "    if account.n_trades != n_trades:\n        mark(books, account)",
            "    if account.n_trades == n_trades:\n        mark(books, account)",
            "a fill at the close is marked a bar later",
        ),
        (
            "        account.n_busy += 1\n",
            "",
            "steps with an order that waits are passed over",
        ),
        (
            "    if terms.fills_at_close != 0:\n",
            "    if terms.fills_at_close == 0:\n",
            "each kind of fill is the other",
        ),
        (
            "qty = order_qty(book.pending_notional_usd, reference_px)",
            "qty = order_qty(book.pending_notional_usd, fill)",
            "quantity of the price after slippage",
        ),
        (
            "book.stop_px = stop_px(reference_px, direction,",
            "book.stop_px = stop_px(fill, direction,",
            "a stop from the price after slippage",
        ),
        (
            "    account.cash_usd -= fee\n    action = OPEN_LONG",
            "    action = OPEN_LONG",
            "entries cost no fee",
        ),
        (
            "fill = fill_px(reference_px, -direction, terms.slippage_bps)",
            "fill = fill_px(reference_px, direction, terms.slippage_bps)",
            "an exit slips the trader's way",
        ),
        (
            "pnl = pnl_usd(direction, book.qty, book.entry_px, fill)",
            "pnl = pnl_usd(direction, book.qty, book.entry_px, reference_px)",
            "profit before the slippage of the exit",
        ),
        ("    book.is_closed = 1\n", "", "a bar with a close opens again"),
        (
            "    account.cash_usd += pnl\n    account.cash_usd -= fee\n    account.n_busy -= 1",
            "    account.cash_usd += pnl - fee\n    account.n_busy -= 1",
            "the same cash, rounded in another order",
        ),
    ),
    "rules/accounting.py": (
        (
            "return direction * (exit_px - entry_px) * qty",
            "return (exit_px - entry_px) * qty",
            "shorts earn what longs do",
        ),
        (
            "return notional_usd / reference_px",
            "return notional_usd * reference_px",
            "quantity by the wrong operation",
        ),
    ),
    "rules/costs.py": (
        (
            "return reference_px * (1.0 + trade_direction * slippage_bps / 1e4)",
            "return reference_px * (1.0 - trade_direction * slippage_bps / 1e4)",
            "slippage is a gift",
        ),
        (
            "return qty * fill * fee_bps / 1e4",
            "return qty * fill * fee_bps / 1e5",
            "a tenth of the fee",
        ),
    ),
    "rules/exits.py": (
        (
            "return reference_px * (1.0 - direction * stop_bps / 1e4)",
            "return reference_px * (1.0 - stop_bps / 1e4)",
            "a short's stop below its entry",
        ),
        (
            "return reference_px * (1.0 + direction * take_profit_bps / 1e4)",
            "return reference_px + direction * take_profit_bps",
            "basis points taken for prices",
        ),
    ),
}
