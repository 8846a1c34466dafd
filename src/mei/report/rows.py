"""The rows of equity.csv and trades.csv: shortest round-trip decimals, undefined is empty."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mei.model.bars import FloatArray, IntArray, path_name
from mei.model.errors import OutputError
from mei.model.orders import Fill

EQUITY_COLUMNS = ("timestamp", "equity", "cash", "position_value", "close")
TRADE_COLUMNS = (
    "timestamp",
    "instrument",
    "strategy",
    "action",
    "side",
    "qty",
    "price",
    "notional",
    "fee",
    "slippage",
    "pnl",
    "config_id",
    "model_version",
    "reason",
)
TRADES_HEADER = ",".join(TRADE_COLUMNS)


def equity_header(symbols: Sequence[str]) -> str:
    """Header of equity.csv; with several symbols `close_<S>,qty_<S>` follow in their order."""
    columns = list(EQUITY_COLUMNS)
    if len(symbols) > 1:
        for symbol in symbols:
            columns += [f"close_{path_name(symbol)}", f"qty_{path_name(symbol)}"]
    return ",".join(columns)


def equity_row(
    timestamp: int,
    equity: float,
    cash: float,
    position_value: float,
    closes: Sequence[float | None],
    qtys: Sequence[float],
) -> str:
    """One row of equity.csv: one close and one signed quantity for each symbol.

    `timestamp` is the bar's close, epoch ms. A close is None before a symbol's first bar.
    Raises OutputError when the account is not finite.
    """
    if not math.isfinite(equity + cash + position_value):
        raise OutputError(
            f"equity.csv must hold finite numbers, timestamp {timestamp} has equity {equity!r}, "
            f"cash {cash!r}, position_value {position_value!r}: check candles and order sizes"
        )
    close = closes[0]
    account = (
        f"{timestamp},{equity!r},{cash!r},{position_value!r},{'' if close is None else repr(close)}"
    )
    if len(closes) == 1:
        return account
    pairs = [f",{_number(close)},{qty!r}" for close, qty in zip(closes, qtys, strict=True)]
    return account + "".join(pairs)


def equity_rows(
    timestamps: IntArray,
    equity: FloatArray,
    cash: FloatArray,
    position_value: FloatArray,
    closes: FloatArray,
    qtys: FloatArray,
) -> list[str]:
    """Rows of equity.csv for n bars; `closes` and `qtys` have shape (n, n_symbols), the rest (n,).

    NaN in `closes` means no bar yet. Raises OutputError when the account is not finite.
    """
    known = [[None if math.isnan(close) else close for close in row] for row in closes.tolist()]
    account = (timestamps.tolist(), equity.tolist(), cash.tolist(), position_value.tolist())
    return list(map(equity_row, *account, known, qtys.tolist()))


def trade_row(fill: Fill) -> str:
    """One row of trades.csv, columns TRADE_COLUMNS; `pnl` is empty for an opening or an add."""
    pnl = None if fill.action in ("open", "add") else fill.pnl
    numbers = (fill.qty, fill.price, fill.notional, fill.fee, fill.slippage)
    if not math.isfinite(sum(numbers) + fill.pnl):
        raise OutputError(f"trades.csv must hold finite numbers, found {fill!r}")
    version = "" if fill.model_version is None else str(fill.model_version)
    words = (fill.instrument, fill.strategy, fill.action, fill.side)
    cells = [str(fill.timestamp), *map(_text, words), *map(_number, numbers), _number(pnl)]
    return ",".join([*cells, _text(fill.config_id), version, _text(fill.reason)])


def _number(value: float | None) -> str:
    return "" if value is None else repr(float(value))


def _text(value: str) -> str:
    """RFC 4180 quoting, only where needed; line ends become blanks so that a row stays a line."""
    line = " ".join(value.splitlines()) if ("\n" in value or "\r" in value) else value
    return '"' + line.replace('"', '""') + '"' if ("," in line or '"' in line) else line
