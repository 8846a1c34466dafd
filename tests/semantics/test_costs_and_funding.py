"""costs: exits slip half a basis point, or as entries do. funding: paid after a step, or while a position is held."""

import pytest

from mei.model.semantics import REFERENCE
from tests.semantics.tables import DRIFT, LONG, SHORT, check_trades, holding, only, play

BOTH = only(costs="both_sides")
HELD = only(funding="held")
SLIP = {"trade.slippage_bps": 10.0}

STOP = """
t     o    h    l   c
0:00  100  101  99  100
1:00  100  100  96  97
"""
ENTRY = """
t     o    h    l    c
0:00  100  101  99   100
1:00  100  126  100  125
2:00  125  130  124  129
"""


def test_an_exit_slips() -> None:
    check_trades(
        play(STOP, REFERENCE, held=[LONG], config=SLIP),
        """
        time  action      reason     price     pnl       fee
        1:00  CLOSE_LONG  Stop Loss  96.99515  -30.0485  0.339483025
          # 97 * (1 - 0.5 / 10000); (p - 100) * 10; 10 * p * 0.00035
        """,
    )
    check_trades(
        play(STOP, BOTH, held=[LONG], config=SLIP),
        """
        time  action      reason     price   pnl     fee
        1:00  CLOSE_LONG  Stop Loss  96.903  -30.97  0.3391605
          # 97 * (1 - 10 / 10000); (p - 100) * 10; 10 * p * 0.00035
        """,
    )


def test_a_short_exit_slips() -> None:
    bars = """
    t     o    h    l   c
    0:00  100  101  99  100
    1:00  100  103  99  102.5
    """
    check_trades(
        play(bars, REFERENCE, held=[SHORT], config=SLIP),
        """
        time  action       reason     price       pnl        fee
        1:00  CLOSE_SHORT  Stop Loss  102.505125  -25.05125  0.3587679375
          # 102.5 * (1 + 0.5 / 10000); (100 - p) * 10; 10 * p * 0.00035
        """,
    )
    check_trades(
        play(bars, BOTH, held=[SHORT], config=SLIP),
        """
        time  action       reason     price     pnl      fee
        1:00  CLOSE_SHORT  Stop Loss  102.6025  -26.025  0.35910875
          # 102.5 * (1 + 10 / 10000); (100 - p) * 10; 10 * p * 0.00035
        """,
    )


def test_the_fee_of_an_entry() -> None:
    # Of the notional at the close, 8 * 125 = 1000, or of what was paid, 8 * 125.125 = 1001.
    check_trades(
        play(ENTRY, REFERENCE, base=DRIFT, config=SLIP),
        """
        time  action      reason           price      qty  pnl      fee
        1:00  OPEN_LONG   Low entry        125.125    8    0        0.35
          # 125 * 1.001; 1000 * 0.00035
        2:00  CLOSE_LONG  End of Backtest  128.99355  8    30.9484  0.36118194
          # 129 * 0.99995; (p - 125.125) * q; q * p * 0.00035
        """,
    )
    check_trades(
        play(ENTRY, BOTH, base=DRIFT, config=SLIP),
        """
        time  action      reason           price    qty  pnl     fee
        1:00  OPEN_LONG   Low entry        125.125  8    0       0.35035
          # 125 * 1.001; 1001 * 0.00035
        2:00  CLOSE_LONG  End of Backtest  128.871  8    29.968  0.3608388
          # 129 * 0.999; (p - 125.125) * q; q * p * 0.00035
        """,
    )


def test_the_fee_of_an_add() -> None:
    # 500 / 125 = 4, filled at 125.125: a fee of 500 or of 500.5. Together 14 for 1000 + 500.5.
    adding = SLIP | {"trade.enable_pyramiding": True, "trade.max_adds_per_symbol": 1}
    check_trades(
        play(ENTRY, REFERENCE, base=DRIFT, held=[LONG], config=adding),
        """
        time  action      reason           price      qty  pnl       fee
        1:00  ADD_LONG    Pyramid #1       125.125    4    0         0.175
          # 125 * 1.001; 500 * 0.00035
        2:00  CLOSE_LONG  End of Backtest  128.99355  14   305.4097  0.632068395
          # 129 * 0.99995; p * q - 1500.5; q * p * 0.00035
        """,
    )
    check_trades(
        play(ENTRY, BOTH, base=DRIFT, held=[LONG], config=adding),
        """
        time  action      reason           price    qty  pnl      fee
        1:00  ADD_LONG    Pyramid #1       125.125  4    0        0.175175
          # 125 * 1.001; 500.5 * 0.00035
        2:00  CLOSE_LONG  End of Backtest  128.871  14   303.694  0.6314679
          # 129 * 0.999; p * q - 1500.5; q * p * 0.00035
        """,
    )


def test_exits_never_slip_to_advantage() -> None:
    # A negative setting improves entries (125 * (1 - 20 / 10000)), not exits.
    better = {"trade.slippage_bps": -20.0}
    check_trades(
        play(ENTRY, REFERENCE, base=DRIFT, config=better),
        """
        time  action      reason           price      qty  pnl      fee
        1:00  OPEN_LONG   Low entry        124.75     8    0        0.35
          # 125 * 0.998; 1000 * 0.00035
        2:00  CLOSE_LONG  End of Backtest  128.99355  8    33.9484  0.36118194
          # 129 * 0.99995; (p - 124.75) * q; q * p * 0.00035
        """,
    )
    check_trades(
        play(ENTRY, BOTH, base=DRIFT, config=better),
        """
        time  action      reason           price   qty  pnl  fee
        1:00  OPEN_LONG   Low entry        124.75  8    0    0.3493  # 125 * 0.998; 998 * 0.00035
        2:00  CLOSE_LONG  End of Backtest  129     8    34   0.3612  # (p - 124.75) * q; q * p * 0.00035
        """,
    )


RATE = """
t     rate
0:00  0.001
"""
#: FUNDING rows word the rate with six digits.
PER_MILLE = "Funding rate=0.001000"


def test_boundaries_inside_a_long_bar() -> None:
    # Bars of four hours: 1:00 to 4:00 are paid at the step of 4:00. Reference: at its close, each row stamped with its
    # boundary. Held: each at the close known at its boundary, 100 until 3:00 and 110 at 4:00, stamped with the step.
    bars = """
    t     o    h    l    c
    0:00  100  101  99   100
    4:00  100  111  100  110
    """
    check_trades(
        play(bars, REFERENCE, held=[LONG], interval="4h", funding=RATE),
        f"""
        time  action      reason           price     qty  pnl     fee
        1:00  FUNDING     {PER_MILLE}      110       10   -1.1    0
          # -10 * 110 * 0.001
        2:00  FUNDING     {PER_MILLE}      110       10   -1.1    0
          # -10 * 110 * 0.001
        3:00  FUNDING     {PER_MILLE}      110       10   -1.1    0
          # -10 * 110 * 0.001
        4:00  FUNDING     {PER_MILLE}      110       10   -1.1    0
          # -10 * 110 * 0.001
        4:00  CLOSE_LONG  End of Backtest  109.9945  10   99.945  0.38498075
          # 110 * 0.99995; (p - 100) * q; q * p * 0.00035
        """,
    )
    check_trades(
        play(bars, HELD, held=[LONG], interval="4h", funding=RATE),
        f"""
        time  action      reason           price     qty  pnl     fee
        4:00  FUNDING     {PER_MILLE}      100       10   -1      0
          # -10 * 100 * 0.001
        4:00  FUNDING     {PER_MILLE}      100       10   -1      0
          # -10 * 100 * 0.001
        4:00  FUNDING     {PER_MILLE}      100       10   -1      0
          # -10 * 100 * 0.001
        4:00  FUNDING     {PER_MILLE}      110       10   -1.1    0
          # -10 * 110 * 0.001
        4:00  CLOSE_LONG  End of Backtest  109.9945  10   99.945  0.38498075
          # 110 * 0.99995; (p - 100) * q; q * p * 0.00035
        """,
    )


def test_an_entry_does_not_pay_the_boundary_it_is_opened_at() -> None:
    # Opened by the bar of 1:00: its open_time is 1:00, and 1:00 < 1:00 is false.
    check_trades(
        play(ENTRY, REFERENCE, base=DRIFT, funding=RATE),
        f"""
        time  action      reason           price      qty  pnl
        1:00  OPEN_LONG   Low entry        125        8    0
        1:00  FUNDING     {PER_MILLE}      125        8    -1       # -8 * 125 * 0.001
        2:00  FUNDING     {PER_MILLE}      129        8    -1.032   # -8 * 129 * 0.001
        2:00  CLOSE_LONG  End of Backtest  128.99355  8    31.9484  # 129 * 0.99995; (p - 125) * q
        """,
    )
    check_trades(
        play(ENTRY, HELD, base=DRIFT, funding=RATE),
        f"""
        time  action      reason           price      qty  pnl
        1:00  OPEN_LONG   Low entry        125        8    0
        2:00  FUNDING     {PER_MILLE}      129        8    -1.032   # -8 * 129 * 0.001
        2:00  CLOSE_LONG  End of Backtest  128.99355  8    31.9484  # 129 * 0.99995; (p - 125) * q
        """,
    )


def test_an_entry_inside_the_hour_does_not_pay_its_beginning() -> None:
    # Hour of 1:00: 125 above the slow EMA of 112.5. The half hour of 1:30 enters at 125, after the boundary of 1:00.
    halves = """
    t     o    h    l    c
    1:30  124  126  123  125
    """
    check_trades(
        play(ENTRY, REFERENCE, base=DRIFT, entries=halves, funding=RATE),
        f"""
        time  action      reason               price      qty  pnl
        1:30  OPEN_LONG   Low entry (sub-bar)  125        8    0
        1:00  FUNDING     {PER_MILLE}          125        8    -1       # -8 * 125 * 0.001
        2:00  FUNDING     {PER_MILLE}          129        8    -1.032   # -8 * 129 * 0.001
        2:00  CLOSE_LONG  End of Backtest      128.99355  8    31.9484  # 129 * 0.99995; (p - 125) * q
        """,
    )
    check_trades(
        play(ENTRY, HELD, base=DRIFT, entries=halves, funding=RATE),
        f"""
        time  action      reason               price      qty  pnl
        1:30  OPEN_LONG   Low entry (sub-bar)  125        8    0
        2:00  FUNDING     {PER_MILLE}          129        8    -1.032   # -8 * 129 * 0.001
        2:00  CLOSE_LONG  End of Backtest      128.99355  8    31.9484  # 129 * 0.99995; (p - 125) * q
        """,
    )


@pytest.mark.parametrize("semantics", [REFERENCE, HELD])
def test_the_rate_is_the_newest_there_is(semantics) -> None:
    # Nothing at 1:00, which is before the first rate; 0.002 at 2:00, still at 3:00; -0.001 at 4:00. Shorts receive.
    bars = """
    t           o    h    l   c
    0:00..4:00  100  101  99  100
    """
    rates = """
    t     rate
    1:30  0.002
    4:00  -0.001
    """
    check_trades(
        play(bars, semantics, held=[LONG], funding=rates),
        """
        time  action      reason                  price   pnl
        2:00  FUNDING     Funding rate=0.002000   100     -2     # -10 * 100 * 0.002
        3:00  FUNDING     Funding rate=0.002000   100     -2     # -10 * 100 * 0.002
        4:00  FUNDING     Funding rate=-0.001000  100     1      # -10 * 100 * -0.001
        4:00  CLOSE_LONG  End of Backtest         99.995  -0.05  # 100 * 0.99995; (p - 100) * 10
        """,
    )
    check_trades(
        play(bars, semantics, held=[SHORT], funding=rates),
        """
        time  action       reason                  price    pnl
        2:00  FUNDING      Funding rate=0.002000   100      2      # 10 * 100 * 0.002
        3:00  FUNDING      Funding rate=0.002000   100      2      # 10 * 100 * 0.002
        4:00  FUNDING      Funding rate=-0.001000  100      -1     # 10 * 100 * -0.001
        4:00  CLOSE_SHORT  End of Backtest         100.005  -0.05  # 100 * 1.00005; (100 - p) * 10
        """,
    )


def test_a_position_closed_by_the_bar_of_the_boundary_does_not_pay_it() -> None:
    for semantics in (REFERENCE, HELD):
        check_trades(
            play(STOP, semantics, held=[LONG], funding=RATE),
            """
            time  action      reason     price
            1:00  CLOSE_LONG  Stop Loss  96.99515  # 97 * 0.99995
            """,
        )


def test_a_position_closed_in_the_hour_has_paid_what_it_held_through() -> None:
    # bar_time = close in both. Bars of two hours, known at 2:00 and 4:00, exits at half hours. The stop is decided at
    # 3:30 (bar of 3:00). Held through: 3:00 (2:00 is the first step, from where an init-state pays). The reference
    # looks at what is open after the step's sub-bars: nothing.
    bars = """
    t     o    h    l   c
    0:00  100  101  99  100
    4:00  97   98   96  97
    """
    halves = """
    t     o    h    l   c
    4:00  100  101  99  100
    4:30  100  100  99  99
    5:00  99   99   96  97
    """
    after = only(bar_time="close")
    held = only(bar_time="close", funding="held")
    # Known: 4:00 (main), then 4:30, 5:00, 5:30 before the main bar of 8:00.
    check_trades(
        play(bars, after, held=[LONG], interval="4h", exits=halves, funding=RATE),
        """
        time  action      reason     price
        5:30  CLOSE_LONG  Stop Loss  96.99515  # 97 * 0.99995
        """,
    )
    check_trades(
        play(bars, held, held=[LONG], interval="4h", exits=halves, funding=RATE),
        f"""
        time  action      reason       price     qty  pnl
        5:00  FUNDING     {PER_MILLE}  100       10   -1        # -10 * 100 * 0.001
        5:30  CLOSE_LONG  Stop Loss    96.99515  10   -30.0485  # 97 * 0.99995; (p - 100) * q
        """,
    )


def test_each_boundary_is_paid_as_it_passes() -> None:
    # bar_time = close, bars of four hours known at 4:00 and 8:00. At 8:00 first come 5:00, 6:00 and 7:00, at the
    # close known before (100), then the bar, then 8:00 at its close (110). The reference pays all four at 110.
    bars = """
    t     o    h    l    c
    0:00  100  101  99   100
    4:00  100  111  100  110
    """
    check_trades(
        play(bars, only(bar_time="close"), held=[LONG], interval="4h", funding=RATE),
        f"""
        time  action      reason           price     pnl
        5:00  FUNDING     {PER_MILLE}      110       -1.1    # -10 * 110 * 0.001
        6:00  FUNDING     {PER_MILLE}      110       -1.1    # -10 * 110 * 0.001
        7:00  FUNDING     {PER_MILLE}      110       -1.1    # -10 * 110 * 0.001
        8:00  FUNDING     {PER_MILLE}      110       -1.1    # -10 * 110 * 0.001
        8:00  CLOSE_LONG  End of Backtest  109.9945  99.945  # 110 * 0.99995; (p - 100) * 10
        """,
    )
    check_trades(
        play(
            bars,
            only(bar_time="close", funding="held"),
            held=[LONG],
            interval="4h",
            funding=RATE,
        ),
        f"""
        time  action      reason           price     pnl
        8:00  FUNDING     {PER_MILLE}      100       -1      # -10 * 100 * 0.001
        8:00  FUNDING     {PER_MILLE}      100       -1      # -10 * 100 * 0.001
        8:00  FUNDING     {PER_MILLE}      100       -1      # -10 * 100 * 0.001
        8:00  FUNDING     {PER_MILLE}      110       -1.1    # -10 * 110 * 0.001
        8:00  CLOSE_LONG  End of Backtest  109.9945  99.945  # 110 * 0.99995; (p - 100) * 10
        """,
    )


def test_symbols_ascending_within_a_boundary() -> None:
    # Two boundaries at once: by boundary (reference), or by symbol.
    bars = """
    t     o    h    l   c
    0:00  100  101  99  100
    2:00  100  101  99  100
    """
    main = {"AAA": bars, "BBB": bars}
    held = [holding("LONG", 1, 100, symbol="AAA"), holding("SHORT", 2, 100, symbol="BBB")]
    rates = {"AAA": RATE, "BBB": RATE}

    def rows(semantics):
        played = play(main, semantics, held=held, funding=rates)
        paid = [t for t in played.trades if t["action"] == "FUNDING"]
        return [(t["time"], t["symbol"], round(t["pnl"], 12)) for t in paid]

    # 1 * 100 * 0.001 = 0.1 paid, 2 * 100 * 0.001 = 0.2 received.
    aaa, bbb = ("AAA", -0.1), ("BBB", 0.2)
    assert rows(REFERENCE) == [
        ("1:00", *aaa),
        ("1:00", *bbb),
        ("2:00", *aaa),
        ("2:00", *bbb),
    ]
    assert rows(HELD) == [("2:00", *aaa), ("2:00", *aaa), ("2:00", *bbb), ("2:00", *bbb)]
