"""bar_time: a bar is known at its open (reference) or at its close (strict)."""

from mei.model.semantics import REFERENCE
from tests.semantics.tables import DRIFT, LONG, check_equity, check_trades, holding, only, play

CLOSE = only(bar_time="close")

STOP = """
t     o    h    l   c
0:00  100  101  99  100
1:00  100  100  96  97
2:00  97   98   96  97
"""


def test_the_stamps_of_trades_and_equity() -> None:
    # The stop at 100 - 2 * 1 = 98 is reached by the close of the bar that opens at 1:00 and closes at 2:00.
    check_trades(
        play(STOP, REFERENCE, held=[LONG]),
        """
        time  action      reason     price     qty  pnl       fee          balance
        1:00  CLOSE_LONG  Stop Loss  96.99515  10   -30.0485  0.339483025  9969.612016975
          # 97 * 0.99995; (p - 100) * q; q * p * 0.00035; 10000 - 30.0485 - 0.339483025
        """,
    )
    check_equity(
        play(STOP, REFERENCE, held=[LONG]),
        """
        time  equity
        0:00  10000
        1:00  9969.612016975  # 10000 - 30.0485 - 0.339483025
        2:00  9969.612016975
        """,
    )
    check_trades(
        play(STOP, CLOSE, held=[LONG]),
        """
        time  action      reason     price     qty  pnl       fee
        2:00  CLOSE_LONG  Stop Loss  96.99515  10   -30.0485  0.339483025
          # 97 * 0.99995; (p - 100) * q; q * p * 0.00035
        """,
    )
    check_equity(
        play(STOP, CLOSE, held=[LONG]),
        """
        time  equity
        1:00  10000
        2:00  9969.612016975  # 10000 - 30.0485 - 0.339483025
        3:00  9969.612016975
        """,
    )


def test_the_window_bounds_known_times() -> None:
    # The stopping bar opens at 1:00: inside a window that ends at 1:00 if that is when it is known, outside if it is
    # known at 2:00. Then the position stays until the end of the data (2:00 or 3:00).
    check_trades(
        play(STOP, REFERENCE, held=[LONG], end="1:00"),
        """
        time  action      reason     price     qty
        1:00  CLOSE_LONG  Stop Loss  96.99515  10   # 97 * 0.99995
        """,
    )
    check_trades(
        play(STOP, CLOSE, held=[LONG], end="1:00"),
        """
        time  action      reason           price     qty
        3:00  CLOSE_LONG  End of Backtest  96.99515  10   # 97 * 0.99995
        """,
    )


LOOK_AHEAD = """
t     o      h      l     c
0:00  100    100.6  99.6  100.2
1:00  100.2  100.4  99.9  100.3
"""
QUARTERS = """
t     o      h      l     c
1:00  100.2  100.2  100   100.1
1:15  100.1  100.1  99.9  99.9
1:30  99.9   100.2  99.9  100.1
1:45  100.1  100.4  100   100.3
"""


def test_sub_bars_are_judged_with_the_main_bar_that_is_known() -> None:
    # True ranges: first bar 100.6 - 99.6 = 1.0; second max(100.4 - 99.9, 100.4 - 100.2, 100.2 - 99.9) = 0.5, which is
    # under 0.7 * 1: a position under water leaves as stagnating. At the main closes 100.2 and 100.3 it is above
    # water. Known at the open: the quarter of 1:15 (99.9 < 100) lies in (1:00, end] and is judged with the hour it is
    # part of.
    check_trades(
        play(LOOK_AHEAD, REFERENCE, held=[LONG], exits=QUARTERS, exit_interval="15m"),
        """
        time  action      reason                                  price      qty  pnl       fee
        1:15  CLOSE_LONG  Stagnation Exit (Low Vol: 0.50 < 0.70)  99.895005  10   -1.04995  0.3496325175
          # 99.9 * 0.99995; (p - 100) * q; q * p * 0.00035
        """,
    )
    # Known at the close: all four quarters (1:15 to 2:00) belong to the step of 1:00, whose bar has ATR 1.0.
    check_trades(
        play(LOOK_AHEAD, CLOSE, held=[LONG], exits=QUARTERS, exit_interval="15m"),
        """
        time  action      reason           price       qty  pnl      fee
        2:00  CLOSE_LONG  End of Backtest  100.294985  10   2.94985  0.3510324475
          # 100.3 * 0.99995; (p - 100) * q; q * p * 0.00035
        """,
    )


FLAT = """
t           o    h    l   c
0:00..2:00  100  101  99  100
"""
LATE_STOP = """
t     o    h    l   c
1:15  100  100  99  99
1:30  99   99   97  97
1:45  97   100  97  100
"""
EARLY_STOP = """
t     o    h    l   c
1:15  100  100  97  97
1:30  97   100  97  100
1:45  100  100  99  100
"""


def test_exits_of_several_symbols_happen_in_the_order_of_time() -> None:
    held = [holding("LONG", 10, 100, symbol="AAA"), holding("LONG", 10, 100, symbol="BBB")]
    main = {"AAA": FLAT, "BBB": FLAT}
    exits = {"AAA": LATE_STOP, "BBB": EARLY_STOP}
    # Symbol by symbol: AAA is walked to the end of the hour before BBB begins.
    check_trades(
        play(main, REFERENCE, held=held, exits=exits, exit_interval="15m"),
        """
        time  symbol  action      reason     price     qty
        1:30  AAA     CLOSE_LONG  Stop Loss  96.99515  10   # 97 * 0.99995
        1:15  BBB     CLOSE_LONG  Stop Loss  96.99515  10   # 97 * 0.99995
        """,
    )
    # By known time: 1:15 + 0:15 = 1:30 before 1:30 + 0:15 = 1:45.
    check_trades(
        play(main, CLOSE, held=held, exits=exits, exit_interval="15m"),
        """
        time  symbol  action      reason     price     qty
        1:30  BBB     CLOSE_LONG  Stop Loss  96.99515  10   # 97 * 0.99995
        1:45  AAA     CLOSE_LONG  Stop Loss  96.99515  10   # 97 * 0.99995
        """,
    )


RISING = """
t     o    h    l   c
0:00  80   81   79  80
1:00  80   101  79  100
2:00  100  101  99  100
"""


def test_an_entry_does_not_take_the_place_of_a_position_that_leaves_later() -> None:
    # One position at a time. AAA leaves in the bar of 2:30; BBB wants to enter at the bar of 2:15, on a slow EMA of
    # (80 + 100) / 2 = 90 with the hour of 1:00, (90 + 100) / 2 = 95 with that of 2:00: close 100 above both, a buy.
    main = {"AAA": FLAT, "BBB": RISING}
    exits = """
    t     o    h    l   c
    2:15  100  100  99  99
    2:30  99   99   97  97
    """
    entry = """
    t     o    h    l   c
    2:15  100  100  99  100
    """
    held = [holding("LONG", 10, 100, symbol="AAA")]

    def run(semantics, places):
        return play(
            main,
            semantics,
            base=DRIFT,
            config={"trade.max_open_positions": places},
            held=held,
            exits={"AAA": exits},
            exit_interval="15m",
            entries={"BBB": entry},
            entry_interval="15m",
        )

    # All exits of the hour first: the place is free at 2:15, 15 minutes before it becomes so. The stop costs
    # 30.0485 + 0.339483025, the equity of the entry is 9969.612016975, its margin a tenth.
    check_trades(
        run(REFERENCE, 1),
        """
        time  symbol  action      reason               price     qty             pnl                 fee
        2:30  AAA     CLOSE_LONG  Stop Loss            96.99515  10              -30.0485            0.339483025
          # 97 * 0.99995; (p - 100) * q; q * p * 0.00035
        2:15  BBB     OPEN_LONG   Low entry (sub-bar)  100       9.969612016975  0                   0.348936420594125
          # 996.9612016975 / 100; 996.9612016975 * 0.00035
        2:00  BBB     CLOSE_LONG  End of Backtest      99.995    9.969612016975  -0.049848060084875  0.3489189737730953
          # 100 * 0.99995; (p - 100) * q; q * p * 0.00035
        """,
    )
    # In the order of time: at 2:30 AAA still holds the place, at 2:45 it leaves.
    check_trades(
        run(CLOSE, 1),
        """
        time  symbol  action      reason     price     qty  pnl       fee
        2:45  AAA     CLOSE_LONG  Stop Loss  96.99515  10   -30.0485  0.339483025
          # 97 * 0.99995; (p - 100) * q; q * p * 0.00035
        """,
    )
    # With two places BBB enters at 2:30, before the stop, on an equity of 10000 + (100 - 100) * 10.
    check_trades(
        run(CLOSE, 2),
        """
        time  symbol  action      reason               price     qty  pnl       fee
        2:30  BBB     OPEN_LONG   Low entry (sub-bar)  100       10   0         0.35
          # 1000 * 0.00035
        2:45  AAA     CLOSE_LONG  Stop Loss            96.99515  10   -30.0485  0.339483025
          # 97 * 0.99995; (p - 100) * q; q * p * 0.00035
        3:00  BBB     CLOSE_LONG  End of Backtest      99.995    10   -0.05     0.3499825
          # 100 * 0.99995; (p - 100) * q; q * p * 0.00035
        """,
    )
