"""Rows of equity.csv and trades.csv, byte for byte."""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mei.model.errors import OutputError
from mei.model.orders import Fill
from mei.report.rows import TRADES_HEADER, equity_header, equity_row, equity_rows, trade_row

FILL = Fill(
    timestamp=1_700_000_060_000,
    instrument="BTC/USDT",
    strategy="momentum_breakout",
    action="close",
    side="sell",
    qty=0.1,
    reference_px=100.02,
    price=100.0,
    notional=10.0,
    fee=0.001,
    slippage=0.002,
    pnl=-0.30000000000000004,
    config_id="fast",
    model_version=3,
    reason="stop",
)


def test_headers_follow_the_contract() -> None:
    assert equity_header(["BTC/USDT"]) == "timestamp,equity,cash,position_value,close"
    assert equity_header(["BTC/USDT", "ETH/USDT"]).endswith(
        ",close,close_BTC_USDT,qty_BTC_USDT,close_ETH_USDT,qty_ETH_USDT"
    )
    assert TRADES_HEADER == (
        "timestamp,instrument,strategy,action,side,qty,price,notional,fee,slippage,pnl,"
        "config_id,model_version,reason"
    )


def test_floats_are_shortest_round_trip_decimals() -> None:
    row = equity_row(60_000, 0.1 + 0.2, 1e22, 5e-324, [16_500.0], [])
    assert row == "60000,0.30000000000000004,1e+22,5e-324,16500.0"


def test_several_symbols_append_close_and_quantity_in_order() -> None:
    row = equity_row(60_000, 3.0, 2.0, 1.0, [10.0, None], [0.5, 0.0])
    assert row == "60000,3.0,2.0,1.0,10.0,10.0,0.5,,0.0"


def test_arrays_give_the_rows_of_single_bars() -> None:
    rng = np.random.default_rng(5)
    account = rng.normal(size=(3, 4))
    closes = np.array([[1.5, np.nan], [2.5, 3.5], [2.5, 3.5], [9.0, 1.0]])
    qtys = rng.normal(size=(4, 2))
    rows = equity_rows(np.arange(4), account[0], account[1], account[2], closes, qtys)
    for number, row in enumerate(rows):
        known = [None if np.isnan(close) else float(close) for close in closes[number]]
        values = [float(value) for value in account[:, number]]
        assert row == equity_row(number, *values, known, qtys[number].tolist())
    assert "np." not in rows[0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_account_that_is_not_finite_is_an_error_not_a_row(bad: float) -> None:
    with pytest.raises(OutputError, match="timestamp 60000"):
        equity_row(60_000, bad, 1.0, 0.0, [1.0], [])
    with pytest.raises(OutputError, match="finite"):
        trade_row(replace(FILL, fee=bad))


def test_trade_row_of_a_close() -> None:
    assert trade_row(FILL) == (
        "1700000060000,BTC/USDT,momentum_breakout,close,sell,0.1,100.0,10.0,0.001,0.002,"
        "-0.30000000000000004,fast,3,stop"
    )


@pytest.mark.parametrize("action", ["open", "add"])
def test_trade_row_of_an_entry_has_no_pnl_and_no_model_where_there_is_none(action: Any) -> None:
    row = trade_row(replace(FILL, action=action, pnl=0.0, model_version=None))
    assert row.split(",")[10:13] == ["", "fast", ""]


def test_trade_row_of_a_partial_exit_has_its_pnl() -> None:
    assert trade_row(replace(FILL, action="reduce")).split(",")[10] == "-0.30000000000000004"


def test_texts_with_commas_and_quotes_survive_a_csv_reader() -> None:
    row = trade_row(replace(FILL, reason='up, "really"\nup', config_id="a,b"))
    cells = next(csv.reader([row]))
    assert cells[11] == "a,b"
    assert cells[13] == 'up, "really" up'
    assert len(cells) == len(TRADES_HEADER.split(","))
