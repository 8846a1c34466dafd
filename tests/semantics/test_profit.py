"""take_profit: the partial one repeats, or happens once. trailing: which settings the trailing stop reads."""

from mei.model.semantics import REFERENCE
from mei.rules.mei_alpha.codes import LOW
from tests.semantics.tables import LONG, SHORT, check_trades, holding, only, play

LATCHES = only(take_profit="latches")
CONFIGURED = only(trailing="configured")
#: Half at 4 ATR: 104 for LONG, 96 for SHORT.
PARTIAL = {"trade.tp_atr_mult": 4.0, "trade.enable_partial_tp": True}


def test_a_second_close_beyond_the_target() -> None:
    bars = """
    t     o    h    l    c
    0:00  100  101  99   100
    1:00  100  104  100  104
    2:00  104  105  103  105
    3:00  105  105  101  101
    """
    check_trades(
        play(bars, REFERENCE, held=[LONG], config=PARTIAL),
        """
        time  action       reason                 price      qty  pnl        fee
        1:00  REDUCE_LONG  Take Profit (Partial)  103.9948   5    19.974     0.1819909
          # 104 * 0.99995; (p - 100) * q; q * p * 0.00035
        2:00  REDUCE_LONG  Take Profit (Partial)  104.99475  2.5  12.486875  0.09187040625
          # 105 * 0.99995; (p - 100) * q; q * p * 0.00035
        3:00  CLOSE_LONG   End of Backtest        100.99495  2.5  2.487375   0.08837058125
          # 101 * 0.99995; (p - 100) * q; q * p * 0.00035
        """,
    )
    # Once; 101 is above the stop that was moved to the entry.
    check_trades(
        play(bars, LATCHES, held=[LONG], config=PARTIAL),
        """
        time  action       reason                 price      qty  pnl      fee
        1:00  REDUCE_LONG  Take Profit (Partial)  103.9948   5    19.974   0.1819909
          # 104 * 0.99995; (p - 100) * q; q * p * 0.00035
        3:00  CLOSE_LONG   End of Backtest        100.99495  5    4.97475  0.1767411625
          # 101 * 0.99995; (p - 100) * q; q * p * 0.00035
        """,
    )


def test_the_entry_price_becomes_the_trailing_stop() -> None:
    # 99.5 is above the stop of 98 but not above the entry of 100.
    bars = """
    t     o    h    l     c
    0:00  100  101  99    100
    1:00  100  104  100   104
    2:00  104  104  99.5  99.5
    3:00  100  101  99.5  100.5
    """
    check_trades(
        play(bars, REFERENCE, held=[LONG], config=PARTIAL),
        """
        time  action       reason                 price       qty
        1:00  REDUCE_LONG  Take Profit (Partial)  103.9948    5    # 104 * 0.99995
        3:00  CLOSE_LONG   End of Backtest        100.494975  5    # 100.5 * 0.99995
        """,
    )
    check_trades(
        play(bars, LATCHES, held=[LONG], config=PARTIAL),
        """
        time  action       reason                 price      qty
        1:00  REDUCE_LONG  Take Profit (Partial)  103.9948   5    # 104 * 0.99995
        2:00  CLOSE_LONG   Trailing Stop          99.495025  5    # 99.5 * 0.99995
        """,
    )


def test_a_better_trailing_stop_stays() -> None:
    # 101 is stored already: the close of 100.8 reaches it, though not the entry price.
    bars = """
    t     o    h    l      c
    0:00  102  103  101.5  102
    1:00  102  104  102    104
    2:00  104  105  104    105
    3:00  105  105  100.8  100.8
    """
    held = [holding("LONG", 10, 100, trailing=101.0)]
    check_trades(
        play(bars, REFERENCE, held=held, config=PARTIAL),
        """
        time  action       reason                 price      qty
        1:00  REDUCE_LONG  Take Profit (Partial)  103.9948   5    # 104 * 0.99995
        2:00  REDUCE_LONG  Take Profit (Partial)  104.99475  2.5  # 105 * 0.99995
        3:00  CLOSE_LONG   Trailing Stop          100.79496  2.5  # 100.8 * 0.99995
        """,
    )
    check_trades(
        play(bars, LATCHES, held=held, config=PARTIAL),
        """
        time  action       reason                 price      qty
        1:00  REDUCE_LONG  Take Profit (Partial)  103.9948   5    # 104 * 0.99995
        3:00  CLOSE_LONG   Trailing Stop          100.79496  5    # 100.8 * 0.99995
        """,
    )


def test_a_short_position_latches_as_well() -> None:
    bars = """
    t     o    h      l   c
    0:00  100  101    99  100
    1:00  100  100    96  96
    2:00  96   97     95  95
    3:00  95   100.2  95  100.2
    """
    check_trades(
        play(bars, REFERENCE, held=[SHORT], config=PARTIAL),
        """
        time  action        reason                 price      qty  pnl
        1:00  REDUCE_SHORT  Take Profit (Partial)  96.0048    5    19.976     # 96 * 1.00005; (100 - p) * q
        2:00  REDUCE_SHORT  Take Profit (Partial)  95.00475   2.5  12.488125  # 95 * 1.00005; (100 - p) * q
        3:00  CLOSE_SHORT   End of Backtest        100.20501  2.5  -0.512525  # 100.2 * 1.00005; (100 - p) * q
        """,
    )
    check_trades(
        play(bars, LATCHES, held=[SHORT], config=PARTIAL),
        """
        time  action        reason                 price      qty  pnl
        1:00  REDUCE_SHORT  Take Profit (Partial)  96.0048    5    19.976    # 96 * 1.00005; (100 - p) * q
        3:00  CLOSE_SHORT   Trailing Stop          100.20501  5    -1.02505  # 100.2 * 1.00005; (100 - p) * q
        """,
    )


def test_the_flag_of_an_init_state_holds_in_both() -> None:
    bars = """
    t     o    h    l    c
    0:00  100  104  100  104
    1:00  104  106  104  106
    """
    held = [holding("LONG", 10, 100, tp1_taken=True)]
    for semantics in (REFERENCE, LATCHES):
        check_trades(
            play(bars, semantics, held=held, config=PARTIAL),
            """
            time  action      reason           price     qty
            1:00  CLOSE_LONG  End of Backtest  105.9947  10   # 106 * 0.99995
            """,
        )


# trailing. ADX is 0 in short tables, so up to 2 ATR of profit the distance is 0.7 times the setting ("weak trend",
# never under 0.5), beyond that 0.75 times while the ATR rises and else 0.5 times.


def test_low_confidence_has_its_own_start() -> None:
    # 101.5 is 1.5 ATR: over the general start of 1 (101.5 - 0.8 = 100.7 is stored), under that of low confidence, 2.
    bars = """
    t     o      h      l      c
    0:00  100    101    99     100
    1:00  100    101.5  100    101.5
    2:00  101.5  101.5  100.5  100.6
    3:00  100.6  101.2  100.2  101.2
    """
    low = {
        "trade.trailing_start_atr": 1.0,
        "trade.trailing_distance_atr": 0.8,
        "trade.trailing_start_atr_low_conf": 2.0,
        "trade.trailing_distance_atr_low_conf": 0.6,
    }
    held = [holding("LONG", 10, 100, confidence=LOW)]
    check_trades(
        play(bars, REFERENCE, held=held, config=low),
        """
        time  action      reason         price
        2:00  CLOSE_LONG  Trailing Stop  100.59497  # 100.6 * 0.99995
        """,
    )
    check_trades(
        play(bars, CONFIGURED, held=held, config=low),
        """
        time  action      reason           price
        3:00  CLOSE_LONG  End of Backtest  101.19494  # 101.2 * 0.99995
        """,
    )


def test_low_confidence_has_its_own_distance() -> None:
    # 101.5 - 3.0 = 98.5 (general) against 101.5 - 0.7 * 1.0 = 100.8 (low confidence, weak trend).
    bars = """
    t     o      h      l      c
    0:00  100    101    99     100
    1:00  100    101.5  100    101.5
    2:00  101.5  101.5  100.5  100.7
    3:00  100.7  101.2  100.2  101.2
    """
    low = {
        "trade.trailing_start_atr": 1.0,
        "trade.trailing_distance_atr": 3.0,
        "trade.trailing_distance_atr_low_conf": 1.0,
    }
    held = [holding("LONG", 10, 100, confidence=LOW)]
    check_trades(
        play(bars, REFERENCE, held=held, config=low),
        """
        time  action      reason           price
        3:00  CLOSE_LONG  End of Backtest  101.19494  # 101.2 * 0.99995
        """,
    )
    check_trades(
        play(bars, CONFIGURED, held=held, config=low),
        """
        time  action      reason         price
        2:00  CLOSE_LONG  Trailing Stop  100.694965  # 100.7 * 0.99995
        """,
    )
    # Medium confidence has the general distance: 101.5 - 0.7 * 3.0 = 99.4.
    check_trades(
        play(bars, CONFIGURED, held=[LONG], config=low),
        """
        time  action      reason           price
        3:00  CLOSE_LONG  End of Backtest  101.19494  # 101.2 * 0.99995
        """,
    )


WIDE = {"trade.trailing_start_atr": 1.0, "trade.trailing_distance_atr": 2.0}


def test_a_weak_trend_is_trailed_nearer() -> None:
    # 101.5 - 2.0 = 99.5 (base) against 101.5 - 0.7 * 2.0 = 100.1; the next close is 100.
    bars = """
    t     o      h      l    c
    0:00  100    101    99   100
    1:00  100    101.5  100  101.5
    2:00  101.5  101.5  100  100
    3:00  100    101    100  100.5
    """
    check_trades(
        play(bars, REFERENCE, held=[LONG], config=WIDE),
        """
        time  action      reason           price
        3:00  CLOSE_LONG  End of Backtest  100.494975  # 100.5 * 0.99995
        """,
    )
    check_trades(
        play(bars, CONFIGURED, held=[LONG], config=WIDE),
        """
        time  action      reason         price
        2:00  CLOSE_LONG  Trailing Stop  99.995  # 100 * 0.99995
        """,
    )


def test_much_profit_is_trailed_by_the_slope_of_the_atr() -> None:
    # 103 is 3 ATR. Base: 103 - 2 = 101. A rising ATR (ranges 2, then 4): 103 - 0.75 * 2 = 101.5. A falling one (5,
    # then 4): 103 - 0.5 * 2 = 102.
    rising = """
    t     o    h    l      c
    0:00  100  101  99     100
    1:00  100  104  100    103
    2:00  103  103  101.4  101.4
    3:00  102  103  101.5  102.5
    """
    check_trades(
        play(rising, REFERENCE, held=[LONG], config=WIDE),
        """
        time  action      reason           price
        3:00  CLOSE_LONG  End of Backtest  102.494875  # 102.5 * 0.99995
        """,
    )
    check_trades(
        play(rising, CONFIGURED, held=[LONG], config=WIDE),
        """
        time  action      reason         price
        2:00  CLOSE_LONG  Trailing Stop  101.39493  # 101.4 * 0.99995
        """,
    )
    falling = """
    t     o    h    l      c
    0:00  100  103  98     100
    1:00  100  104  100    103
    2:00  103  103  101.9  101.9
    3:00  102  103  101.5  102.5
    """
    check_trades(
        play(falling, REFERENCE, held=[LONG], config=WIDE),
        """
        time  action      reason           price
        3:00  CLOSE_LONG  End of Backtest  102.494875  # 102.5 * 0.99995
        """,
    )
    check_trades(
        play(falling, CONFIGURED, held=[LONG], config=WIDE),
        """
        time  action      reason         price
        2:00  CLOSE_LONG  Trailing Stop  101.894905  # 101.9 * 0.99995
        """,
    )


def test_wide_bands_are_trailed_at_more_distance() -> None:
    # ADX with a window of 1 is 100 at 1:00 (only up moves), so the trend is not weak. Bands of 2 bars: width 0 at
    # 0:00, w > 0 at 1:00, ratio w / (w / 2) = 2 > 1.2: 1.25 * 1.6 = 2.0, stored 101.5 - 2.0 = 99.5. Base: 101.5 - 1.6
    # = 99.9.
    bars = """
    t     o      h      l     c
    0:00  100    101    99    100
    1:00  100    101.5  100   101.5
    2:00  101.5  101.5  99.5  99.7
    3:00  99.7   101    99.6  100.5
    """
    wide = {
        "trade.trailing_start_atr": 1.0,
        "trade.trailing_distance_atr": 1.6,
        "trade.enable_vol_buffered_trailing": True,
        "indicators.adx_window": 1,
    }
    check_trades(
        play(bars, REFERENCE, held=[LONG], config=wide),
        """
        time  action      reason         price
        2:00  CLOSE_LONG  Trailing Stop  99.695015  # 99.7 * 0.99995
        """,
    )
    check_trades(
        play(bars, CONFIGURED, held=[LONG], config=wide),
        """
        time  action      reason           price
        3:00  CLOSE_LONG  End of Backtest  100.494975  # 100.5 * 0.99995
        """,
    )


def test_the_breakeven_stop_needs_no_trailing() -> None:
    # 100.8 is 0.8 ATR, over the breakeven start of 0.7: 100 + 0.05 is stored. In the reference only beyond the
    # trailing start.
    bars = """
    t     o      h    l    c
    0:00  100    101  99   100
    1:00  100    101  100  100.8
    2:00  100.8  101  100  100.02
    3:00  100    101  100  100.5
    """
    breakeven = {
        "trade.enable_breakeven_stop": True,
        "trade.breakeven_start_atr": 0.7,
        "trade.breakeven_buffer_atr": 0.05,
    }
    check_trades(
        play(bars, REFERENCE, held=[LONG], config=breakeven),
        """
        time  action      reason           price
        3:00  CLOSE_LONG  End of Backtest  100.494975  # 100.5 * 0.99995
        """,
    )
    check_trades(
        play(bars, CONFIGURED, held=[LONG], config=breakeven),
        """
        time  action      reason         price
        2:00  CLOSE_LONG  Trailing Stop  100.014999  # 100.02 * 0.99995
        """,
    )
    # A start of 0 is never reached.
    check_trades(
        play(bars, CONFIGURED, held=[LONG], config=breakeven | {"trade.breakeven_start_atr": 0.0}),
        """
        time  action      reason           price
        3:00  CLOSE_LONG  End of Backtest  100.494975  # 100.5 * 0.99995
        """,
    )


def test_a_short_position_is_trailed_from_above() -> None:
    # 98.5 + 2.0 = 100.5 (base) against 98.5 + 0.7 * 2.0 = 99.9.
    bars = """
    t     o     h    l     c
    0:00  100   101  99    100
    1:00  100   100  98.5  98.5
    2:00  98.5  100  98.5  100
    3:00  100   100  99    99.5
    """
    check_trades(
        play(bars, REFERENCE, held=[SHORT], config=WIDE),
        """
        time  action       reason           price
        3:00  CLOSE_SHORT  End of Backtest  99.504975  # 99.5 * 1.00005
        """,
    )
    check_trades(
        play(bars, CONFIGURED, held=[SHORT], config=WIDE),
        """
        time  action       reason         price
        2:00  CLOSE_SHORT  Trailing Stop  100.005  # 100 * 1.00005
        """,
    )
