"""exit_fill: exits are decided on closes (reference), or stop and target rest in the market (strict)."""

import pytest

from mei.model.semantics import REFERENCE
from tests.semantics.tables import DRIFT, LONG, SHORT, check_trades, holding, only, play

LEVEL = only(exit_fill="level")
TARGET = {"trade.tp_atr_mult": 4.0}  # 104 for LONG, 96 for SHORT


def test_a_wick_reaches_the_stop() -> None:
    # Stop 98; the close of 1:00 is far from it.
    bars = """
    t     o     h      l     c
    0:00  100   100.5  99    100
    1:00  100   100.5  97.5  99.5
    2:00  99.5  100.2  99.2  99.6
    """
    check_trades(
        play(bars, REFERENCE, held=[LONG]),
        """
        time  action      reason           price     qty  pnl      fee
        2:00  CLOSE_LONG  End of Backtest  99.59502  10   -4.0498  0.34858257
          # 99.6 * 0.99995; (p - 100) * q; q * p * 0.00035
        """,
    )
    check_trades(
        play(bars, LEVEL, held=[LONG]),
        """
        time  action      reason     price    qty  pnl      fee
        1:00  CLOSE_LONG  Stop Loss  97.9951  10   -20.049  0.34298285  # 98 * 0.99995; (p - 100) * q; q * p * 0.00035
        """,
    )


def test_a_gap_through_the_stop_fills_at_the_open() -> None:
    bars = """
    t     o     h      l   c
    0:00  100   100.5  99  100
    1:00  96.5  97     96  96.8
    """
    check_trades(
        play(bars, REFERENCE, held=[LONG]),
        """
        time  action      reason     price     pnl
        1:00  CLOSE_LONG  Stop Loss  96.79516  -32.0484  # 96.8 * 0.99995; (p - 100) * 10
        """,
    )
    check_trades(
        play(bars, LEVEL, held=[LONG]),
        """
        time  action      reason     price      pnl
        1:00  CLOSE_LONG  Stop Loss  96.495175  -35.04825  # 96.5 * 0.99995; (p - 100) * 10
        """,
    )


@pytest.mark.parametrize(("open_px", "filled"), [("100", 104.0), ("104.5", 104.5)])
def test_the_target(open_px: str, filled: float) -> None:
    # 100 + 4 * 1 = 104: at the target, or at an open above it. The closes (100, 103) never reach it.
    bars = f"""
    t     o          h      l     c
    0:00  100        100.5  99    100
    1:00  {open_px}  105    99.5  103
    """
    check_trades(
        play(bars, REFERENCE, held=[LONG], config=TARGET),
        """
        time  action      reason           price      pnl
        1:00  CLOSE_LONG  End of Backtest  102.99485  29.9485  # 103 * 0.99995; (p - 100) * 10
        """,
    )
    played = play(bars, LEVEL, held=[LONG], config=TARGET)
    check_trades(
        played,
        """
        time  action      reason       qty
        1:00  CLOSE_LONG  Take Profit  10
        """,
    )
    assert played.trades[0]["price"] == pytest.approx(filled * 0.99995, rel=1e-12)


def test_both_reached_is_the_stop() -> None:
    bars = """
    t     o    h      l   c
    0:00  100  100.5  99  100
    1:00  100  105    97  104.5
    """
    check_trades(
        play(bars, REFERENCE, held=[LONG], config=TARGET),
        """
        time  action      reason       price       pnl
        1:00  CLOSE_LONG  Take Profit  104.494775  44.94775  # 104.5 * 0.99995; (p - 100) * 10
        """,
    )
    check_trades(
        play(bars, LEVEL, held=[LONG], config=TARGET),
        """
        time  action      reason     price    pnl
        1:00  CLOSE_LONG  Stop Loss  97.9951  -20.049  # 98 * 0.99995; (p - 100) * 10
        """,
    )


def test_shorts_are_mirrored() -> None:
    stop = """
    t     o    h      l     c
    0:00  100  101    99.5  100
    1:00  100  102.5  99.8  100.5
    """
    target = """
    t     o    h    l     c
    0:00  100  101  99.5  100
    1:00  100  101  95    97
    """
    check_trades(
        play(stop, REFERENCE, held=[SHORT], config=TARGET),
        """
        time  action       reason           price       pnl
        1:00  CLOSE_SHORT  End of Backtest  100.505025  -5.05025  # 100.5 * 1.00005; (100 - p) * 10
        """,
    )
    check_trades(
        play(stop, LEVEL, held=[SHORT], config=TARGET),
        """
        time  action       reason     price     pnl
        1:00  CLOSE_SHORT  Stop Loss  102.0051  -20.051  # 102 * 1.00005; (100 - p) * 10
        """,
    )
    check_trades(
        play(target, REFERENCE, held=[SHORT], config=TARGET),
        """
        time  action       reason           price     pnl
        1:00  CLOSE_SHORT  End of Backtest  97.00485  29.9515  # 97 * 1.00005; (100 - p) * 10
        """,
    )
    check_trades(
        play(target, LEVEL, held=[SHORT], config=TARGET),
        """
        time  action       reason       price    pnl
        1:00  CLOSE_SHORT  Take Profit  96.0048  39.952  # 96 * 1.00005; (100 - p) * 10
        """,
    )


def test_a_trailing_stop_nearer_the_market_rests() -> None:
    # At the close of 1:00 profit is 1.5 ATR, 101.5 - 0.8 = 100.7 is stored. The close of 2:00 (101.2) is above it.
    bars = """
    t     o      h      l      c
    0:00  100    100.5  99     100
    1:00  100    101.6  99.8   101.5
    2:00  101.5  101.7  100.5  101.2
    """
    trailing = {"trade.trailing_start_atr": 1.0, "trade.trailing_distance_atr": 0.8}
    check_trades(
        play(bars, REFERENCE, held=[LONG], config=trailing),
        """
        time  action      reason           price      pnl
        2:00  CLOSE_LONG  End of Backtest  101.19494  11.9494  # 101.2 * 0.99995; (p - 100) * 10
        """,
    )
    check_trades(
        play(bars, LEVEL, held=[LONG], config=trailing),
        """
        time  action      reason         price       pnl
        2:00  CLOSE_LONG  Trailing Stop  100.694965  6.94965  # 100.7 * 0.99995; (p - 100) * 10
        """,
    )


def test_a_stored_trailing_stop_rests_from_the_first_bar() -> None:
    # 99 is nearer than 98; the very first bar of the window meets it.
    bars = """
    t     o    h      l     c
    0:00  100  100.5  98.5  100
    1:00  100  100.5  99.5  100
    """
    held = [holding("LONG", 10, 100, trailing=99.0)]
    check_trades(
        play(bars, REFERENCE, held=held),
        """
        time  action      reason           price
        1:00  CLOSE_LONG  End of Backtest  99.995  # 100 * 0.99995
        """,
    )
    check_trades(
        play(bars, LEVEL, held=held),
        """
        time  action      reason         price
        0:00  CLOSE_LONG  Trailing Stop  98.99505  # 99 * 0.99995
        """,
    )


def test_the_breakeven_stop_rests_too() -> None:
    # The close of 101 is 1.0 ATR above the entry, at least 0.7: the stop rests at 100 + 0.05 (D.3), as a stop loss.
    # In the reference it is computed from the close it is compared with, 100.5 (0.5 ATR): 98, not reached.
    bars = """
    t     o    h      l     c
    0:00  100  100.5  99    100
    1:00  100  101.5  99.8  101
    2:00  101  101    100   100.5
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
        2:00  CLOSE_LONG  End of Backtest  100.494975  # 100.5 * 0.99995
        """,
    )
    check_trades(
        play(bars, LEVEL, held=[LONG], config=breakeven),
        """
        time  action      reason     price
        2:00  CLOSE_LONG  Stop Loss  100.0449975  # 100.05 * 0.99995
        """,
    )


def test_partial_targets() -> None:
    # Half at 104, in each bar that reaches it (take_profit = repeats): 5, then 2.5.
    bars = """
    t     o    h      l      c
    0:00  100  100.5  99     100
    1:00  100  104.5  99.8   103
    2:00  103  104.2  102.5  103.5
    3:00  103  103.9  102.5  102.6
    """
    partial = TARGET | {"trade.enable_partial_tp": True}
    check_trades(
        play(bars, REFERENCE, held=[LONG], config=partial),
        """
        time  action      reason           price      qty
        3:00  CLOSE_LONG  End of Backtest  102.59487  10   # 102.6 * 0.99995
        """,
    )
    check_trades(
        play(bars, LEVEL, held=[LONG], config=partial),
        """
        time  action       reason                 price      qty  pnl
        1:00  REDUCE_LONG  Take Profit (Partial)  103.9948   5    19.974    # 104 * 0.99995; (p - 100) * q
        2:00  REDUCE_LONG  Take Profit (Partial)  103.9948   2.5  9.987     # 104 * 0.99995; (p - 100) * q
        3:00  CLOSE_LONG   End of Backtest        102.59487  2.5  6.487175  # 102.6 * 0.99995; (p - 100) * q
        """,
    )


def test_the_target_rests_only_if_enough_would_remain() -> None:
    # 0.15 * 0.5 * 104 = 7.8 USD would remain at the target, under 10: no take-profit. At 0.2: 10.4.
    bars = """
    t     o    h      l     c
    0:00  100  100.5  99    100
    1:00  100  104.5  99.8  103
    """
    partial = TARGET | {"trade.enable_partial_tp": True}
    small = [holding("LONG", 0.15, 100)]
    check_trades(
        play(bars, LEVEL, held=small, config=partial),
        """
        time  action      reason           price      qty
        1:00  CLOSE_LONG  End of Backtest  102.99485  0.15  # 103 * 0.99995
        """,
    )
    larger = [holding("LONG", 0.2, 100)]
    check_trades(
        play(bars, LEVEL, held=larger, config=partial),
        """
        time  action       reason                 price      qty
        1:00  REDUCE_LONG  Take Profit (Partial)  103.9948   0.1  # 104 * 0.99995
        1:00  CLOSE_LONG   End of Backtest        102.99485  0.1  # 103 * 0.99995
        """,
    )


def test_a_range_met_in_sub_bars_is_not_met_again() -> None:
    # The halves of the hour of 1:00: the first keeps above 98, the second goes to 97.5, and so does the hour. The
    # first half is met before the hour is decided on, so the hour is not met; the second half is.
    bars = """
    t     o    h      l     c
    0:00  100  100.5  99    100
    1:00  100  100.5  97.5  99.5
    """
    halves = """
    t     o     h      l     c
    1:00  100   100.5  98.5  99.5
    1:30  99.5  100    97.5  99.5
    """
    check_trades(
        play(bars, REFERENCE, held=[LONG], exits=halves),
        """
        time  action      reason           price
        1:00  CLOSE_LONG  End of Backtest  99.495025  # 99.5 * 0.99995
        """,
    )
    check_trades(
        play(bars, LEVEL, held=[LONG], exits=halves),
        """
        time  action      reason     price
        1:30  CLOSE_LONG  Stop Loss  97.9951  # 98 * 0.99995
        """,
    )


def test_the_bar_of_an_entry_at_its_close_is_not_met() -> None:
    # Bought at the close of 125, range 126 - 100 = 26, stop at 125 - 0.5 * 26 = 112. The low of 100 came before; the
    # low of 111 in the next bar comes after.
    bars = """
    t     o    h    l    c
    0:00  100  101  99   100
    1:00  100  126  100  125
    2:00  125  130  111  129
    """
    near = {"trade.sl_atr_mult": 0.5}
    check_trades(
        play(bars, REFERENCE, base=DRIFT, config=near),
        """
        time  action      reason           price      qty
        1:00  OPEN_LONG   Low entry        125        8
        2:00  CLOSE_LONG  End of Backtest  128.99355  8    # 129 * 0.99995
        """,
    )
    # The close of 129 buys again after the stop.
    played = play(bars, LEVEL, base=DRIFT, config=near)
    check_trades(
        played,
        """
        time  action      reason           price      qty
        1:00  OPEN_LONG   Low entry        125        8
        2:00  CLOSE_LONG  Stop Loss        111.9944   8
          # 112 * 0.99995
        2:00  OPEN_LONG   Low entry        129        7.6707686943255814
          # (10000 - 0.35 + 8 * (111.9944 - 125) - 8 * 111.9944 * 0.00035) * 0.1 / 129
        2:00  CLOSE_LONG  End of Backtest  128.99355  7.6707686943255814
          # 129 * 0.99995; (10000 - 0.35 + 8 * (111.9944 - 125) - 8 * 111.9944 * 0.00035) * 0.1 / 129
        """,
    )


def test_bars_outside_the_window_are_not_met() -> None:
    # The wicks of 0:00 and 2:00 lie outside [1:00, 1:00].
    bars = """
    t     o    h      l   c
    0:00  100  100.5  97  100
    1:00  100  100.5  99  100
    2:00  100  100.5  97  100
    """
    for semantics in (REFERENCE, LEVEL):
        check_trades(
            play(bars, semantics, held=[LONG], start="1:00", end="1:00"),
            """
            time  action      reason           price
            2:00  CLOSE_LONG  End of Backtest  99.995  # 100 * 0.99995
            """,
        )


def test_a_cooldown_does_not_hold_resting_orders() -> None:
    # Halves in the first two bars; the exit cooldown of two hours holds the close of 2:00 (97 <= 98), not the resting
    # stop.
    bars = """
    t     o    h      l     c
    0:00  100  100.5  99    100
    1:00  100  104.5  99.8  104.2
    2:00  104  104    96.5  97
    """
    slow = TARGET | {"trade.enable_partial_tp": True, "trade.exit_cooldown_s": 7200}
    check_trades(
        play(bars, REFERENCE, held=[LONG], config=slow),
        """
        time  action       reason                 price      qty
        1:00  REDUCE_LONG  Take Profit (Partial)  104.19479  5    # 104.2 * 0.99995
        2:00  CLOSE_LONG   End of Backtest        96.99515   5    # 97 * 0.99995
        """,
    )
    check_trades(
        play(bars, LEVEL, held=[LONG], config=slow),
        """
        time  action       reason                 price     qty
        1:00  REDUCE_LONG  Take Profit (Partial)  103.9948  5    # 104 * 0.99995
        2:00  CLOSE_LONG   Stop Loss              97.9951   5    # 98 * 0.99995
        """,
    )


def test_the_resting_stop_has_the_indicators_of_the_last_close() -> None:
    # ADX with a window of 1: 100 at 1:00, where the bar only moves up. At its close of 101 (1 ATR) the multiplier of
    # 2 is widened by 1.15 and 1.1: the stop rests at 100 - 2.53 = 97.47, not at 98. In the reference the close of 99
    # decides.
    bars = """
    t     o    h      l     c
    0:00  100  101    99    100
    1:00  100  102    100   101
    2:00  101  101.5  97.3  99
    """
    strong = {"indicators.adx_window": 1}
    check_trades(
        play(bars, REFERENCE, held=[LONG], config=strong),
        """
        time  action      reason           price
        2:00  CLOSE_LONG  End of Backtest  98.99505  # 99 * 0.99995
        """,
    )
    check_trades(
        play(bars, LEVEL, held=[LONG], config=strong),
        """
        time  action      reason     price
        2:00  CLOSE_LONG  Stop Loss  97.4651265  # (100 - 2 * 1.15 * 1.1) * 0.99995
        """,
    )
