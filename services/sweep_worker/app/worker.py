"""The thread that runs sweeps, one after another, and keeps their leases."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from mei.ledger.database import Ledger
from mei.ledger.jobs import (
    FAILED,
    FINISHED,
    JobClaim,
    claim_job,
    end_job,
    give_back_job,
    give_back_owned,
    next_job,
    renew_job,
    set_market,
)
from mei.model import faults
from mei.model.errors import (
    ConflictError,
    FencedOffError,
    LedgerError,
    MeiError,
    StoppedError,
)
from mei.workflows.sweep.run import run_sweep
from mei.workflows.sweep.watch import Progress, Unwatched
from services.sweep_worker.app.asked import (
    refuse_another_market,
    refuse_other_databases,
    request_of,
)
from services.sweep_worker.app.settings import Settings

_log = logging.getLogger("sweep_worker")

#: Between looks for sweeps of others: those of dead workers, and those posted to another process.
_LOOK_EVERY_S = 1.0
#: Between two words on how far a sweep is, at most; a quarter of the lease if that is less.
_TELL_EVERY_S = 1.0
#: How long to wait for the process that holds a journal, first and at most.
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
#: Lines kept of what a sweep says.
_MOST_LINES = 200
#: How long a shutdown waits for the chunk in work; Docker kills after ten seconds.
_CLOSE_WITHIN_S = 3.0


class Life:
    """One claim on a sweep, as the thread that runs it sees it: what was told, and whether to go on. A Watch."""

    def __init__(
        self, ledger: Ledger, claim: JobClaim, lease_ms: int, now_ms: Callable[[], int]
    ) -> None:
        self.claim = claim
        self._ledger = ledger
        self._lease_ms = lease_ms
        self._now_ms = now_ms
        self._lines: deque[str] = deque(maxlen=_MOST_LINES)
        self._progress: Progress | None = None
        self._stop = threading.Event()

    def __reduce__(self) -> tuple[type[Unwatched], tuple[()]]:
        # A plan that goes to workers elsewhere knows whom it tells; there it is nobody.
        return Unwatched, ()

    def tell(self, line: str) -> None:
        """Keep a line for whoever asks."""
        self._lines.append(line)

    def stop(self) -> None:
        """Let the sweep end after the chunk in work."""
        self._stop.set()

    def is_stopped(self) -> bool:
        """As Watch has it."""
        return self._stop.is_set()

    def wait(self, seconds: float) -> None:
        """Wait, unless it is to stop."""
        self._stop.wait(seconds)

    def progressed(self, progress: Progress) -> None:
        """As Watch has it. What the journal brought along is told at once: a worker that dies later has got on."""
        is_first = self._progress is None
        self._progress = progress
        if is_first:
            self.renew()
        faults.hit("sweep_worker.progressed")

    def loaded(self, data_id: str) -> None:
        """As Watch has it. The first run's market is that of the files that were asked for, every later run's is it.

        From then on files may change: what counts is what was loaded. Raises FencedOffError when it was lost,
        DataError for another market.
        """
        if self.claim.data_id is not None:
            refuse_another_market(self.claim.request_json, data_id, self.claim.data_id)
            return
        refuse_other_databases(self.claim.request_json)
        with self._ledger.unit_of_work() as unit:
            set_market(unit.connection, self.claim, data_id, self._now_ms())
            unit.commit("sweep_job_market")

    def finished(self) -> None:
        """As Watch has it: the ledger knows before the journal goes. Raises FencedOffError when it was lost."""
        faults.hit("sweep_worker.before_finish")
        self.end(FINISHED, "")
        faults.hit("sweep_worker.after_finish")

    def end(self, state: str, reason: str) -> None:
        """Say how it ended. Raises FencedOffError."""
        with self._ledger.unit_of_work() as unit:
            end_job(
                unit.connection,
                self.claim,
                state,
                now_ms=self._now_ms(),
                reason=reason,
                n_rows=self._n_rows,
                progress_json=self._told(),
            )
            unit.commit("sweep_job_end")

    def renew(self) -> None:
        """Prolong the lease; stop when that is not possible any more or a cancellation was asked for."""
        try:
            with self._ledger.unit_of_work() as unit:
                is_cancelled = renew_job(
                    unit.connection,
                    self.claim,
                    now_ms=self._now_ms(),
                    lease_ms=self._lease_ms,
                    n_rows=self._n_rows,
                    progress_json=self._told(),
                )
                unit.commit("sweep_job_renew")
        except FencedOffError as error:
            _log.warning("sweep lost: %s", error)
            self.stop()
        except LedgerError as error:
            _log.warning("lease not renewed: %s", error)
        else:
            if is_cancelled:
                self.stop()

    @contextmanager
    def renewing(self) -> Iterator[None]:
        """Renew from a thread of its own until the block ends."""
        is_over = threading.Event()
        every_s = min(_TELL_EVERY_S, self._lease_ms / 4000)

        def keep() -> None:
            while not is_over.wait(every_s):
                self.renew()

        keeper = threading.Thread(target=keep, name="sweep-renewal", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            is_over.set()
            keeper.join()

    @property
    def _n_rows(self) -> int | None:
        return None if self._progress is None else self._progress.n_rows

    def _told(self) -> str:
        progress = self._progress
        told: dict[str, Any] = {"lines": list(self._lines)}
        if progress is not None:
            told |= {"n_total": progress.n_total, "rows_per_s": progress.rows_per_s}
            if (best := progress.best) is not None:
                told["best"] = {
                    "config_id": best.config_id,
                    "overrides": best.overrides,
                    "total_pnl": best.total_pnl_usd,
                }
        return orjson.dumps(told).decode()


class Worker:
    """Takes sweeps from the ledger until it is closed."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        folder: Path,
        owner: str,
        *,
        now_ms: Callable[[], int],
        new_token: Callable[[], str],
    ) -> None:
        """folder: where each sweep has one of its own. owner: no other worker may ever have it."""
        self.owner = owner
        self._ledger = ledger
        self._settings = settings
        self._folder = folder
        self._now_ms = now_ms
        self._new_token = new_token
        self._is_closing = threading.Event()
        self._is_woken = threading.Event()
        self._life: Life | None = None
        self._thread = threading.Thread(target=self._work, name="sweeps", daemon=True)

    def start(self) -> None:
        """Begin to look for sweeps."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it looks for sweeps."""
        return self._thread.is_alive()

    def wake(self) -> None:
        """There is a sweep to run, or to cancel."""
        self._is_woken.set()
        life = self._life
        if life is not None:
            life.renew()

    def close(self) -> None:
        """Stop after the chunk in work, if that is soon, and give back what was held."""
        self._is_closing.set()
        self._is_woken.set()
        life = self._life
        if life is not None:
            life.stop()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_WITHIN_S)
        with self._ledger.unit_of_work() as unit:
            give_back_owned(unit.connection, self.owner, self._now_ms())
            unit.commit("sweep_job_close")

    def _work(self) -> None:
        while not self._is_closing.is_set():
            try:
                claim = self._claim()
                if claim is not None:
                    self._run(claim)
                    continue
            except LedgerError as error:
                _log.warning("no sweep taken: %s", error)
            self._is_woken.wait(_LOOK_EVERY_S)
            self._is_woken.clear()

    def _claim(self) -> JobClaim | None:
        now_ms = self._now_ms()
        with self._ledger.reader() as connection:
            if next_job(connection, now_ms) is None:
                return None
        with self._ledger.unit_of_work() as unit:
            claim = claim_job(
                unit.connection,
                owner=self.owner,
                token=self._new_token(),
                now_ms=now_ms,
                lease_ms=self._settings.lease_ms,
            )
            unit.commit("sweep_job_claim")
        return claim

    def _run(self, claim: JobClaim) -> None:
        _log.info("sweep taken up", extra={"sweep_id": claim.job_id})
        life = self._life = Life(self._ledger, claim, self._settings.lease_ms, self._now_ms)
        if self._is_closing.is_set():
            life.stop()
        try:
            with life.renewing():
                self._through(life)
        finally:
            self._life = None
        _log.info("sweep let go", extra={"sweep_id": claim.job_id})

    def _through(self, life: Life) -> None:
        """Run the sweep, and say how it ended. LedgerError when that cannot be said: the lease will tell."""
        try:
            self._sweep(life)
        except StoppedError:
            life.renew()
            with self._ledger.unit_of_work() as unit:
                give_back_job(unit.connection, life.claim, self._now_ms())
                unit.commit("sweep_job_back")
        except FencedOffError as error:
            _log.warning("sweep lost: %s", error)
        except MeiError as error:
            self._failed(life, str(error))
        except Exception as error:
            _log.exception("unexpected error", extra={"sweep_id": life.claim.job_id})
            self._failed(life, f"unexpected {type(error).__name__}, the worker's log says more")

    def _sweep(self, life: Life) -> None:
        """Run it to its end, waiting for a process that stalls with the journal in its hands."""
        folder = self._folder / life.claim.job_id
        request = request_of(life.claim.request_json, folder, self._settings)
        if life.claim.data_id is None:
            refuse_other_databases(life.claim.request_json)
        wait_s = _FIRST_WAIT_S
        while not life.is_stopped():
            try:
                run_sweep(request, life.tell, now_ms=self._now_ms, watch=life)
                return
            except ConflictError as error:
                life.tell(f"[sweep] Waiting: {error}")
                life.wait(wait_s)
                wait_s = min(2.0 * wait_s, _LONGEST_WAIT_S)
        raise StoppedError("stopped before it began")

    def _failed(self, life: Life, reason: str) -> None:
        try:
            life.end(FAILED, reason)
        except FencedOffError as error:
            _log.warning("sweep lost: %s", error)
