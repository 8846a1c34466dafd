"""Going on where a run stopped: what is kept at its end, and a market that starts with it (init-state version 2).

Kept of each symbol: its last bars with their indicators, the bank and the running values of the recursions, and its
slot. So a continuation needs no candle from before, and what comes after is bit for bit what the uninterrupted run
gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from typing import Any

import numpy as np

from mei.engines.mei_alpha_live_state import content_of, fill_record, plain_list
from mei.engines.mei_alpha_market import ALWAYS_MS, Market
from mei.engines.mei_alpha_past import Past, SymbolPast
from mei.model.bars import FloatArray, IntArray
from mei.model.candles import Candles, offsets_of
from mei.model.errors import ConfigError, DataError
from mei.model.replay import (
    CONFIDENCES,
    InitPosition,
    InitState,
    ReplayInputs,
    highest_usd,
    state_fault,
)
from mei.model.semantics import Semantics, describe_semantics
from mei.rules.mei_alpha.columns import N_COLUMNS
from mei.rules.mei_alpha.indicators import INDICATOR_STATE_DTYPE
from mei.rules.mei_alpha.records import INDICATOR_ROW_DTYPE, SLOT_DTYPE
from mei.rules.mei_alpha.world import State

STRATEGY = "mei_alpha"
#: Bars kept of each symbol: snapshots look three bars back, and breadth needs to see that there were two.
_KEPT_BARS = 5
_COLUMNS = ("open_ms", "open", "high", "low", "close", "volume")
_ACCOUNT = ("balance_usd", "n_entries", "n_positions")
#: Fields of a slot that point into a run's arrays.
_CURSORS = ("main_row", "exit_row", "entry_row")


def read_past(inputs: ReplayInputs, semantics: Semantics) -> Past | None:
    """The past an init-state of version 2 brings; None without one.

    Raises ConfigError when it is another strategy's, interval's or semantics', DataError when it is not as it was
    written.
    """
    state = inputs.init_state
    if state is None or state.continuation is None:
        return None
    content = state.continuation
    expected = {
        "strategy": STRATEGY,
        "interval_ms": inputs.candles.interval_ms,
        "semantics": describe_semantics(semantics),
    }
    for name, value in expected.items():
        if content.get(name) != value:
            raise ConfigError(
                f"the init-state must continue a run with {name} {value!r}, it continues one with {content.get(name)!r}"
            )
    try:
        symbols = {name: _symbol_past(kept) for name, kept in content["symbols"].items()}
        account = {name: _counted(name, content["account"][name]) for name in _ACCOUNT}
        past = Past(
            as_of_ms=int(content["as_of_ms"]),
            from_ms=int(content["from_ms"]),
            account=account,
            symbols=symbols,
            peak_usd=_peak(content["equity_peak_usd"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise DataError(
            f"{state.label} must be as --export-state wrote it, its continuation is not: "
            f"{type(error).__name__} {error}; export it again"
        ) from error
    _check_place(inputs, past)
    _check_shown(state, past)
    return past


def _counted(name: str, value: Any) -> float | int:
    """A field of the account; ValueError when it is no number of its kind."""
    is_count = name != "balance_usd"
    if isinstance(value, bool) or not isinstance(value, int if is_count else (int, float)):
        raise ValueError(f"account.{name} must be a number, is {value!r}")
    if not isfinite(value) or (is_count and value < 0):
        raise ValueError(f"account.{name} must be finite and a count not negative, is {value!r}")
    return value


def _peak(value: Any) -> float | None:
    if value is not None and not isfinite(float(value)):
        raise ValueError(f"equity_peak_usd must be finite or null, is {value!r}")
    return None if value is None else float(value)


def _check_shown(state: InitState, past: Past) -> None:
    """Balance and positions at the top of the file are there to be read: changed alone they would change nothing."""
    held = [
        position_of(name, kept.slot) for name, kept in past.symbols.items() if kept.slot["side"]
    ]
    fault = state_fault(state, float(past.account["balance_usd"]), held)
    if fault is not None:
        raise DataError(
            f"{state.label} must agree with itself, {fault}: export it again, or give it as version 1"
        )


def _check_place(inputs: ReplayInputs, past: Past) -> None:
    """The run must go on where the other stopped, with every symbol that holds something."""
    if inputs.to_ms is not None and inputs.to_ms <= past.as_of_ms:
        raise ConfigError(
            f"a continuation goes on after {past.as_of_ms}, there must be something later, the candles or --end-ts end "
            f"at {inputs.to_ms}: bring later candles, or give a later end"
        )
    if inputs.from_ms is not None and inputs.from_ms > past.as_of_ms + 1:
        raise ConfigError(
            f"a continuation goes on at {past.as_of_ms}, a window from {inputs.from_ms} on would skip what comes after"
        )
    names = set(inputs.candles.symbols) if inputs.traded is None else inputs.traded
    lost = [
        name
        for name, kept in past.symbols.items()
        if name not in names and (kept.slot["side"] != 0 or kept.slot["open_order"] != 0)
    ]
    if lost:
        raise ConfigError(
            f"the init-state holds {', '.join(lost)}, which this run does not trade: give their candles "
            "and no other --symbol"
        )


def check_windows(past: Past, windows: Mapping[str, Any]) -> None:
    """The indicators go on only with the windows they were made with; `windows`: each symbol's INDICATORS_DTYPE.

    Raises ConfigError naming the symbol and the first window that differs.
    """
    for name, kept in past.symbols.items():
        if name not in windows:
            continue
        for field, value in content_of(windows[name]).items():
            if kept.windows.get(field) != value:
                raise ConfigError(
                    f"a continuation must have the windows of the run it continues: {field} of {name} was "
                    f"{kept.windows.get(field)!r}, is {value!r}"
                )


def _symbol_past(kept: Mapping[str, Any]) -> SymbolPast:
    bars, exits, entries = (_columns(kept[name]) for name in ("bars", "exits", "entries"))
    rows = np.zeros(len(bars["open_ms"]), dtype=INDICATOR_ROW_DTYPE)
    for row, content in zip(rows, kept["rows"], strict=True):
        fill_record(row, content)
    state = np.zeros(1, dtype=INDICATOR_STATE_DTYPE)
    fill_record(state[0], kept["state"])
    slot = np.zeros(1, dtype=SLOT_DTYPE)
    fill_record(slot[0], kept["slot"] | dict.fromkeys(_CURSORS, -1))
    _check_kept(bars, slot[0], int(kept["n_bars"]))
    bank = np.array([[float(value) for value in column] for column in kept["bank"]])
    if bank.ndim != 2 or len(bank) != N_COLUMNS:
        raise ValueError(f"bank must have {N_COLUMNS} columns")
    return SymbolPast(
        int(kept["n_bars"]),
        bars,
        rows,
        bank,
        state[0],
        slot[0],
        dict(kept["windows"]),
        exits,
        entries,
    )


def _columns(kept: Mapping[str, Any]) -> dict[str, Any]:
    bars = {name: np.array(kept[name], dtype=np.float64) for name in _COLUMNS[1:]}
    bars["open_ms"] = np.array(kept["open_ms"], dtype=np.int64)
    return bars


def _check_kept(bars: Mapping[str, Any], slot: Any, n_bars: int) -> None:
    """ValueError for bars that are none, and for a slot that no run can have left."""
    if not np.all(np.diff(bars["open_ms"]) > 0):
        raise ValueError("open_ms of the bars must ascend")
    if any(len(bars[name]) != len(bars["open_ms"]) for name in _COLUMNS):
        raise ValueError("the columns of the bars must be of one length")
    if n_bars < len(bars["open_ms"]):
        raise ValueError(f"n_bars must count the {len(bars['open_ms'])} bars kept, is {n_bars}")
    if not all(np.isfinite(slot[name]) for name in SLOT_DTYPE.names or ()):
        raise ValueError("numbers of the slot must be finite")
    if slot["side"] not in (-1, 0, 1) or slot["open_order"] not in (-1, 0, 1):
        raise ValueError("side and open_order of the slot must be -1, 0 or 1")
    if slot["side"] != 0 and slot["confidence"] not in range(len(CONFIDENCES)):
        raise ValueError("confidence of the slot must be 0, 1 or 2")


def with_past(inputs: ReplayInputs, past: Past) -> ReplayInputs:
    """The inputs with the kept bars in front of those that come after them, and the window of the first run."""
    from_ms = None if past.from_ms == ALWAYS_MS else past.from_ms
    return replace(
        inputs,
        candles=_lengthened(inputs.candles, {name: s.bars for name, s in past.symbols.items()}),
        exit_candles=inputs.exit_candles
        and _lengthened(inputs.exit_candles, {name: s.exits for name, s in past.symbols.items()}),
        entry_candles=inputs.entry_candles
        and _lengthened(
            inputs.entry_candles, {name: s.entries for name, s in past.symbols.items()}
        ),
        from_ms=from_ms,
    )


def _lengthened(candles: Candles, kept: Mapping[str, Mapping[str, Any]]) -> Candles:
    """Candles with the bars kept of each symbol in front."""
    names = tuple(sorted({*candles.symbols, *kept}, key=str.encode))
    parts = [_joined(candles, name, kept.get(name)) for name in names]
    joined = [np.concatenate([part[i] for part in parts]) for i in range(len(_COLUMNS))]
    lengths = offsets_of([len(part[0]) for part in parts])
    open_ms, *prices = joined
    return Candles(candles.interval, candles.interval_ms, names, lengths, open_ms, *prices)


def cut_at_end(inputs: ReplayInputs, semantics: Semantics) -> ReplayInputs:
    """The inputs without main bars known only after the window: what is exported must not have seen them."""
    if inputs.to_ms is None:
        return inputs
    candles = inputs.candles
    delay_ms = candles.interval_ms if semantics.bar_time == "close" else 0
    is_known = candles.open_ms + delay_ms <= inputs.to_ms
    lengths = offsets_of([int(np.sum(is_known[candles.rows_of(name)])) for name in candles.symbols])
    columns: list[Any] = [column[is_known] for column in candles.columns()]
    open_ms, *prices = columns
    cut = Candles(candles.interval, candles.interval_ms, candles.symbols, lengths, open_ms, *prices)
    return replace(inputs, candles=cut)


def take_bank(kept: SymbolPast, symbol: str, bank: FloatArray) -> None:
    """Put what a bank held back into it.

    Raises ConfigError when the windows have become longer than what was kept.
    """
    n_past = bank.shape[1]
    if kept.bank.shape[1] < n_past:
        raise ConfigError(
            f"the windows must not be longer than those of the run that is continued: {symbol} kept "
            f"{kept.bank.shape[1]} bars, {n_past} are needed"
        )
    bank[:] = kept.bank[:, kept.bank.shape[1] - n_past :]


def _joined(candles: Candles, name: str, kept: Mapping[str, Any] | None) -> list[Any]:
    rows = candles.rows_of(name)
    columns = [column[rows] for column in candles.columns()]
    if kept is None or len(kept["open_ms"]) == 0:
        return columns
    is_new = columns[0] > int(kept["open_ms"][-1])
    columns = [column[is_new] for column in columns]
    return [
        np.concatenate([kept[field], column])
        for field, column in zip(_COLUMNS, columns, strict=True)
    ]


def resume(market: Market, past: Past, state: State) -> None:
    """Set account and slots to what they were; the walk goes on with bars known after past.as_of_ms."""
    account = state.account[0]
    for name in _ACCOUNT:
        account[name] = past.account[name]
    for number, name in enumerate(market.names):
        kept = past.symbols.get(name)
        slot = state.slots[number]
        if kept is not None:
            for field in SLOT_DTYPE.names or ():
                if field not in _CURSORS:
                    slot[field] = kept.slot[field]
            slot["main_row"] = market.symbols["first"][number] + len(kept.rows) - 1
    held = np.flatnonzero((state.slots["side"] != 0) | (state.slots["open_order"] != 0))
    state.active[: len(held)] = held
    account["n_active"] = len(held)


def curve_of(market: Market, state: State) -> tuple[IntArray, FloatArray]:
    """Times and equity of the steps whose points are this run's: its window's (run_end), none from before a cut."""
    is_cut = market.run["run_end"][0] or market.past is not None
    steps = slice(market.first_walked if is_cut else 0, market.n_walked)
    return market.steps["known_ms"][steps], state.equity[steps]


def continuation_of(
    market: Market,
    rows: Any,
    banks: list[FloatArray],
    states: Any,
    state: State,
    semantics: Semantics,
    windows: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything a run that goes on from here needs, as JSON carries it.

    windows: each symbol's INDICATORS_DTYPE.
    """
    run = market.run[0]
    symbols = {
        name: {"windows": content_of(windows[name])}
        | _kept(market, rows, number, banks[number], states[number], state)
        for number, name in enumerate(market.names)
    }
    account = state.account[0]
    curve = curve_of(market, state)[1]
    before_usd = None if market.past is None else market.past.peak_usd
    return {
        "strategy": STRATEGY,
        "semantics": describe_semantics(semantics),
        "interval_ms": int(run["main_interval_ms"]),
        "as_of_ms": _as_of_ms(market),
        "from_ms": int(run["from_ms"]),
        "account": {name: account[name].item() for name in _ACCOUNT},
        "equity_peak_usd": highest_usd(before_usd, curve),
        "symbols": symbols,
    }


def _newest(market: Market, number: int, series: str) -> dict[str, Any]:
    """The finer bars seen that may lie in the main bar that is not over yet (rules/mei_alpha/holes.py)."""
    whose, as_of_ms = market.symbols[number], _as_of_ms(market)
    rows = slice(int(whose[f"{series}_first"]), int(whose[f"{series}_end"]))
    bars = (market.exits if series == "exit" else market.entries)[rows]
    begin_ms = as_of_ms - int(market.run["main_interval_ms"][0])
    is_kept = (bars["open_ms"] > begin_ms) & (bars["known_ms"] <= as_of_ms)
    return {name: plain_list(bars[name][is_kept]) for name in _COLUMNS}


def positions_of(market: Market, state: State) -> tuple[InitPosition, ...]:
    """What is held, symbols ascending."""
    return tuple(
        position_of(name, state.slots[number])
        for number, name in enumerate(market.names)
        if state.slots["side"][number] != 0
    )


def _as_of_ms(market: Market) -> int:
    """Until when the run has seen everything: the end of its window, or the newest bar it had."""
    to_ms = int(market.run["to_ms"][0])
    known = [int(market.steps["known_ms"][market.n_walked - 1])] if market.n_walked else []
    known += [int(np.max(bars["known_ms"])) for bars in (market.exits, market.entries) if len(bars)]
    newest_ms = max(known, default=ALWAYS_MS)
    return min(newest_ms, to_ms) if market.run["run_end"][0] else newest_ms


def _kept(
    market: Market,
    rows: Any,
    number: int,
    bank: FloatArray,
    indicator_state: Any,
    state: State,
) -> dict[str, Any]:
    whose = market.symbols[number]
    first, end = int(whose["first"]), int(whose["end"])
    start = max(first, end - _KEPT_BARS)
    bars = market.main[start:end]
    return {
        "n_bars": end - first + int(whose["n_before"]),
        "bars": {name: plain_list(bars[name]) for name in _COLUMNS},
        "exits": _newest(market, number, "exit"),
        "entries": _newest(market, number, "entry"),
        "rows": [content_of(row) for row in rows[start:end]],
        "bank": [plain_list(column) for column in bank],
        "state": content_of(indicator_state),
        "slot": {
            name: value
            for name, value in content_of(state.slots[number]).items()
            if name not in _CURSORS
        },
    }


def position_of(symbol: str, slot: Any) -> InitPosition:
    """What a slot holds."""
    return InitPosition(
        symbol=symbol,
        side=1 if slot["side"] > 0 else -1,
        qty=float(slot["qty"]),
        entry_px=float(slot["entry_px"]),
        entry_atr=float(slot["entry_atr"]),
        confidence=int(slot["confidence"]),
        leverage=float(slot["leverage"]),
        margin_usd=float(slot["margin_usd"]),
        trailing_px=float(slot["trailing_px"]) if slot["has_trailing"] else None,
        adds_count=int(slot["adds_count"]),
        tp1_taken=bool(slot["tp1_taken"]),
        opened_ms=int(slot["opened_ms"]),
        last_add_ms=int(slot["last_add_ms"]),
        entry_adx_threshold=float(slot["adx_threshold"]),
    )
