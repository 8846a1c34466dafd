"""entry_fill: what a close decides fills at that close (reference) or at the next open (strict)."""

from mei.model.semantics import REFERENCE
from tests.semantics.tables import DRIFT, LONG, check_trades, holding, only, play

NEXT = only(entry_fill="next_open")
#: Entries slip by 10 bps: a factor of 1.001 for what is bought, 0.999 for what is sold.
SLIP = {"trade.slippage_bps": 10.0}

ENTRY = """
t     o    h    l    c
0:00  100  101  99   100
1:00  100  126  100  125
2:00  128  130  127  129
"""


def test_an_entry() -> None:
    # Slow EMA 100, then (100 + 125) / 2 = 112.5 < 125: buy at the bar of 1:00, for a tenth of 10000. Then
    # (112.5 + 129) / 2 = 120.75 < 129: nothing to leave for (stop: 2 * the range of 26 below the entry).
    check_trades(
        play(ENTRY, REFERENCE, base=DRIFT, config=SLIP),
        """
        time  action      reason           price      qty  pnl      fee
        1:00  OPEN_LONG   Low entry        125.125    8    0        0.35
          # 125 * 1.001; 1000 / 125; 1000 * 0.00035
        2:00  CLOSE_LONG  End of Backtest  128.99355  8    30.9484  0.36118194
          # 129 * 0.99995; (p - 125.125) * q; q * p * 0.00035
        """,
    )
    check_trades(
        play(ENTRY, NEXT, base=DRIFT, config=SLIP),
        """
        time  action      reason           price      qty     pnl          fee
        2:00  OPEN_LONG   Low entry        128.128    7.8125  0            0.35
          # 128 * 1.001; 1000 / 128; 1000 * 0.00035
        2:00  CLOSE_LONG  End of Backtest  128.99355  7.8125  6.762109375  0.35271673828125
          # 129 * 0.99995; (p - 128.128) * q; q * p * 0.00035
        """,
    )


STOP = """
t     o     h    l   c
0:00  100   101  99  100
1:00  100   100  96  97
2:00  96.5  99   96  98.5
"""


def test_an_exit() -> None:
    check_trades(
        play(STOP, REFERENCE, held=[LONG]),
        """
        time  action      reason     price     qty  pnl       fee
        1:00  CLOSE_LONG  Stop Loss  96.99515  10   -30.0485  0.339483025
          # 97 * 0.99995; (p - 100) * q; q * p * 0.00035
        """,
    )
    check_trades(
        play(STOP, NEXT, held=[LONG]),
        """
        time  action      reason     price      qty  pnl        fee
        2:00  CLOSE_LONG  Stop Loss  96.495175  10   -35.04825  0.3377331125
          # 96.5 * 0.99995; (p - 100) * q; q * p * 0.00035
        """,
    )


def test_orders_of_the_last_bar_are_dropped() -> None:
    last = STOP.replace("2:00  96.5  99   96  98.5", "")
    check_trades(
        play(last, REFERENCE, held=[LONG]),
        """
        time  action      reason     price
        1:00  CLOSE_LONG  Stop Loss  96.99515  # 97 * 0.99995
        """,
    )
    # No bar is left that could fill the order, so the run's end closes the position.
    check_trades(
        play(last, NEXT, held=[LONG]),
        """
        time  action      reason           price
        1:00  CLOSE_LONG  End of Backtest  96.99515  # 97 * 0.99995
        """,
    )
    entry = ENTRY.replace("2:00  128  130  127  129", "")
    check_trades(
        play(entry, REFERENCE, base=DRIFT),
        """
        time  action      reason           price      qty
        1:00  OPEN_LONG   Low entry        125        8
        1:00  CLOSE_LONG  End of Backtest  124.99375  8    # 125 * 0.99995
        """,
    )
    check_trades(play(entry, NEXT, base=DRIFT), "time  action")


def test_the_next_open_of_whichever_series() -> None:
    # The bar of 1:00 in the finer series came up before the hour of 1:00 was decided on: not "next", though it opens
    # at 1:00. The next bar of the symbol is that of 1:30.
    halves = """
    t     o     h    l   c
    1:00  100   100  99  99
    1:30  96.5  98   96  98
    """
    check_trades(
        play(STOP, REFERENCE, held=[LONG], exits=halves),
        """
        time  action      reason     price
        1:00  CLOSE_LONG  Stop Loss  96.99515  # 97 * 0.99995
        """,
    )
    check_trades(
        play(STOP.replace("96.5", "98"), NEXT, held=[LONG], exits=halves),
        """
        time  action      reason     price
        1:30  CLOSE_LONG  Stop Loss  96.495175  # 96.5 * 0.99995
        """,
    )


def test_a_partial_exit_takes_its_share_of_what_is_there_at_the_fill() -> None:
    # Half at 100 + 4 * 1 = 104, again and again (take_profit = repeats).
    bars = """
    t     o      h      l      c
    0:00  100    101    99     100
    1:00  100    104.5  100    104
    2:00  103    105    103    104.5
    3:00  102.5  104    102.5  103
    """
    partial = {"trade.tp_atr_mult": 4.0, "trade.enable_partial_tp": True}
    check_trades(
        play(bars, REFERENCE, held=[LONG], config=partial),
        """
        time  action       reason                 price       qty  pnl         fee             margin
        1:00  REDUCE_LONG  Take Profit (Partial)  103.9948    5    19.974      0.1819909       500
          # 104 * 0.99995; (p - 100) * q; q * p * 0.00035; 1000 * 0.5
        2:00  REDUCE_LONG  Take Profit (Partial)  104.494775  2.5  11.2369375  0.091432928125  250
          # 104.5 * 0.99995; (p - 100) * q; q * p * 0.00035; 500 * 0.5
        3:00  CLOSE_LONG   End of Backtest        102.99485   2.5  7.487125    0.09012049375   250
          # 103 * 0.99995; (p - 100) * q; q * p * 0.00035; 250
        """,
    )
    # Decided at 104 and 104.5, filled at the opens 103 and 102.5.
    check_trades(
        play(bars, NEXT, held=[LONG], config=partial),
        """
        time  action       reason                 price       qty  pnl        fee
        2:00  REDUCE_LONG  Take Profit (Partial)  102.99485   5    14.97425   0.1802409875
          # 103 * 0.99995; (p - 100) * q; q * p * 0.00035
        3:00  REDUCE_LONG  Take Profit (Partial)  102.494875  2.5  6.2371875  0.089683015625
          # 102.5 * 0.99995; (p - 100) * q; q * p * 0.00035
        3:00  CLOSE_LONG   End of Backtest        102.99485   2.5  7.487125   0.09012049375
          # 103 * 0.99995; (p - 100) * q; q * p * 0.00035
        """,
    )


def test_a_flip() -> None:
    # Signals are turned around: the buy of 1:00 (125 above the slow EMA of 112.5) sells and flips the long position.
    # The last bar closes at its slow EMA, (112.5 + 112.5) / 2: neutral.
    bars = """
    t     o    h    l    c
    0:00  100  101  99   100
    1:00  100  126  100  125
    2:00  128  129  112  112.5
    """
    turned = SLIP | {"trade.reverse_entry_signal": True}
    # Equity after the flip: 10000 + 249.9375 - 0.437478125 = 10249.500021875, a tenth of it sold short at 125.
    check_trades(
        play(bars, REFERENCE, base=DRIFT, held=[LONG], config=turned),
        """
        time  action       reason           price       qty           pnl                   fee
        1:00  CLOSE_LONG   Signal Flip      124.99375   10            249.9375              0.437478125
          # 125 * 0.99995; (p - 100) * q; q * p * 0.00035
        1:00  OPEN_SHORT   Low entry        124.875     8.1996000175  0                     0.358732500765625
          # 125 * 0.999; 1024.9500021875 / 125; 1024.9500021875 * 0.00035
        2:00  CLOSE_SHORT  End of Backtest  112.505625  8.1996000175  101.4239274664640625  0.3228753936515970
          # 112.5 * 1.00005; (124.875 - p) * q; q * p * 0.00035
        """,
    )
    # Equity of the decision: 10000 + (125 - 100) * 10 = 10250, the long one is still there. 1025 buys 8.0078125 at
    # 128.
    check_trades(
        play(bars, NEXT, base=DRIFT, held=[LONG], config=turned),
        """
        time  action       reason           price       qty        pnl                fee
        2:00  CLOSE_LONG   Signal Flip      127.9936    10         279.936            0.4479776
          # 128 * 0.99995; (p - 100) * q; q * p * 0.00035
        2:00  OPEN_SHORT   Low entry        127.872     8.0078125  0                  0.35875
          # 128 * 0.999; 1025 / 128; 1025 * 0.00035
        2:00  CLOSE_SHORT  End of Backtest  112.505625  8.0078125  123.0510498046875  0.315323382568359375
          # 112.5 * 1.00005; (127.872 - p) * q; q * p * 0.00035
        """,
    )


def test_an_order_to_open_holds_its_place() -> None:
    # One position at a time. AAA decides at 1:00 and has no bar at 2:00; BBB's buy of 2:00 finds the place taken.
    main = {
        "AAA": """
        t     o    h    l    c
        0:00  100  101  99   100
        1:00  100  126  100  125
        3:00  128  130  127  129
        """,
        "BBB": """
        t     o    h    l    c
        0:00  100  101  99   100
        1:00  100  101  99   100
        2:00  100  126  100  125
        3:00  125  127  124  126
        """,
    }
    one = {"trade.max_open_positions": 1}
    played = play(main, REFERENCE, base=DRIFT, config=one)
    check_trades(
        played,
        """
        time  symbol  action      reason           price      qty
        1:00  AAA     OPEN_LONG   Low entry        125        8
        3:00  AAA     CLOSE_LONG  End of Backtest  128.99355  8    # 129 * 0.99995
        """,
    )
    assert played.result.gates["blocked_by_max_positions"] == 2  # BBB at 2:00 and 3:00
    played = play(main, NEXT, base=DRIFT, config=one)
    check_trades(
        played,
        """
        time  symbol  action      reason           price      qty
        3:00  AAA     OPEN_LONG   Low entry        128        7.8125  # 1000 / 128
        3:00  AAA     CLOSE_LONG  End of Backtest  128.99355  7.8125  # 129 * 0.99995
        """,
    )
    assert played.result.gates["blocked_by_max_positions"] == 2


def test_an_add() -> None:
    # 10000 * 0.1 * 0.5 = 500 are added to the long position by the buy of 1:00; the last bar is neutral. The average
    # entry is (10 * 100 + 4 * 125.125) / 14 = 1500.5 / 14, so the close of all earns 14 * p - 1500.5.
    bars = """
    t     o    h    l    c
    0:00  100  101  99   100
    1:00  100  126  100  125
    2:00  128  129  112  112.5
    """
    adding = SLIP | {"trade.enable_pyramiding": True}
    check_trades(
        play(bars, REFERENCE, base=DRIFT, held=[LONG], config=adding),
        """
        time  action      reason           price       qty  pnl       fee           margin
        1:00  ADD_LONG    Pyramid #1       125.125     4    0         0.175         500
          # 125 * 1.001; 500 / 125; 500 * 0.00035
        2:00  CLOSE_LONG  End of Backtest  112.494375  14   74.42125  0.5512224375  1500
          # 112.5 * 0.99995; q * p - 1500.5; q * p * 0.00035
        """,
    )
    # Next open: 500 / 128 = 3.90625 at 128.128, together worth 1000 + 3.90625 * 128.128 = 1500.5 again.
    check_trades(
        play(bars, NEXT, base=DRIFT, held=[LONG], config=adding),
        """
        time  action      reason           price       qty       pnl             fee                 margin
        2:00  ADD_LONG    Pyramid #1       128.128     3.90625   0               0.175               500
          # 128 * 1.001; 500 / 128; 500 * 0.00035
        2:00  CLOSE_LONG  End of Backtest  112.494375  13.90625  63.87490234375  0.5475312158203125  1500
          # 112.5 * 0.99995; q * p - 1500.5; q * p * 0.00035
        """,
    )


def test_another_symbol_takes_the_place_of_a_pending_exit() -> None:
    # One position at a time. AAA's stop is decided at 1:00 and fills at the open of 2:00; a position with a pending
    # full exit counts neither as a position nor with its margin, so BBB's buy of 1:00 goes ahead in both. No shorts
    # here.
    main = {
        "AAA": """
        t     o    h    l   c
        0:00  100  101  99  100
        1:00  100  100  96  97
        2:00  96   97   95  96
        """,
        "BBB": ENTRY,
    }
    held = [holding("LONG", 10, 100, symbol="AAA")]
    one = {
        "trade.max_open_positions": 1,
        "market_regime.enable_regime_filter": True,
        "market_regime.breadth_block_short_above": -1.0,
    }
    # Equity after the stop: 10000 - 30.0485 - 0.339483025.
    check_trades(
        play(main, REFERENCE, base=DRIFT, held=held, config=one),
        """
        time  symbol  action      reason           price      qty
        1:00  AAA     CLOSE_LONG  Stop Loss        96.99515   10             # 97 * 0.99995
        1:00  BBB     OPEN_LONG   Low entry        125        7.97568961358  # 996.9612016975 / 125
        2:00  BBB     CLOSE_LONG  End of Backtest  128.99355  7.97568961358  # 129 * 0.99995
        """,
    )
    # Equity of the decision: 10000 + (97 - 100) * 10 = 9970.
    check_trades(
        play(main, NEXT, base=DRIFT, held=held, config=one),
        """
        time  symbol  action      reason           price      qty
        2:00  AAA     CLOSE_LONG  Stop Loss        95.9952    10         # 96 * 0.99995
        2:00  BBB     OPEN_LONG   Low entry        128        7.7890625  # 997 / 128
        2:00  BBB     CLOSE_LONG  End of Backtest  128.99355  7.7890625  # 129 * 0.99995
        """,
    )


def test_orders_fill_only_inside_the_window() -> None:
    # The window ends with the bar that decides; the run goes on to the data's last close of 98.5 (run_end = data).
    check_trades(
        play(STOP, REFERENCE, held=[LONG], end="1:00"),
        """
        time  action      reason     price
        1:00  CLOSE_LONG  Stop Loss  96.99515  # 97 * 0.99995
        """,
    )
    check_trades(
        play(STOP, NEXT, held=[LONG], end="1:00"),
        """
        time  action      reason           price
        2:00  CLOSE_LONG  End of Backtest  98.495075  # 98.5 * 0.99995
        """,
    )


def test_the_bar_of_an_entry_at_its_open_is_met() -> None:
    # exit_fill = level in both. Bought at the close of 125 the stop is at 125 - 0.5 * 26 = 112, at the open of 128 it
    # is at 115: the low of 114 reaches the latter, in the same bar. Its close of 129 buys again; no bar is left to
    # fill that.
    bars = """
    t     o    h    l    c
    0:00  100  101  99   100
    1:00  100  126  100  125
    2:00  128  130  114  129
    """
    near = {"trade.sl_atr_mult": 0.5}
    check_trades(
        play(bars, only(exit_fill="level"), base=DRIFT, config=near),
        """
        time  action      reason           price      qty
        1:00  OPEN_LONG   Low entry        125        8
        2:00  CLOSE_LONG  End of Backtest  128.99355  8    # 129 * 0.99995
        """,
    )
    check_trades(
        play(bars, only(exit_fill="level", entry_fill="next_open"), base=DRIFT, config=near),
        """
        time  action      reason     price      qty
        2:00  OPEN_LONG   Low entry  128        7.8125
        2:00  CLOSE_LONG  Stop Loss  114.99425  7.8125  # 115 * 0.99995
        """,
    )
