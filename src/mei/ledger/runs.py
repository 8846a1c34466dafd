"""Runs and their attempts: what was asked, what came out, and whether it ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from sqlalchemy import Connection, bindparam, select, update

from mei.ledger.tables import runs
from mei.model.errors import ConflictError, NotFoundError


@dataclass(frozen=True, slots=True)
class RunRow:
    """One attempt at a run; status: running | finished | failed. JSON columns are the runner's business."""

    run_id: str
    attempt: int
    stream: str
    status: str
    settings_json: str
    data_json: str
    outputs_json: str | None
    created_at_ms: int
    finished_at_ms: int | None


_LATEST = (
    select(runs)
    .where(runs.c.run_id == bindparam("k_run_id"))
    .order_by(runs.c.attempt.desc())
    .limit(1)
)
_TAKEN = (
    select(runs)
    .where(
        (runs.c.stream == bindparam("k_stream"))
        | ((runs.c.run_id == bindparam("k_run_id")) & (runs.c.attempt == bindparam("k_attempt")))
    )
    .limit(1)
)
_OF_STREAM = select(runs).where(runs.c.stream == bindparam("k_stream"))
_END = (
    update(runs)
    .where(runs.c.stream == bindparam("k_stream"))
    .values(
        status=bindparam("new_status"),
        outputs_json=bindparam("new_outputs"),
        finished_at_ms=bindparam("ended_at"),
    )
)


def start_run(conn: Connection, row: RunRow) -> None:
    """Keep a new attempt. Raises ConflictError when the attempt or its stream exists: two runners at once."""
    params = {"k_run_id": row.run_id, "k_attempt": row.attempt, "k_stream": row.stream}
    taken = conn.execute(_TAKEN, params).one_or_none()
    if taken is not None:
        raise ConflictError(
            f"an attempt must be started once, {row.run_id} attempt {row.attempt} (stream {row.stream!r}) is "
            f"{taken.status} since {taken.created_at_ms}; resume it, or end the other runner"
        )
    conn.execute(runs.insert(), asdict(row))


def find_run(conn: Connection, run_id: str) -> RunRow | None:
    """The newest attempt at `run_id`, or None."""
    row = conn.execute(_LATEST, {"k_run_id": run_id}).one_or_none()
    return None if row is None else RunRow(*row)


def run_of_stream(conn: Connection, stream: str) -> RunRow | None:
    """The attempt that `stream` belongs to; None for `live` and its like."""
    row = conn.execute(_OF_STREAM, {"k_stream": stream}).one_or_none()
    return None if row is None else RunRow(*row)


def finish_run(conn: Connection, stream: str, outputs_json: str, finished_at_ms: int) -> None:
    """Say that the attempt of `stream` is complete. Saying the same outputs again changes nothing.

    Raises NotFoundError for an unknown stream, ConflictError when it finished with other outputs.
    """
    _end(conn, stream, "finished", outputs_json, finished_at_ms)


def fail_run(conn: Connection, stream: str, outputs_json: str, failed_at_ms: int) -> None:
    """Say that the attempt of `stream` ended in an error, with the reason in `outputs_json`.

    Raises NotFoundError for an unknown stream, ConflictError when it finished.
    """
    _end(conn, stream, "failed", outputs_json, failed_at_ms)


def _end(conn: Connection, stream: str, status: str, outputs_json: str, ended_at_ms: int) -> None:
    known = run_of_stream(conn, stream)
    if known is None:
        raise NotFoundError(
            f"only a run that was started can end, no run has the stream {stream!r}; start_run first"
        )
    ended = replace(
        known, status=status, outputs_json=outputs_json, finished_at_ms=known.finished_at_ms
    )
    if known.status == "finished":
        if ended != known:
            raise ConflictError(
                f"a finished run must keep its outputs, {known.run_id} attempt {known.attempt} finished with "
                f"{known.outputs_json} and now would be {status} with {outputs_json}; start another attempt"
            )
        return
    conn.execute(
        _END,
        {
            "k_stream": stream,
            "new_status": status,
            "new_outputs": outputs_json,
            "ended_at": ended_at_ms,
        },
    )
