"""Files of candles: registered once by content, seen as of a time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, bindparam, func, select, update

from mei.ledger.series import BarRange, SeriesKey, count_bars, merged
from mei.ledger.tables import files, in_series, series_params, watermarks
from mei.model.bars import interval_ms
from mei.model.errors import ConflictError, LedgerError


@dataclass(frozen=True, slots=True)
class ChunkFile:
    """A file of candles. `path` is relative to DATA_INCOMING; bar times are open times.

    spans: the runs without a gap in it (`series.ranges_of`); () says that it is one run from first to last.
    """

    sha256: str
    path: str
    first_ms: int
    last_ms: int
    n_bars: int
    registered_at_ms: int
    spans: tuple[BarRange, ...] = ()

    def runs(self) -> tuple[BarRange, ...]:
        """The runs without a gap, never empty."""
        return self.spans or (BarRange(self.first_ms, self.last_ms),)


_SAME = and_(in_series(files), files.c.sha256 == bindparam("k_sha256"))
_CHUNK: Select[Any] = select(
    files.c.sha256,
    files.c.path,
    files.c.first_ms,
    files.c.last_ms,
    files.c.n_bars,
    files.c.registered_at_ms,
    files.c.spans_json,
)
_FIND = _CHUNK.where(_SAME)
_AS_OF = _CHUNK.where(in_series(files), files.c.registered_at_ms <= bindparam("as_of")).order_by(
    files.c.registered_at_ms, files.c.first_ms, files.c.sha256
)
_ON_DISK = _AS_OF.where(files.c.state != "deleted")
_THROUGH = select(func.max(files.c.last_ms)).where(
    in_series(files), files.c.registered_at_ms <= bindparam("as_of")
)
_COUNT_BETWEEN = (
    select(func.count())
    .select_from(files)
    .where(
        in_series(files),
        files.c.registered_at_ms > bindparam("after"),
        files.c.registered_at_ms <= bindparam("as_of"),
    )
)
_WATERMARK = select(watermarks.c.through_ms).where(in_series(watermarks))
_RAISE = (
    update(watermarks)
    .where(in_series(watermarks), watermarks.c.through_ms < bindparam("through"))
    .values(through_ms=bindparam("through"))
)
_SERIES = (
    select(watermarks.c.stream, watermarks.c.symbol, watermarks.c.timeframe)
    .where(watermarks.c.stream == bindparam("k_stream"))
    .order_by(watermarks.c.symbol, watermarks.c.timeframe)
)
_DELETE = update(files).where(_SAME, files.c.state == "processed").values(state="deleted")


def register_file(conn: Connection, key: SeriesKey, file: ChunkFile) -> bool:
    """Add `file` to the series and raise its watermark. False if the same content is there already.

    Raises LedgerError when the file's numbers contradict each other, ConflictError when the same hash was
    registered with other bars.
    """
    _check(key, file)
    known = conn.execute(_FIND, series_params(key, k_sha256=file.sha256)).one_or_none()
    if known is not None:
        _refuse_other_bars(key, _file(known), file)
        return False
    conn.execute(files.insert(), _row(key, file))
    _raise_watermark(conn, key, file.last_ms)
    return True


def files_as_of(conn: Connection, key: SeriesKey, as_of_ms: int) -> list[ChunkFile]:
    """What had been registered by `as_of_ms` and is still on disk, in order of registration."""
    rows = conn.execute(_ON_DISK, series_params(key, as_of=as_of_ms))
    # Again here, because a server may order text by its locale.
    return sorted(
        (_file(row) for row in rows),
        key=lambda file: (file.registered_at_ms, file.first_ms, file.sha256),
    )


def registered_through_ms(conn: Connection, key: SeriesKey, as_of_ms: int) -> int | None:
    """Open time of the newest bar registered by `as_of_ms`, deleted files included; None before the first."""
    newest: int | None = conn.execute(_THROUGH, series_params(key, as_of=as_of_ms)).scalar_one()
    return newest


def count_registered(conn: Connection, key: SeriesKey, *, after_ms: int, as_of_ms: int) -> int:
    """How many files were registered in (after_ms, as_of_ms], deleted ones included."""
    params = series_params(key, after=after_ms, as_of=as_of_ms)
    n_files: int = conn.execute(_COUNT_BETWEEN, params).scalar_one()
    return n_files


def watermark_ms(conn: Connection, key: SeriesKey) -> int | None:
    """Open time of the newest bar ever registered, from which an ingester goes on; None before the first."""
    newest: int | None = conn.execute(_WATERMARK, series_params(key)).scalar_one_or_none()
    return newest


def registered_ranges(conn: Connection, key: SeriesKey, as_of_ms: int) -> list[BarRange]:
    """Every bar registered by `as_of_ms`, ascending, deleted files included."""
    rows = conn.execute(_AS_OF, series_params(key, as_of=as_of_ms))
    return merged((run for row in rows for run in _file(row).runs()), interval_ms(key.timeframe))


def series_of_stream(conn: Connection, stream: str) -> list[SeriesKey]:
    """The series of which `stream` has files, in order of symbol and timeframe."""
    return sorted(SeriesKey(*row) for row in conn.execute(_SERIES, {"k_stream": stream}))


def mark_deleted(conn: Connection, key: SeriesKey, sha256: str) -> bool:
    """Say that the file itself is gone; its hash stays known. False unless it was `processed` and unclaimed."""
    return conn.execute(_DELETE, series_params(key, k_sha256=sha256)).rowcount == 1


def file_states(conn: Connection, key: SeriesKey) -> dict[str, str]:
    """Content hash -> downloaded | processing | processed | deleted."""
    rows = conn.execute(
        select(files.c.sha256, files.c.state).where(in_series(files)), series_params(key)
    )
    return {row.sha256: row.state for row in rows}


def _check(key: SeriesKey, file: ChunkFile) -> None:
    step_ms = interval_ms(key.timeframe)
    runs = file.runs()
    n_slots = count_bars(runs, step_ms)
    is_ordered = all(run.first_ms <= run.last_ms for run in runs) and all(
        left.last_ms < right.first_ms for left, right in pairwise(runs)
    )
    spans_ends = (runs[0].first_ms, runs[-1].last_ms) == (file.first_ms, file.last_ms)
    has_count = file.n_bars == n_slots if file.spans else 1 <= file.n_bars <= n_slots
    if not (is_ordered and spans_ends and has_count):
        raise LedgerError(
            f"a file must have as many bars as its runs hold, {file.path} of {key.symbol} says "
            f"{file.n_bars} bars in {len(runs)} runs of {n_slots} from {file.first_ms} to "
            f"{file.last_ms}; count them again with ranges_of"
        )


def _refuse_other_bars(key: SeriesKey, known: ChunkFile, file: ChunkFile) -> None:
    if (known.first_ms, known.last_ms, known.n_bars) != (file.first_ms, file.last_ms, file.n_bars):
        raise ConflictError(
            f"one content must have one set of bars, {file.path} of {key.symbol} (sha256 "
            f"{file.sha256[:12]}) says {file.first_ms}..{file.last_ms} with {file.n_bars} bars, {known.path} "
            f"was {known.first_ms}..{known.last_ms} with {known.n_bars}; hash and parse it again"
        )


def _raise_watermark(conn: Connection, key: SeriesKey, last_ms: int) -> None:
    if watermark_ms(conn, key) is None:
        conn.execute(watermarks.insert(), {**key._asdict(), "through_ms": last_ms})
    else:
        conn.execute(_RAISE, series_params(key, through=last_ms))


def _row(key: SeriesKey, file: ChunkFile) -> dict[str, object]:
    return {
        **key._asdict(),
        "sha256": file.sha256,
        "path": file.path,
        "first_ms": file.first_ms,
        "last_ms": file.last_ms,
        "n_bars": file.n_bars,
        "spans_json": json.dumps(file.spans) if file.spans else None,
        "registered_at_ms": file.registered_at_ms,
        "state": "downloaded",
        "claim_token": None,
        "claimed_from": None,
    }


def _file(row: Row[Any]) -> ChunkFile:
    sha256, path, first_ms, last_ms, n_bars, registered_at_ms, spans_json = tuple(row)
    spans = json.loads(spans_json) if spans_json is not None else ()
    return ChunkFile(
        sha256,
        path,
        first_ms,
        last_ms,
        n_bars,
        registered_at_ms,
        tuple(BarRange(*s) for s in spans),
    )
