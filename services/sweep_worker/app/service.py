"""What sweep_worker answers: sweeps posted, looked at, cancelled, their rows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from mei.ledger.database import Ledger
from mei.ledger.jobs import FINISHED, SweepJob, ask_to_cancel, find_job, jobs, submit_job
from mei.model.errors import ConflictError, NotFoundError
from services.sweep_worker.app.asked import RESULTS, ask, keep
from services.sweep_worker.app.bodies import SweepBody, SweepList, SweepSummary, SweepView
from services.sweep_worker.app.settings import Settings
from services.sweep_worker.app.worker import Worker

_log = logging.getLogger("sweep_worker")


class SweepService:
    """Asks the ledger; the worker does the work. Raises MeiError."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        folder: Path,
        worker: Worker,
        now_ms: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._folder = folder
        self._worker = worker
        self._now_ms = now_ms

    def submit(self, body: SweepBody) -> SweepView:
        """The sweep of a body; a finished one whose rows are gone is run again."""
        asked = ask(body, self._settings)
        folder = self._folder / asked.job_id
        keep(asked, folder)
        with self._ledger.unit_of_work() as unit:
            # Not before: a sweep that is finished by now had no rows a moment ago.
            has_rows = (folder / RESULTS).is_file()
            job = submit_job(
                unit.connection, asked.job_id, asked.text, self._now_ms(), again=not has_rows
            )
            unit.commit("sweep_job_submit")
        _log.info("sweep posted", extra={"sweep_id": job.job_id, "state": job.state})
        self._worker.wake()
        return _view(job)

    def one(self, job_id: str) -> SweepView:
        """How far a sweep is."""
        with self._ledger.reader() as connection:
            return _view(find_job(connection, job_id))

    def all(self) -> SweepList:
        """Every sweep, the newest first."""
        with self._ledger.reader() as connection:
            return SweepList(sweeps=[_summary(job) for job in jobs(connection)])

    def cancel(self, job_id: str) -> SweepView:
        """Cancel a sweep: at once, or after the chunk in work. Its journal stays."""
        with self._ledger.unit_of_work() as unit:
            job = ask_to_cancel(unit.connection, job_id, self._now_ms())
            unit.commit("sweep_job_cancel")
        self._worker.wake()
        return _view(job)

    def results(self, job_id: str) -> Path:
        """The file of a finished sweep's rows. Raises ConflictError before, NotFoundError when it is gone."""
        with self._ledger.reader() as connection:
            job = find_job(connection, job_id)
        if job.state != FINISHED:
            why = f": {job.reason}" if job.reason else ""
            raise ConflictError(
                f"a sweep must be finished to have results, {job_id} is {job.state}{why}"
            )
        path = self._folder / job_id / RESULTS
        if not path.is_file():
            raise NotFoundError(f"{path} is gone: post the sweep again to have it run again")
        return path

    def readiness(self) -> dict[str, Any]:
        """Facts for /ready."""
        with self._ledger.reader() as connection:
            n_jobs = len(jobs(connection))
        reasons = [] if self._worker.is_alive else ["the thread that runs sweeps has ended"]
        return {
            "ledger_id": self._ledger.ledger_id,
            "worker": self._worker.owner,
            "sweeps": n_jobs,
            "scheduler": self._settings.sweep_scheduler or None,
            "reasons": reasons,
        }


def _summary(job: SweepJob) -> SweepSummary:
    return SweepSummary(**_facts(job, orjson.loads(job.progress_json)))


def _view(job: SweepJob) -> SweepView:
    told = orjson.loads(job.progress_json)
    return SweepView(
        **_facts(job, told),
        best=told.get("best"),
        lines=told.get("lines", []),
        request=orjson.loads(job.request_json),
    )


def _facts(job: SweepJob, told: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": job.job_id,
        "state": job.state,
        "reason": job.reason,
        "rows_done": job.n_rows,
        "rows_total": told.get("n_total"),
        "rows_per_s": told.get("rows_per_s"),
        "cancel_asked": bool(job.is_cancel_asked),
        "attempts": job.n_attempts,
        "worker": job.owner,
        "lease_ends_at_ms": job.expires_at_ms,
        "queued_at_ms": job.queued_at_ms,
        "started_at_ms": job.started_at_ms,
        "ended_at_ms": job.ended_at_ms,
    }
