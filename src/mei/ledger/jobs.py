"""Sweeps asked for over HTTP: who runs which, how far it is, how it ended.

A job has a lease, as a claim has: its worker renews it, another takes it over when it ends, and whatever the first
one says from then on is refused by its token. A job is asked for again by the same id: it is put back into the queue
unless it waits, runs or is finished.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select, update

from mei.ledger.tables import sweep_jobs
from mei.model.errors import ConflictError, FencedOffError, NotFoundError

QUEUED, RUNNING = "queued", "running"
FINISHED, FAILED, CANCELLED = "finished", "failed", "cancelled"
#: Workers that may die in a job, one after another, without a new row, before it is taken to be the job's fault.
MOST_STUCK: Final = 10


@dataclass(frozen=True, slots=True)
class SweepJob:
    """One row. n_rows: finished ones, as last told; n_stuck: lives of workers begun in it since the last new row.

    data_id: hash of the market its first run has loaded, None before.
    """

    job_id: str
    request_json: str
    state: str
    reason: str
    is_cancel_asked: int
    token: str | None
    owner: str | None
    expires_at_ms: int | None
    n_attempts: int
    n_stuck: int
    n_rows: int
    progress_json: str
    queued_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None
    data_id: str | None


@dataclass(frozen=True, slots=True)
class JobClaim:
    """The right to run a job until its lease ends. The token is the proof. data_id: as SweepJob has it."""

    job_id: str
    token: str
    owner: str
    request_json: str
    data_id: str | None


_ONE = select(sweep_jobs).where(sweep_jobs.c.job_id == bindparam("k_job_id"))
_ALL = select(sweep_jobs).order_by(sweep_jobs.c.queued_at_ms.desc(), sweep_jobs.c.job_id)
_NEXT = (
    select(sweep_jobs)
    .where(
        (sweep_jobs.c.state == QUEUED)
        | ((sweep_jobs.c.state == RUNNING) & (sweep_jobs.c.expires_at_ms <= bindparam("k_now_ms")))
    )
    .order_by(sweep_jobs.c.queued_at_ms, sweep_jobs.c.job_id)
    .limit(1)
)
_OWNED = (
    select(sweep_jobs)
    .where(sweep_jobs.c.owner == bindparam("k_owner"))
    .order_by(sweep_jobs.c.job_id)
)


def find_job(conn: Connection, job_id: str) -> SweepJob:
    """The job. Raises NotFoundError."""
    row = conn.execute(_ONE, {"k_job_id": job_id}).one_or_none()
    if row is None:
        raise NotFoundError(f"no sweep has the id {job_id!r}: GET /sweeps lists those there are")
    return SweepJob(*row)


def jobs(conn: Connection) -> list[SweepJob]:
    """All of them, the newest first."""
    return [SweepJob(*row) for row in conn.execute(_ALL)]


def submit_job(
    conn: Connection, job_id: str, request_json: str, now_ms: int, *, again: bool = False
) -> SweepJob:
    """The job of a question: a new one, or the one that is there.

    A failed or cancelled one waits for a worker again, and so does a finished one with `again`; its market is loaded
    anew. A request to cancel one that still runs is taken back. Raises ConflictError when the id belongs to another
    question.
    """
    row = conn.execute(_ONE, {"k_job_id": job_id}).one_or_none()
    if row is None:
        conn.execute(sweep_jobs.insert(), _fresh(job_id, request_json, now_ms))
        return find_job(conn, job_id)
    known = SweepJob(*row)
    if known.request_json != request_json:
        raise ConflictError(
            f"an id must belong to one sweep, {job_id} is that of {known.request_json:.200}, not of "
            f"{request_json:.200}"
        )
    if known.state in (FAILED, CANCELLED) or (again and known.state == FINISHED):
        _set(conn, job_id, **_waiting(now_ms), n_stuck=0)
    elif known.state == RUNNING and known.is_cancel_asked:
        _set(conn, job_id, is_cancel_asked=0)
    return find_job(conn, job_id)


def next_job(conn: Connection, now_ms: int) -> SweepJob | None:
    """The job that waits the longest, or whose worker's lease is over; None when there is none. Reads only."""
    row = conn.execute(_NEXT, {"k_now_ms": now_ms}).one_or_none()
    return None if row is None else SweepJob(*row)


def claim_job(
    conn: Connection, *, owner: str, token: str, now_ms: int, lease_ms: int
) -> JobClaim | None:
    """Take the next job until `now_ms + lease_ms` (wall clock), or None when there is none to run.

    One that was to be cancelled when its worker died is cancelled, one that kept on killing its workers failed.
    `token` must be unique a claim.
    """
    while (job := next_job(conn, now_ms)) is not None:
        if job.is_cancel_asked:
            _set(conn, job.job_id, **_ended(CANCELLED, "", now_ms))
        elif job.n_stuck >= MOST_STUCK:
            reason = (
                f"workers must live through a sweep, {job.n_stuck} ended in this one without a new row: look at "
                "their logs (memory?), then post it again"
            )
            _set(conn, job.job_id, **_ended(FAILED, reason, now_ms))
        else:
            _set(
                conn,
                job.job_id,
                state=RUNNING,
                reason="",
                token=token,
                owner=owner,
                expires_at_ms=now_ms + lease_ms,
                n_attempts=job.n_attempts + 1,
                n_stuck=job.n_stuck + 1,
                started_at_ms=now_ms if job.started_at_ms is None else job.started_at_ms,
            )
            return JobClaim(job.job_id, token, owner, job.request_json, job.data_id)
    return None


def set_market(conn: Connection, claim: JobClaim, data_id: str, now_ms: int) -> None:
    """Say which market the job is of: its first run has loaded it.

    Raises FencedOffError when it is not held any more.
    """
    held_job(conn, claim, now_ms)
    _set(conn, claim.job_id, data_id=data_id)


def renew_job(
    conn: Connection,
    claim: JobClaim,
    *,
    now_ms: int,
    lease_ms: int,
    n_rows: int | None,
    progress_json: str,
) -> bool:
    """Prolong the lease and tell how far the job is; whether it is to be cancelled. n_rows None = not known yet.

    Raises FencedOffError when it is not held any more.
    """
    job = held_job(conn, claim, now_ms)
    told = job.n_rows if n_rows is None else n_rows
    _set(
        conn,
        claim.job_id,
        expires_at_ms=now_ms + lease_ms,
        n_stuck=0 if told > job.n_rows else job.n_stuck,
        n_rows=told,
        progress_json=progress_json,
    )
    return bool(job.is_cancel_asked)


def end_job(
    conn: Connection,
    claim: JobClaim,
    state: str,
    *,
    now_ms: int,
    reason: str = "",
    n_rows: int | None,
    progress_json: str,
) -> None:
    """Say that the job is finished or failed. n_rows None = not known.

    Raises FencedOffError when it is not held any more.
    """
    job = held_job(conn, claim, now_ms)
    told = job.n_rows if n_rows is None else n_rows
    ended = _ended(state, reason, now_ms)
    _set(conn, claim.job_id, **ended, n_rows=told, progress_json=progress_json)


def give_back_job(conn: Connection, claim: JobClaim, now_ms: int) -> None:
    """Stop running the job: cancelled if that was asked for, else another worker may go on.

    Does nothing when it is not held any more.
    """
    try:
        job = held_job(conn, claim, now_ms)
    except FencedOffError:
        return
    _give_back(conn, job, now_ms)


def give_back_owned(conn: Connection, owner: str, now_ms: int) -> int:
    """Give back every job of a worker that has ended or is about to; how many they were."""
    rows = [SweepJob(*row) for row in conn.execute(_OWNED, {"k_owner": owner})]
    for job in rows:
        _give_back(conn, job, now_ms)
    return len(rows)


def ask_to_cancel(conn: Connection, job_id: str, now_ms: int) -> SweepJob:
    """Cancel a job: at once, or when its worker hears of it. Cancelled again, nothing changes.

    Raises NotFoundError, and ConflictError for one that ended otherwise.
    """
    job = find_job(conn, job_id)
    if job.state in (FINISHED, FAILED):
        raise ConflictError(
            f"only a sweep that waits or runs can be cancelled, {job_id} is {job.state}"
        )
    if job.state == RUNNING and job.expires_at_ms is not None and now_ms < job.expires_at_ms:
        _set(conn, job_id, is_cancel_asked=1)
    elif job.state != CANCELLED:
        _set(conn, job_id, **_ended(CANCELLED, "", now_ms))
    return find_job(conn, job_id)


def held_job(conn: Connection, claim: JobClaim, now_ms: int) -> SweepJob:
    """The job, if `claim` is the one in force and its lease lasts. Raises FencedOffError."""
    job = find_job(conn, claim.job_id)
    if job.token == claim.token and job.expires_at_ms is not None and now_ms < job.expires_at_ms:
        return job
    found = f"it is {job.state}" if job.owner is None else f"{job.owner!r} has it"
    if job.token == claim.token:
        found = "its lease is over"
    raise FencedOffError(
        f"a worker must hold its sweep until it ends, {claim.owner!r} lost {claim.job_id}: {found}; "
        "drop what was done"
    )


def _fresh(job_id: str, request_json: str, now_ms: int) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "request_json": request_json,
        "n_attempts": 0,
        "n_stuck": 0,
        "n_rows": 0,
        "progress_json": "{}",
        **_waiting(now_ms),
        "started_at_ms": None,
    }


def _waiting(now_ms: int) -> dict[str, Any]:
    return {
        **_released(),
        "state": QUEUED,
        "reason": "",
        "queued_at_ms": now_ms,
        "ended_at_ms": None,
        "data_id": None,
    }


def _ended(state: str, reason: str, now_ms: int) -> dict[str, Any]:
    return {**_released(), "state": state, "reason": reason, "ended_at_ms": now_ms}


def _released() -> dict[str, Any]:
    return {"is_cancel_asked": 0, "token": None, "owner": None, "expires_at_ms": None}


def _give_back(conn: Connection, job: SweepJob, now_ms: int) -> None:
    if job.is_cancel_asked:
        _set(conn, job.job_id, **_ended(CANCELLED, "", now_ms))
    else:
        # Its turn stays what it was; a worker that stops by itself does not count as one that died.
        _set(conn, job.job_id, **_released(), state=QUEUED, n_stuck=max(job.n_stuck - 1, 0))


def _set(conn: Connection, job_id: str, **values: Any) -> None:
    conn.execute(update(sweep_jobs).where(sweep_jobs.c.job_id == job_id).values(**values))
