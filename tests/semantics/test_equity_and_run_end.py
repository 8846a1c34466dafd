"""equity: the curve is realised, or marked to market. run_end: a run ends with the data, or with the window."""

import pytest

from mei.model.semantics import REFERENCE
from tests.semantics.tables import (
    DRIFT,
    LONG,
    SHORT,
    check_equity,
    check_trades,
    holding,
    only,
    play,
)

MARKED = only(equity="marked")
WINDOW = only(run_end="window")

BARS = """
t     o    h    l    c
0:00  100  101  99   100
1:00  100  101  100  101
2:00  101  101  99   99
3:00  99   102  99   102
"""


def test_open_profit_is_part_of_the_curve() -> None:
    check_equity(
        play(BARS, REFERENCE, held=[LONG]),
        """
        time  equity
        0:00  10000
        1:00  10000
        2:00  10000
        3:00  10000
        """,
    )
    check_equity(
        play(BARS, MARKED, held=[LONG]),
        """
        time  equity
        0:00  10000
        1:00  10010   # 10000 + (101 - 100) * 10
        2:00  9990    # 10000 + (99 - 100) * 10
        3:00  10020   # 10000 + (102 - 100) * 10
        """,
    )
    # The last close of 102 would stop a short position.
    check_equity(
        play(BARS.replace("3:00  99   102  99   102", ""), MARKED, held=[SHORT]),
        """
        time  equity
        0:00  10000
        1:00  9990    # 10000 + (100 - 101) * 10
        2:00  10010   # 10000 + (100 - 99) * 10
        """,
    )


def test_a_closed_position_counts_once() -> None:
    # Stopped at 97: -30.0485 and a fee of 0.339483025, in both from then on.
    bars = """
    t     o    h    l   c
    0:00  100  101  99  99
    1:00  99   99   96  97
    2:00  97   98   95  96
    """
    check_equity(
        play(bars, REFERENCE, held=[LONG]),
        """
        time  equity
        0:00  10000
        1:00  9969.612016975  # 10000 - 30.0485 - 0.339483025
        2:00  9969.612016975
        """,
    )
    check_equity(
        play(bars, MARKED, held=[LONG]),
        """
        time  equity
        0:00  9990            # 10000 + (99 - 100) * 10
        1:00  9969.612016975  # 10000 - 30.0485 - 0.339483025
        2:00  9969.612016975
        """,
    )


def test_missing_bars_keep_the_last_close_and_no_bar_is_the_entry_price() -> None:
    main = {
        "AAA": """
        t     o    h    l    c
        0:00  100  101  100  101
        2:00  101  103  101  103
        """,
        "BBB": """
        t     o    h    l    c
        1:00  100  104  100  104
        2:00  104  105  104  105
        """,
    }
    held = [holding("LONG", 10, 100, symbol="AAA"), holding("LONG", 1, 90, symbol="BBB")]
    check_equity(
        play(main, REFERENCE, held=held),
        """
        time  equity
        0:00  10000
        1:00  10000
        2:00  10000
        """,
    )
    check_equity(
        play(main, MARKED, held=held),
        """
        time  equity
        0:00  10010   # 10000 + (101 - 100) * 10 + (90 - 90) * 1
        1:00  10024   # 10000 + (101 - 100) * 10 + (104 - 90) * 1
        2:00  10045   # 10000 + (103 - 100) * 10 + (105 - 90) * 1
        """,
    )


def test_adds_are_sized_with_the_same() -> None:
    # The buy of 1:00 (125 above the slow EMA of 112.5) adds half of a tenth of the equity to BBB; AAA has earned 40
    # by then, at a close that is its slow EMA (neutral).
    main = {
        "AAA": """
        t     o    h    l    c
        0:00  104  105  103  104
        1:00  104  105  103  104
        """,
        "BBB": """
        t     o    h    l    c
        0:00  100  101  99   100
        1:00  100  126  100  125
        """,
    }
    held = [holding("LONG", 10, 100, symbol="AAA"), holding("LONG", 10, 100, symbol="BBB")]
    adding = {"trade.enable_pyramiding": True}
    check_trades(
        play(main, REFERENCE, base=DRIFT, held=held, config=adding),
        """
        time  symbol  action      reason           price      qty  margin
        1:00  BBB     ADD_LONG    Pyramid #1       125        4    500     # 10000 * 0.1 * 0.5
        1:00  AAA     CLOSE_LONG  End of Backtest  103.9948   10   1000    # 104 * 0.99995
        1:00  BBB     CLOSE_LONG  End of Backtest  124.99375  14   1500    # 125 * 0.99995
        """,
    )
    # 10000 + (104 - 100) * 10 + (125 - 100) * 10 = 10290, of which 514.5 are added: 514.5 / 125 = 4.116.
    check_trades(
        play(main, MARKED, base=DRIFT, held=held, config=adding),
        """
        time  symbol  action      reason           price      qty     margin
        1:00  BBB     ADD_LONG    Pyramid #1       125        4.116   514.5   # 514.5 / 125; 10290 * 0.1 * 0.5
        1:00  AAA     CLOSE_LONG  End of Backtest  103.9948   10      1000    # 104 * 0.99995
        1:00  BBB     CLOSE_LONG  End of Backtest  124.99375  14.116  1514.5  # 125 * 0.99995
        """,
    )


def test_the_run_ends_with_the_window() -> None:
    # The data end at 3:00 with 102, the window at 2:00 with 99.
    check_trades(
        play(BARS, REFERENCE, held=[LONG], start="1:00", end="2:00"),
        """
        time  action      reason           price     pnl     fee
        3:00  CLOSE_LONG  End of Backtest  101.9949  19.949  0.35698215
          # 102 * 0.99995; (p - 100) * 10; p * 10 * 0.00035
        """,
    )
    check_equity(
        play(BARS, REFERENCE, held=[LONG], start="1:00", end="2:00"),
        """
        time  equity
        0:00  10000
        1:00  10000
        2:00  10000
        3:00  10000
        """,
    )
    check_trades(
        play(BARS, WINDOW, held=[LONG], start="1:00", end="2:00"),
        """
        time  action      reason           price     pnl       fee
        2:00  CLOSE_LONG  End of Backtest  98.99505  -10.0495  0.346482675
          # 99 * 0.99995; (p - 100) * 10; p * 10 * 0.00035
        """,
    )
    # One more point after the closes: 99 * 0.99995 = 98.99505.
    check_equity(
        play(BARS, WINDOW, held=[LONG], start="1:00", end="2:00"),
        """
        time  equity
        1:00  10000
        2:00  10000
        2:00  9989.604017325  # 10000 + (98.99505 - 100) * 10 - 98.99505 * 10 * 0.00035
        """,
    )


def test_a_symbol_without_a_bar_at_the_end_closes_at_its_last_close() -> None:
    # AAA's last bar in the window is that of 1:00 (101), in the data that of 3:00; BBB keeps the clock going.
    main = {"AAA": BARS.replace("2:00  101  101  99   99\n", ""), "BBB": BARS}
    held = [holding("LONG", 10, 100, symbol="AAA")]
    check_trades(
        play(main, REFERENCE, held=held, end="2:00"),
        """
        time  symbol  action      reason           price
        3:00  AAA     CLOSE_LONG  End of Backtest  101.9949  # 102 * 0.99995
        """,
    )
    check_trades(
        play(main, WINDOW, held=held, end="2:00"),
        """
        time  symbol  action      reason           price
        2:00  AAA     CLOSE_LONG  End of Backtest  100.99495  # 101 * 0.99995
        """,
    )


def test_a_position_whose_symbol_never_had_a_bar_stays() -> None:
    # BBB's first bar comes after the window.
    main = {
        "AAA": BARS,
        "BBB": """
        t     o   h   l   c
        3:00  50  51  49  50
        """,
    }
    held = [holding("LONG", 10, 100, symbol="AAA"), holding("LONG", 10, 60, symbol="BBB")]
    played = play(main, REFERENCE, held=held, end="2:00")
    check_trades(
        played,
        """
        time  symbol  action      reason           price     pnl
        3:00  AAA     CLOSE_LONG  End of Backtest  101.9949  19.949    # 102 * 0.99995; (p - 100) * 10
        3:00  BBB     CLOSE_LONG  End of Backtest  49.9975   -100.025  # 50 * 0.99995; (p - 60) * 10
        """,
    )
    played = play(main, WINDOW, held=held, end="2:00")
    check_trades(
        played,
        """
        time  symbol  action      reason           price     pnl       balance
        2:00  AAA     CLOSE_LONG  End of Backtest  98.99505  -10.0495  9989.604017325
          # 99 * 0.99995; (p - 100) * 10; 10000 - 10.0495 - 10 * p * 0.00035
        """,
    )
    check_equity(
        played,
        """
        time  equity
        0:00  10000
        1:00  10000
        2:00  10000
        2:00  9989.604017325  # 10000 - 10.0495 - 10 * 98.99505 * 0.00035
        """,
    )


def test_a_window_without_a_step() -> None:
    played = play(BARS, REFERENCE, held=[LONG], start="10:00")
    check_trades(
        played,
        """
        time  action      reason           price
        3:00  CLOSE_LONG  End of Backtest  101.9949  # 102 * 0.99995
        """,
    )
    assert [point["time"] for point in played.equity] == ["0:00", "1:00", "2:00", "3:00"]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("10:00", None),
        (None, "-1:00"),
        ("1:15", "1:45"),
    ],
)
def test_nothing_happens_in_a_window_without_a_step(start: str | None, end: str | None) -> None:
    played = play(BARS, WINDOW, held=[LONG], start=start, end=end)
    check_trades(played, "time  action")
    check_equity(played, "time  equity")
    assert played.result.final_balance_usd == 10_000.0


def test_what_comes_after_the_window_does_not_count() -> None:
    # The stop at 98 is passed at 2:00, after the window. The reference still closes at the 90 that nobody in it knows.
    bars = """
    t     o    h    l   c
    0:00  100  101  99  99
    1:00  99   100  98  98.5
    2:00  97   97   90  90
    """
    check_trades(
        play(bars, REFERENCE, held=[LONG], end="1:00"),
        """
        time  action      reason           price
        2:00  CLOSE_LONG  End of Backtest  89.9955  # 90 * 0.99995
        """,
    )
    check_trades(
        play(bars, WINDOW, held=[LONG], end="1:00"),
        """
        time  action      reason           price
        1:00  CLOSE_LONG  End of Backtest  98.495075  # 98.5 * 0.99995
        """,
    )


def test_sub_bars_inside_the_window_belong_to_steps_before_it() -> None:
    # The half hour of 1:30 is in the window and belongs to the step of 1:00, which is not. The curve starts at 2:00.
    bars = """
    t           o    h    l   c
    0:00..3:00  100  101  99  100
    """
    half = """
    t     o    h    l   c
    1:30  100  100  97  97
    """
    stopped = """
        time  action      reason     price     pnl       fee
        1:30  CLOSE_LONG  Stop Loss  96.99515  -30.0485  0.339483025  # 97 * 0.99995; (p - 100) * 10; 10 * p * 0.00035
        """
    played = play(bars, REFERENCE, held=[LONG], exits=half, start="1:30", end="2:00")
    check_trades(played, stopped)
    assert [point["time"] for point in played.equity] == ["0:00", "1:00", "2:00", "3:00"]
    played = play(bars, WINDOW, held=[LONG], exits=half, start="1:30", end="2:00")
    check_trades(played, stopped)
    check_equity(
        played,
        """
        time  equity
        2:00  9969.612016975  # 10000 - 30.0485 - 0.339483025
        2:00  9969.612016975
        """,
    )


def test_only_steps_of_the_window_pay_funding() -> None:
    # 10 * 100 * 0.001 = 1 an hour: at 1:00, 2:00 and 3:00, or at 2:00 alone.
    bars = """
    t           o    h    l   c
    0:00..3:00  100  101  99  100
    """
    rate = """
    t     rate
    0:00  0.001
    """
    window = {"start": "2:00", "end": "2:00"}
    check_trades(
        play(bars, REFERENCE, held=[LONG], funding=rate, **window),
        """
        time  action      reason                 price   pnl
        1:00  FUNDING     Funding rate=0.001000  100     -1     # -10 * 100 * 0.001
        2:00  FUNDING     Funding rate=0.001000  100     -1     # -10 * 100 * 0.001
        3:00  FUNDING     Funding rate=0.001000  100     -1     # -10 * 100 * 0.001
        3:00  CLOSE_LONG  End of Backtest        99.995  -0.05  # 100 * 0.99995; (p - 100) * 10
        """,
    )
    check_trades(
        play(bars, WINDOW, held=[LONG], funding=rate, **window),
        """
        time  action      reason                 price   pnl
        2:00  FUNDING     Funding rate=0.001000  100     -1     # -10 * 100 * 0.001
        2:00  CLOSE_LONG  End of Backtest        99.995  -0.05  # 100 * 0.99995; (p - 100) * 10
        """,
    )
