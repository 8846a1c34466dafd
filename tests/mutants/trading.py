"""Mutants of what is traded: fills, fees, the bars a position meets, funding, the order of it all.

file -> (old, new, why)."""

TRADING: dict[str, tuple[tuple[str, str, str], ...]] = {
    "rules/exits.py": (
        (
            "        if stop > 0.0 and low_px <= stop:\n            return STOP, (open_px if open_px < stop else stop)",
            "        if stop > 0.0 and low_px <= stop:\n            return STOP, stop",
            "a gap through a long's stop fills at the stop",
        ),
        (
            "if stop > 0.0 and high_px >= stop:",
            "if stop > 0.0 and low_px >= stop:",
            "a short's stop fills when the whole bar is beyond it",
        ),
        (
            "return TARGET, (open_px if open_px < target else target)",
            "return TARGET, target",
            "a short's target gapped through fills no better",
        ),
        (
            "if target > 0.0 and high_px >= target:",
            "if target > 0.0 and open_px >= target:",
            "a long's target fills at the open alone",
        ),
    ),
    "rules/mei_alpha/book.py": (
        ("_EXIT_SLIPPAGE_BPS = 0.5", "_EXIT_SLIPPAGE_BPS = 5.0", "ten times the exit slippage"),
        (
            "    return px * (1.0 - slippage_bps / 10000.0)",
            "    return px * (1.0 + slippage_bps / 10000.0)",
            "slippage helps a sell",
        ),
        (
            "return qty * fill_px * run.fee_rate",
            "return notional_usd * run.fee_rate",
            "the fee of the close, not of the fill",
        ),
        ("    slot.entry_px = fill_px\n", "    slot.entry_px = px\n", "an entry without slippage"),
        ("    slot.adds_count = 0\n", "", "adds of the position before count on"),
        ("    slot.tp1_taken = 0\n", "", "the target of the position before stays taken"),
        ("    slot.last_add_ms = opened_ms\n", "", "the add cooldown starts before the position"),
        (
            "slot.entry_px = (slot.entry_px * slot.qty + fill_px * entry.qty) / total",
            "slot.entry_px = (slot.entry_px + fill_px) / 2.0",
            "the average of an add without weights",
        ),
        (
            "    slot.margin_usd += entry.margin_usd\n",
            "",
            "an add takes no margin",
        ),
        (
            "return p.slippage_bps if p.slippage_bps > 0.0 else 0.0",
            "return p.slippage_bps",
            "negative slippage is paid out on exits",
        ),
        (
            "fill_px = slipped_px(px, -side, exit_slippage_bps(run, p))",
            "fill_px = slipped_px(px, side, exit_slippage_bps(run, p))",
            "an exit slips in the trader's favour",
        ),
        (
            "if side > 0 else (slot.entry_px - fill_px) * qty",
            "if side > 0 else (fill_px - slot.entry_px) * qty",
            "a short earns when the price rises",
        ),
        ("account.balance_usd += pnl - fee", "account.balance_usd += pnl", "exits cost no fee"),
        (
            "slot.last_exit_reason = leaving.reason",
            "slot.last_exit_reason = slot.exit_reason",
            "an exit remembers the order, not the reason",
        ),
        (
            "slot.margin_usd *= 1.0 - fraction",
            "slot.margin_usd *= fraction",
            "a partial exit keeps the wrong share of the margin",
        ),
        (
            "        slot.tp1_taken = 1\n        ratchet(slot, slot.entry_px)",
            "        slot.tp1_taken = 1",
            "no break-even after a partial exit",
        ),
        (
            "slot.open_notional_usd / open_px if open_px > 0.0 else 0.0,\n        slot.open_notional_usd,",
            "slot.open_notional_usd / open_px if open_px > 0.0 else 0.0,\n        slot.open_margin_usd,",
            "an order logs its margin as its value",
        ),
        (
            "    slot.exit_order = WHOLE if leaving.fraction >= 1.0 else PART",
            "    slot.exit_order = WHOLE",
            "an ordered partial exit frees the whole place",
        ),
        (
            "record.position_id = slot.position_id",
            "record.position_id = account.n_positions",
            "a row with the number of the newest position",
        ),
        (
            "slot.margin_usd if is_whole else slot.margin_usd * fraction,",
            "slot.margin_usd,",
            "a partial exit logs the whole margin",
        ),
        (
            "    live_through(slot, fill_px)\n",
            "",
            "the fill of an exit is not lived through",
        ),
        (
            "    slot.highest_px = fill_px\n",
            "",
            "the highest price of the position before counts",
        ),
    ),
    "rules/mei_alpha/market.py": (
        (
            "if slot.has_trailing and is_tighter(slot.side, slot.trailing_px, level):",
            "if slot.has_trailing:",
            "the trailing stop rests although the stop-loss is tighter",
        ),
        (
            "if slot.open_order == 0 or open_ms < slot.open_decided_ms:",
            "if slot.open_order == 0 or open_ms <= slot.open_decided_ms:",
            "an order misses the open right after its decision",
        ),
        (
            "if slot.exit_order != 0 and open_ms >= slot.exit_decided_ms:",
            "if slot.exit_order != 0:",
            "an exit fills at an open before its decision",
        ),
        (
            "entry = ordered_add(slot, open_px)\n        slot.add_order = 0",
            "entry = ordered_add(slot, open_px)",
            "an add fills again and again",
        ),
        (
            "is_new = bar.open_ms >= slot.met_ms",
            "is_new = True",
            "a position meets the same minutes twice",
        ),
        (
            "slot.met_ms = bar.open_ms + interval_ms",
            "slot.met_ms = bar.open_ms",
            "a bar is met until its open",
        ),
        (
            "    if px > 0.0 and slot.side != 0:\n",
            "    if px > 0.0 and slot.side == 0:\n",
            "the stop of the rest stays where it was",
        ),
        (
            "target_px if taken.reason != NO_REASON else 0.0,",
            "target_px,",
            "a taken target rests on",
        ),
        (
            "taken = Exit(slot.stop_reason, 1.0, 0.0, 0.0)",
            "taken = Exit(STOP_LOSS, 1.0, 0.0, 0.0)",
            "every resting stop is called a stop-loss",
        ),
        (
            "if slot.has_stop == 0 and run.exit_fill:",
            "if slot.has_stop == 1 and run.exit_fill:",
            "a position meets its first bar without a stop",
        ),
        (
            "pay_until(world, state, symbol, bar.known_ms - 1, bar.known_ms)",
            "pay_until(world, state, symbol, bar.open_ms, bar.known_ms)",
            "a fresh position pays no funding inside its first bar",
        ),
        (
            "if code == TARGET and px != bar.open:",
            "if code == TARGET:",
            "a target filled at the open has lived through its bar",
        ),
        (
            "            live_through(slot, bar.open)\n",
            "",
            "the open of a bar that ends a position is not lived through",
        ),
        (
            "and is_reached(-slot.side, found.best_px, target_px)",
            "and is_reached(slot.side, found.best_px, target_px)",
            "every better price in a hole is a target",
        ),
        (
            "            px = touched.px\n",
            "            px = found.worst_px\n",
            "a stop in a hole fills at the worst price of the bar",
        ),
        (
            "    if slot.met_ms < bar.known_ms:\n        note_hole(slot, bar.open_ms)\n",
            "",
            "a hole at the end of a bar is none",
        ),
    ),
    "rules/mei_alpha/holes.py": (
        (
            "    if is_reached(side, worst_px, slot.hole_far_px):\n",
            "    if False:\n",
            "of several stops in holes the nearest fills",
        ),
        (
            "slot.hole_at_open = 1 if slot.met_ms <= open_ms else 0",
            "slot.hole_at_open = 1",
            "every hole holds the open of its bar",
        ),
        (
            "        px, reason = bar.open, slot.hole_first_reason\n",
            "        pass\n",
            "an open beyond a hole's stop fills at the stop",
        ),
        (
            "    return low <= high\n",
            "    return False\n",
            "a bar of which no sub-bar came after the fill has no hole",
        ),
        (
            "is_certain = covered_until(world, symbol, bar.open_ms, held_ms) >= held_ms",
            "is_certain = True",
            "a better price from before the fill is taken",
        ),
        (
            "        low, high = range_between(exits, ends, bar.open_ms, held_ms, low, high)\n",
            "",
            "a worse price from before the fill is met",
        ),
        (
            "    if bar.low < slot.seen_low:\n        slot.seen_low = bar.low\n",
            "",
            "only the first sub-bar shows its low",
        ),
    ),
    "rules/mei_alpha/funding.py": (
        (
            "if funding[middle].time_ms > moment_ms:",
            "if funding[middle].time_ms >= moment_ms:",
            "the rate of the boundary itself is not known",
        ),
        (
            "signed_qty = slot.qty if slot.side > 0 else -slot.qty",
            "signed_qty = slot.qty",
            "shorts pay what they should receive",
        ),
        (
            "    boundary_ms = (previous_ms // HOUR_MS + 1) * HOUR_MS",
            "    boundary_ms = (previous_ms // HOUR_MS) * HOUR_MS",
            "a boundary is paid twice",
        ),
        (
            "    if world.run[0].run_end and now_ms < world.run[0].from_ms:\n        return\n",
            "    if now_ms < world.run[0].from_ms:\n        return\n",
            "the reference pays nothing before the window",
        ),
        (
            "world.main[row + 1].known_ms <= moment_ms:",
            "world.main[row + 1].known_ms < moment_ms:",
            "funding at the close before last",
        ),
        (
            "return world.main[row].close if row >= whose.first else slot.entry_px",
            "return world.main[row].close if row >= whose.first else 0.0",
            "no bar yet, nothing to pay",
        ),
        ("        slot.funded_ms = boundary_ms\n", "", "a held position pays every hour again"),
        (
            "return newest if newest >= whose.funding_first else -1",
            "return newest",
            "a symbol without a rate pays another's",
        ),
        (
            "pay(state.log, account, slot, symbol, world.funding[rate].rate, px, now_ms)",
            "pay(state.log, account, slot, symbol, world.funding[rate].rate, px, boundary_ms)",
            "a payment is stamped before it is known",
        ),
    ),
    "rules/mei_alpha/subbars.py": (
        (
            "while row < end and bars[row].known_ms <= now_ms:",
            "while row < end and bars[row].known_ms < now_ms:",
            "a sub-bar comes twice",
        ),
        (
            "        return world.steps[step + 1].known_ms\n",
            "        return world.steps[step + 1].known_ms - 1\n",
            "the last sub-bar of a step is left out",
        ),
        (
            "start_ms = run.from_ms - 1",
            "start_ms = run.from_ms",
            "the first sub-bar of the window is left out",
        ),
        (
            "            if slot.side == 0 and slot.open_order == 0:\n                break\n",
            "            if slot.side == 0:\n                break\n",
            "an order waits for the next step",
        ),
        (
            "has_fired = meet_bar(world, state, symbol, bar, run.exit_interval_ms, True)",
            "has_fired = meet_bar(world, state, symbol, bar, run.main_interval_ms, True)",
            "an exit bar as long as a main bar",
        ),
        (
            "            pay_met(world, state, known_ms - 1, known_ms)",
            "            pay_met(world, state, known_ms, known_ms)",
            "funding is due before the sub-bar that ends with it",
        ),
        (
            "    if not in_time and tick < tick_end:\n",
            "    if in_time and tick < tick_end:\n",
            "ticks are sized with no equity",
        ),
        (
            "            if in_time:\n                equity = equity_usd(world, state)\n",
            "",
            "ticks of strict are sized with no equity",
        ),
        (
            "if (slot.side != 0 or slot.open_order != 0) and world",
            "if slot.side != 0 and world",
            "an order does not meet entry bars",
        ),
        (
            "interval_ms = world.run[0].entry_interval_ms",
            "interval_ms = world.run[0].main_interval_ms",
            "an entry bar as long as a main bar",
        ),
        (
            "        if not is_pesc_blocked(slot, candidate.side, candidate.adx, now_ms, p):\n            pick",
            "        if not is_pesc_blocked(slot, candidate.side, candidate.adx, now_ms, p) or True:\n            pick",
            "PESC does not hold ticks back",
        ),
        (
            "    account.n_candidates = 0\n    now_ms = world.ticks[start].known_ms",
            "    now_ms = world.ticks[start].known_ms",
            "the candidates of the main bar are ranked as ticks",
        ),
    ),
    "rules/mei_alpha/walk.py": (
        (
            "            and now.first_tick == after.first_tick\n",
            "",
            "a step with nothing but ticks is passed",
        ),
        (
            "        state.account[0].n_entries = 0\n",
            "        pass\n",
            "the limit of orders holds for the whole run",
        ),
        (
            "            pay_held(world, state, now_ms - 1, now_ms)\n        walk_main_bars",
            "            pay_held(world, state, now_ms, now_ms)\n        walk_main_bars",
            "funding is due before the bar that ends with it",
        ),
        (
            "        state.equity[step] = equity_point_usd(world, state)\n"
            "        if run.has_exits or run.has_entries:\n            walk_sub_bars(world, state, step)\n",
            "        if run.has_exits or run.has_entries:\n            walk_sub_bars(world, state, step)\n"
            "        state.equity[step] = equity_point_usd(world, state)\n",
            "a point of the curve knows the sub-bars after it",
        ),
        (
            "    if world.run[0].equity:\n",
            "    if not world.run[0].equity:\n",
            "marked where realised is meant",
        ),
        (
            "        equity = equity_usd(world, state)\n",
            "        equity = account.balance_usd\n",
            "entries are sized with the balance",
        ),
        (
            "if advance(world, state, symbol, step):",
            "if advance(world, state, symbol, step) and not has_candidate:",
            "a signal spares the exits of its bar",
        ),
        (
            "return run.from_ms <= known_ms and known_ms <= run.to_ms and",
            "return run.from_ms < known_ms and known_ms <= run.to_ms and",
            "the first bar of the window is left out",
        ),
        (
            "        slot.main_row = row - 1\n",
            "        slot.main_row = row\n",
            "the stop of a bar reads that bar's indicators",
        ),
        (
            "    if not has_fired:\n        evaluate_exit(world, state, symbol, bar.close, bar.known_ms)",
            "    evaluate_exit(world, state, symbol, bar.close, bar.known_ms)",
            "a filled stop is followed by a decision on the same bar",
        ),
        (
            "row = slot.main_row if run.run_end else whose.end - 1",
            "row = whose.end - 1",
            "strict closes at the last bar of the data",
        ),
        (
            "now_ms = world.steps[last_step].known_ms",
            "now_ms = world.steps[last_step + 1].known_ms",
            "the closes at the end come a step late",
        ),
    ),
}
