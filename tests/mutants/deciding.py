"""Mutants of what the strategy decides: exits, sizes, places, ranking. file -> (old, new, why)."""

DECIDING: dict[str, tuple[tuple[str, str, str], ...]] = {
    "rules/mei_alpha/exits.py": (
        (
            "return slot.entry_px * 0.005",
            "return slot.entry_px * 0.05",
            "a position without ATR has ten times as much",
        ),
        (
            "        return close_px <= level_px\n",
            "        return close_px < level_px\n",
            "a long's stop at its level is not reached",
        ),
        (
            "    return close_px >= level_px\n",
            "    return close_px > level_px\n",
            "a short's stop at its level is not reached",
        ),
        (
            "distance / x.prev_close > p.glitch_price_dev_pct",
            "distance / x.close > p.glitch_price_dev_pct",
            "a glitch as a fraction of itself",
        ),
        (
            "distance > x.atr * p.glitch_atr_mult",
            "distance > x.avg_atr * p.glitch_atr_mult",
            "a glitch against the average ATR",
        ),
        (
            "if x.adx_slope < 0.0 and is_under_water(slot, x.close):",
            "if x.adx_slope < 0.0:",
            "a winner's stop is narrowed, too",
        ),
        (
            "    if x.adx > 45.0:\n        mult *= 1.10",
            "    elif x.adx > 45.0:\n        mult *= 1.10",
            "the two widenings exclude each other",
        ),
        (
            "even = slot.entry_px + buffer if slot.side > 0 else slot.entry_px - buffer",
            "even = slot.entry_px + buffer",
            "break-even of a short on the wrong side",
        ),
        (
            "gain >= atr * p.breakeven_start_atr",
            "gain >= p.breakeven_start_atr",
            "break-even starts in quote currency",
        ),
        (
            "is_stretched = x.rsi > 60.0 if slot.side > 0 else x.rsi < 40.0",
            "is_stretched = x.rsi < 40.0 if slot.side > 0 else x.rsi > 60.0",
            "a stretched RSI of the other side",
        ),
        ("elif x.adx < 25.0:", "if x.adx < 25.0:", "a weak trend narrows a winner's trail, too"),
        (
            "0.75 if x.atr_slope > 0.0 else 0.5",
            "0.75 if x.adx_slope > 0.0 else 0.5",
            "the slope of the ADX for that of the ATR",
        ),
        (
            "return least if distance < least else distance",
            "return distance",
            "a trailing stop without a least distance",
        ),
        (
            "start = low_confidence_value(slot, p.trailing_start_atr, p.trailing_start_atr_low_conf)",
            "start = p.trailing_start_atr",
            "low confidence trails like any other",
        ),
        (
            "if slot.has_trailing and (level != level or",
            "if slot.has_trailing and (",
            "the stored stop is forgotten while there is no new one",
        ),
        (
            "distance = atr_of(slot) * p.tp_atr_mult",
            "distance = slot.entry_atr * p.tp_atr_mult",
            "no target without an ATR",
        ),
        (
            "    if slot.tp1_taken:\n        return Exit(NO_REASON, 0.0, 0.0, 0.0)",
            "    if slot.tp1_taken:\n        return Exit(TAKE_PROFIT, 1.0, 0.0, 0.0)",
            "the second touch of the target closes the rest",
        ),
        (
            "slot.qty * (1.0 - fraction) * px < p.tp_partial_min_notional_usd",
            "slot.qty * fraction * px < p.tp_partial_min_notional_usd",
            "the minimum holds for what is sold, not for what stays",
        ),
        (
            "    if slot.adx_threshold > 0.0:\n        return slot.adx_threshold\n",
            "",
            "exhaustion ignores what admitted the entry",
        ),
        (
            "is_weak = deviation < 0.001 and x.adx > 25.0",
            "is_weak = deviation < 0.001 or x.adx > 25.0",
            "a strong trend forgives every cross",
        ),
        (
            "if side < 0 and x.close > x.ema_macro:",
            "if side < 0 and x.close < x.ema_macro:",
            "a short ends below the macro EMA",
        ),
        (
            "is_under_water(slot, x.close) and not is_gold",
            "is_under_water(slot, x.close)",
            "gold stagnates",
        ),
        (
            "quiet = atr_of(slot) * 0.70",
            "quiet = atr_of(slot) * 0.07",
            "hardly anything stagnates",
        ),
        (
            "not p.tsme_require_adx_slope_negative or x.adx_slope < 0.0",
            "p.tsme_require_adx_slope_negative or x.adx_slope < 0.0",
            "saturation with its condition turned around",
        ),
        (
            "fades_on = fades and (h2 < h3 if slot.side > 0 else h2 > h3)",
            "fades_on = fades",
            "two bars are a divergence",
        ),
        (
            "switch = p.rsi_exit_profit_atr_switch if p.rsi_exit_profit_atr_switch > 0.0 else 0.0",
            "switch = p.rsi_exit_profit_atr_switch",
            "a negative switch of the profit regime",
        ),
        (
            "slot, p.rsi_exit_lb_hi_profit, p.rsi_exit_lb_hi_profit_low_conf",
            "slot, p.rsi_exit_lb_lo_profit, p.rsi_exit_lb_hi_profit_low_conf",
            "the lower bound of the other regime",
        ),
        (
            "    if not is_warm:\n        return Exit(NO_REASON, 0.0, 0.0, 0.0)\n",
            "",
            "smart exits read placeholders",
        ),
        (
            "    if found.reason == NO_REASON:\n        found = overextension_exit(slot, x, p)",
            "    if found.reason != NO_REASON:\n        found = overextension_exit(slot, x, p)",
            "an RSI overrules what fired before it",
        ),
        (
            "is_tighter(slot.side, level_px, slot.trailing_px)",
            "is_tighter(-slot.side, level_px, slot.trailing_px)",
            "the trailing stop loosens",
        ),
        (
            "distance = p.trailing_distance_atr * slot.entry_atr",
            "distance = p.trailing_distance_atr * x.atr",
            "the base trail with today's ATR",
        ),
        (
            "is_due = p.breakeven_start_atr > 0.0 and profit_atr",
            "is_due = profit_atr",
            "break-even that is switched off",
        ),
    ),
    "rules/mei_alpha/sizing.py": (
        ("if confidence == MEDIUM:", "if confidence != MEDIUM:", "low and medium change places"),
        (
            "p.adx_sizing_min_mult, 1.0)",
            "p.adx_sizing_min_mult, 2.0)",
            "a strong trend counts more than once",
        ),
        (
            "ratio = (atr / px) / p.vol_baseline_pct",
            "ratio = atr / p.vol_baseline_pct",
            "volatility in quote currency",
        ),
        (
            "1.0 / ratio if ratio > 0.0 else 1.0",
            "ratio if ratio > 0.0 else 1.0",
            "more volatility, larger positions",
        ),
        (
            "p.leverage_max_cap > 0.0 and chosen > p.leverage_max_cap",
            "chosen > p.leverage_max_cap",
            "a cap of zero allows no leverage",
        ),
        (
            "        qty *= headroom_usd / margin\n        margin = headroom_usd",
            "        margin = headroom_usd",
            "margin is cut, quantity is not",
        ),
        (
            "margin = notional / leverage",
            "margin = notional",
            "the margin of a lifted order without leverage",
        ),
        ("if caps_bump and margin", "if margin", "the reference's lift is capped, too"),
    ),
    "rules/mei_alpha/portfolio.py": (
        (
            "while place > 0 and active[place - 1] >= symbol:",
            "while place > 0 and active[place - 1] > symbol:",
            "a symbol twice on the list",
        ),
        (
            "if slot.side != 0 or slot.open_order != 0:",
            "if slot.side != 0:",
            "an order that waits is dropped",
        ),
        ("return slot.entry_px if run.equity else 0.0", "return 0.0", "no bar yet, no value"),
        (
            "unrealised += gain_px(slot, px) * slot.qty",
            "unrealised += gain_px(slot, px) * slot.qty * slot.leverage",
            "profit is multiplied by the leverage",
        ),
        (
            "return slot.side != 0 and slot.exit_order != WHOLE",
            "return slot.side != 0",
            "a position about to close keeps its place",
        ),
        (
            "        if slot.open_order != 0:\n            number += 1\n",
            "",
            "orders take no place",
        ),
        (
            "            if slot.add_order != 0:\n                total += slot.add_margin_usd\n",
            "",
            "an add that waits takes no margin",
        ),
        (
            "return now_ms - slot.last_entry_ms < p.entry_cooldown_s * 1000",
            "return now_ms - slot.last_entry_ms < p.entry_cooldown_s",
            "the entry cooldown in milliseconds",
        ),
        (
            "return now_ms - slot.last_exit_ms < p.exit_cooldown_s * 1000",
            "return now_ms - slot.last_entry_ms < p.exit_cooldown_s * 1000",
            "the exit cooldown counts from the entry",
        ),
        (
            "slot.last_exit_reason == SIGNAL_FLIP or slot.last_exit_side != side",
            "slot.last_exit_reason == SIGNAL_FLIP or slot.last_exit_side == side",
            "PESC holds the other side back",
        ),
        (
            "if slot.last_exit_reason == SIGNAL_FLIP or",
            "if",
            "PESC after a flip",
        ),
        (
            "longest + ((adx - 25.0) / 15.0) * (shortest - longest)",
            "shortest + ((adx - 25.0) / 15.0) * (longest - shortest)",
            "the stronger the trend, the longer the wait",
        ),
        (
            "if not wait_ms > 0.0:\n        return now_ms < slot.last_exit_ms",
            "if not wait_ms > 0.0:\n        return now_ms <= slot.last_exit_ms",
            "no wait is a wait on the same bar",
        ),
        (
            "if slot.adds_count >= p.max_adds_per_symbol or",
            "if slot.adds_count > p.max_adds_per_symbol or",
            "one add too many",
        ),
        (
            "(now_ms - slot.last_add_ms) / 60000.0 < p.add_cooldown_minutes",
            "(now_ms - slot.opened_ms) / 60000.0 < p.add_cooldown_minutes",
            "the add cooldown counts from the opening",
        ),
        (
            "if not profit_atr(slot, close_px) >= p.add_min_profit_atr:",
            "if not gain_px(slot, close_px) >= p.add_min_profit_atr:",
            "the least profit of an add in quote currency",
        ),
        (
            "return close_px > 0.0 and not is_entry_cooling(slot, now_ms, p)",
            "return close_px > 0.0",
            "adds do not cool",
        ),
    ),
    "rules/mei_alpha/decisions.py": (
        (
            "slot.exit_order != 0 or is_exit_cooling(slot, now_ms, p):",
            "slot.exit_order != 0:",
            "exits do not cool",
        ),
        (
            "whose.first + 1 + whose.n_before >= whose.exit_bars",
            "whose.first + whose.n_before >= whose.exit_bars",
            "smart exits wait a bar too long",
        ),
        (
            "    elif run.trailing:\n",
            "    elif not run.trailing:\n",
            "each semantics trails like the other",
        ),
        (
            "    if run.exit_fill and slot.side != 0 and slot.exit_order != WHOLE:\n        rest_stop(slot, x, p)\n",
            "",
            "the resting stop never moves",
        ),
        (
            "        if slot.side == candidate.side:\n",
            "        if slot.side != candidate.side:\n",
            "adds to what should be flipped",
        ),
        (
            "    elif slot.side == 0 and is_pesc_blocked(\n",
            "    elif is_pesc_blocked(\n",
            "PESC looks at the exit before the last",
        ),
        (
            "margin = (equity * p.allocation_pct) * p.add_fraction_of_base_margin",
            "margin = equity * (p.allocation_pct * p.add_fraction_of_base_margin)",
            "the same product, rounded in another order",
        ),
        (
            "if run.bump and slot.leverage > 0.0:",
            "if slot.leverage > 0.0:",
            "the reference's add lifts its margin, too",
        ),
        (
            "if equity * world.risk[0].max_total_margin_pct - (used + margin) < 0.0:",
            "if equity * p.max_total_margin_pct - (used + margin) < 0.0:",
            "a symbol's own margin limit for an add",
        ),
        ("score = confidence * 100 +", "score = confidence * 10 +", "the ADX outranks confidence"),
        (
            "picks[SCORES, place - 1] < score:",
            "picks[SCORES, place - 1] <= score:",
            "of equal scores the later symbol first",
        ),
        (
            "score = confidence * 100 + (int(adx) if",
            "score = confidence * 100 + (round(adx) if",
            "the ADX rounded in a score",
        ),
        (
            "if account.n_entries >= portfolio.max_entry_orders_per_loop:",
            "if i >= portfolio.max_entry_orders_per_loop:",
            "what was passed over counts as an order",
        ),
        (
            ">= portfolio.max_open_positions:",
            "> portfolio.max_open_positions:",
            "one position too many",
        ),
        (
            "equity_usd * portfolio.max_total_margin_pct - used",
            "account.balance_usd * portfolio.max_total_margin_pct - used",
            "headroom of the balance",
        ),
        (
            "account.blocked_by_margin += 1\n            continue",
            "account.blocked_by_margin += 1\n            return",
            "no margin ends the ranking, later blocks are not counted",
        ),
        (
            "slot.main_row = candidate.base_row",
            "slot.main_row = candidate.base_row - 1",
            "an entry walks its own bar again",
        ),
        (
            "ENTRY_SUB_BAR if candidate.is_tick else ENTRY",
            "ENTRY if candidate.is_tick else ENTRY_SUB_BAR",
            "the log calls a sub-bar's entry a bar's",
        ),
    ),
}
