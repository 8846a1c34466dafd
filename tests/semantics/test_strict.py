"""All switches at once: the same tables in reference and in strict semantics."""

from mei.model.semantics import REFERENCE, STRICT
from tests.semantics.tables import DRIFT, LONG, check_equity, check_trades, play

SLIP = {"trade.slippage_bps": 10.0}
RATE = """
t     rate
0:00  0.001
"""
PER_MILLE = "Funding rate=0.001000"


def test_a_stop() -> None:
    bars = """
    t     o     h      l     c
    0:00  100   100.5  99    100
    1:00  100   100.5  97.5  99.5
    2:00  99.5  100    98.5  99
    """
    check_trades(
        play(bars, REFERENCE, held=[LONG], config=SLIP),
        """
        time  action      reason           price     qty  pnl       fee
        2:00  CLOSE_LONG  End of Backtest  98.99505  10   -10.0495  0.346482675
          # 99 * 0.99995; (p - 100) * q; q * p * 0.00035
        """,
    )
    # At the level of 98, with slippage, in the bar that is known at 2:00.
    played = play(bars, STRICT, held=[LONG], config=SLIP)
    check_trades(
        played,
        """
        time  action      reason     price   qty  pnl     fee
        2:00  CLOSE_LONG  Stop Loss  97.902  10   -20.98  0.342657  # 98 * 0.999; (p - 100) * q; q * p * 0.00035
        """,
    )
    check_equity(
        played,
        """
        time  equity
        1:00  10000
        2:00  9978.677343  # 10000 - 20.98 - 0.342657
        3:00  9978.677343
        3:00  9978.677343
        """,
    )


def test_a_target_then_the_entry_price() -> None:
    # Half at 104; the trailing stop is at the entry price from then on.
    bars = """
    t     o    h      l     c
    0:00  100  100.5  99    100
    1:00  100  104.5  99.5  103
    2:00  103  104.6  99.8  101
    3:00  101  102    100   101
    """
    partial = SLIP | {"trade.tp_atr_mult": 4.0, "trade.enable_partial_tp": True}
    check_trades(
        play(bars, REFERENCE, held=[LONG], config=partial),
        """
        time  action      reason           price      qty  pnl     fee
        3:00  CLOSE_LONG  End of Backtest  100.99495  10   9.9495  0.353482325
          # 101 * 0.99995; (p - 100) * q; q * p * 0.00035
        """,
    )
    check_trades(
        play(bars, STRICT, held=[LONG], config=partial),
        """
        time  action       reason                 price    qty  pnl    fee
        2:00  REDUCE_LONG  Take Profit (Partial)  103.896  5    19.48  0.181818
          # 104 * 0.999; (p - 100) * q; q * p * 0.00035
        3:00  CLOSE_LONG   Trailing Stop          99.9     5    -0.5   0.174825
          # 100 * 0.999; (p - 100) * q; q * p * 0.00035
        """,
    )


LIFE = """
t            o    h    l    c
0:00..31:00  100  101  99   100
32:00        100  126  100  125
33:00        125  161  125  160
34:00        160  170  158  165
35:00        166  166  140  145
36:00        146  148  129  147.8125
"""


def test_the_life_of_a_position() -> None:
    # Slow EMA: 100, 112.5, 136.25, 150.625, 147.8125, 147.8125. Closes above it buy (32:00 to 34:00), 145 is below,
    # the last bar is neutral.
    #
    # Reference: bought at the close of the 33rd bar, and 32:00 is paid at once. The close of 35:00 leaves by the
    # cross and sells short, for a tenth of the balance: 10000 - 0.35 - 1 - 1.28 - 1.32 + 158.942 - 0.4059797 =
    # 10154.5860203. (The last bar has a range of 19, not under 0.7 * 26: not stagnating.)
    check_trades(
        play(LIFE, REFERENCE, base=DRIFT, config=SLIP, funding=RATE),
        f"""
        time   action       reason                       price          qty                 pnl
        32:00  OPEN_LONG    Low entry                    125.125        8                   0
          # 125 * 1.001
        32:00  FUNDING      {PER_MILLE}                  125            8                   -1
          # -8 * 125 * 0.001
        33:00  FUNDING      {PER_MILLE}                  160            8                   -1.28
          # -8 * 160 * 0.001
        34:00  FUNDING      {PER_MILLE}                  165            8                   -1.32
          # -8 * 165 * 0.001
        35:00  CLOSE_LONG   Trend Breakdown (EMA Cross)  144.99275      8                   158.942
          # 145 * 0.99995; (p - 125.125) * q
        35:00  OPEN_SHORT   Low entry                    144.855        7.0031627726206897  0
          # 145 * 0.999; 1015.45860203 / 145
        35:00  FUNDING      {PER_MILLE}                  145            7.0031627726206897  1.0154586020300000065
          # q * 145 * 0.001
        36:00  FUNDING      {PER_MILLE}                  147.8125       7.0031627726206897  1.0351549973279957
          # q * 147.8125 * 0.001
        36:00  CLOSE_SHORT  End of Backtest              147.819890625  7.0031627726206897  -20.7636116498920896
          # 147.8125 * 1.00005; (144.855 - p) * q
        """,
    )
    # Strict: the 34th bar is the first that may decide. It is known at 34:00 and the order fills at the open of 160
    # in the bar that is known at 35:00. That of 35:00 decides at 36:00, for the open of 146 in the bar that is known
    # at 37:00; with the exit pending the same close opens nothing. Held through: 35:00 and 36:00.
    played = play(LIFE, STRICT, base=DRIFT, config=SLIP, funding=RATE, start="33:00")
    check_trades(
        played,
        f"""
        time   action      reason                       price    qty   pnl       fee
        35:00  OPEN_LONG   Low entry                    160.16   6.25  0         0.35035
          # 160 * 1.001; 1000 / 160; 6.25 * 160.16 * 0.00035
        35:00  FUNDING     {PER_MILLE}                  165      6.25  -1.03125  0
          # -q * 165 * 0.001
        36:00  FUNDING     {PER_MILLE}                  145      6.25  -0.90625  0
          # -q * 145 * 0.001
        37:00  CLOSE_LONG  Trend Breakdown (EMA Cross)  145.854  6.25  -89.4125  0.319055625
          # 146 * 0.999; (p - 160.16) * q; q * p * 0.00035
        """,
    )
    check_equity(
        played,
        """
        time   equity
        33:00  10000
        34:00  10000
        35:00  10028.8684      # 10000 - 0.35035 - 1.03125 + (165 - 160.16) * 6.25
        36:00  9902.96215      # 10000 - 0.35035 - 1.03125 - 0.90625 + (145 - 160.16) * 6.25
        37:00  9907.980594375  # 10000 - 0.35035 - 1.03125 - 0.90625 - 89.4125 - 0.319055625
        37:00  9907.980594375
        """,
    )


def test_a_stop_inside_the_hour() -> None:
    # Half hours: the second one of the hour of 1:00 reaches 98, known at 2:00; so is the hour, but after it. Nothing
    # is paid at 2:00 by a position that has left.
    bars = """
    t     o    h      l     c
    0:00  100  100.5  99    100
    1:00  100  100.5  97.5  98.5
    2:00  98   99     97.8  98.5
    """
    halves = """
    t     o     h      l     c
    1:00  100   100.5  99    99.5
    1:30  99.5  99.6   97.5  98.5
    2:00  98.5  99     97.8  98.5
    """
    check_trades(
        play(bars, REFERENCE, held=[LONG], config=SLIP, exits=halves, funding=RATE),
        f"""
        time  action      reason           price      qty  pnl
        1:00  FUNDING     {PER_MILLE}      98.5       10   -0.985     # -10 * 98.5 * 0.001
        2:00  FUNDING     {PER_MILLE}      98.5       10   -0.985     # -10 * 98.5 * 0.001
        2:00  CLOSE_LONG  End of Backtest  98.495075  10   -15.04925  # 98.5 * 0.99995; (p - 100) * q
        """,
    )
    played = play(bars, STRICT, held=[LONG], config=SLIP, exits=halves, funding=RATE)
    check_trades(
        played,
        """
        time  action      reason     price   qty  pnl     fee
        2:00  CLOSE_LONG  Stop Loss  97.902  10   -20.98  0.342657  # 98 * 0.999; (p - 100) * q; q * p * 0.00035
        """,
    )
    check_equity(
        played,
        """
        time  equity
        1:00  10000
        2:00  9978.677343  # 10000 - 20.98 - 0.342657
        3:00  9978.677343
        3:00  9978.677343
        """,
    )
