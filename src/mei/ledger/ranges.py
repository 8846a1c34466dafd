"""Which bars were spent, and on what."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, and_, bindparam, select

from mei.ledger.files import registered_ranges
from mei.ledger.series import BarRange, SeriesKey, TrainingRule, merged, without
from mei.ledger.tables import in_series, models, series_params, trained_ranges
from mei.model.bars import interval_ms
from mei.model.errors import NotFoundError, TrainedTwiceError

_CONSUMED = (
    select(trained_ranges.c.first_ms, trained_ranges.c.last_ms)
    .where(in_series(trained_ranges), trained_ranges.c.mode == bindparam("k_mode"))
    .order_by(trained_ranges.c.first_ms, trained_ranges.c.last_ms)
)
_OVERLAP = (
    select(trained_ranges.c.first_ms, trained_ranges.c.last_ms, trained_ranges.c.version)
    .where(
        in_series(trained_ranges),
        trained_ranges.c.mode == "exactly_once",
        trained_ranges.c.first_ms <= bindparam("k_last"),
        trained_ranges.c.last_ms >= bindparam("k_first"),
    )
    .order_by(trained_ranges.c.first_ms)
    .limit(1)
)
_ANCESTORS = (
    select(models.c.version, models.c.parent_version, models.c.timeframe)
    .where(models.c.stream == bindparam("k_stream"), models.c.version == bindparam("k_version"))
    .cte("ancestors", recursive=True)
)
_ANCESTORS = _ANCESTORS.union_all(
    select(models.c.version, models.c.parent_version, models.c.timeframe).join(
        _ANCESTORS,
        and_(
            models.c.stream == bindparam("k_stream"),
            models.c.version == _ANCESTORS.c.parent_version,
        ),
    )
)
_LINEAGE = select(
    _ANCESTORS.c.timeframe, trained_ranges.c.first_ms, trained_ranges.c.last_ms
).outerjoin_from(
    _ANCESTORS,
    trained_ranges,
    and_(
        trained_ranges.c.stream == bindparam("k_stream"),
        trained_ranges.c.version == _ANCESTORS.c.version,
    ),
)


def consumed_ranges(conn: Connection, key: SeriesKey, mode: TrainingRule) -> list[BarRange]:
    """The bars passed to a completed fit under `mode`, ascending, neighbours joined."""
    rows = conn.execute(_CONSUMED, series_params(key, k_mode=mode))
    return merged((BarRange(*row) for row in rows), interval_ms(key.timeframe))


def pending_ranges(
    conn: Connection, key: SeriesKey, mode: TrainingRule, as_of_ms: int
) -> list[BarRange]:
    """The bars registered by `as_of_ms` that no completed fit was given, ascending: the rest of the account."""
    return without(
        registered_ranges(conn, key, as_of_ms),
        consumed_ranges(conn, key, mode),
        interval_ms(key.timeframe),
    )


def lineage_ranges(conn: Connection, stream: str, version: int) -> list[BarRange]:
    """The bars that model `version` and its warm-start ancestors were fitted on, ascending, joined.

    Raises NotFoundError for a version the stream does not have.
    """
    rows = conn.execute(_LINEAGE, {"k_stream": stream, "k_version": version}).all()
    if not rows:
        raise NotFoundError(
            f"a lineage must be asked of a model that exists, stream {stream!r} has no version {version}; "
            "see models_of"
        )
    step_ms = interval_ms(rows[0].timeframe)
    return merged(
        (BarRange(r.first_ms, r.last_ms) for r in rows if r.first_ms is not None), step_ms
    )


def record_ranges(
    conn: Connection,
    key: SeriesKey,
    version: int,
    mode: TrainingRule,
    fitted: Sequence[BarRange],
) -> None:
    """Spend the bars `fitted` on a model. Raises TrainedTwiceError when one of them is spent already.

    In exactly-once mode that is by any model of the series, in sliding mode within this window.
    """
    spent: list[BarRange] = []
    for span in sorted(fitted):
        if spent and span.first_ms <= spent[-1].last_ms:
            raise _twice(key, span, spent[-1], version)
        if mode == "exactly_once":
            _refuse_overlap(conn, key, span)
        spent.append(span)
    conn.execute(
        trained_ranges.insert(),
        [{**key._asdict(), "version": version, "mode": mode, **span._asdict()} for span in spent],
    )


def _refuse_overlap(conn: Connection, key: SeriesKey, span: BarRange) -> None:
    found = conn.execute(
        _OVERLAP, series_params(key, k_first=span.first_ms, k_last=span.last_ms)
    ).one_or_none()
    if found is not None:
        raise _twice(key, span, BarRange(found.first_ms, found.last_ms), found.version)


def _twice(key: SeriesKey, span: BarRange, known: BarRange, version: int) -> TrainedTwiceError:
    return TrainedTwiceError(
        f"a bar must be fitted at most once, {span.first_ms}..{span.last_ms} of {key.symbol} {key.timeframe} in "
        f"stream {key.stream!r} overlaps {known.first_ms}..{known.last_ms} of model {version}; leave out "
        "consumed_ranges"
    )
