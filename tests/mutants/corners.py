"""Cases made by hand: what random ones do not come upon in a few hundred."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from tests.oracles.mei_alpha.bank import Bar, Config
from tests.oracles.mei_alpha.cases import LOOSE, START, Case, joined, thinned, walk

_HOUR_MS = 3_600_000


def walked(seed: int, changes: Config) -> Case:
    """Random walks of two symbols under LOOSE with these changes."""
    rng = Random(seed)
    quarters = {name: walk(rng, 140, _HOUR_MS // 4) for name in ("BTC", "SOL")}
    candles = {name: joined(bars, _HOUR_MS) for name, bars in quarters.items()}
    return Case(candles, LOOSE | changes, changes, _HOUR_MS, lookback=5)


def with_holes(seed: int, changes: Config) -> Case:
    """The same with exit and entry bars of which many are missing."""
    rng = Random(seed)
    quarters = {name: walk(rng, 140, _HOUR_MS // 4) for name in ("BTC", "SOL")}
    return replace(
        walked(seed, changes),
        exit_bars={name: thinned(rng, bars, 3) for name, bars in quarters.items()},
        exit_interval_ms=_HOUR_MS // 4,
        entry_bars={
            name: thinned(rng, joined(bars, _HOUR_MS // 2), 5) for name, bars in quarters.items()
        },
        entry_interval_ms=_HOUR_MS // 2,
    )


def own_margin_limit(limit_frac: float) -> Case:
    """Two symbols that are added to, one with a limit of all margin in its own layer."""
    changes = {
        "trade.enable_pyramiding": True,
        "trade.add_min_profit_atr": -1.0,
        "trade.add_cooldown_minutes": 0,
        "trade.max_adds_per_symbol": 5,
        "trade.add_fraction_of_base_margin": 0.7,
        "trade.sl_atr_mult": 8.0,
    }
    case = walked(0, changes)
    own = case.config | {"trade.max_total_margin_pct": limit_frac}
    return replace(case, symbol_configs={"SOL": own})


def held(is_long: bool, closes: list[float], changes: Config) -> Case:
    """A position from 100 with an ATR of 1 meets bars that are nothing but their closes."""
    bars: list[Bar] = [(START + i * _HOUR_MS, px, px, px, px, 1.0) for i, px in enumerate(closes)]
    return holding(bars, is_long, START - _HOUR_MS, changes)


def holding(bars: list[Bar], is_long: bool, opened_ms: int, changes: Config) -> Case:
    """A position from 100 with an ATR of 1, held from `opened_ms` on, meets these bars."""
    position = {
        "symbol": "SOL",
        "side": "long" if is_long else "short",
        "size": 10.0,
        "entry_price": 100.0,
        "entry_atr": 1.0,
        "trailing_sl": None,
        "confidence": 2,
        "leverage": 2.0,
        "margin_used": 500.0,
        "open_time_ms": opened_ms,
        "last_add_time_ms": opened_ms,
    }
    state = {"balance": 10_000.0, "positions": [position]}
    config = LOOSE | changes
    return Case({"SOL": bars}, config, changes, _HOUR_MS, lookback=5, init_state=state)


def in_holes(
    open_px: float, low: float, quarters: dict[int, float], opened_min: int = 0, stop: float = 5.0
) -> Case:
    """A long position from 100 in an hour of which some quarters (minute: price) are known."""
    before: Bar = (START, 100.0, 100.0, 100.0, 100.0, 1.0)
    begin_ms = START + _HOUR_MS
    hour: Bar = (begin_ms, open_px, 103.0, low, 101.0, 1.0)
    after: Bar = (begin_ms + _HOUR_MS, 101.0, 101.0, 101.0, 101.0, 1.0)
    changes = {
        "trade.sl_atr_mult": stop,
        "trade.tp_atr_mult": 20.0,
        "trade.trailing_start_atr": 1.0,
        "trade.trailing_distance_atr": 3.0,
        "trade.exit_cooldown_s": 0,
        "trade.enable_partial_tp": False,
    }
    exits: list[Bar] = [
        (begin_ms + minute * 60_000, px, px, px, px, 1.0) for minute, px in quarters.items()
    ]
    return replace(
        holding([before, hour, after], True, begin_ms + opened_min * 60_000, changes),
        exit_bars={"SOL": exits},
        exit_interval_ms=_HOUR_MS // 4,
    )


#: Under high leverage money falls deepest from a late peak, and by the largest fraction from an early one.
DEEP = walked(
    0,
    {
        "trade.allocation_pct": 0.3,
        "trade.sl_atr_mult": 3.0,
        **dict.fromkeys(
            ("trade.leverage_low", "trade.leverage_medium", "trade.leverage_high"), 10.0
        ),
    },
)

CORNERS: tuple[Case, ...] = (
    # A close on the stop to the last bit, from either side.
    held(True, [98.0, 99.0, 100.0], {"trade.sl_atr_mult": 2.0}),
    held(False, [102.0, 101.0, 100.0], {"trade.sl_atr_mult": 2.0}),
    # StochRSI without smoothing is often at the bounds of its range.
    walked(
        0,
        {
            "filters.use_stoch_rsi_filter": True,
            "indicators.stoch_rsi_window": 3,
            "indicators.stoch_rsi_smooth1": 1,
            "thresholds.stoch_rsi.block_long_if_k_gt": 1.0,
            "thresholds.stoch_rsi.block_short_if_k_lt": 0.0,
        },
    ),
    # The regimes of the RSI exit lie far apart, and small losses are no profit.
    walked(
        0,
        {
            "trade.enable_rsi_overextension_exit": True,
            "trade.sl_atr_mult": 8.0,
            "trade.rsi_exit_profit_atr_switch": -1.0,
            "trade.rsi_exit_ub_lo_profit": 55.0,
            "trade.rsi_exit_ub_hi_profit": 99.5,
            "trade.rsi_exit_lb_lo_profit": 45.0,
            "trade.rsi_exit_lb_hi_profit": 0.5,
            "trade.rsi_exit_ub_lo_profit_low_conf": 0.0,
            "trade.rsi_exit_ub_hi_profit_low_conf": 0.0,
            "trade.rsi_exit_lb_lo_profit_low_conf": 0.0,
            "trade.rsi_exit_lb_hi_profit_low_conf": 0.0,
        },
    ),
    # Positions that live long enough to meet holes.
    with_holes(0, {"trade.sl_atr_mult": 1.5, "trade.trailing_start_atr": 0.2}),
    with_holes(1, {"trade.sl_atr_mult": 3.0, "trade.enable_partial_tp": True}),
    with_holes(2, {"trade.sl_atr_mult": 1.0, "trade.tp_atr_mult": 1.2}),
    # A low that may lie in either of two holes, and one that touches the later one's stop alone.
    in_holes(99.0, 94.0, {15: 101.0, 45: 101.0}),
    in_holes(97.0, 96.0, {15: 101.0, 45: 101.0}),
    # An open beyond the stop of the hole that holds it.
    in_holes(94.5, 94.0, {15: 101.0, 45: 101.0}),
    # Nothing comes after the fill.
    in_holes(100.0, 90.0, {0: 100.0}, opened_min=15),
    # A target gapped through, in a bar that later falls below everything before it.
    holding(
        [
            (START, 100.0, 100.0, 100.0, 100.0, 1.0),
            (START + _HOUR_MS, 103.0, 103.5, 98.5, 99.0, 1.0),
            (START + 2 * _HOUR_MS, 99.0, 99.0, 99.0, 99.0, 1.0),
        ],
        True,
        START - _HOUR_MS,
        {
            "trade.sl_atr_mult": 5.0,
            "trade.tp_atr_mult": 2.0,
            "trade.smart_exit_adx_exhaustion_lt": 0.0,
        },
    ),
    # Winners run far while the ADX is low: how closely they are trailed shows.
    walked(
        1,
        {
            "trade.sl_atr_mult": 8.0,
            "trade.tp_atr_mult": 50.0,
            "trade.trailing_start_atr": 0.5,
            "trade.trailing_distance_atr": 1.5,
            "trade.smart_exit_adx_exhaustion_lt": 0.0,
            "indicators.adx_window": 12,
            "thresholds.entry.min_adx": 0.0,
        },
    ),
    # A symbol whose own layer would stop its adds.
    own_margin_limit(0.1),
    # A part is sold within a bar at whose close the rest may go.
    walked(
        1,
        {
            "trade.enable_partial_tp": True,
            "trade.tp_partial_pct": 0.25,
            "trade.tp_partial_min_notional_usd": 0.0,
            "trade.tp_atr_mult": 0.8,
            "trade.exit_cooldown_s": 0,
            "trade.enable_rsi_overextension_exit": True,
            "trade.rsi_exit_ub_lo_profit": 55.0,
            "trade.rsi_exit_ub_hi_profit": 55.0,
            "trade.rsi_exit_lb_lo_profit": 45.0,
            "trade.rsi_exit_lb_hi_profit": 45.0,
        },
    ),
)
