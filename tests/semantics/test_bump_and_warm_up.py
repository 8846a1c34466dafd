"""bump: the enlarged ignore the margin cap, or keep to it. warm_up: how many bars signals and smart exits wait for."""

from typing import Any

import pytest

from mei.model.semantics import REFERENCE
from tests.semantics.tables import DRIFT, LONG, check_trades, holding, only, play

CAPPED = only(bump="capped")
READY = only(warm_up="ready")

#: A tenth of a percent of 10000 is 10, enlarged to 500 at 125 = 4 pieces.
ENLARGED = {
    "trade.allocation_pct": 0.001,
    "trade.min_notional_usd": 500.0,
    "trade.bump_to_min_notional": True,
}
FLAT = """
t     o    h    l   c
0:00  100  101  99  100
1:00  100  101  99  100
"""
ENTRY = """
t     o    h    l    c
0:00  100  101  99   100
1:00  100  126  100  125
"""


def enters(semantics, held_margin: float, **config):
    """ENTRY's buy of BBB beside a flat position of AAA that takes `held_margin` of 10000."""
    held = [holding("LONG", 10, 100, symbol="AAA", margin=held_margin)]
    main = {"AAA": FLAT, "BBB": ENTRY}
    return play(main, semantics, base=DRIFT, held=held, config=ENLARGED | config)


ENTERED = """
time  symbol  action      reason           price      qty  fee         margin
1:00  BBB     OPEN_LONG   Low entry        125        4    0.175       {own}   # 500 / 125; 500 * 0.00035
1:00  AAA     CLOSE_LONG  End of Backtest  99.995     10   0.3499825   {held}  # 100 * 0.99995; q * p * 0.00035
1:00  BBB     CLOSE_LONG  End of Backtest  124.99375  4    0.17499125  {own}   # 125 * 0.99995; q * p * 0.00035
"""
NOT_ENTERED = """
time  symbol  action      reason           price   qty
1:00  AAA     CLOSE_LONG  End of Backtest  99.995  10   # 100 * 0.99995
"""


def test_an_enlarged_entry_needs_headroom() -> None:
    # Headroom 10000 - 9800 = 200: enough for 10, not for 500.
    played = enters(REFERENCE, 9800)
    check_trades(played, ENTERED.format(held=9800, own=500))
    assert played.result.gates["blocked_by_margin"] == 0
    played = enters(CAPPED, 9800)
    check_trades(played, NOT_ENTERED)
    assert played.result.gates["blocked_by_margin"] == 1


def test_an_enlarged_entry_that_fits_stays() -> None:
    # Headroom 600, and exactly 500: it has to be exceeded.
    for semantics in (REFERENCE, CAPPED):
        for held_margin in (9400, 9500):
            check_trades(enters(semantics, held_margin), ENTERED.format(held=held_margin, own=500))


def test_leverage_makes_an_enlarged_entry_fit() -> None:
    # With leverage 4 the notional of 500 needs a margin of 125: within 200.
    for semantics in (REFERENCE, CAPPED):
        check_trades(
            enters(semantics, 9800, **{"trade.leverage": 4.0}),
            ENTERED.format(held=9800, own=125),
        )


def test_an_enlarged_add_takes_its_own_margin() -> None:
    # 10000 * 0.01 * 0.5 = 50 with leverage 2 is a notional of 100, enlarged to 500 = 4 * 125; its margin is 500 / 2 =
    # 250.
    adding = ENLARGED | {"trade.allocation_pct": 0.01, "trade.enable_pyramiding": True}
    held = [holding("LONG", 10, 100, leverage=2.0)]
    check_trades(
        play(ENTRY, REFERENCE, base=DRIFT, held=held, config=adding),
        """
        time  action      reason           price      qty  fee          margin
        1:00  ADD_LONG    Pyramid #1       125        4    0.175        50
          # 500 / 125; 500 * 0.00035; 10000 * 0.01 * 0.5
        1:00  CLOSE_LONG  End of Backtest  124.99375  14   0.612469375  550
          # 125 * 0.99995; q * p * 0.00035; 1000 / 2 + 50
        """,
    )
    check_trades(
        play(ENTRY, CAPPED, base=DRIFT, held=held, config=adding),
        """
        time  action      reason           price      qty  fee          margin
        1:00  ADD_LONG    Pyramid #1       125        4    0.175        250
          # 500 / 125; 500 * 0.00035; 500 / 2
        1:00  CLOSE_LONG  End of Backtest  124.99375  14   0.612469375  750
          # 125 * 0.99995; q * p * 0.00035; 1000 / 2 + 250
        """,
    )


def test_the_margin_cap_sees_an_enlarged_add() -> None:
    # 9700 + 50 is within 10000, 9700 + 500 is not; 9500 + 500 is exactly at it, which adds may be.
    adding = ENLARGED | {"trade.allocation_pct": 0.01, "trade.enable_pyramiding": True}

    def run(semantics, margin):
        held = [holding("LONG", 10, 100, margin=margin)]
        return play(ENTRY, semantics, base=DRIFT, held=held, config=adding)

    check_trades(
        run(REFERENCE, 9700),
        """
        time  action      reason           price      qty  margin
        1:00  ADD_LONG    Pyramid #1       125        4    50
        1:00  CLOSE_LONG  End of Backtest  124.99375  14   9750    # 125 * 0.99995; 9700 + 50
        """,
    )
    check_trades(
        run(CAPPED, 9700),
        """
        time  action      reason           price      qty  margin
        1:00  CLOSE_LONG  End of Backtest  124.99375  10   9700    # 125 * 0.99995
        """,
    )
    check_trades(
        run(CAPPED, 9500),
        """
        time  action      reason           price      qty  margin
        1:00  ADD_LONG    Pyramid #1       125        4    500
        1:00  CLOSE_LONG  End of Backtest  124.99375  14   10000   # 125 * 0.99995; 9500 + 500
        """,
    )


# warm_up. R is at least 34; of the tables' windows the largest besides is 2 * 14 (ADX). The slow EMA stays at 100
# through the flat bars, then goes to (100 + 125) / 2 = 112.5 and (112.5 + 160) / 2 = 136.25: two buys.

BUYS = """
t            o    h    l    c
0:00..31:00  100  101  99   100
32:00        100  126  100  125
33:00        125  161  125  160
34:00        160  161  159  160
"""


def test_an_entry_needs_34_bars() -> None:
    # The bar of 32:00 is the 33rd, that of 33:00 the 34th. 1000 / 125 = 8; 1000 / 160 = 6.25.
    check_trades(
        play(BUYS, REFERENCE, base=DRIFT),
        """
        time   action      reason           price    qty
        32:00  OPEN_LONG   Low entry        125      8
        34:00  CLOSE_LONG  End of Backtest  159.992  8    # 160 * 0.99995
        """,
    )
    check_trades(
        play(BUYS, READY, base=DRIFT),
        """
        time   action      reason           price    qty
        33:00  OPEN_LONG   Low entry        160      6.25
        34:00  CLOSE_LONG  End of Backtest  159.992  6.25  # 160 * 0.99995
        """,
    )


def test_a_longer_lookback_holds_in_both() -> None:
    # 35 bars: that of 34:00; 160 above (136.25 + 160) / 2.
    for semantics in (REFERENCE, READY):
        check_trades(
            play(BUYS, semantics, base=DRIFT, lookback=35),
            """
            time   action      reason           price    qty
            34:00  OPEN_LONG   Low entry        160      6.25
            34:00  CLOSE_LONG  End of Backtest  159.992  6.25  # 160 * 0.99995
            """,
        )


@pytest.mark.parametrize(
    "windows",
    [
        {"indicators.ema_slow_window": 35},
        {"indicators.ema_macro_window": 35, "filters.require_macro_alignment": True},
        {"indicators.bb_window": 34},  # 34 + 2 - 1
        {"indicators.bb_width_avg_window": 34},  # 2 + 34 - 1
        {"indicators.atr_window": 35},
        {"indicators.rsi_window": 34},  # 34 + 1
        {"indicators.vol_sma_window": 35},
        {"indicators.vol_trend_window": 35},
        {"thresholds.entry.ave_avg_atr_window": 35},
        {"thresholds.entry.slow_drift_slope_window": 35},
        {"indicators.rsi_window": 19, "filters.use_stoch_rsi_filter": True},  # 19 + 14 + 3 - 1
    ],
)
def test_each_window_is_waited_for(windows: dict[str, Any]) -> None:
    # 35 bars, that is until 34:00, where every buy still stands: the slow EMA of 35 is 100 + 25 / 18 = 101.4 at 32:00.
    played = play(BUYS, REFERENCE, base=DRIFT, config=windows)
    assert [t["time"] for t in played.trades] == ["32:00", "34:00"]
    check_trades(
        play(BUYS, READY, base=DRIFT, config=windows),
        """
        time   action      reason           price    qty
        34:00  OPEN_LONG   Low entry        160      6.25
        34:00  CLOSE_LONG  End of Backtest  159.992  6.25  # 160 * 0.99995
        """,
    )


def test_windows_that_are_not_used_or_too_long() -> None:
    # The macro EMA counts only if it is required; an ADX of 18 needs 36 bars, one more than there are.
    played = play(BUYS, READY, base=DRIFT, config={"indicators.ema_macro_window": 35})
    assert [t["time"] for t in played.trades] == ["33:00", "34:00"]
    check_trades(
        play(BUYS, READY, base=DRIFT, config={"indicators.adx_window": 18}), "time  action"
    )


def test_smart_exits_wait_and_stops_do_not() -> None:
    # True range of 1:00: max(0.3, |100 - 100|, |99.7 - 100|) = 0.3 < 0.7 * 1, under water: stagnating, at the second
    # bar.
    bars = """
    t     o     h      l     c
    0:00  100   100.5  99.5  100
    1:00  99.9  100    99.7  99.8
    2:00  99.8  100    96    97
    """
    check_trades(
        play(bars, REFERENCE, held=[LONG]),
        """
        time  action      reason                                  price
        1:00  CLOSE_LONG  Stagnation Exit (Low Vol: 0.30 < 0.70)  99.79501  # 99.8 * 0.99995
        """,
    )
    check_trades(
        play(bars, READY, held=[LONG]),
        """
        time  action      reason     price
        2:00  CLOSE_LONG  Stop Loss  96.99515  # 97 * 0.99995
        """,
    )


def test_adds_and_flips_wait() -> None:
    # The buy of 1:00 adds 500 / 125 = 4 or, turned around, flips. The close of 112.5 is neutral.
    bars = """
    t     o    h    l    c
    0:00  100  101  99   100
    1:00  100  126  100  125
    2:00  125  126  112  112.5
    """
    adding = {"trade.enable_pyramiding": True}
    check_trades(
        play(bars, REFERENCE, base=DRIFT, held=[LONG], config=adding),
        """
        time  action      reason           price       qty
        1:00  ADD_LONG    Pyramid #1       125         4
        2:00  CLOSE_LONG  End of Backtest  112.494375  14   # 112.5 * 0.99995
        """,
    )
    turned = {"trade.reverse_entry_signal": True, "trade.entry_min_confidence": 2}
    check_trades(
        play(bars, REFERENCE, base=DRIFT, held=[LONG], config=turned),
        """
        time  action      reason       price      qty
        1:00  CLOSE_LONG  Signal Flip  124.99375  10   # 125 * 0.99995
        """,
    )
    for config in (adding, turned):
        check_trades(
            play(bars, READY, base=DRIFT, held=[LONG], config=config),
            """
            time  action      reason           price       qty
            2:00  CLOSE_LONG  End of Backtest  112.494375  10   # 112.5 * 0.99995
            """,
        )
