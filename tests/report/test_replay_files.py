"""What a replay writes: JSON with its numbers as text, the trade CSV, the printed summary."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from mei.metrics.replay import replay_numbers, symbol_numbers
from mei.model.candles import Candles, offsets_of
from mei.model.errors import DataError
from mei.model.replay import InitPosition, InitState
from mei.report.json_text import compact_json, float_text, pretty_json
from mei.report.replay_csv import (
    HEADER,
    Brought,
    OpenTrade,
    brought_by,
    trades_csv,
    with_open_trades,
)
from mei.report.replay_json import curve_rows, replay_object, trade_rows
from mei.report.replay_text import replay_summary, sweep_table
from tests.metrics.trade_log import result_of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (0.1, "0.1"),
        (0.0001, "0.0001"),
        (6.7649582e-05, "0.000067649582"),
        (1e-05, "0.00001"),
        (-1.5e-05, "-0.000015"),
        (1.7e-08, "1.7e-8"),
        (9.99e-06, "9.99e-6"),
        (1e-300, "1e-300"),
        (123456789012345.6, "123456789012345.6"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e16"),
        (1.5e17, "1.5e17"),
        (-2e300, "-2e300"),
        (math.nan, "null"),
        (math.inf, "null"),
        (-math.inf, "null"),
    ],
)
def test_float_text(value: float, text: str) -> None:
    assert float_text(value) == text
    if text != "null":
        assert float(text) == value


def test_json_is_sorted_and_indented() -> None:
    value = {"b": [1, 2.0, None, True], "a": {}, "é\n": [], "c": {"z": "x", "A": [[1, 0.5]]}}
    assert json.loads(pretty_json(value)) == value
    assert pretty_json(value) == (
        '{\n  "a": {},\n  "b": [\n    1,\n    2.0,\n    null,\n    true\n  ],\n  "c": {\n    "A": [\n      [\n'
        '        1,\n        0.5\n      ]\n    ],\n    "z": "x"\n  },\n  "é\\n": []\n}\n'
    )
    assert compact_json(value) == (
        '{"a":{},"b":[1,2.0,null,true],"c":{"A":[[1,0.5]],"z":"x"},"é\\n":[]}'
    )


def candles_of(highs: list[float], lows: list[float], symbol: str = "AAA") -> Candles:
    """Bars opening at 10, 20, 30 and so on."""
    n_bars = len(highs)
    open_ms = 10 * np.arange(1, n_bars + 1, dtype=np.int64)
    px = np.ones(n_bars)
    return Candles(
        "1h",
        10,
        (symbol,),
        offsets_of([n_bars]),
        open_ms,
        px,
        np.array(highs),
        np.array(lows),
        px,
        px,
    )


def csv_of(
    rows: list[tuple[object, ...]],
    candles: Candles,
    *,
    unique: bool = False,
    known_after_ms: int = 0,
    reason: str = "Stop Loss",
    brought: Brought | None = None,
) -> list[list[str]]:
    """Cells of the rows below the header."""
    result = result_of(rows, symbols=candles.symbols)
    text = trades_csv(
        result,
        [reason] * len(rows),
        candles,
        unique_ids=unique,
        known_after_ms=known_after_ms,
        brought=brought or Brought(),
    )
    header, *lines = text.removesuffix("\n").split("\n")
    assert header == HEADER
    return [line.split(",", 14) for line in lines]


def test_range_of_a_position_takes_each_bar_once() -> None:
    candles = candles_of([1.0, 12.0, 15.0, 11.0, 30.0], [1.0, 9.0, 10.0, 8.0, 2.0])
    rows = [
        (20, "AAA", "OPEN_LONG", 10.0, 2.0, 0.0, 0.1, 1),
        (30, "AAA", "ADD_LONG", 14.0, 1.0, 0.0, 0.1, 1),
        (30, "AAA", "REDUCE_LONG", 13.0, 1.0, 1.5, 0.2, 1),
        (40, "AAA", "CLOSE_LONG", 9.5, 2.0, -1.25, 0.3, 1),
        (40, "AAA", "OPEN_SHORT", 9.5, 1.0, 0.0, 0.3, 2),
        (50, "AAA", "CLOSE_SHORT", 4.0, 1.0, 5.5, 0.3, 2),
    ]
    first, second, third = csv_of(rows, candles)
    assert first == [
        *("1:1", "1", "20", "30", "AAA", "LONG"),
        *("10.00000000", "13.00000000", "1.00000000", "1.50000000", "0.20000000"),
        *("-0.10000000", "0.50000000", "exit_stop_loss", "Stop Loss"),
    ]
    assert second[:4] == ["1:2", "1", "20", "40"]
    assert second[11:13] == ["-0.20000000", "0.50000000"]
    # The bar of the flip went to the closed position; ids of a symbol repeat.
    assert third[:6] == ["1:1", "1", "40", "50", "AAA", "SHORT"]
    assert third[11:13] == [f"{(9.5 - 30.0) / 9.5:.8f}", f"{(9.5 - 2.0) / 9.5:.8f}"]


def test_unique_ids_number_every_position() -> None:
    candles = candles_of([1.0] * 5, [1.0] * 5)
    rows = [
        (10, "AAA", "OPEN_LONG", 1.0, 2.0, 0.0, 0.0, 7),
        (20, "AAA", "REDUCE_LONG", 1.0, 1.0, 0.0, 0.0, 7),
        (30, "AAA", "CLOSE_LONG", 1.0, 1.0, 0.0, 0.0, 7),
        (30, "AAA", "OPEN_LONG", 1.0, 1.0, 0.0, 0.0, 8),
        (40, "AAA", "CLOSE_LONG", 1.0, 1.0, 0.0, 0.0, 8),
    ]
    assert [row[:2] for row in csv_of(rows, candles, unique=True)] == [
        ["7:1", "7"],
        ["7:2", "7"],
        ["8:1", "8"],
    ]
    assert [row[0] for row in csv_of(rows, candles)] == ["1:1", "1:2", "1:1"]


def test_position_opened_while_another_is_held_has_the_second_number() -> None:
    rows = [
        (10, "AAA", "OPEN_LONG", 1.0, 2.0, 0.0, 0.0, 1),
        (30, "AAA", "CLOSE_LONG", 1.0, 2.0, 0.0, 0.0, 1),
        (20, "AAA", "OPEN_LONG", 2.0, 2.0, 0.0, 0.0, 2),
        (40, "AAA", "CLOSE_LONG", 1.0, 2.0, 0.0, 0.0, 2),
    ]
    candles = candles_of([1.0] * 5, [1.0] * 5)
    assert [row[:4] for row in csv_of(rows, candles)] == [["2:1", "2", "20", "30"]]
    assert [row[:4] for row in csv_of(rows, candles, unique=True)] == [
        ["1:1", "1", "10", "30"],
        ["2:1", "2", "20", "40"],
    ]


def test_bars_count_from_the_time_they_are_known() -> None:
    candles = candles_of([5.0, 7.0, 9.0], [1.0, 1.0, 1.0])
    rows = [
        (20, "AAA", "OPEN_LONG", 1.0, 1.0, 0.0, 0.0, 1),
        (30, "AAA", "CLOSE_LONG", 1.0, 1.0, 0.0, 0.0, 1),
    ]
    assert csv_of(rows, candles)[0][12] == "8.00000000"
    assert csv_of(rows, candles, known_after_ms=10)[0][12] == "6.00000000"


def held_before(**changes: object) -> InitState:
    """A state of version 1 that holds 1 AAA, bought at 4."""
    held = InitPosition("AAA", 1, 1.0, 4.0, 0.0, 1, 1.0, 4.0, opened_ms=5)
    return replace(InitState(1, "paper", 15, 100.0, (held,)), **changes)  # type: ignore[arg-type]


def test_closes_of_positions_that_were_there_before() -> None:
    """Ranges of version 1 begin with the run, at the entry price: here with the bar of 20."""
    rows = [(30, "AAA", "CLOSE_LONG", 5.0, 1.0, 1.0, 0.1, 1)]
    candles = candles_of([9.0, 6.0, 5.0, 8.0], [1.0, 3.0, 4.0, 2.0])
    assert csv_of(rows, candles) == csv_of(rows, candles, unique=True) == []
    brought = brought_by(held_before(), 20)
    assert csv_of(rows, candles, brought=brought) == []
    assert csv_of(rows, candles, unique=True, brought=brought) == [
        [
            *("1:1", "1", "5", "30", "AAA", "LONG"),
            *("4.00000000", "5.00000000", "1.00000000", "1.00000000", "0.10000000"),
            *("-0.25000000", "0.50000000", "exit_stop_loss", "Stop Loss"),
        ]
    ]


def test_what_a_run_leaves_the_next_one_brings_along() -> None:
    """A part of position 7 is sold before the cut at 30; what only the end of the run closed is still held."""
    candles = candles_of([5.0, 7.0, 9.0, 8.0], [4.0, 3.0, 2.0, 1.0])
    rows = [
        (10, "AAA", "OPEN_LONG", 4.0, 2.0, 0.0, 0.0, 7),
        (20, "AAA", "REDUCE_LONG", 5.0, 1.0, 1.0, 0.0, 7),
        (30, "AAA", "CLOSE_LONG", 6.0, 1.0, 2.0, 0.0, 7),
    ]
    first = result_of(rows, symbols=("AAA",), continuation={"as_of_ms": 30, "x": 1}, n_ending=1)
    left = with_open_trades(first, candles, 0, Brought())
    assert (left["as_of_ms"], left["x"]) == (30, 1)
    brought = brought_by(held_before(version=2, continuation=json.loads(json.dumps(left))), None)
    assert brought.until_ms == 30
    rows = [(40, "AAA", "CLOSE_LONG", 7.0, 1.0, 3.0, 0.0, 7)]
    (row,) = csv_of(rows, candles, unique=True, brought=brought)
    assert row[:7] == ["7:2", "7", "10", "40", "AAA", "LONG", "4.00000000"]
    assert row[11:13] == ["-0.75000000", "1.25000000"]
    second = result_of([], symbols=("AAA",), continuation={"as_of_ms": 40})
    (kept,) = with_open_trades(second, candles, 0, brought)["open_trades"]
    assert (kept["number"], kept["n_exits"], kept["lowest"], kept["highest"]) == (7, 1, 1.0, 9.0)


@pytest.mark.parametrize(
    "change",
    [{"number": None}, {"side": "FLAT"}, {"symbol": 3}, {"highest": math.inf}, {"more": 1}],
)
def test_open_trades_that_no_run_left_are_refused(change: dict[str, object]) -> None:
    trade = OpenTrade("AAA", 7, "LONG", 10, 4.0, 9.0, 2.0)
    for kept in ([asdict(trade) | change], None, [3]):
        state = held_before(version=2, continuation={"as_of_ms": 30, "open_trades": kept}, path="s")
        with pytest.raises(DataError, match=r"^s: the init-state must be .* open_trades of its"):
            brought_by(state, None)
    state = held_before(version=2, continuation={"as_of_ms": 30, "open_trades": [asdict(trade)]})
    assert brought_by(state, None).trades == (trade,)


def test_texts_are_quoted_where_they_must_be() -> None:
    rows = [
        (10, 'A"A', "OPEN_LONG", 0.0, 1.0, 0.0, 0.0, 1),
        (20, 'A"A', "CLOSE_LONG", 1.0, 1.0, 0.0, 0.0, 1),
    ]
    row = csv_of(rows, candles_of([1.0], [1.0], 'A"A'), reason="RSI Oversold (1.0, Thr: 30)")[0]
    assert row[4] == '"A""A"'
    assert row[11:13] == ["0.00000000", "0.00000000"]
    assert row[14] == '"RSI Oversold (1.0, Thr: 30)"'


ROWS = [
    (1, "BBB", "OPEN_LONG", 10.0, 2.0, 0.0, 0.5, 1, 2),
    (6, "BBB", "CLOSE_LONG", 9.0, 2.0, -2.0, 0.2, 1, 2),
]
GATES = {"total_checks": 3, "buy_count": 1, "blocked_by_ranging": 2, "blocked_by_btc": 3}


def test_report_has_the_names_of_the_specification() -> None:
    reasons = ["High entry", "Stop Loss"]
    curve = [(1, 1000.0), (2, 997.3)]
    result = result_of(ROWS, curve=curve, final_balance_usd=997.3, gates=GATES)
    numbers = replay_numbers(result, reasons)
    by_symbol = symbol_numbers(result, {"BBB": 1.0}, {"BBB": 1.0})
    report = replay_object(numbers, by_symbol, -5.0)
    assert report["config_id"] == "replay"
    assert report["by_confidence"] == [
        {"confidence": "high", "trades": 1, "pnl": -2.0, "win_rate": 0.0, "avg_pnl": -2.0}
    ]
    assert report["by_side"] == [{"side": "LONG", "trades": 1, "pnl": -2.0, "win_rate": 0.0}]
    assert report["gate_stats"]["signal_pct"] == 1 / 3
    assert report["slippage_bps"] == -5.0
    assert set(report["per_symbol"]) == {"BBB"}
    assert curve_rows(result) == [[1, 1000.0], [2, 997.3]]
    assert trade_rows(result, reasons)[1] == {
        "timestamp": 6,
        "symbol": "BBB",
        "action": "CLOSE_LONG",
        "price": 9.0,
        "size": 2.0,
        "pnl": -2.0,
        "fee": 0.2,
        "reason": "Stop Loss",
        "reason_code": "exit_stop_loss",
        "confidence": "high",
        "balance": 0.0,
    }


def test_summary_prints_what_there_is() -> None:
    result = result_of(ROWS, final_balance_usd=997.3, gates=GATES, n_signals=1)
    lines = replay_summary(replay_numbers(result, ["High entry", "Stop Loss"]), 0.0526)
    assert lines == [
        "",
        "=== Backtest Summary ===",
        "",
        "Initial Balance:   $1000.00",
        "Final Balance:     $997.30",
        "Total PnL:         $-2.70 (-0.27%)",
        "Total Trades:      1",
        "Win Rate:          0.0% (0/1)",
        "Profit Factor:     0.00",
        "Sharpe Ratio:      0.000",
        "Max Drawdown:      $0.00 (0.00%)",
        "Avg Win:           $0.00",
        "Avg Loss:          $-2.00",
        "Total Fees:        $0.70",
        "Signals Generated: 1",
        "",
        "--- By Confidence ---",
        "      high:    1 trades, PnL $   -2.00, WR 0.0%, Avg $-2.00",
        "",
        "--- By Exit Reason ---",
        "             Stop Loss:    1 trades, PnL $   -2.00, WR 0.0%",
        "",
        "--- Gate Stats ---",
        "  Total checks:         3",
        "  Signals generated:    1 (33.3%)",
        "  Blocked by ranging:   2",
        "",
        "Completed in 0.053s",
    ]


def test_summary_of_a_continued_run_says_what_is_of_both_parts() -> None:
    numbers = replay_numbers(result_of(ROWS), ["High entry", "Stop Loss"])
    lines = replay_summary(numbers, 0.0, 12345.678)
    (line,) = [line for line in lines if line not in replay_summary(numbers, 0.0)]
    assert line == (
        "Continued run:     drawdown from the highest equity so far, before the cut $12345.68; "
        "all else, Sharpe too, of this part alone"
    )


def test_summary_of_nothing_leaves_groups_out() -> None:
    lines = replay_summary(replay_numbers(result_of([]), []), 0.0)
    assert "--- By Confidence ---" not in lines
    assert "Total Fees:        $-0.00" in lines


def test_table_shows_the_best() -> None:
    numbers = replay_numbers(result_of(ROWS, final_balance_usd=997.3), ["High entry", "Stop Loss"])
    rows = [(f"sweep_{n:04d}", numbers, {"trade.b": 1.0, "trade.a": 0.5}) for n in range(3)]
    lines = sweep_table(rows, 2)
    assert lines[1] == "--- Top 2 results (by total PnL) ---"
    assert lines[3] == (
        " Rank      Config           PnL       WR%    Trades    Sharpe      MaxDD%  Overrides"
    )
    assert lines[5] == (
        "    1  sweep_0000         -2.70      0.0%         1     0.000       0.00%  "
        "trade.b=1.000, trade.a=0.500"
    )
    assert len(lines) == 8
    assert len(sweep_table(rows, 0)) == 6
