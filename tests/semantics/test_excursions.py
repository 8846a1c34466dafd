"""excursions: main bars around a trade (reference), or what the position lived through (strict)."""

from mei.model.semantics import REFERENCE
from mei.report.replay_csv import brought_by, trades_csv
from tests.semantics.tables import DRIFT, LONG, Played, check_trades, only, play

HELD = only(excursions="held", entry_fill="next_open")
LEVEL = only(excursions="held", exit_fill="level", bar_time="close")
TARGET = {"trade.tp_atr_mult": 4.0}  # 104 for LONG
STAYS = {"trade.sl_atr_mult": 10.0}

#: Bought at 1:00 (the slow EMA is at 112.5), left by the cross at 2:00 (109 < 110.75).
TRADE = """
t     o    h    l    c
0:00  100  101  99   100
1:00  100  126  100  125
2:00  125  127  108  109
3:00  110  140  60   110.75
"""


def shown(played: Played) -> list[tuple[str, str]]:
    """mae_pct and mfe_pct of each row of the trade CSV."""
    text = trades_csv(
        played.result,
        played.reasons,
        played.inputs.candles,
        unique_ids=True,
        known_after_ms=0,
        brought=brought_by(played.inputs.init_state, None),
    )
    return [(row.split(",")[11], row.split(",")[12]) for row in text.splitlines()[1:]]


def test_the_bar_whose_open_fills_the_exit_does_not_count() -> None:
    # Bought at the open of 2:00, sold at that of 3:00: lived through are the bar of 2:00 and the two fills.
    longs = {"trade.entry_min_confidence": 0} | STAYS
    played = play(TRADE, HELD, base=DRIFT, config=longs, end="3:00")
    check_trades(
        played,
        """
        time  action      reason                       price     lowest  highest
        2:00  OPEN_LONG   Low entry                    125       125     125
        3:00  CLOSE_LONG  Trend Breakdown (EMA Cross)  109.9945  108     127  # 110 * 0.99995
        """,
    )
    assert shown(played) == [("-0.13600000", "0.01600000")]  # 108 / 125 - 1, 127 / 125 - 1
    # The reference closes at 2:00 and has the bars of 1:00 and 2:00 whole, of which 100 came before the fill.
    assert shown(play(TRADE, REFERENCE, base=DRIFT, config=longs, end="3:00"))[0] == (
        "-0.20000000",  # 100 / 125 - 1
        "0.01600000",
    )


def test_a_stop_inside_a_bar() -> None:
    # The low of 95 and the high of 103 of the hour may have come after the stop of 98 that its open of 99.5 was above.
    bars = """
    t     o     h      l   c
    0:00  100   100.5  99  100
    1:00  99.5  103    95  102
    """
    check_trades(
        play(bars, LEVEL, held=[LONG]),
        """
        time  action      reason     price    lowest   highest
        2:00  CLOSE_LONG  Stop Loss  97.9951  97.9951  100.5  # 98 * 0.99995
        """,
    )


def test_a_stop_at_the_open_of_a_gap() -> None:
    bars = """
    t     o    h      l   c
    0:00  100  100.5  99  100
    1:00  97   103    95  102
    """
    check_trades(
        play(bars, LEVEL, held=[LONG]),
        """
        time  action      reason     price     lowest    highest
        2:00  CLOSE_LONG  Stop Loss  96.99515  96.99515  100.5  # 97 * 0.99995
        """,
    )


def test_a_target_inside_a_bar_and_one_at_its_open() -> None:
    # 98.5 may have come before the target of 104; 106 came after it.
    bars = """
    t     o    h      l     c
    0:00  100  100.5  99    100
    1:00  100  106    98.5  105
    """
    check_trades(
        play(bars, LEVEL, held=[LONG], config=TARGET),
        """
        time  action      reason       price     lowest  highest
        2:00  CLOSE_LONG  Take Profit  103.9948  98.5    104  # 104 * 0.99995
        """,
    )
    check_trades(
        play(bars.replace("1:00  100", "1:00  105"), LEVEL, held=[LONG], config=TARGET),
        """
        time  action      reason       price      lowest  highest
        2:00  CLOSE_LONG  Take Profit  104.99475  99      105  # 105 * 0.99995
        """,
    )


def test_sub_bars_count_where_they_are_walked() -> None:
    # Half at 104 in the first half hour, which then counts whole; the second stops at 98. The hour's 90 and 110 never.
    bars = """
    t     o    h      l   c
    0:00  100  100.5  99  100
    1:00  100  110    90  95
    """
    halves = """
    t     o    h    l     c
    1:00  100  106  98.5  105
    1:30  105  109  95    96
    """
    check_trades(
        play(
            bars,
            LEVEL,
            held=[LONG],
            config=TARGET | {"trade.enable_partial_tp": True, "trade.tp_partial_pct": 0.5},
            exits=halves,
        ),
        """
        time  action       reason                 price     qty  lowest   highest
        1:30  REDUCE_LONG  Take Profit (Partial)  103.9948  5    98.5     104  # 104 * 0.99995
        2:00  CLOSE_LONG   Stop Loss              97.9951   5    97.9951  106  # 98 * 0.99995
        """,
    )


def test_a_hole_counts_with_what_no_sub_bar_showed() -> None:
    # Nothing fires in the hour of 1:00, half of which is not there: its 98.4 counts. In the hour of 2:00 the stop
    # fires in the hole, so that nothing else of it counts.
    bars = """
    t     o     h      l     c
    0:00  100   100.5  99    100
    1:00  100   101    98.4  99.5
    2:00  99.5  105    97    99
    """
    halves = """
    t     o     h      l   c
    1:00  100   100.2  99  99.5
    2:00  99.5  100    99  99
    """
    check_trades(
        play(bars, LEVEL, held=[LONG], exits=halves, end="2:00"),
        """
        time  action      reason           price      lowest  highest
        3:00  CLOSE_LONG  End of Backtest  98.99505   98.4    101  # 99 * 0.99995
        """,
    )
    check_trades(
        play(bars, LEVEL, held=[LONG], exits=halves),
        """
        time  action      reason     price    lowest   highest
        3:00  CLOSE_LONG  Stop Loss  97.9951  97.9951  101  # 98 * 0.99995
        """,
    )


def test_a_part_sold_after_the_last_step_has_its_row() -> None:
    # The last hour is known at 1:00, the half hour with the target at 1:30: the end of the run is stamped before it.
    bars = """
    t     o    h      l   c
    0:00  100  100.5  99  100
    """
    halves = """
    t     o    h    l     c
    1:00  100  106  98.5  105
    """
    partial = TARGET | {"trade.enable_partial_tp": True, "trade.tp_partial_pct": 0.5}
    played = play(bars, LEVEL, held=[LONG], config=partial, exits=halves)
    check_trades(
        played,
        """
        time  action       reason                 price     qty
        1:30  REDUCE_LONG  Take Profit (Partial)  103.9948  5    # 104 * 0.99995
        1:00  CLOSE_LONG   End of Backtest        99.995    5    # 100 * 0.99995
        """,
    )
    assert len(shown(played)) == 2
