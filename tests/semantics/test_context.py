"""context: what is not traded still counts as context, or not. btc_symbol: which symbol is BTC."""

import pytest

from mei.model.semantics import REFERENCE
from tests.semantics.tables import DRIFT, check_trades, only, play

UNIVERSE = only(context="universe")
BASE = only(btc_symbol="base")

#: Buys at 2:00: slow EMA 100, 100, (100 + 125) / 2 = 112.5 < 125.
BUY = """
t           o    h    l    c
0:00..1:00  100  101  99   100
2:00        100  126  100  125
"""
#: Below its slow EMA at 1:00, the bar before: (100 + 90) / 2 = 95 > 90. Neutral at 2:00: (95 + 95) / 2 = 95.
FALLING = """
t     o    h    l   c
0:00  100  101  99  100
1:00  100  100  90  90
2:00  90   96   90  95
"""
#: Above it: (100 + 110) / 2 = 105 < 110. Then neutral.
RISING = """
t     o    h    l    c
0:00  100  101  99   100
1:00  100  110  100  110
2:00  110  110  104  105
"""
ALIGNED = {"filters.require_btc_alignment": True}
BOUGHT = """
time  symbol  action      reason           price      qty
2:00  ETH     OPEN_LONG   Low entry        125        8
2:00  ETH     CLOSE_LONG  End of Backtest  124.99375  8    # 125 * 0.99995
"""
NOTHING = "time  symbol  action"


def test_btc_counts_if_it_is_not_traded() -> None:
    # BTC is bearish, so ETH must not buy. Restricted to ETH the reference knows no BTC.
    main = {"BTC": FALLING, "ETH": BUY}
    check_trades(play(main, REFERENCE, base=DRIFT, config=ALIGNED, traded=["ETH"]), BOUGHT)
    check_trades(play(main, UNIVERSE, base=DRIFT, config=ALIGNED, traded=["ETH"]), NOTHING)
    main = {"BTC": RISING, "ETH": BUY}
    check_trades(play(main, UNIVERSE, base=DRIFT, config=ALIGNED, traded=["ETH"]), BOUGHT)


#: Bullish itself at 1:00 (105 < 110), and a buyer at 2:00: (105 + 125) / 2 = 115 < 125.
BULLISH = """
t     o    h    l    c
0:00  100  101  99   100
1:00  100  110  100  110
2:00  110  126  110  125
"""


def test_the_breadth_counts_what_is_not_traded() -> None:
    # Before 2:00 one of three symbols is up, 33.3 %; of ETH alone 100 %. Longs are blocked below 50 %.
    main = {"AAA": FALLING, "BBB": FALLING, "ETH": BULLISH}
    broad = {
        "market_regime.enable_regime_filter": True,
        "market_regime.breadth_block_long_below": 50.0,
    }
    alone = {"traded": ["ETH"], "start": "2:00"}
    check_trades(play(main, REFERENCE, base=DRIFT, config=broad, **alone), BOUGHT)
    check_trades(play(main, UNIVERSE, base=DRIFT, config=broad, **alone), NOTHING)
    low = broad | {"market_regime.breadth_block_long_below": 33.0}
    check_trades(play(main, UNIVERSE, base=DRIFT, config=low, **alone), BOUGHT)


def test_the_breadth_turns_signals_around() -> None:
    # Between 20 and 40 % signals are turned around: 33.3 % is inside, 100 % is not.
    main = {"AAA": FALLING, "BBB": FALLING, "ETH": BULLISH}
    turning = {
        "market_regime.enable_auto_reverse": True,
        "market_regime.auto_reverse_breadth_low": 20.0,
        "market_regime.auto_reverse_breadth_high": 40.0,
    }
    alone = {"traded": ["ETH"], "start": "2:00"}
    check_trades(play(main, REFERENCE, base=DRIFT, config=turning, **alone), BOUGHT)
    check_trades(
        play(main, UNIVERSE, base=DRIFT, config=turning, **alone),
        """
        time  symbol  action       reason           price      qty
        2:00  ETH     OPEN_SHORT   Low entry        125        8
        2:00  ETH     CLOSE_SHORT  End of Backtest  125.00625  8    # 125 * 1.00005
        """,
    )


def test_only_the_traded_symbols_trade() -> None:
    # AAA would buy as ETH does.
    for semantics in (REFERENCE, UNIVERSE):
        check_trades(play({"AAA": BUY, "ETH": BUY}, semantics, base=DRIFT, traded=["ETH"]), BOUGHT)


@pytest.mark.parametrize(
    "name",
    [
        *("BTCUSD", "BTC/USDT", "BTC-USD", "BTC_USDC", "BTC:PERP", "btcusdt", "BTCBUSD", "BTCEUR"),
        *("BTC/USDT:USDT", "BTC/USD:BTC", "BTC-USDT-SWAP", "btc_usdt_perp"),
    ],
)
def test_names_of_btc(name: str) -> None:
    # The first bars are left out: the context's own signals are none of this table's business.
    main = {name: FALLING, "ETH": BUY}
    late = {"start": "2:00"}
    check_trades(play(main, REFERENCE, base=DRIFT, config=ALIGNED, **late), BOUGHT)
    check_trades(play(main, BASE, base=DRIFT, config=ALIGNED, **late), NOTHING)


@pytest.mark.parametrize(
    "name",
    [
        *("BTCDOM", "WBTC", "BTC2", "BTC/ETH", "BTC--USD", "TBTCUSDT"),
        *("BTC/USDT:ETH", "BTC/USDT:USDT-241227", "BTC:USDT:", "BTC/ETH:USDT"),
    ],
)
def test_names_that_are_not_btc(name: str) -> None:
    main = {name: FALLING, "ETH": BUY}
    for semantics in (REFERENCE, BASE):
        check_trades(
            play(main, semantics, base=DRIFT, config=ALIGNED, start="2:00"),
            BOUGHT,
        )


def test_which_of_several() -> None:
    # BTC before BTCUSDT, that before the rest, the rest ascending ("-" before "/").
    def run(semantics, **main):
        tables = {name.replace("_", ""): bars for name, bars in main.items()}
        return play(tables | {"ETH": BUY}, semantics, base=DRIFT, config=ALIGNED, start="2:00")

    for semantics in (REFERENCE, BASE):
        check_trades(run(semantics, BTC=RISING, BTCUSDT=FALLING), BOUGHT)
        check_trades(run(semantics, BTC=FALLING, BTCUSDT=RISING), NOTHING)
    main = {"BTC-USD": FALLING, "BTCUSDT": RISING, "ETH": BUY}
    for semantics in (REFERENCE, BASE):
        check_trades(play(main, semantics, base=DRIFT, config=ALIGNED, start="2:00"), BOUGHT)
    main = {"BTC-USD": FALLING, "BTC/USD": RISING, "ETH": BUY}
    check_trades(play(main, REFERENCE, base=DRIFT, config=ALIGNED, start="2:00"), BOUGHT)
    check_trades(play(main, BASE, base=DRIFT, config=ALIGNED, start="2:00"), NOTHING)


def test_a_name_before_it_that_has_had_no_bar_is_passed_over() -> None:
    # BTC starts at 2:00; until then BTC-USD is the context, and bearish.
    starting = """
    t     o    h    l   c
    2:00  100  101  99  100
    """
    main = {"BTC": starting, "BTC-USD": FALLING, "ETH": BUY}
    check_trades(play(main, REFERENCE, base=DRIFT, config=ALIGNED, start="2:00"), BOUGHT)
    check_trades(play(main, BASE, base=DRIFT, config=ALIGNED, start="2:00"), NOTHING)


#: Below the slow EMA at 1:00 (95 > 90), above it at 2:00: (95 + 125) / 2 = 110 < 125.
TURNING = """
t     o    h    l   c
0:00  100  101  99  100
1:00  100  100  90  90
2:00  90   126  90  125
"""


def test_btc_itself_needs_no_alignment() -> None:
    # BTCUSDT is the bearish context of its own buy. BTC is exempt in both.
    late = {"config": ALIGNED, "start": "2:00"}
    check_trades(play({"BTCUSDT": TURNING}, REFERENCE, base=DRIFT, **late), NOTHING)
    check_trades(
        play({"BTCUSDT": TURNING}, BASE, base=DRIFT, **late),
        """
        time  symbol   action      reason           price      qty
        2:00  BTCUSDT  OPEN_LONG   Low entry        125        8
        2:00  BTCUSDT  CLOSE_LONG  End of Backtest  124.99375  8    # 125 * 0.99995
        """,
    )
    for semantics in (REFERENCE, BASE):
        check_trades(
            play({"BTC": TURNING}, semantics, base=DRIFT, **late),
            """
            time  symbol  action      reason           price      qty
            2:00  BTC     OPEN_LONG   Low entry        125        8
            2:00  BTC     CLOSE_LONG  End of Backtest  124.99375  8    # 125 * 0.99995
            """,
        )
