"""What a replay of momentum_breakout starts with, and what it leaves for the next one (init-state version 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, isnan
from typing import Any

import numpy as np

from mei.engines.momentum_breakout_market import Market
from mei.model.bars import FloatArray
from mei.model.errors import ConfigError, DataError
from mei.model.replay import (
    CONFIDENCES,
    InitPosition,
    InitState,
    ReplayInputs,
    highest_usd,
    state_fault,
)
from mei.rules.accounting import pnl_usd
from mei.rules.exits import stop_px, target_px
from mei.rules.momentum_breakout.records import (
    ACCOUNT_DTYPE,
    BOOK_DTYPE,
    NO_ORDER,
    Record,
    RecordArray,
)
from mei.rules.momentum_breakout.settings import NAME

#: Version of the continuation's own layout.
LAYOUT = 1
#: What InitPosition calls a position of a strategy that has no confidence.
_CONFIDENCE = CONFIDENCES.index("medium")
_COUNTS = tuple(name for name in BOOK_DTYPE.names or () if BOOK_DTYPE[name].kind == "i")
_AMOUNTS = tuple(name for name in BOOK_DTYPE.names or () if BOOK_DTYPE[name].kind == "f")


@dataclass(frozen=True, slots=True)
class Start:
    """books: BOOK_DTYPE, one a symbol of the market; account: ACCOUNT_DTYPE, shape (1,).

    equity_usd: what the run starts with: a continuation's equity, marked, or an init-state's balance as it says.
    """

    books: RecordArray
    account: RecordArray
    equity_usd: float


def check_continuation(inputs: ReplayInputs) -> None:
    """Whether the init-state's continuation is one that this run can go on from.

    Raises ConfigError for another strategy, interval or set of symbols, DataError when it is not as it was written.
    """
    state = inputs.init_state
    if state is None or state.continuation is None:
        return
    found = (state.continuation.get("strategy"), state.continuation.get("layout"))
    if found != (NAME, LAYOUT):
        raise ConfigError(
            f"the init-state's continuation must be of {NAME}, layout {LAYOUT}, "
            f"was of {found[0]!r}, layout {found[1]!r}"
        )
    interval_ms = state.continuation.get("interval_ms")
    if interval_ms != inputs.candles.interval_ms:
        raise ConfigError(
            f"the init-state's continuation must be of bars of {inputs.candles.interval_ms} ms, "
            f"was of {interval_ms!r} ms"
        )
    fault = _fault(state.continuation)
    if fault is not None:
        raise DataError(
            f"{state.label} must be as --export-state wrote it, of its continuation {fault}; export it again"
        )
    _check_held(inputs, state)


def _fault(continuation: Mapping[str, Any]) -> str | None:
    """What a continuation lacks, in words."""
    for name in ("as_of_ms", "cash_usd", "n_positions", "equity_peak_usd", "books"):
        if name not in continuation:
            return f"{name} is missing"
    for name in ("as_of_ms", "n_positions"):
        if not _is_whole(continuation[name]):
            return f"{name} is no whole number"
    if not _is_number(continuation["cash_usd"]):
        return "cash_usd is no finite number"
    if not (continuation["equity_peak_usd"] is None or _is_number(continuation["equity_peak_usd"])):
        return "equity_peak_usd is neither null nor a finite number"
    if not isinstance(continuation["books"], Mapping):
        return "books is no mapping"
    for symbol, book in continuation["books"].items():
        fault = _book_fault(book)
        if fault is not None:
            return f"books.{symbol}{fault}"
    return None


def _book_fault(book: Any) -> str | None:
    if not isinstance(book, Mapping):
        return " is no mapping"
    for name in (*_COUNTS, *_AMOUNTS, "window", "is_window_whole"):
        if name not in book:
            return f".{name} is missing"
    for name in _COUNTS:
        if not _is_whole(book[name]):
            return f".{name} is no whole number"
    for name in _AMOUNTS:
        if not (_is_number(book[name]) or (name == "last_close_px" and book[name] is None)):
            return f".{name} is no finite number"
    if book["direction"] not in (-1, 0, 1):
        return ".direction is not -1, 0 or 1"
    if book["direction"] and not (book["qty"] > 0.0 and book["entry_px"] > 0.0):
        return " holds a position whose qty or entry_px is not above 0"
    return _window_fault(book["window"])


def _window_fault(window: Any) -> str | None:
    if not isinstance(window, Mapping):
        return ".window is no mapping"
    for name in ("open_ms", "high", "low", "close"):
        column = window.get(name)
        if not isinstance(column, list) or len(column) != len(window.get("close", "-")):
            return f".window.{name} is missing or of another length"
        if not all(map(_is_number, column)):
            return f".window.{name} holds what is no finite number"
    return None


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def _check_held(inputs: ReplayInputs, state: InitState) -> None:
    """Every symbol that holds something must be traded on, and what the state shows must be what goes on."""
    continuation = state.continuation or {}
    names = set(inputs.candles.symbols) if inputs.traded is None else inputs.traded
    books = continuation["books"]
    lost = [
        name
        for name, book in books.items()
        if name not in names and (book["direction"] or book["pending"] != NO_ORDER)
    ]
    if lost:
        raise ConfigError(
            f"the init-state holds {', '.join(lost)}, which this run does not trade: give their candles "
            "and no other --symbol"
        )
    held = [_position(name, book) for name, book in books.items() if book["direction"]]
    fault = state_fault(state, float(continuation["cash_usd"]), held)
    if fault is not None:
        raise DataError(
            f"{state.label} must agree with itself, {fault}: export it again, or give it as version 1"
        )


def positions_of(market: Market, books: RecordArray) -> tuple[InitPosition, ...]:
    """What is held, symbols ascending."""
    return tuple(
        _position(name, book)
        for name, book in zip(market.symbols, books, strict=True)
        if book["direction"]
    )


def _position(symbol: str, book: Any) -> InitPosition:
    """A position as version 1 knows it: unlevered, without a trailing stop, of the middle confidence."""
    return InitPosition(
        symbol=symbol,
        side=int(book["direction"]),
        qty=float(book["qty"]),
        entry_px=float(book["entry_px"]),
        entry_atr=0.0,
        confidence=_CONFIDENCE,
        leverage=1.0,
        margin_usd=float(book["entry_notional_usd"]),
        opened_ms=int(book["opened_ms"]),
        last_add_ms=int(book["opened_ms"]),
    )


def start_of(inputs: ReplayInputs, market: Market, settings: Mapping[str, Any]) -> Start:
    """Books and account before the first step that may trade.

    Positions of an init-state without continuation get stop and target from their entry price, and are held from now.
    """
    books = np.zeros(len(market.symbols), dtype=BOOK_DTYPE)
    books["last_close_px"] = np.nan
    account = np.zeros(1, dtype=ACCOUNT_DTYPE)
    account["cash_usd"] = inputs.initial_balance_usd
    state = inputs.init_state
    if state is not None and state.continuation is not None:
        _resume(state.continuation, market, books, account)
    elif state is not None:
        _take_positions(state, market, settings, books, account)
    _see_last_closes(market, books)
    account["n_busy"] = np.count_nonzero((books["direction"] != 0) | (books["pending"] != NO_ORDER))
    cash_usd = float(account["cash_usd"][0])
    is_marked = state is not None and state.continuation is not None
    return Start(books, account, _equity(books, cash_usd) if is_marked else cash_usd)


def continuation_of(
    market: Market,
    books: RecordArray,
    account: Record,
    lookback: int,
    curve_usd: FloatArray,
    before_usd: float | None,
) -> dict[str, Any]:
    """Everything the bars after the last step depend on, as JSON carries it; the newest `lookback` bars included.

    curve_usd: equity of the steps of this run; before_usd: the highest point of the run that it went on from.
    """
    known_ms = market.bars.known_ms
    as_of_ms = int(known_ms[-1]) if len(known_ms) else market.as_of_ms
    return {
        "strategy": NAME,
        "layout": LAYOUT,
        "interval_ms": market.interval_ms,
        "as_of_ms": 0 if as_of_ms is None else as_of_ms,
        "cash_usd": float(account["cash_usd"]),
        "n_positions": int(account["n_positions"]),
        "equity_peak_usd": highest_usd(before_usd, curve_usd),
        "books": {
            name: _book_content(market, number, books[number], lookback)
            for number, name in enumerate(market.symbols)
        },
    }


def _book_content(market: Market, number: int, book: Record, lookback: int) -> dict[str, Any]:
    first, end = int(market.offsets[number]), int(market.offsets[number + 1])
    oldest = max(first, end - lookback)
    content: dict[str, Any] = {name: int(book[name]) for name in _COUNTS}
    for name in _AMOUNTS:
        value = float(book[name])
        content[name] = None if isnan(value) else value
    if end > first:
        content["last_close_px"] = float(market.close[end - 1])
    content["window"] = {
        name: getattr(market, name)[oldest:end].tolist()
        for name in ("open_ms", "high", "low", "close")
    }
    content["is_window_whole"] = oldest == first and market.is_past_whole[number]
    return content


def _resume(
    continuation: Mapping[str, Any], market: Market, books: RecordArray, account: RecordArray
) -> None:
    account["cash_usd"] = continuation["cash_usd"]
    account["n_positions"] = continuation["n_positions"]
    for number, name in enumerate(market.symbols):
        saved = continuation["books"].get(name)
        if saved is None:
            continue
        for field in (*_COUNTS, *_AMOUNTS):
            books[field][number] = np.nan if saved[field] is None else saved[field]


def _take_positions(
    state: InitState,
    market: Market,
    settings: Mapping[str, Any],
    books: RecordArray,
    account: RecordArray,
) -> None:
    account["cash_usd"] = state.balance_usd
    for held in state.positions:
        book = books[market.symbols.index(held.symbol)]
        account["n_positions"] += 1
        book["direction"] = held.side
        book["opened_ms"] = held.opened_ms
        book["position_id"] = account["n_positions"][0]
        book["qty"] = held.qty
        book["entry_px"] = held.entry_px
        book["entry_notional_usd"] = held.qty * held.entry_px
        book["stop_px"] = stop_px(held.entry_px, held.side, settings["stop_bps"])
        book["target_px"] = target_px(held.entry_px, held.side, settings["take_profit_bps"])


def _see_last_closes(market: Market, books: RecordArray) -> None:
    """Last closes known before the first step that may trade."""
    known_ms = market.bars.known_ms
    if market.first_step == 0:
        return
    after_ms = int(known_ms[market.first_step - 1]) + 1
    for number in range(len(market.symbols)):
        rows = market.rows_before(after_ms, number)
        if rows.stop > rows.start:
            books["last_close_px"][number] = market.close[rows.stop - 1]


def _equity(books: RecordArray, cash_usd: float) -> float:
    value = 0.0
    for book in books:
        if book["direction"]:
            last_px = book["last_close_px"]
            if isnan(last_px):
                last_px = book["entry_px"]
            value += pnl_usd(
                int(book["direction"]), float(book["qty"]), float(book["entry_px"]), float(last_px)
            )
    return cash_usd + value
