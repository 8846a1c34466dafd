"""symbol_layer: which runs see `symbols.<SYM>`. trade_ids: how the trade CSV numbers positions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from mei.model.semantics import REFERENCE, Semantics
from mei.report.replay_csv import brought_by, trades_csv
from mei.workflows.strategy import MEI_ALPHA, load_strategy
from tests.semantics.tables import (
    DRIFT,
    QUIET,
    Played,
    at,
    check_trades,
    holding,
    in_words,
    inputs_of,
    only,
    play,
)

ALWAYS = only(symbol_layer="always")
UNIQUE = only(trade_ids="unique")


@pytest.fixture
def layered(tmp_path: Path) -> Any:
    """Runs tables with a strategy file of `base` and a layer for each symbol given."""

    def run(
        main: Mapping[str, str],
        semantics: Semantics,
        symbols: Mapping[str, Mapping[str, Any]],
        *,
        base: Mapping[str, Any] = QUIET,
        symbol: str | None = None,
        **inputs: Any,
    ) -> Played:
        path = tmp_path / "strategy.yaml"
        layers = {name: in_words(layer) for name, layer in symbols.items()}
        path.write_text(yaml.safe_dump({"global": in_words(base), "symbols": layers}))
        strategy = load_strategy(
            MEI_ALPHA,
            config=str(path),
            live=False,
            symbol=symbol,
            slippage_bps=None,
            semantics=semantics,
            tell=lambda line: None,
        )
        strategy.prepare(list(main))
        given = inputs_of(main, traded=None if symbol is None else [symbol], **inputs)
        return Played(strategy.run(given), given)

    return run


#: Nobody sells.
LONGS = {
    "market_regime.enable_regime_filter": True,
    "market_regime.breadth_block_short_above": -1.0,
    "market_regime.breadth_block_long_below": -1.0,
}

FALLING = """
t     o    h    l   c
0:00  100  101  99  100
1:00  100  100  96  97
2:00  97   97   92  93
"""
HELD = [holding("LONG", 10, 100, symbol="AAA"), holding("LONG", 10, 100, symbol="BBB")]
BOTH = {"AAA": FALLING, "BBB": FALLING}


def test_a_layer_in_a_run_of_several_symbols(layered: Any) -> None:
    # The stop is 2 ATR, 98; for AAA 6 ATR, 94.
    wide = {"AAA": {"trade.sl_atr_mult": 6.0}}
    check_trades(
        layered(BOTH, REFERENCE, wide, held=HELD),
        """
        time  symbol  action      reason     price
        1:00  AAA     CLOSE_LONG  Stop Loss  96.99515  # 97 * 0.99995
        1:00  BBB     CLOSE_LONG  Stop Loss  96.99515  # 97 * 0.99995
        """,
    )
    check_trades(
        layered(BOTH, ALWAYS, wide, held=HELD),
        """
        time  symbol  action      reason     price
        1:00  BBB     CLOSE_LONG  Stop Loss  96.99515  # 97 * 0.99995
        2:00  AAA     CLOSE_LONG  Stop Loss  92.99535  # 93 * 0.99995
        """,
    )


def test_a_layer_in_a_run_of_one_symbol(layered: Any) -> None:
    # Asked for alone, AAA has its layer in both; BBB's layer is none of AAA's business.
    held = [holding("LONG", 10, 100, symbol="AAA")]
    layers = {"AAA": {"trade.sl_atr_mult": 6.0}, "BBB": {"trade.sl_atr_mult": 1.0}}
    for semantics in (REFERENCE, ALWAYS):
        check_trades(
            layered({"AAA": FALLING}, semantics, layers, symbol="AAA", held=held),
            """
            time  symbol  action      reason     price
            2:00  AAA     CLOSE_LONG  Stop Loss  92.99535  # 93 * 0.99995
            """,
        )


BUY = """
t     o    h    l    c
0:00  100  101  99   100
1:00  100  126  100  125
2:00  125  126  124  125
"""


def test_indicators_and_gates_of_a_layer(layered: Any) -> None:
    # The ATR of AAA is the mean of two true ranges, (2 + 26) / 2 = 14, its stop at 125 - 0.5 * 14 = 118. Without the
    # layer the stop is at 125 - 0.5 * 26 = 112, and 118 leaves by the cross: slow EMA 112.5, 118.75, (118.75 + 118) /
    # 2 = 118.375. BBB wants an RSI of 60 and has 50.
    main = {name: BUY + "3:00  125  125  117  118" for name in ("AAA", "BBB")}
    base = DRIFT | LONGS | {"trade.sl_atr_mult": 0.5}
    layers = {
        "AAA": {"indicators.atr_window": 2},
        "BBB": {"thresholds.entry.slow_drift_rsi_long_min": 60.0},
    }
    check_trades(
        layered(main, REFERENCE, layers, base=base),
        """
        time  symbol  action      reason                       price     qty
        1:00  AAA     OPEN_LONG   Low entry                    125       8
        1:00  BBB     OPEN_LONG   Low entry                    125       8
        3:00  AAA     CLOSE_LONG  Trend Breakdown (EMA Cross)  117.9941  8    # 118 * 0.99995
        3:00  BBB     CLOSE_LONG  Trend Breakdown (EMA Cross)  117.9941  8    # 118 * 0.99995
        """,
    )
    check_trades(
        layered(main, ALWAYS, layers, base=base),
        """
        time  symbol  action      reason     price     qty
        1:00  AAA     OPEN_LONG   Low entry  125       8
        3:00  AAA     CLOSE_LONG  Stop Loss  117.9941  8    # 118 * 0.99995
        """,
    )


def test_the_portfolio_reads_no_layer(layered: Any) -> None:
    # Two positions at most and all margin may be used, whatever the layer of AAA says; alone, AAA's layer is all
    # there is.
    main = {"AAA": BUY, "BBB": BUY}
    layers = {
        "AAA": {
            "trade.max_open_positions": 1,
            "trade.max_total_margin_pct": 0.05,
            "trade.max_entry_orders_per_loop": 1,
        }
    }
    for semantics in (REFERENCE, ALWAYS):
        check_trades(
            layered(main, semantics, layers, base=DRIFT),
            """
            time  symbol  action      reason           price      qty  margin
            1:00  AAA     OPEN_LONG   Low entry        125        8    1000
            1:00  BBB     OPEN_LONG   Low entry        125        8    1000
            2:00  AAA     CLOSE_LONG  End of Backtest  124.99375  8    1000    # 125 * 0.99995
            2:00  BBB     CLOSE_LONG  End of Backtest  124.99375  8    1000    # 125 * 0.99995
            """,
        )
    # 5 % of 10000 are 500 instead of 1000: 4 pieces.
    check_trades(
        layered({"AAA": BUY}, REFERENCE, layers, base=DRIFT, symbol="AAA"),
        """
        time  symbol  action      reason           price      qty  margin
        1:00  AAA     OPEN_LONG   Low entry        125        4    500     # 10000 * 0.05
        2:00  AAA     CLOSE_LONG  End of Backtest  124.99375  4    500     # 125 * 0.99995
        """,
    )
    check_trades(
        layered({"AAA": BUY}, ALWAYS, layers, base=DRIFT, symbol="AAA"),
        """
        time  symbol  action      reason           price      qty  margin
        1:00  AAA     OPEN_LONG   Low entry        125        8    1000
        2:00  AAA     CLOSE_LONG  End of Backtest  124.99375  8    1000    # 125 * 0.99995
        """,
    )


# trade_ids. A buy at 1:00 (slow EMA 112.5), the cross closes it at 2:00 (106.25 > 100), a buy at 3:00
# (115.625).
TWICE = """
t     o    h    l    c
0:00  100  101  99   100
1:00  100  126  100  125
2:00  125  126  99   100
3:00  100  126  99   125
4:00  125  126  124  125
"""


#: The stop is far away.
STAYS = {"trade.sl_atr_mult": 10.0}


def numbered(played: Played, semantics: Semantics) -> list[tuple[str, ...]]:
    """(exit time, symbol, trade id, position id, entry time) of each row of the trade CSV."""
    text = trades_csv(
        played.result,
        played.reasons,
        played.inputs.candles,
        unique_ids=semantics.trade_ids == "unique",
        known_after_ms=0,
        brought=brought_by(played.inputs.init_state, played.inputs.from_ms),
    )
    rows = [line.split(",") for line in text.splitlines()[1:]]
    return [(at(int(row[3])), row[4], row[0], row[1], at(int(row[2]))) for row in rows]


def test_two_positions_of_a_symbol() -> None:
    played = play(TWICE, REFERENCE, base=DRIFT, config=LONGS | STAYS)
    # The reference calls every position of a symbol by the first one's number.
    assert numbered(played, REFERENCE) == [
        ("2:00", "ETH", "1:1", "1", "1:00"),
        ("4:00", "ETH", "1:1", "1", "3:00"),
    ]
    assert numbered(played, UNIQUE) == [
        ("2:00", "ETH", "1:1", "1", "1:00"),
        ("4:00", "ETH", "2:1", "2", "3:00"),
    ]


def test_numbers_follow_the_log_over_all_symbols() -> None:
    # Opened: AAA, BBB at 1:00 (1, 2), then both at 3:00 (3, 4).
    played = play({"AAA": TWICE, "BBB": TWICE}, REFERENCE, base=DRIFT, config=LONGS | STAYS)
    assert numbered(played, REFERENCE) == [
        ("2:00", "AAA", "1:1", "1", "1:00"),
        ("2:00", "BBB", "2:1", "2", "1:00"),
        ("4:00", "AAA", "1:1", "1", "3:00"),
        ("4:00", "BBB", "2:1", "2", "3:00"),
    ]
    assert numbered(played, UNIQUE) == [
        ("2:00", "AAA", "1:1", "1", "1:00"),
        ("2:00", "BBB", "2:1", "2", "1:00"),
        ("4:00", "AAA", "3:1", "3", "3:00"),
        ("4:00", "BBB", "4:1", "4", "3:00"),
    ]


def test_partial_exits_count_within_a_position() -> None:
    # Entry 125, ATR 26: the target is 125 + 0.1 * 26 = 127.6. Half at 128, half of the rest at 129, the rest at the
    # cross (100); at the second entry, ATR 30 (129 - 99), nothing is reached.
    bars = """
    t     o    h    l    c
    0:00  100  101  99   100
    1:00  100  126  100  125
    2:00  125  128  125  128
    3:00  128  129  128  129
    4:00  129  129  99   100
    5:00  100  126  100  125
    6:00  125  126  124  125
    """
    partial = LONGS | STAYS | {"trade.enable_partial_tp": True, "trade.tp_atr_mult": 0.1}
    played = play(bars, REFERENCE, base=DRIFT, config=partial)
    assert numbered(played, REFERENCE) == [
        ("2:00", "ETH", "1:1", "1", "1:00"),
        ("3:00", "ETH", "1:2", "1", "1:00"),
        ("4:00", "ETH", "1:3", "1", "1:00"),
        ("6:00", "ETH", "1:1", "1", "5:00"),
    ]
    assert [row[2:4] for row in numbered(played, UNIQUE)] == [
        ("1:1", "1"),
        ("1:2", "1"),
        ("1:3", "1"),
        ("2:1", "2"),
    ]


def test_positions_of_an_init_state_have_rows_where_they_are_numbered() -> None:
    # The position held from before leaves at 2:00 by the cross without an entry in the log. The reference leaves it
    # out; numbered, it is the first, opened when the state says.
    held = [holding("LONG", 10, 100)]
    played = play(TWICE, REFERENCE, base=DRIFT, config=LONGS | STAYS, held=held)
    assert numbered(played, REFERENCE) == [("4:00", "ETH", "1:1", "1", "3:00")]
    assert numbered(played, UNIQUE) == [
        ("2:00", "ETH", "1:1", "1", at(held[0].opened_ms)),
        ("4:00", "ETH", "2:1", "2", "3:00"),
    ]
