"""Every training that was asked for, and the answer, kept so that it can be given again byte for byte."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, bindparam, select

from mei.ledger.series import SeriesKey
from mei.ledger.tables import in_series, series_params, trainings
from mei.model.errors import ConflictError

#: What came of a training that published no model.
UnpublishedStatus = Literal["skipped", "too_small", "failed"]


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One training. seen_through_ms: open time of the newest bar registered for it, None if there was none."""

    key: SeriesKey
    as_of_ms: int
    status: str
    response_json: str
    reason: str
    seen_through_ms: int | None
    model_version: int | None


_FIND = select(trainings).where(in_series(trainings), trainings.c.as_of_ms == bindparam("k_as_of"))
_LAST = (
    select(trainings)
    .where(in_series(trainings), trainings.c.as_of_ms <= bindparam("k_as_of"))
    .order_by(trainings.c.as_of_ms.desc())
    .limit(1)
)


def find_training(conn: Connection, key: SeriesKey, as_of_ms: int) -> TrainingRow | None:
    """The training asked for at exactly `as_of_ms`, or None."""
    return _one(conn.execute(_FIND, series_params(key, k_as_of=as_of_ms)).one_or_none())


def last_training(conn: Connection, key: SeriesKey, as_of_ms: int) -> TrainingRow | None:
    """The newest training asked for at or before `as_of_ms`, whatever came of it, or None."""
    return _one(conn.execute(_LAST, series_params(key, k_as_of=as_of_ms)).one_or_none())


def record_training(
    conn: Connection,
    key: SeriesKey,
    *,
    as_of_ms: int,
    status: UnpublishedStatus,
    reason: str,
    seen_through_ms: int | None,
    response_json: str,
) -> None:
    """Keep the answer to a training that published nothing. The same content twice is no error.

    Raises ConflictError when another answer was given to the same question.
    """
    insert_training(
        conn, TrainingRow(key, as_of_ms, status, response_json, reason, seen_through_ms, None)
    )


def insert_training(conn: Connection, training: TrainingRow) -> None:
    """Keep the answer to any training, under the rules of `record_training`."""
    key = training.key
    known = find_training(conn, key, training.as_of_ms)
    if known is None:
        conn.execute(trainings.insert(), _values(training))
    elif known != training:
        raise ConflictError(
            f"a training must have one answer, that of {key.symbol} {key.timeframe} in stream {key.stream!r} "
            f"as of {training.as_of_ms} was {known.status} ({known.reason}) and now is {training.status} "
            f"({training.reason}); give the recorded one"
        )


def _values(training: TrainingRow) -> dict[str, object]:
    return {
        **training.key._asdict(),
        "as_of_ms": training.as_of_ms,
        "status": training.status,
        "reason": training.reason,
        "seen_through_ms": training.seen_through_ms,
        "model_version": training.model_version,
        "response_json": training.response_json,
    }


def _one(row: Row[Any] | None) -> TrainingRow | None:
    if row is None:
        return None
    return TrainingRow(
        key=SeriesKey(row.stream, row.symbol, row.timeframe),
        as_of_ms=row.as_of_ms,
        status=row.status,
        response_json=row.response_json,
        reason=row.reason,
        seen_through_ms=row.seen_through_ms,
        model_version=row.model_version,
    )
