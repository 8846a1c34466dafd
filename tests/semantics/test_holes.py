"""exit_fill = level, bar_time = close: what a main bar shows and its sub-bars, not all there, do not."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mei.model.replay import InitPosition
from tests.semantics.tables import LONG, SHORT, check_trades, ms, only, play

LEVEL = only(exit_fill="level", bar_time="close")
TARGET = {"trade.tp_atr_mult": 4.0}  # 104 for LONG, 96 for SHORT
INSIDE = replace(LONG, opened_ms=ms("1:15"))


def ends_with(
    bars: str,
    quarters: str,
    expected: str,
    *,
    held: InitPosition = LONG,
    config: Mapping[str, Any] | None = None,
    intervals: tuple[str, str] = ("1h", "15m"),
) -> None:
    """The trades of a table with quarters, or what `intervals` says, as exit bars."""
    main, exits = intervals
    played = play(
        bars, LEVEL, held=[held], config=config, interval=main, exits=quarters, exit_interval=exits
    )
    check_trades(played, expected)


def test_a_stop_is_met_in_a_hole_and_only_there() -> None:
    # Stop 98. The hour goes to 97.5, the quarters there are to 98.6: the quarter of 1:15 is not there.
    bars = """
    t     o    h      l     c
    0:00  100  100.5  99    100
    1:00  100  100.5  97.5  99.5
    """
    quarters = """
    t     o     h      l     c
    1:00  100   100.4  99    99.8
    1:30  99    99.5   98.6  99
    1:45  99    99.6   98.8  99.5
    """
    ends_with(
        bars,
        quarters,
        """
        time  action      reason     price
        2:00  CLOSE_LONG  Stop Loss  97.9951  # 98 * 0.99995
        """,
    )
    # With it there is no hole, whatever the hour says.
    complete = """
    t     o     h      l     c
    1:00  100   100.4  99    99.8
    1:15  99.8  99.8   98.4  99
    1:30  99    99.5   98.6  99
    1:45  99    99.6   98.8  99.5
    """
    ends_with(
        bars,
        complete,
        """
        time  action      reason           price
        2:00  CLOSE_LONG  End of Backtest  99.495025  # 99.5 * 0.99995
        """,
    )


def test_a_hole_at_the_end_of_a_short() -> None:
    # Stop 102, target 96, both touched by the hour and by no quarter: the stop.
    bars = """
    t     o    h      l     c
    0:00  100  100.5  99    100
    1:00  100  102.5  95.5  99.5
    """
    ends_with(
        bars,
        """
        t     o    h      l   c
        1:00  100  100.4  99  99.8
        """,
        """
        time  action       reason     price
        2:00  CLOSE_SHORT  Stop Loss  102.0051  # 102 * 1.00005
        """,
        held=SHORT,
        config=TARGET,
    )


def test_a_hole_that_holds_the_open_of_the_hour() -> None:
    # The hour opens at 97, beyond the stop of 98, and the first quarter is not there: a fill at 97.
    bars = """
    t     o    h      l     c
    0:00  100  100.5  99    100
    1:00  97   100.5  96.5  99.5
    """
    late = """
    t     o     h      l     c
    1:15  99    99.5   98.6  99
    1:30  99    100.5  98.8  99.5
    1:45  99.5  99.6   98.8  99.5
    """
    ends_with(
        bars,
        late,
        """
        time  action      reason     price
        2:00  CLOSE_LONG  Stop Loss  96.99515  # 97 * 0.99995
        """,
    )
    # A quarter has gone past an open of 100, and the hole comes after: 98.
    ends_with(
        bars.replace("1:00  97   100.5", "1:00  100  100.5"),
        late.replace("1:15", "1:00"),
        """
        time  action      reason     price
        2:00  CLOSE_LONG  Stop Loss  97.9951  # 98 * 0.99995
        """,
    )


def test_the_stop_is_that_of_the_hole() -> None:
    # The close of 104 trails the stop to 103. In the hole before it the stop was at 98, which 98.5 does not touch.
    bars = """
    t     o    h      l     c
    0:00  100  100.5  99    100
    1:00  100  104.5  98.5  104
    """
    quarters = """
    t     o    h      l      c
    1:00  100  100.4  99     99.8
    1:30  99   103    98.9   103
    1:45  103  104.5  102.9  104
    """
    trailing = {"trade.trailing_start_atr": 3.5, "trade.trailing_distance_atr": 1.0}
    ends_with(
        bars,
        quarters,
        """
        time  action      reason           price
        2:00  CLOSE_LONG  End of Backtest  103.9948  # 104 * 0.99995
        """,
        config=trailing,
    )
    ends_with(
        bars.replace("98.5", "97.5"),
        quarters,
        """
        time  action      reason     price
        2:00  CLOSE_LONG  Stop Loss  97.9951  # 98 * 0.99995
        """,
        config=trailing,
    )


def test_a_target_in_a_hole() -> None:
    bars = """
    t     o    h      l   c
    0:00  100  100.5  99  100
    1:00  100  105    99  101
    """
    ends_with(
        bars,
        """
        t     o    h      l   c
        1:00  100  100.4  99  99.8
        1:45  102  102.5  99  101
        """,
        """
        time  action      reason       price
        2:00  CLOSE_LONG  Take Profit  103.9948  # 104 * 0.99995
        """,
        config=TARGET,
    )


def test_what_lay_before_the_fill_is_not_met() -> None:
    # Held from 1:15 on, with a hole from 1:30 to 1:45. The low of 97.5 and the high of 105 were in the first quarter.
    bars = """
    t     o    h      l     c
    0:00  100  100.5  99    100
    1:00  100  105    97.5  99.5
    """
    after = """
    t     o     h      l     c
    1:15  99.8  100    98.8  99
    1:45  99    99.6   98.8  99.5
    """
    ends_with(
        bars,
        after.replace("1:15", "1:00  100   105    97.5  99.8\n    1:15"),
        """
        time  action      reason           price
        2:00  CLOSE_LONG  End of Backtest  99.495025  # 99.5 * 0.99995
        """,
        held=INSIDE,
        config=TARGET,
    )
    # Where the first quarter is not there either, nobody knows: the stop counts, the target would not.
    ends_with(
        bars,
        after,
        """
        time  action      reason     price
        2:00  CLOSE_LONG  Stop Loss  97.9951  # 98 * 0.99995
        """,
        held=INSIDE,
        config=TARGET,
    )
    ends_with(
        bars.replace("97.5", "98.8"),
        after,
        """
        time  action      reason           price
        2:00  CLOSE_LONG  End of Backtest  99.495025  # 99.5 * 0.99995
        """,
        held=INSIDE,
        config=TARGET,
    )
    # Without a hole after the fill the first quarter matters to nobody.
    ends_with(
        bars,
        after.replace("1:45", "1:30  99    99.6   98.8  99\n    1:45"),
        """
        time  action      reason           price
        2:00  CLOSE_LONG  End of Backtest  99.495025  # 99.5 * 0.99995
        """,
        held=INSIDE,
        config=TARGET,
    )


#: Stop at 95; a close of 101 trails it to 98.
TRAILED = {
    "trade.sl_atr_mult": 5.0,
    "trade.trailing_start_atr": 1.0,
    "trade.trailing_distance_atr": 3.0,
}
TWO_HOLES = """
    t     o    h      l      c
    1:15  100  101    99.9   101
    1:45  101  101.5  100.5  101
    """


def of_two_holes(open_px: str, low: str, reason: str, price: str) -> None:
    """The stop was at 95 in the hole that holds the open of the hour, at 98 in the one after 1:30."""
    ends_with(
        f"""
        t     o    h      l     c
        0:00  100  100.5  99    100
        1:00  {open_px}  102    {low}  101
        """,
        TWO_HOLES,
        f"""
        time  action      reason  price
        2:00  CLOSE_LONG  {reason}  {price}
        """,
        config=TRAILED,
    )


def test_of_two_holes_the_worse_stop_that_the_low_touches() -> None:
    of_two_holes("99", "94", "Stop Loss", "94.99525  # 95 * 0.99995")
    of_two_holes("99", "95", "Stop Loss", "94.99525  # 95 * 0.99995")
    of_two_holes("99", "96", "Trailing Stop", "97.9951  # 98 * 0.99995")
    of_two_holes("99", "98.5", "End of Backtest", "100.99495  # 101 * 0.99995")


def test_the_open_fills_the_stop_of_its_own_hole_alone() -> None:
    # At the open of 97 the stop was at 95.
    of_two_holes("97", "94", "Stop Loss", "94.99525  # 95 * 0.99995")
    of_two_holes("97", "96", "Trailing Stop", "97.9951  # 98 * 0.99995")
    of_two_holes("94.5", "94", "Stop Loss", "94.495275  # 94.5 * 0.99995")


def test_two_holes_of_a_short() -> None:
    # 105, and 102 from 1:30 on.
    bars = """
    t     o    h      l     c
    0:00  100  100.5  99    100
    1:00  101  106    98    99
    """
    quarters = """
    t     o    h      l      c
    1:15  100  100.1  99     99
    1:45  99   99.5   98.5   99
    """
    for high, reason, price in (
        ("106", "Stop Loss", "105.00525  # 105 * 1.00005"),
        ("104", "Trailing Stop", "102.0051  # 102 * 1.00005"),
    ):
        ends_with(
            bars.replace("106", high),
            quarters,
            f"""
            time  action       reason  price
            2:00  CLOSE_SHORT  {reason}  {price}
            """,
            held=SHORT,
            config=TRAILED,
        )


def test_an_open_beyond_its_stop_and_a_worse_stop_later() -> None:
    # Break-even at 100 in the hole that holds the open of 99.5; back at 98 in the one after 1:30.
    bars = """
    t     o     h      l     c
    0:00  100   101.5  99    101
    1:00  99.5  101.5  97.5  100.5
    """
    quarters = """
    t     o      h      l      c
    1:15  100.5  100.8  100.2  100.5
    1:45  100.5  100.8  100.3  100.5
    """
    for low, price in (
        ("97.5", "97.9951  # 98 * 0.99995"),
        ("99.0", "99.495025  # 99.5 * 0.99995"),
    ):
        ends_with(
            bars.replace("97.5", low),
            quarters,
            f"""
            time  action      reason     price
            2:00  CLOSE_LONG  Stop Loss  {price}
            """,
            config={
                "trade.enable_breakeven_stop": True,
                "trade.breakeven_start_atr": 1.0,
                "trade.breakeven_buffer_atr": 0.0,
            },
        )


def test_between_three_stops_the_low_itself() -> None:
    # 95, 97 and 98 in the holes before 4:30, 5:30 and after 6:00.
    half_hours = """
    t     o    h      l      c
    4:30  99   100    98.5   100
    5:30  100  101    99     101
    """
    for low, reason, price in (
        ("94.5", "Stop Loss", "94.99525  # 95 * 0.99995"),
        ("96.5", "Trailing Stop", "96.495175  # 96.5 * 0.99995"),
        ("98.2", "End of Backtest", "100.99495  # 101 * 0.99995"),
    ):
        ends_with(
            f"""
            t     o     h      l     c
            0:00  100   100.5  98    98.5
            4:00  98.5  102    {low}  101
            """,
            half_hours,
            f"""
            time  action      reason  price
            8:00  CLOSE_LONG  {reason}  {price}
            """,
            config=TRAILED | {"trade.trailing_start_atr": 0.0},
            intervals=("4h", "30m"),
        )


def test_nothing_comes_after_a_fill_inside_the_hour() -> None:
    # Held from 1:15 on; the quarter before is known then, and all that follows is in the hour alone.
    bars = """
    t     o    h      l     c
    0:00  100  100.5  99    100
    1:00  100  105    97.5  99.5
    """
    quarter = """
    t     o    h      l   c
    1:00  100  100.4  99  99.8
    """
    ends_with(
        bars,
        quarter,
        """
        time  action      reason     price
        2:00  CLOSE_LONG  Stop Loss  97.9951  # 98 * 0.99995
        """,
        held=INSIDE,
        config=TARGET,
    )
    ends_with(
        bars.replace("97.5", "98.8"),
        quarter,
        """
        time  action      reason       price
        2:00  CLOSE_LONG  Take Profit  103.9948  # 104 * 0.99995
        """,
        held=INSIDE,
        config=TARGET,
    )
    # The quarter has shown it all.
    ends_with(
        bars,
        quarter.replace("100.4  99  99.8", "105  97.5  99.8"),
        """
        time  action      reason           price
        2:00  CLOSE_LONG  End of Backtest  99.495025  # 99.5 * 0.99995
        """,
        held=INSIDE,
        config=TARGET,
    )
    # No sub-bar of this hour was ever known: the hour is not met.
    ends_with(
        bars,
        quarter.replace("1:00", "0:00"),
        """
        time  action      reason           price
        2:00  CLOSE_LONG  End of Backtest  99.495025  # 99.5 * 0.99995
        """,
        held=INSIDE,
        config=TARGET,
    )
