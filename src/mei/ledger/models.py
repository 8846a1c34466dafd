"""Models and promotions: what was fitted, who is champion, what serves when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, Select, and_, bindparam, case, func, select, update

from mei.ledger.checkpoints import load_checkpoint
from mei.ledger.runs import run_of_stream
from mei.ledger.series import SeriesKey
from mei.ledger.tables import claims, in_series, models, promotions, series_params
from mei.model.errors import ConflictError, NotFoundError

PromotionKind = Literal["gate", "manual", "rollback"]
#: Later than anything: "as of now, whatever now is".
_FOREVER_MS = 2**62


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A completed fit. `decision`: accepted | rejected by the gate, champion as of the time asked, or archived.

    serves_from_ms is when it would serve by its training's latency; when it did is in the promotions.
    """

    key: SeriesKey
    version: int
    as_of_ms: int
    parent_version: int | None
    trained_through_ms: int
    serves_from_ms: int
    decision: str
    path: str
    sha256: str
    metrics_json: str


@dataclass(frozen=True, slots=True)
class PromotionRow:
    """A decision that `version` be champion from `decided_at_ms` and serve from `serves_from_ms`."""

    seq: int
    version: int
    decided_at_ms: int
    serves_from_ms: int
    kind: str


_NEWEST_DECISION = (promotions.c.decided_at_ms.desc(), promotions.c.seq.desc())
_champion_version = (
    select(promotions.c.version)
    .where(
        promotions.c.stream == models.c.stream,
        promotions.c.symbol == models.c.symbol,
        promotions.c.timeframe == models.c.timeframe,
        promotions.c.decided_at_ms <= bindparam("as_of"),
    )
    .order_by(*_NEWEST_DECISION)
    .limit(1)
    .correlate(models)
    .scalar_subquery()
)
_MODELS: Select[Any] = select(
    models,
    case(
        (models.c.is_archived == 1, "archived"),
        (models.c.version == _champion_version, "champion"),
        else_=models.c.decision,
    ).label("standing"),
)
_MODEL = _MODELS.where(
    models.c.stream == bindparam("k_stream"), models.c.version == bindparam("k_version")
)
_MODELS_OF = _MODELS.where(in_series(models), models.c.as_of_ms <= bindparam("as_of")).order_by(
    models.c.version
)
_LAST_FIT = (
    _MODELS.where(in_series(models), models.c.as_of_ms <= bindparam("as_of"))
    .order_by(models.c.as_of_ms.desc(), models.c.version.desc())
    .limit(1)
)
_PROMOTED = _MODELS.join_from(
    models,
    promotions,
    and_(promotions.c.stream == models.c.stream, promotions.c.version == models.c.version),
).where(in_series(promotions))
_CHAMPION = (
    _PROMOTED.where(promotions.c.decided_at_ms <= bindparam("as_of"))
    .order_by(*_NEWEST_DECISION)
    .limit(1)
)
# Nothing serves before it was decided: the second condition changes no answer, but it makes the decision
# index, which is in the order asked for, the natural one to walk.
_SERVING = (
    _PROMOTED.where(
        promotions.c.serves_from_ms <= bindparam("as_of"),
        promotions.c.decided_at_ms <= bindparam("as_of"),
    )
    .order_by(*_NEWEST_DECISION)
    .limit(1)
)
_SERVING_EVENT = (
    select(promotions)
    .where(
        in_series(promotions),
        promotions.c.serves_from_ms <= bindparam("first"),
        promotions.c.decided_at_ms <= bindparam("first"),
    )
    .order_by(*_NEWEST_DECISION)
    .limit(1)
)
_LATER_EVENTS = (
    select(promotions)
    .where(
        in_series(promotions),
        promotions.c.serves_from_ms > bindparam("first"),
        promotions.c.serves_from_ms <= bindparam("last"),
    )
    .order_by(promotions.c.serves_from_ms, promotions.c.decided_at_ms, promotions.c.seq)
)
_EVENTS = (
    select(promotions)
    .where(in_series(promotions), promotions.c.decided_at_ms <= bindparam("as_of"))
    .order_by(promotions.c.decided_at_ms, promotions.c.seq)
)
_NEXT_SEQ = select(func.coalesce(func.max(promotions.c.seq), 0) + 1).where(
    promotions.c.stream == bindparam("k_stream")
)
_CLAIMED_AS_OF = select(claims.c.as_of_ms).where(in_series(claims))
_ARCHIVE = (
    update(models)
    .where(models.c.stream == bindparam("k_stream"), models.c.version == bindparam("k_version"))
    .values(is_archived=1)
)


def model(conn: Connection, stream: str, version: int) -> ModelRow | None:
    """One model as it stands now, or None."""
    params = {"k_stream": stream, "k_version": version, "as_of": _FOREVER_MS}
    return _one(conn.execute(_MODEL, params).one_or_none())


def models_of(conn: Connection, key: SeriesKey, as_of_ms: int | None = None) -> list[ModelRow]:
    """Every completed fit asked for at or before `as_of_ms` (None: all), ascending in version."""
    as_of = _FOREVER_MS if as_of_ms is None else as_of_ms
    return [_model(row) for row in conn.execute(_MODELS_OF, series_params(key, as_of=as_of))]


def last_completed_fit(conn: Connection, key: SeriesKey, as_of_ms: int) -> ModelRow | None:
    """The newest completed fit, promoted or not: where the next one starts from."""
    return _one(conn.execute(_LAST_FIT, series_params(key, as_of=as_of_ms)).one_or_none())


def champion_as_of(conn: Connection, key: SeriesKey, as_of_ms: int) -> ModelRow | None:
    """Whom the newest decision by `as_of_ms` made champion, whether it serves already or not."""
    return _one(conn.execute(_CHAMPION, series_params(key, as_of=as_of_ms)).one_or_none())


def serving_as_of(conn: Connection, key: SeriesKey, as_of_ms: int) -> ModelRow | None:
    """Which model answers at `as_of_ms`: the newest decision that is in force by then."""
    return _one(conn.execute(_SERVING, series_params(key, as_of=as_of_ms)).one_or_none())


def serving_timeline(
    conn: Connection, key: SeriesKey, first_ms: int, last_ms: int
) -> list[tuple[int, int]]:
    """[(serves from, version)], ascending, for every moment of first_ms..last_ms (both inclusive).

    The first entry is the model that serves at `first_ms`, with the time it began to, which is earlier; if none
    does, the first entry begins later, or the list is empty.
    """
    params = series_params(key, first=first_ms, last=last_ms)
    serving = conn.execute(_SERVING_EVENT, params).one_or_none()
    timeline = [] if serving is None else [(serving.serves_from_ms, serving.version)]
    newest = (-1, -1) if serving is None else (serving.decided_at_ms, serving.seq)
    for event in conn.execute(_LATER_EVENTS, params):
        # A promotion that comes into force after a later decision did is overruled by it.
        if (event.decided_at_ms, event.seq) < newest:
            continue
        newest = (event.decided_at_ms, event.seq)
        if timeline and timeline[-1][0] == event.serves_from_ms:
            timeline.pop()
        if not timeline or timeline[-1][1] != event.version:
            timeline.append((event.serves_from_ms, event.version))
    return timeline


def promotions_of(conn: Connection, key: SeriesKey, as_of_ms: int) -> list[PromotionRow]:
    """The promotions decided by `as_of_ms`, in order of decision."""
    rows = conn.execute(_EVENTS, series_params(key, as_of=as_of_ms))
    return [
        PromotionRow(row.seq, row.version, row.decided_at_ms, row.serves_from_ms, row.kind)
        for row in rows
    ]


def record_promotion(
    conn: Connection,
    key: SeriesKey,
    version: int,
    *,
    decided_at_ms: int,
    serves_from_ms: int,
    kind: PromotionKind,
) -> None:
    """Make `version` champion from `decided_at_ms`, serving from `serves_from_ms`.

    Raises NotFoundError for a version the series does not have, ConflictError for an archived one.
    """
    found = model(conn, key.stream, version)
    if found is None or found.key != key:
        known = ", ".join(str(row.version) for row in models_of(conn, key)) or "none"
        raise NotFoundError(
            f"only a model of the series can be promoted, {key.symbol} {key.timeframe} of stream "
            f"{key.stream!r} has no version {version}; it has {known}"
        )
    if found.decision == "archived":
        raise ConflictError(
            f"only a model whose files are kept can be promoted, version {version} of stream {key.stream!r} "
            "was archived; choose a newer one or raise KEEP_N_MODELS"
        )
    event = {
        **key._asdict(),
        "seq": conn.execute(_NEXT_SEQ, {"k_stream": key.stream}).scalar_one(),
        "version": version,
        "decided_at_ms": decided_at_ms,
        "serves_from_ms": serves_from_ms,
        "kind": kind,
    }
    conn.execute(promotions.insert(), event)


def archive_model(conn: Connection, stream: str, version: int) -> None:
    """Say that the model's files may go; its row, ranges and promotions stay. Raises NotFoundError."""
    if conn.execute(_ARCHIVE, {"k_stream": stream, "k_version": version}).rowcount != 1:
        raise NotFoundError(
            f"only a model that exists can be archived, stream {stream!r} has no version {version}; "
            "see models_of"
        )


def prunable_models(
    conn: Connection, key: SeriesKey, *, keep_n: int, as_of_ms: int
) -> list[ModelRow]:
    """The models asked for by `as_of_ms` that nothing can need again, ascending in version.

    Kept are the newest `keep_n`; the champion and the one a rollback would return to; the last completed fit; what
    a live claim's training starts from and competes with; and every model that serves at or after the time
    from which bars may be asked for again: `as_of_ms`, or in an unfinished run its checkpoint.
    """
    known = models_of(conn, key, as_of_ms)
    needed = {row.version for row in known[-keep_n:]}
    needed |= _for_training(conn, key, as_of_ms)
    needed |= _for_serving(conn, key, as_of_ms)
    needed |= _rollback_target(conn, key)
    return [row for row in known if row.version not in needed and row.decision != "archived"]


def _for_training(conn: Connection, key: SeriesKey, as_of_ms: int) -> set[int]:
    claimed = conn.execute(_CLAIMED_AS_OF, series_params(key)).scalars()
    found = [
        find(conn, key, moment_ms)
        for moment_ms in (as_of_ms, _FOREVER_MS, *claimed)
        for find in (last_completed_fit, champion_as_of)
    ]
    return {row.version for row in found if row is not None}


def _for_serving(conn: Connection, key: SeriesKey, as_of_ms: int) -> set[int]:
    from_ms = as_of_ms
    run = run_of_stream(conn, key.stream)
    if run is not None and run.status != "finished":
        checkpoint = load_checkpoint(conn, key.stream)
        from_ms = -_FOREVER_MS if checkpoint is None else min(as_of_ms, checkpoint.as_of_ms)
    return {version for _, version in serving_timeline(conn, key, from_ms, _FOREVER_MS)}


def _rollback_target(conn: Connection, key: SeriesKey) -> set[int]:
    versions = [event.version for event in promotions_of(conn, key, _FOREVER_MS)]
    others = [version for version in versions if version != versions[-1]]
    return set(others[-1:])


def _one(row: Row[Any] | None) -> ModelRow | None:
    return None if row is None else _model(row)


def _model(row: Row[Any]) -> ModelRow:
    return ModelRow(
        key=SeriesKey(row.stream, row.symbol, row.timeframe),
        version=row.version,
        as_of_ms=row.as_of_ms,
        parent_version=row.parent_version,
        trained_through_ms=row.trained_through_ms,
        serves_from_ms=row.serves_from_ms,
        decision=row.standing,
        path=row.path,
        sha256=row.sha256,
        metrics_json=row.metrics_json,
    )
