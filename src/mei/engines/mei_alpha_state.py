"""The state of a Mei Alpha walk: how it starts, and what is kept of it for a continuation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from mei.engines.mei_alpha_market import Market
from mei.model.replay import TRADE_DTYPE, InitPosition, ReplayInputs
from mei.model.semantics import Semantics
from mei.rules.mei_alpha.book import NO_MS
from mei.rules.mei_alpha.records import ACCOUNT_DTYPE, SLOT_DTYPE
from mei.rules.mei_alpha.world import State

#: With a quote, and what it is settled in: BTC/USDT:USDT is the perpetual of BTC/USDT.
_BTC = re.compile(
    r"BTC([-/_:]?(USDT|USDC|USD|BUSD|FDUSD|EUR|PERP)([-_:](USDT|USDC|USD|BUSD|FDUSD|EUR|BTC|PERP|SWAP))?)?$",
    re.IGNORECASE,
)


def is_btc(symbol: str) -> bool:
    """The base asset is BTC (switch btc_symbol)."""
    return _BTC.match(symbol) is not None


def is_btc_exempt(symbol: str, semantics: Semantics) -> bool:
    """The symbol needs no alignment with BTC's direction."""
    return symbol.upper() == "BTC" or (semantics.btc_symbol == "base" and is_btc(symbol))


def btc_sources(names: Sequence[str], semantics: Semantics) -> list[str]:
    """Which of the symbols (ascending) give BTC's direction, in the order in which they are asked (D.1)."""
    sources = [name for name in ("BTC", "BTCUSDT") if name in names]
    if semantics.btc_symbol == "base":
        sources += [name for name in names if is_btc(name) and name not in sources]
    return sources


def first_state(market: Market, inputs: ReplayInputs, n_log: int) -> State:
    """The state before the first step, with room for `n_log` trades.

    Positions of an init-state of version 1 are numbered from 1 on in their order.
    """
    n_symbols = len(market.names)
    account = np.zeros(1, dtype=ACCOUNT_DTYPE)
    account["balance_usd"] = inputs.initial_balance_usd
    slots = np.zeros(n_symbols, dtype=SLOT_DTYPE)
    slots["main_row"] = market.symbols["first"] - 1
    slots["exit_row"] = -1
    slots["entry_row"] = -1
    active = np.zeros(n_symbols + 1, dtype=np.int64)
    if inputs.init_state is not None:
        account["balance_usd"] = inputs.init_state.balance_usd
    if inputs.init_state is not None and market.past is None:
        traded = {name: i for i, name in enumerate(market.names) if market.symbols["is_traded"][i]}
        account["n_positions"] = len(inputs.init_state.positions)
        for number, position in enumerate(inputs.init_state.positions, start=1):
            if position.symbol in traded:
                slot = slots[traded[position.symbol]]
                slot["position_id"] = number
                _take_position(market, slot, position)
        held = np.flatnonzero(slots["side"])
        active[: len(held)] = held
        account["n_active"] = len(held)
    return State(
        slots=slots,
        account=account,
        log=np.empty(n_log, dtype=TRADE_DTYPE),
        active=active,
        picks=np.zeros((3, n_symbols + 1), dtype=np.int64),
        equity=np.zeros(market.n_walked),
    )


def _take_position(market: Market, slot: Any, position: InitPosition) -> None:
    started_ms = int(market.steps["known_ms"][market.first_walked])
    slot["side"] = position.side
    slot["qty"] = position.qty
    slot["entry_px"] = position.entry_px
    slot["confidence"] = position.confidence
    slot["entry_atr"] = position.entry_atr
    slot["adx_threshold"] = position.entry_adx_threshold
    slot["has_trailing"] = position.trailing_px is not None
    slot["trailing_px"] = position.trailing_px or 0.0
    slot["leverage"] = position.leverage
    slot["margin_usd"] = position.margin_usd
    slot["adds_count"] = position.adds_count
    slot["tp1_taken"] = position.tp1_taken
    slot["opened_ms"] = position.opened_ms
    slot["last_add_ms"] = position.last_add_ms
    # What the market did before it was held, or before the window, cannot stop it.
    slot["met_ms"] = max(int(market.run["from_ms"][0]), position.opened_ms, position.last_add_ms)
    slot["funded_ms"] = started_ms
    slot["lowest_px"] = slot["highest_px"] = position.entry_px
    slot["seen_ms"] = slot["hole_ms"] = NO_MS
