"""The compiled engine and the plain-Python oracle on the same case: every field of every row, bit for bit."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mei.engines.mei_alpha import SymbolConfigs, indicators, replay
from mei.model.candles import Candles, FundingRates, offsets_of
from mei.model.replay import ACTIONS, InitPosition, InitState, ReplayInputs, ReplayResult
from mei.model.semantics import CHOICES, Semantics
from mei.rules.mei_alpha.reasons import reason_text
from tests.oracles.mei_alpha import snapshots
from tests.oracles.mei_alpha.cases import Case
from tests.oracles.mei_alpha.engine import Result

Row = dict[str, Any]

#: Fields of a trade as the oracle names them and as the log does.
_FIELDS = {
    "timestamp": "timestamp_ms",
    "price": "price",
    "size": "qty",
    "notional": "notional_usd",
    "pnl": "pnl_usd",
    "fee": "fee_usd",
    "balance": "balance_usd",
    "confidence": "confidence",
    "entry_atr": "entry_atr",
    "leverage": "leverage",
    "margin": "margin_usd",
}
#: And those that tell something only with excursions = held.
_LIVED = {"lowest": "lowest_px", "highest": "highest_px"}

#: Indicators the oracle names in another way.
_RENAMED = {"stoch_k": "stoch_rsi_k", "stoch_d": "stoch_rsi_d"}
#: Columns of the engine that are no part of a snapshot.
_INNER = frozenset({"slope", "vol_short", "bb_mean", "bb_deviation", "stoch_raw"})


def as_candles(bars: Mapping[str, Any] | None, interval_ms: int) -> Candles | None:
    """Bars by symbol as columns; None stays None."""
    if bars is None:
        return None
    names = tuple(sorted(bars, key=lambda name: name.encode()))
    rows = [row for name in names for row in bars[name]]
    columns = [np.array([row[i] for row in rows], dtype=np.float64) for i in range(1, 6)]
    open_ms = np.array([row[0] for row in rows], dtype=np.int64)
    lengths = offsets_of([len(bars[name]) for name in names])
    return Candles(f"{interval_ms}ms", interval_ms, names, lengths, open_ms, *columns)


def as_funding(funding: Mapping[str, Any] | None) -> FundingRates | None:
    """Rates by symbol as columns."""
    if funding is None:
        return None
    names = tuple(sorted(funding))
    rows = [row for name in names for row in funding[name]]
    return FundingRates(
        names,
        offsets_of([len(funding[name]) for name in names]),
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([row[1] for row in rows], dtype=np.float64),
    )


def as_init_state(state: Mapping[str, Any] | None) -> InitState | None:
    """Balance and positions of a case."""
    if state is None:
        return None
    positions = tuple(
        InitPosition(
            symbol=position["symbol"],
            side=1 if position["side"].lower() == "long" else -1,
            qty=position["size"],
            entry_px=position["entry_price"],
            entry_atr=position["entry_atr"],
            confidence=position["confidence"],
            leverage=position["leverage"],
            margin_usd=position["margin_used"],
            trailing_px=position.get("trailing_sl"),
            adds_count=position.get("adds_count", 0),
            tp1_taken=position.get("tp1_taken", False),
            opened_ms=position.get("open_time_ms", 0),
            last_add_ms=position.get("last_add_time_ms", 0),
            entry_adx_threshold=position.get("entry_adx_threshold", 0.0),
        )
        for position in state["positions"]
    )
    return InitState(1, "case", 0, state["balance"], positions)


def engine_run(case: Case, switches: Mapping[str, str]) -> ReplayResult:
    """What the compiled engine answers."""
    reference = {name: choice[0] for name, choice in CHOICES.items()}
    semantics = Semantics(**{**reference, **switches})  # type: ignore[arg-type]
    inputs, configs = replay_inputs(case, semantics)
    return replay(inputs, configs, semantics)


def replay_inputs(case: Case, semantics: Semantics) -> tuple[ReplayInputs, SymbolConfigs]:
    """A case as the engine takes it."""
    arguments = case.arguments({"bar_time": semantics.bar_time})
    candles = as_candles(arguments["candles"], case.interval_ms)
    assert candles is not None
    traded = case.traded
    if traded is not None and semantics.context == "traded":
        candles = candles.restricted_to(traded)
    inputs = ReplayInputs(
        candles=candles,
        exit_candles=as_candles(arguments["exit_bars"], case.exit_interval_ms),
        entry_candles=as_candles(arguments["entry_bars"], case.entry_interval_ms),
        funding=as_funding(case.funding),
        from_ms=case.from_ms,
        to_ms=case.to_ms,
        initial_balance_usd=case.initial_balance,
        lookback=case.lookback,
        init_state=as_init_state(case.init_state),
        traded=traded,
    )
    return inputs, SymbolConfigs(case.config, case.symbol_configs or {})


def engine_rows(result: ReplayResult) -> list[Row]:
    """The engine's trades in the oracle's words."""
    rows = []
    fields = _FIELDS | (_LIVED if result.has_excursions else {})
    for trade in result.trades:
        row: Row = {name: trade[field].item() for name, field in fields.items()}
        row["symbol"] = result.symbols[trade["symbol"]]
        row["action"] = ACTIONS[trade["action"]]
        details = float(trade["detail_1"]), float(trade["detail_2"])
        row["reason"] = reason_text(int(trade["reason"]), int(trade["confidence"]), *details)
        rows.append(row)
    return rows


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit; zeros of different sign differ, NaN equals NaN."""
    if isinstance(one, float) or isinstance(other, float):
        return struct.pack("<d", one) == struct.pack("<d", other)
    return bool(one == other)


def first_difference(
    case: Case, switches: Mapping[str, str], expected: Result | None = None
) -> str | None:
    """Where engine and oracle differ first; None when they agree in everything. expected: the oracle's, if at hand."""
    if expected is None:
        expected = case.run(switches)
    found = engine_run(case, switches)
    held = [] if case.init_state is None else case.init_state["positions"]
    symbols = [position["symbol"] for position in held]
    return trade_difference(expected, found, symbols) or total_difference(expected, found)


def trade_difference(expected: Result, found: ReplayResult, held: Sequence[str]) -> str | None:
    """The first row of the logs that differs, and in what. held: symbols of the positions it started with."""
    rows = engine_rows(found)
    for i, (want, have) in enumerate(zip(expected.trades, rows, strict=False)):
        for name in have:
            if not same(want[name], have[name]):
                return f"trade {i}: {name} is {have[name]!r}, expected {want[name]!r} ({want} / {have})"
    if len(expected.trades) != len(rows):
        longer = expected.trades if len(expected.trades) > len(rows) else rows
        at = min(len(expected.trades), len(rows))
        return f"{len(rows)} trades, expected {len(expected.trades)}; first without a twin: {longer[at]}"
    ids = position_ids(expected.trades, held), found.trades["position_id"].tolist()
    for i, (want_id, have_id) in enumerate(zip(*ids, strict=True)):
        if want_id != have_id:
            return f"trade {i}: position_id is {have_id}, expected {want_id} ({rows[i]})"
    return None


def total_difference(expected: Result, found: ReplayResult) -> str | None:
    """The first difference in the curve, the final balance or a counter."""
    curve = list(zip(found.equity_ms.tolist(), found.equity_usd.tolist(), strict=True))
    for i, (want_point, have_point) in enumerate(zip(expected.equity, curve, strict=False)):
        if not all(same(a, b) for a, b in zip(want_point, have_point, strict=True)):
            return f"equity point {i} is {have_point}, expected {want_point}"
    if len(curve) != len(expected.equity):
        return f"{len(curve)} equity points, expected {len(expected.equity)}"
    if not same(expected.final_balance, found.final_balance_usd):
        return f"final balance {found.final_balance_usd!r}, expected {expected.final_balance!r}"
    if found.n_signals != expected.n_signals:
        return f"{found.n_signals} signals, expected {expected.n_signals}"
    for name, count in expected.gates.items():
        if name in found.gates and found.gates[name] != count:
            return f"gate {name} is {found.gates[name]}, expected {count}"
    return None


def position_ids(rows: Sequence[Row], held: Sequence[str]) -> list[int]:
    """The number of the position each trade belongs to: those held at the start first, then as they opened."""
    newest = {symbol: number for number, symbol in enumerate(held, start=1)}
    n_opened, ids = len(held), []
    for row in rows:
        if row["action"].startswith("OPEN"):
            n_opened += 1
            newest[row["symbol"]] = n_opened
        ids.append(newest[row["symbol"]])
    return ids


def first_indicator_difference(
    case: Case, expected: Mapping[str, list[dict[str, Any]]] | None = None
) -> str | None:
    """The same for the indicators of every bar of every symbol."""
    candles = as_candles(case.candles, case.interval_ms)
    assert candles is not None
    for name in candles.symbols:
        config = (case.symbol_configs or {}).get(name, case.config)
        columns = indicators(candles, name, config)
        rows = snapshots_of(case)[name] if expected is None else expected[name]
        for column in sorted(columns.keys() - _INNER):
            for i, row in enumerate(rows):
                want, have = float(row[_RENAMED.get(column, column)]), float(columns[column][i])
                if not same(want, have):
                    return f"{name} bar {i}: {column} is {have!r}, expected {want!r}"
    return None


def snapshots_of(case: Case) -> dict[str, list[dict[str, Any]]]:
    """What the oracle says of every bar; symbols without bars are left out."""
    layers = case.symbol_configs or {}
    return {
        name: snapshots(bars, layers.get(name, case.config))
        for name, bars in case.candles.items()
        if bars
    }
