"""The tables as SQLAlchemy sees them. The schema itself is migrations/*.sql; a test compares the two."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Double,
    Integer,
    MetaData,
    Table,
    Text,
    and_,
    bindparam,
)
from sqlalchemy.types import TypeEngine

from mei.ledger.series import SeriesKey

metadata = MetaData()


def _table(name: str, /, **columns: type[TypeEngine[Any]]) -> Table:
    return Table(name, metadata, *(Column(key, kind()) for key, kind in columns.items()))


schema_version = _table(
    "schema_version", application=Text, version=BigInteger, name=Text, sha256=Text
)
identity = _table("identity", ledger_id=Text)
files = _table(
    "files",
    stream=Text,
    symbol=Text,
    timeframe=Text,
    sha256=Text,
    path=Text,
    first_ms=BigInteger,
    last_ms=BigInteger,
    n_bars=BigInteger,
    spans_json=Text,
    registered_at_ms=BigInteger,
    state=Text,
    claim_token=Text,
    claimed_from=Text,
)
watermarks = _table("watermarks", stream=Text, symbol=Text, timeframe=Text, through_ms=BigInteger)
claims = _table(
    "claims",
    stream=Text,
    symbol=Text,
    timeframe=Text,
    token=Text,
    owner=Text,
    as_of_ms=BigInteger,
    expires_at_ms=BigInteger,
)
models = _table(
    "models",
    stream=Text,
    version=BigInteger,
    symbol=Text,
    timeframe=Text,
    as_of_ms=BigInteger,
    parent_version=BigInteger,
    trained_through_ms=BigInteger,
    serves_from_ms=BigInteger,
    decision=Text,
    is_archived=Integer,
    path=Text,
    sha256=Text,
    metrics_json=Text,
)
trained_ranges = _table(
    "trained_ranges",
    stream=Text,
    version=BigInteger,
    symbol=Text,
    timeframe=Text,
    mode=Text,
    first_ms=BigInteger,
    last_ms=BigInteger,
)
trainings = _table(
    "trainings",
    stream=Text,
    symbol=Text,
    timeframe=Text,
    as_of_ms=BigInteger,
    status=Text,
    reason=Text,
    seen_through_ms=BigInteger,
    model_version=BigInteger,
    response_json=Text,
)
promotions = _table(
    "promotions",
    stream=Text,
    seq=BigInteger,
    symbol=Text,
    timeframe=Text,
    version=BigInteger,
    decided_at_ms=BigInteger,
    serves_from_ms=BigInteger,
    kind=Text,
)
outcomes = _table(
    "outcomes",
    stream=Text,
    trade_id=Text,
    strategy=Text,
    instrument=Text,
    preset_id=Text,
    known_at_ms=BigInteger,
    net_pnl_bps=Double,
    features_json=Text,
)
presets = _table(
    "presets",
    stream=Text,
    strategy=Text,
    instrument=Text,
    preset_id=Text,
    known_at_ms=BigInteger,
    params_json=Text,
)
sweep_trials = _table(
    "sweep_trials",
    data_id=Text,
    sweep_id=Text,
    strategy=Text,
    n_trials=BigInteger,
    n_sharpes=BigInteger,
    sharpe_mean=Double,
    sharpe_m2=Double,
    counted_at_ms=BigInteger,
    symbols_json=Text,
    timeframe=Text,
)
sweep_jobs = _table(
    "sweep_jobs",
    job_id=Text,
    request_json=Text,
    state=Text,
    reason=Text,
    is_cancel_asked=Integer,
    token=Text,
    owner=Text,
    expires_at_ms=BigInteger,
    n_attempts=BigInteger,
    n_stuck=BigInteger,
    n_rows=BigInteger,
    progress_json=Text,
    queued_at_ms=BigInteger,
    started_at_ms=BigInteger,
    ended_at_ms=BigInteger,
    data_id=Text,
)
runs = _table(
    "runs",
    run_id=Text,
    attempt=BigInteger,
    stream=Text,
    status=Text,
    settings_json=Text,
    data_json=Text,
    outputs_json=Text,
    created_at_ms=BigInteger,
    finished_at_ms=BigInteger,
)
checkpoints = _table("checkpoints", stream=Text, as_of_ms=BigInteger, state_json=Text)


def in_series(table: Table) -> ColumnElement[bool]:
    """The condition that a row of `table` belongs to the series of `series_params`."""
    return and_(
        table.c.stream == bindparam("k_stream"),
        table.c.symbol == bindparam("k_symbol"),
        table.c.timeframe == bindparam("k_timeframe"),
    )


def series_params(key: SeriesKey, **others: object) -> dict[str, object]:
    """The values of `in_series` and of whatever else a statement binds.

    The prefix keeps them apart from columns of the same name, which INSERT and UPDATE bind themselves.
    """
    return {"k_stream": key.stream, "k_symbol": key.symbol, "k_timeframe": key.timeframe, **others}
