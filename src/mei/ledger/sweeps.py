"""How many configurations were ever tried on a market: what a winner's Sharpe ratio must be held against.

A sweep counts once, however often it is interrupted or repeated; its newest count replaces the one before if it is
larger. Sweeps with the same combination both count it, and so do all that share a symbol, whatever their interval:
their data are related. Both err on the safe side.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from mei.ledger.tables import sweep_trials


@dataclass(frozen=True, slots=True)
class TrialsRow:
    """Trials of one sweep on one market. sharpe_m2: squared differences from the mean, summed, of n_sharpes ratios.

    data_id: of symbols and interval together. symbols: those that were traded, sorted, and timeframe their interval;
    empty in rows of releases that did not keep them.
    """

    data_id: str
    sweep_id: str
    strategy: str
    n_trials: int
    n_sharpes: int
    sharpe_mean: float
    sharpe_m2: float
    counted_at_ms: int
    symbols: tuple[str, ...] = ()
    timeframe: str = ""


_OF_SWEEP = (
    sweep_trials.c.data_id == bindparam("k_data_id"),
    sweep_trials.c.sweep_id == bindparam("k_sweep_id"),
)
_ALL = select(sweep_trials).order_by(sweep_trials.c.data_id, sweep_trials.c.sweep_id)


def count_sweep(conn: Connection, row: TrialsRow) -> None:
    """Keep the trials of a sweep; of a smaller count than the one that is there, only what it was of."""
    keys = {"k_data_id": row.data_id, "k_sweep_id": row.sweep_id}
    market = {"symbols_json": json.dumps(sorted(row.symbols)), "timeframe": row.timeframe}
    values = {
        "strategy": row.strategy,
        "n_trials": row.n_trials,
        "n_sharpes": row.n_sharpes,
        "sharpe_mean": row.sharpe_mean,
        "sharpe_m2": row.sharpe_m2,
        "counted_at_ms": row.counted_at_ms,
    }
    known = conn.execute(select(sweep_trials.c.n_trials).where(*_OF_SWEEP), keys).scalar()
    if known is None:
        conn.execute(
            insert(sweep_trials).values(
                data_id=row.data_id, sweep_id=row.sweep_id, **values, **market
            )
        )
        return
    changed = market | (values if known < row.n_trials else {})
    conn.execute(update(sweep_trials).where(*_OF_SWEEP).values(**changed), keys)


def trials_on(conn: Connection, data_id: str, symbols: Iterable[str] = ()) -> list[TrialsRow]:
    """Every sweep ever counted on a market or on another one with a symbol of it, by market and sweep id.

    symbols: the market's, beside those that its own rows name.
    """
    rows = [_row(*columns) for columns in conn.execute(_ALL)]
    own = set(symbols).union(*(row.symbols for row in rows if row.data_id == data_id))
    return [row for row in rows if row.data_id == data_id or not own.isdisjoint(row.symbols)]


def _row(*columns: Any) -> TrialsRow:
    row = TrialsRow(*columns)
    # As the columns have them: text, or nothing.
    return replace(
        row, symbols=tuple(json.loads(str(row.symbols or "[]"))), timeframe=row.timeframe or ""
    )
