"""Mutants of the walk bar by bar, and of what a sweep adds up. file -> (old, new, why)."""

STEPPING: dict[str, tuple[tuple[str, str, str], ...]] = {
    "rules/mei_alpha/live.py": (
        ("KEPT_BARS = 5", "KEPT_BARS = 3", "too few bars are kept"),
        (
            "            slot.main_row -= 1\n",
            "            pass\n",
            "rows move up, the newest one seen does not",
        ),
        (
            "        row - seen,\n",
            "        first,\n",
            "indicators begin with the oldest bar that is kept",
        ),
        (
            "n_gone = seen + 1 - (whose.end - first)",
            "n_gone = seen - (whose.end - first)",
            "the warm-up ends a bar late",
        ),
        ("        totals[i] = 0\n", "", "breadth counts the symbols of the step before, too"),
        (
            "if feed.has_new[symbol] and symbols[symbol].is_traded:",
            "if feed.has_new[symbol]:",
            "symbols that only give context are traded",
        ),
        ("    account.n_trades = 0\n", "", "a step tells the trades of the step before again"),
        ("    if is_inside:\n", "    if not is_inside:\n", "trades before the window alone"),
        (
            "            world.main[world.symbols[symbol].end - 1].step = 0\n",
            "            pass\n",
            "a bar is met in every step until the next one",
        ),
        (
            "    blank.n_active = account.n_active\n",
            "",
            "nothing unrealised for who asks",
        ),
    ),
    "rules/mei_alpha/tally.py": (
        ("_DAYS_A_YEAR = 365.0", "_DAYS_A_YEAR = 252.0", "the year of an exchange that closes"),
        (
            "deviation = sqrt(squares / n_returns)",
            "deviation = sqrt(squares / (n_returns + 1))",
            "the first day counts as a return",
        ),
        (
            "    if step == end - 1 and world.run[0].run_end:\n",
            "    if step == end and world.run[0].run_end:\n",
            "the last day ends before the closes",
        ),
        (
            "        fees += record.fee_usd\n"
            "        if record.action < CLOSE_LONG or record.action > REDUCE_SHORT:\n"
            "            continue\n",
            "        if record.action < CLOSE_LONG or record.action > REDUCE_SHORT:\n"
            "            continue\n        fees += record.fee_usd\n",
            "fees of closes alone",
        ),
        (
            "        if record.action < CLOSE_LONG or record.action > REDUCE_SHORT:\n",
            "        if record.action < CLOSE_LONG:\n",
            "funding counts as a close",
        ),
        (
            "            tally.gross_loss += pnl\n",
            "            tally.gross_loss -= pnl\n",
            "losses without their sign",
        ),
        (
            "grouping.first_side + record.action % 2",
            "grouping.first_side + (record.action + 1) % 2",
            "longs and shorts change places",
        ),
        (
            "        slot.has_left = 0\n",
            "",
            "a configuration waits for the exits of the one before",
        ),
        (
            "    account.blocked_by_margin = 0\n    for symbol",
            "    for symbol",
            "blocks of all configurations so far",
        ),
        (
            "            deepest = fall\n        # A division only where it can find something.\n"
            "        if fall > deepest_frac * peak * _ALMOST and peak > _TINY and fall / peak > deepest_frac:\n",
            "            deepest = fall\n        if peak > _TINY:\n",
            "the fraction of the last fall for the largest fraction",
        ),
        (
            "_ALMOST = 0.999999",
            "_ALMOST = 1.5",
            "falls that are a little larger than the largest are passed",
        ),
        (
            "world.steps[step + 1].known_ms < next_day_ms:",
            "world.steps[step + 1].known_ms <= next_day_ms:",
            "midnight belongs to the day before",
        ),
        (
            "        if own.run[0].run_end and first_walked < n_steps:\n",
            "        if not own.run[0].run_end and first_walked < n_steps:\n",
            "the point after the last is no point of the curve",
        ),
    ),
}
