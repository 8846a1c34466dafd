"""Mutants of what the strategy sees: indicators, snapshot, gates, signals, candidates. file -> (old, new, why)."""

SEEING: dict[str, tuple[tuple[str, str, str], ...]] = {
    "rules/mei_alpha/indicators.py": (
        (
            "mean[row] = total / (row - first + 1)",
            "mean[row] = total / window",
            "a mean of fewer bars divided by the whole window",
        ),
        (
            "out[j] = sqrt(out[j] / window)",
            "out[j] = sqrt(out[j] / (window - 1))",
            "sample deviation for population deviation",
        ),
        ("alpha = 2.0 / (window + 1.0)", "alpha = 2.0 / window", "alpha of the EMA off by one"),
        (
            "    if row == first and row < end:\n        ema[row] = values[row]",
            "    if row == first and row < end:\n        ema[row] = 0.0",
            "EMA seeded with zero",
        ),
        (
            "below = abs(low_px - prev_close_px)",
            "below = abs(high_px - prev_close_px)",
            "true range without the gap below",
        ),
        (
            "            spread = true_range(high[row], low[row], close[row - 1])\n        n_bars",
            "            spread = true_range(high[row], low[row], close[row])\n        n_bars",
            "true range of the ATR against the bar's own close",
        ),
        (
            "atr[row] = (atr[row - 1] * (window - 1) + spread) / window",
            "atr[row] = (atr[row - 1] * window + spread) / (window + 1)",
            "Wilder's smoothing of the ATR off by one",
        ),
        (
            "elif age <= 2 * window - 1 or age == window + 1:",
            "elif age <= 2 * window or age == window + 1:",
            "ADX seeded with one DX too many",
        ),
        (
            "up_dm = up if up > down and up > 0.0 else 0.0",
            "up_dm = up if up > 0.0 else 0.0",
            "both directional movements of an outside bar count",
        ),
        ("    if age > window:\n", "    if age >= window:\n", "Wilder sums decay a bar early"),
        ("if n_changes > window:", "if n_changes >= window:", "RSI smoothed a bar early"),
        (
            "        if state.loss == 0.0:\n            rsi[row] = 100.0",
            "        if state.loss == 0.0:\n            rsi[row] = 50.0",
            "RSI without a loss is neutral",
        ),
        (
            "for i in range(row - window + 2, row + 1):",
            "for i in range(row - window + 2, row):",
            "the range of StochRSI leaves the newest value out",
        ),
        (
            "while begin < end and begin < first_full:",
            "while begin < end and begin <= first_full:",
            "StochRSI smoothed a bar late",
        ),
        (
            "2.0 / 13.0, 2.0 / 27.0, 2.0 / 10.0",
            "2.0 / 13.0, 2.0 / 27.0, 2.0 / 9.0",
            "alpha of MACD's signal line",
        ),
        (
            "(upper[row] - lower[row]) / close[row] if",
            "(upper[row] - lower[row]) / mean[row] if",
            "band width against the mean",
        ),
        (
            "ratio[row] = values[row] / average[row] if average[row] > 0.0 else 1.0",
            "ratio[row] = values[row] / average[row] if average[row] > 0.0 else 0.0",
            "no width counts as narrow",
        ),
        (
            "slope[row] = (ema[row] - ema[row - window + 1]) / close[row]",
            "slope[row] = (ema[row] - ema[row - window]) / close[row]",
            "drift over a bar too many",
        ),
    ),
    "rules/mei_alpha/columns.py": (
        ("fill_slope(bank[EMA_SLOW],", "fill_slope(bank[EMA_FAST],", "drift of the fast EMA"),
        (
            "w.vol_trend_window, bank[VOL_SHORT]",
            "w.vol_sma_window, bank[VOL_SHORT]",
            "both volume means of one window",
        ),
        (
            "row.avg_atr = bank[AVG_ATR, place]",
            "row.avg_atr = bank[ATR, place]",
            "AVE compares the ATR with itself",
        ),
        (
            "bank[column, i] = bank[column, i + n_new]",
            "bank[column, i] = bank[column, n_past + i]",
            "a chunk of bars sees the wrong past",
        ),
        (
            "first_full = first + w.stoch_rsi_window - 1",
            "first_full = first + w.stoch_rsi_window",
            "K starts a bar late",
        ),
    ),
    "rules/mei_alpha/snapshot.py": (
        (
            "bars[row - 1].close if has_1 else 0.0",
            "bars[row - 1].open if has_1 else 0.0",
            "the previous bar's open for its close",
        ),
        (
            "now.adx - before.adx if has_1 else now.adx",
            "before.adx - now.adx if has_1 else now.adx",
            "the slope of the ADX upside down",
        ),
        (
            "indicators[row - 3].macd_hist if row - 3 >= first else 0.0",
            "indicators[row - 2].macd_hist if row - 3 >= first else 0.0",
            "the histogram of three bars ago is that of two",
        ),
        (
            "now.vol_short > now.vol_sma",
            "now.vol_short >= now.vol_sma",
            "flat volume counts as rising",
        ),
        (
            "    has_1 = row > first\n",
            "    has_1 = row >= first\n",
            "the first bar has a previous one",
        ),
    ),
    "rules/mei_alpha/gates.py": (
        (
            "needed = p.min_signals if p.min_signals > 1 else 1",
            "needed = p.min_signals",
            "no vote at all is a range when none is asked for",
        ),
        ("return votes >= needed", "return votes > needed", "one more vote for a range"),
        (
            "if x.rsi > p.rsi_low and x.rsi < p.rsi_high:",
            "if x.rsi > p.rsi_low or x.rsi < p.rsi_high:",
            "every RSI is in the middle",
        ),
        ("_TMC_SLOPE = 0.5", "_TMC_SLOPE = 0.05", "TMC for any rise of the ADX"),
        (
            "x.atr / x.avg_atr > p.ave_atr_ratio_gt",
            "x.atr / x.avg_atr < p.ave_atr_ratio_gt",
            "AVE when volatility is usual",
        ),
        (
            "(p.ave_adx_mult if p.ave_adx_mult > 0.0 else 1.0)",
            "p.ave_adx_mult",
            "AVE with a multiple of zero asks for no ADX",
        ),
        (
            "return is_above or x.vol_trend",
            "return is_above and x.vol_trend",
            "the lenient form of the volume gate is the strict one",
        ),
        (
            "abs(slope) >= p.slow_drift_min_slope_pct",
            "slope >= p.slow_drift_min_slope_pct",
            "a drift downwards does not lift the ranging gate",
        ),
        (
            "distance_frac(x.close, x.prev_close) > p.price_change_pct_gt",
            "distance_frac(x.prev_close, x.close) > p.price_change_pct_gt",
            "a jump as a fraction of where it ended",
        ),
        (
            "distance_frac(x.close, x.ema_fast) > p.ema_fast_dev_pct_gt",
            "distance_frac(x.close, x.ema_slow) > p.ema_fast_dev_pct_gt",
            "an anomaly measured from the slow EMA",
        ),
        (
            "x.adx_slope > 0.0 or x.adx > p.adx_rising_saturation",
            "x.adx_slope > 0.0 and x.adx > p.adx_rising_saturation",
            "a rising ADX must be saturated",
        ),
        ("above = x.adx > minimum", "above = x.adx > p.min_adx", "TMC and AVE without effect"),
        (
            "not p.require_macro_alignment or x.ema_slow > x.ema_macro",
            "not p.require_macro_alignment or x.ema_fast > x.ema_macro",
            "the fast EMA stands in for the slow one",
        ),
        (
            "is_exempt or btc == BTC_UNKNOWN or x.adx",
            "is_exempt or x.adx",
            "an unknown BTC direction blocks both sides",
        ),
        (
            "        free or btc == BTC_UP,\n        free or btc == BTC_DOWN,",
            "        free or btc == BTC_DOWN,\n        free or btc == BTC_UP,",
            "against BTC instead of with it",
        ),
        (
            "    if weight > 1.0:\n        return 1.0",
            "    if weight > 1.0:\n        return weight",
            "RSI limits run on beyond a strong ADX",
        ),
        (
            "high = p.adx_strong_gt if p.adx_strong_gt > low else low + 1.0",
            "high = p.adx_strong_gt",
            "a strong ADX below the minimum turns the weight around",
        ),
        (
            "x.stoch_k < p.block_long_if_k_gt",
            "x.stoch_k <= p.block_long_if_k_gt",
            "K at its bound does not block a long",
        ),
        (
            "x.stoch_k > p.block_short_if_k_lt",
            "x.stoch_k >= p.block_short_if_k_lt",
            "K at its bound does not block a short",
        ),
        (
            "return x.macd_hist < x.macd_hist_1",
            "return x.macd_hist > x.macd_hist_1",
            "shorts ask for a rising histogram",
        ),
        (
            "return 1 if fires else 0\n    if crossed_down and g.is_bearish and g.is_btc_ok_short:",
            "return 1 if fires else 0\n    if crossed_down and g.is_bearish and g.is_btc_ok_long:",
            "a pullback short asks BTC for the long side",
        ),
        (
            "crossed_up = x.prev_close <= x.prev_ema_fast and",
            "crossed_up = x.prev_close <= x.ema_fast and",
            "a pullback crosses today's EMA from yesterday",
        ),
        ("slope <= -least", "slope <= least", "a short drifts sideways"),
        (
            "HIGH if is_high else MEDIUM, g.min_adx)",
            "HIGH if is_high else MEDIUM, p.min_adx)",
            "the entry forgets which ADX admitted it",
        ),
        (
            "return Signal(side, LOW, p.slow_drift_min_adx)",
            "return Signal(side, MEDIUM, p.slow_drift_min_adx)",
            "a slow drift of medium confidence",
        ),
    ),
    "rules/mei_alpha/entries.py": (
        (
            "min_atr_pct > 0.0 and atr < px * min_atr_pct",
            "min_atr_pct > 0.0 and atr > px * min_atr_pct",
            "the floor of the ATR is a ceiling",
        ),
        (
            "reverses = p.auto_reverse_breadth_low <= breadth",
            "reverses = p.auto_reverse_breadth_low < breadth",
            "a breadth at the bound does not reverse",
        ),
        (
            "if side < 0 and breadth > p.breadth_block_short_above:",
            "if side > 0 and breadth > p.breadth_block_short_above:",
            "breadth blocks the other side",
        ),
        (
            "        return not x.macd_hist > 0.0\n",
            "        return x.macd_hist > 0.0\n",
            "SSF blocks what it should let through",
        ),
        (
            "is_weak = x.adx < p.reef_adx_threshold",
            "is_weak = x.adx > p.reef_adx_threshold",
            "REEF takes a strong trend for a weak one",
        ),
        (
            "if confidence < p.entry_min_confidence:",
            "if confidence <= p.entry_min_confidence:",
            "the least confidence is not enough",
        ),
    ),
    "rules/mei_alpha/screen.py": (
        (
            "if row < symbols[symbol].end and bars[row].known_ms == earliest_ms:",
            "if bars[row].known_ms == earliest_ms:",
            "the timeline reads on into the next symbol's bars",
        ),
        (
            "totals[step + 1] += 1",
            "totals[step] += 1",
            "breadth counts a symbol before it is known",
        ),
        (
            "            if row == whose.first + 1:\n",
            "            if row == whose.first + 2:\n",
            "breadth counts a symbol a bar late",
        ),
        (
            "is_rising = indicators[row].ema_fast > indicators[row].ema_slow",
            "is_rising = indicators[row].ema_fast > indicators[row].ema_macro",
            "breadth against the macro EMA",
        ),
        (
            "if not (counts_untraded or whose.is_traded):",
            "if not whose.is_traded:",
            "breadth of the traded symbols alone",
        ),
        (
            "for step in range(bars[row].step + 1, last):",
            "for step in range(bars[row].step, last):",
            "BTC's direction is known a step early",
        ),
        (
            "BTC_UP if bars[row].close > indicators[row].ema_slow",
            "BTC_UP if bars[row].close > indicators[row].ema_fast",
            "BTC against its fast EMA",
        ),
        (
            "for i in range(len(sources) - 1, -1, -1):",
            "for i in range(len(sources)):",
            "the last source of BTC's direction wins",
        ),
        (
            "    if not g.is_adx_rising:\n        gates[8] += 1",
            "    if not g.is_adx_rising:\n        gates[9] += 1",
            "a counter in the wrong place",
        ),
        (
            "skipped = whose.entry_bars - 1 - whose.n_before",
            "skipped = whose.entry_bars - whose.n_before",
            "the lookback takes a bar too many",
        ),
        (
            "if signal.side == 0 or run.has_entries:",
            "if signal.side == 0:",
            "main bars open although sub-bars drive the entries",
        ),
        (
            "steps[step + 1].known_ms < known_ms:",
            "steps[step + 1].known_ms <= known_ms:",
            "a sub-bar reads the main bar that becomes known with it",
        ),
        (
            "has_slope = bars[base].step == step and",
            "has_slope =",
            "a sub-bar reads the slope of an older bar",
        ),
        (
            "        slope = indicators[row].slope\n        x = snapshot_at(",
            "        slope = indicators[row - 1].slope\n        x = snapshot_at(",
            "the slope of the bar before",
        ),
        (
            "side = transformed_side(signal.side, now.breadth, p)",
            "side = transformed_side(signal.side, steps[0].breadth, p)",
            "the breadth of the first step",
        ),
    ),
}
