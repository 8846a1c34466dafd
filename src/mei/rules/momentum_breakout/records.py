"""State and terms of the walk as records that a compiled rule and plain Python read alike."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mei.model.bars import FloatArray, IntArray

#: One element of an array of the dtypes below; fields are attributes (in Python: of a `numpy.recarray`).
Record = Any
RecordArray = Any

NO_ORDER, ORDER_OPEN, ORDER_CLOSE = 0, 1, 2

#: One book: a symbol's position and pending order. direction: 1 long, -1 short, 0 flat. pending: NO_ORDER,
#: ORDER_OPEN or ORDER_CLOSE, with its direction, reason and notional. qty in base units; stop_px and target_px 0 =
#: none; entry_notional_usd as decided; is_closed: a position was closed on the bar at hand; last_close_px NaN = no
#: bar yet.
BOOK_DTYPE = np.dtype(
    [
        ("direction", "<i8"),
        ("bars_held", "<i8"),
        ("opened_ms", "<i8"),
        ("position_id", "<i8"),
        ("is_closed", "<i8"),
        ("pending", "<i8"),
        ("pending_direction", "<i8"),
        ("pending_reason", "<i8"),
        ("pending_notional_usd", "<f8"),
        ("qty", "<f8"),
        ("entry_px", "<f8"),
        ("entry_notional_usd", "<f8"),
        ("stop_px", "<f8"),
        ("target_px", "<f8"),
        ("last_close_px", "<f8"),
    ]
)

#: The account of all books. n_busy: books with a position or a pending order; n_trades: executed actions, those
#: beyond the capacity of the trade log included; n_refused: entries that found no positive equity; n_positions:
#: opened so far.
ACCOUNT_DTYPE = np.dtype(
    [
        ("cash_usd", "<f8"),
        ("equity_usd", "<f8"),
        ("n_busy", "<i8"),
        ("n_trades", "<i8"),
        ("n_refused", "<i8"),
        ("n_positions", "<i8"),
    ]
)

#: What the walk reads of the configuration. notional_usd 0 = allocation_frac of equity; fills_at_close: 1 =
#: signal_close.
TERMS_DTYPE = np.dtype(
    [
        ("max_hold_bars", "<i8"),
        ("fills_at_close", "<i8"),
        ("stop_bps", "<f8"),
        ("take_profit_bps", "<f8"),
        ("notional_usd", "<f8"),
        ("allocation_frac", "<f8"),
        ("fee_bps", "<f8"),
        ("slippage_bps", "<f8"),
    ]
)


class Bars(NamedTuple):
    """Bars of all symbols in the order of events: by the time they are known, then by symbol.

    symbol: number of the book, shape (n_rows,). Bars number starts[i] to starts[i + 1] - 1 are known at known_ms[i],
    shapes (n_steps + 1,) and (n_steps,), epoch ms UTC. Prices: shape (n_rows,), quote per base.
    """

    known_ms: IntArray
    starts: IntArray
    symbol: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
