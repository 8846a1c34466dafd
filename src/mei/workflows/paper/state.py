"""What a paper trader goes on from: init-state of version 2, and what is done to it besides stepping.

Everything here makes a new state; none is changed in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from mei.data.init_state import position_object
from mei.data.trading_db import EngineStateRow
from mei.engines.mei_alpha_continuation import STRATEGY, position_of
from mei.model.errors import DataError
from mei.model.replay import InitPosition, InitState
from mei.rules.mei_alpha.book import NO_MS
from mei.rules.mei_alpha.codes import END_OF_BACKTEST

_VERSION = 2

Slot = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PaperState:
    """Everything is known until as_of_ms (epoch ms UTC). revision: 0 before it was written. config_id: of the settings
    it was made with. continuation: as of init-state version 2."""

    revision: int
    as_of_ms: int
    config_id: str
    continuation: Mapping[str, Any]

    @property
    def balance_usd(self) -> float:
        """Cash."""
        return float(self.continuation["account"]["balance_usd"])

    @property
    def symbols(self) -> Mapping[str, Any]:
        """What is kept of each symbol."""
        found: Mapping[str, Any] = self.continuation["symbols"]
        return found

    @property
    def positions(self) -> tuple[InitPosition, ...]:
        """What is held, symbols ascending."""
        return tuple(position_of(name, slot) for name, slot in self.held().items())

    @property
    def is_flat(self) -> bool:
        """Nothing is held and nothing is ordered."""
        return not self.held() and not self.ordered()

    def held(self) -> dict[str, Slot]:
        """Slots with a position, symbols ascending."""
        return {name: slot for name, slot in self._slots() if slot["side"] != 0}

    def ordered(self) -> dict[str, Slot]:
        """Slots in which an entry or an add waits for the next open, symbols ascending."""
        return {
            name: slot
            for name, slot in self._slots()
            if slot["open_order"] != 0 or (slot["side"] != 0 and slot["add_order"] != 0)
        }

    def last_close(self, symbol: str) -> float | None:
        """Close of the symbol's newest main bar, quote per base; None before the first one."""
        closes = self.symbols[symbol]["bars"]["close"]
        return float(closes[-1]) if closes else None

    def equity_usd(self) -> float:
        """Balance and unrealised profit at the newest main closes, summed in symbol order."""
        return self.balance_usd + sum(unrealised_usd(self, name) for name in self.held())

    def with_continuation(self, content: Mapping[str, Any], as_of_ms: int) -> PaperState:
        """The state with another continuation."""
        return replace(self, continuation=dict(content) | {"as_of_ms": as_of_ms}, as_of_ms=as_of_ms)

    def with_slots(self, change: Callable[[str, Slot], Mapping[str, Any]]) -> PaperState:
        """The state with fields of each slot set to what `change(symbol, slot)` gives."""
        symbols = {
            name: kept | {"slot": kept["slot"] | change(name, kept["slot"])}
            for name, kept in self.symbols.items()
        }
        return replace(self, continuation=dict(self.continuation) | {"symbols": symbols})

    def _slots(self) -> list[tuple[str, Slot]]:
        names = sorted(self.symbols, key=str.encode)
        return [(name, self.symbols[name]["slot"]) for name in names]


def unrealised_usd(state: PaperState, symbol: str) -> float:
    """Profit of what is held of a symbol at its newest main close, USD; costs of leaving apart."""
    slot = state.symbols[symbol]["slot"]
    px = state.last_close(symbol)
    gain_px = 0.0 if px is None else (px - slot["entry_px"]) * slot["side"]
    return float(gain_px * slot["qty"])


def init_state_of(state: PaperState) -> InitState:
    """The state as a replay starts with it."""
    return InitState(
        version=_VERSION,
        source=STRATEGY,
        exported_at_ms=state.as_of_ms,
        balance_usd=state.balance_usd,
        positions=state.positions,
        continuation=state.continuation,
        path="engine_state",
    )


def row_of(state: PaperState, updated_at: str) -> EngineStateRow:
    """The row that takes the place of the one the state was read from. state_json is an init-state of version 2."""
    content = {
        "version": _VERSION,
        "source": STRATEGY,
        "exported_at_ms": state.as_of_ms,
        "balance": state.balance_usd,
        "positions": [position_object(position) for position in state.positions],
        "continuation": state.continuation,
    }
    return EngineStateRow(
        revision=state.revision + 1,
        as_of_ms=state.as_of_ms,
        config_id=state.config_id,
        state_json=orjson.dumps(content).decode(),
        updated_at=updated_at,
    )


def state_of(row: EngineStateRow, path: str) -> PaperState:
    """What a row holds; DataError, naming the database `path`, for one that is not as it was written."""
    try:
        content = orjson.loads(row.state_json)["continuation"]
        state = PaperState(row.revision, int(content["as_of_ms"]), row.config_id, content)
        is_whole = state.as_of_ms == row.as_of_ms and isinstance(state.positions, tuple)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: engine_state must be as the trader wrote it, is not: {type(error).__name__} {error}"
        ) from None
    if not is_whole:
        raise DataError(
            f"{path}: engine_state must be as the trader wrote it, as_of_ms {row.as_of_ms} is not that of its state, "
            f"{state.as_of_ms}"
        )
    return state


def without_entries(state: PaperState) -> PaperState:
    """The state with the orders to open and to add cancelled; those to leave stay."""
    return state.with_slots(lambda _, slot: {"open_order": 0, "add_order": 0})


def moved_on(state: PaperState, as_of_ms: int) -> PaperState:
    """The state as if nothing had happened until `as_of_ms`: no stop was touched, no funding paid, no entry waits."""

    def at_present(_: str, slot: Slot) -> Mapping[str, Any]:
        passed = {"open_order": 0, "add_order": 0, "seen_ms": NO_MS, "hole_ms": NO_MS}
        return passed | {name: max(slot[name], as_of_ms) for name in ("met_ms", "funded_ms")}

    moved = state.with_slots(at_present)
    account = dict(moved.continuation["account"]) | {"n_entries": 0}
    return moved.with_continuation(dict(moved.continuation) | {"account": account}, as_of_ms)


def transplanted(
    fresh: Mapping[str, Any], state: PaperState, *, keeps_sub_bars: bool
) -> PaperState:
    """The book of `state` over the market of a `fresh` continuation, which was made with other windows.

    Account, peak, window and slots go on; bars, indicators, banks are the fresh ones, and so are the newest sub-bars
    unless `keeps_sub_bars`. DataError when the fresh one lacks a symbol that is held or ordered.
    """
    lost = [name for name in {**state.held(), **state.ordered()} if name not in fresh["symbols"]]
    if lost:
        raise DataError(
            f"there must be candles of every symbol that is held, there are none of {', '.join(lost)}: import them"
        )
    old = state.symbols
    grafted = ("slot", "exits", "entries") if keeps_sub_bars else ("slot",)
    symbols = {
        name: kept | {key: old[name][key] for key in grafted} if name in old else kept
        for name, kept in fresh["symbols"].items()
    }
    going_on = {
        name: state.continuation[name]
        for name in ("from_ms", "account", "equity_peak_usd", "open_trades")
        if name in state.continuation
    }
    return state.with_continuation(
        dict(fresh) | going_on | {"symbols": symbols}, int(fresh["as_of_ms"])
    )


def closed(state: PaperState, symbol: str, px: float, fee_rate: float) -> tuple[PaperState, float]:
    """The state after a close of all of a symbol at `px` (quote per base), and what that realised, USD, fees apart.

    What waited for an open is cancelled. The close counts for cooldowns as one at the state's time.
    """
    slot = state.symbols[symbol]["slot"]
    pnl_usd = (px - slot["entry_px"]) * slot["qty"] * slot["side"]
    fee_usd = slot["qty"] * px * fee_rate
    emptied = {
        "side": 0,
        "exit_order": 0,
        "add_order": 0,
        "open_order": 0,
        "has_trailing": 0,
        "has_stop": 0,
        "has_left": 1,
        "last_exit_ms": state.as_of_ms,
        "last_exit_side": slot["side"],
        "last_exit_reason": END_OF_BACKTEST,
    }
    state = state.with_slots(lambda name, _: emptied if name == symbol else {})
    account = dict(state.continuation["account"])
    account["balance_usd"] = account["balance_usd"] + (pnl_usd - fee_usd)
    trades = [one for one in state.continuation.get("open_trades", []) if one["symbol"] != symbol]
    content = dict(state.continuation) | {"account": account, "open_trades": trades}
    return replace(state, continuation=content), float(pnl_usd)
