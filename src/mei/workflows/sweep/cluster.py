"""Chunks on a Dask cluster: the plan goes to each worker once, rows come back as they are done, workers may die.

The plan travels as a worker plugin: the scheduler gives it to every worker, also to those that join later or come back,
so nothing is lost with the last worker that held it. A chunk whose worker died is given out again, for as long as there
are workers; what came back is in the journal of the process that asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, wait
from dataclasses import dataclass
from queue import Empty, Queue
from typing import Any, Final, TypeVar

import numpy as np
from distributed import Client, Future, KilledWorker, LocalCluster, get_worker
from distributed.comm.core import CommClosedError
from distributed.diagnostics.plugin import WorkerPlugin

from mei.jit import sources_hash
from mei.model.errors import MeiError, ServiceUnavailableError, VerificationError
from mei.workflows.strategy import Tell
from mei.workflows.sweep.chunk import run_chunk
from mei.workflows.sweep.engine import SweepEngine
from mei.workflows.sweep.plan import SweepPlan
from mei.workflows.sweep.work import compilers

#: What `--scheduler` says for workers of its own on this machine.
LOCAL: Final = "local"
#: Chunks given out per worker thread: one in work, one waiting.
_AHEAD: Final = 2
#: How long to wait for the scheduler, and for a worker when there is none.
_CONNECT_S, _PATIENCE_S = 30.0, 300.0
_POLL_S: Final = 1.0
#: A chunk is given out again so often before its workers' deaths are taken to be its own fault.
_MOST_DEATHS: Final = 20

T = TypeVar("T")


class SweepPlugin(WorkerPlugin):
    """The plan on a worker, and the engine that is made of it when the first chunk comes."""

    def __init__(self, plan: SweepPlan, client_id: str) -> None:
        """client_id: Dask's, of who asks: two who ask for the same must not get each other's chunks."""
        self.name = f"mei-sweep-{plan.identity[:16]}-{client_id}"
        self._sources, self._compilers = sources_hash(), compilers()
        self._packed = pickle.dumps(plan, protocol=5)

    def setup(self, worker: Any) -> None:
        """Called on each worker."""
        self._lock = threading.Lock()
        self._made: tuple[SweepPlan, SweepEngine] | None = None

    def teardown(self, worker: Any) -> None:
        """Called on each worker when the sweep is over."""
        self._made = None

    def run(self, chunk: int) -> Any:
        """The records of a chunk. VerificationError when the worker's code or compilers are not those of who asked."""
        if (sources := sources_hash()) != self._sources:
            raise VerificationError(
                f"every worker must run the code of this sweep, {self._sources}, one runs {sources}: install the same "
                "release"
            )
        if (found := compilers()) != self._compilers:
            raise VerificationError(
                f"every worker must have the libraries of this sweep, {self._compilers}, one has {found}: install "
                "the same versions"
            )
        with self._lock:
            if self._made is None:
                plan: SweepPlan = pickle.loads(self._packed)
                self._made = plan, plan.strategy.sweep(plan.inputs, 1)
            plan, engine = self._made
        return run_chunk(plan, engine, chunk)


def _on_worker(plugin_name: str, chunk: int) -> Any:
    """The records of a chunk. What goes wrong in it is a MeiError that names the worker: all else is Dask's."""
    worker = get_worker()
    try:
        return worker.plugins[plugin_name].run(chunk)  # type: ignore[attr-defined]
    except MeiError as error:
        raise type(error)(f"worker {worker.address}: {error}") from error
    except Exception as error:
        raise _chunk_failed(f"worker {worker.address}", chunk, error) from error


@dataclass(frozen=True, slots=True)
class Cluster:
    """An Executor. address: `tcp://host:8786`, or `local` for n_workers processes of one thread on this machine."""

    plan: SweepPlan
    address: str
    n_workers: int
    tell: Tell
    is_stopped: Callable[[], bool]
    patience_s: float = _PATIENCE_S

    def rows(self, chunks: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """As Executor has it. Raises ServiceUnavailableError when the scheduler or the last worker stays away."""
        if not chunks:
            return
        with self._connected() as client:
            plugin = SweepPlugin(self.plan, client.id)
            client.register_plugin(plugin)
            try:
                threads = client.nthreads()
                self.tell(
                    f"[sweep] Cluster {self.address}: {len(threads)} workers, {sum(threads.values())} threads"
                )
                yield from _Handout(self, client, plugin.name).rows(chunks)
            except (OSError, TimeoutError) as error:
                raise _scheduler_gone(error) from None
            finally:
                with contextlib.suppress(Exception):  # the cluster may be gone; rows are safe here
                    client.unregister_worker_plugin(plugin.name)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Client]:
        with contextlib.ExitStack() as stack:
            where: Any = self.address
            if self.address == LOCAL:
                cluster = LocalCluster(
                    n_workers=self.n_workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    silence_logs=logging.CRITICAL,
                )
                where = stack.enter_context(cluster)
            try:
                client = Client(where, timeout=_CONNECT_S)
            except (OSError, ValueError) as error:
                raise ServiceUnavailableError(
                    f"--scheduler {self.address} must answer, did not ({error}): start it (dask scheduler), or "
                    "correct the address"
                ) from None
            yield stack.enter_context(client)


def _scheduler_gone(why: object) -> ServiceUnavailableError:
    return ServiceUnavailableError(
        f"the scheduler must stay within reach, is gone ({why}): start it again; finished rows are in the journal, the "
        "same command goes on"
    )


def _chunk_failed(who: str, chunk: int, error: BaseException) -> ServiceUnavailableError:
    found = " ".join(f"{type(error).__name__}: {error}".split())
    return ServiceUnavailableError(
        f"{who} must be able to run what it is given, chunk {chunk} ended with {found}: look at its log and its "
        "machine; finished rows are in the journal, the same command goes on"
    )


class _Handout:
    """Chunks given out a few at a time, those of dead workers again."""

    def __init__(self, cluster: Cluster, client: Client, plugin_name: str) -> None:
        self._plan = cluster.plan
        self._is_stopped = cluster.is_stopped
        self._patience_s = cluster.patience_s
        self._tell = cluster.tell
        self._client = client
        self._plugin_name = plugin_name
        self._done: Queue[Future[Any]] = Queue()
        self._chunk_of: dict[Future[Any], int] = {}
        self._deaths: Counter[int] = Counter()

    def rows(self, chunks: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """(chunk, records) as they come; fewer than asked for when the user stops it."""
        waiting = deque(chunks)
        try:
            while waiting or self._chunk_of:
                while waiting and len(self._chunk_of) < self._wanted():
                    self._give(waiting.popleft())
                future = self._next()
                if future is None:
                    return
                chunk = self._chunk_of[future]
                try:
                    records = self._fetched(future)
                except Exception as error:
                    self._again(chunk, error)
                    del self._chunk_of[future]
                    waiting.appendleft(chunk)
                    continue
                if records is None:
                    return
                del self._chunk_of[future]
                yield chunk, self._checked(chunk, records)
        finally:
            with contextlib.suppress(Exception):
                self._client.cancel(list(self._chunk_of), force=True)

    def _wanted(self) -> int:
        return max(1, _AHEAD * sum(map(int, self._client.nthreads().values())))

    def _give(self, chunk: int) -> None:
        key = f"{self._plugin_name}-{chunk}-{self._deaths[chunk]}"
        future = self._client.submit(_on_worker, self._plugin_name, chunk, key=key, pure=False)
        self._chunk_of[future] = chunk
        future.add_done_callback(self._done.put)

    def _checked(self, chunk: int, records: Any) -> Any:
        if not np.array_equal(records["index"], self._plan.indices(chunk)):
            raise VerificationError(
                f"a worker must answer with the combinations of chunk {chunk}, gave others: please report it"
            )
        return records

    def _next(self) -> Future[Any] | None:
        """The next future that is done, whichever way; None when the user stops it."""
        return self._patiently(lambda: self._done.get(timeout=_POLL_S))

    def _fetched(self, future: Future[Any]) -> Any:
        """The records of a future that was done; None when the user stops it. Raises what the chunk raised.

        They are on the worker still. If that dies now, the scheduler lets another one run the chunk.
        """
        gathering = self._client.gather(future, asynchronous=True)
        loop: Any = self._client.loop
        coming = asyncio.run_coroutine_threadsafe(gathering, loop.asyncio_loop)

        def come() -> Any:
            # Not `result(timeout)`: a TimeoutError of the gathering's own would look like a wait that goes on.
            if not wait([coming], timeout=_POLL_S).done:
                raise Empty
            return coming.result()

        try:
            return self._patiently(come)
        finally:
            coming.cancel()

    def _patiently(self, attempt: Callable[[], T]) -> T | None:
        """What comes of an attempt that is made again while it ends with Empty; None when the user stops it."""
        alone_s = 0.0
        while True:
            try:
                return attempt()
            except Empty:
                if self._is_stopped():
                    return None
                alone_s = 0.0 if self._has_workers() else alone_s + _POLL_S
            if alone_s >= self._patience_s:
                raise ServiceUnavailableError(
                    f"the cluster must have a worker, has had none for {self._patience_s:.0f} s: start one (dask "
                    "worker); finished rows are in the journal, the same command goes on"
                )

    def _has_workers(self) -> bool:
        if self._client.status != "running":
            raise _scheduler_gone(self._client.status)
        return bool(self._client.nthreads())

    def _again(self, chunk: int, error: Exception) -> None:
        """Raise what the chunk itself did wrong; a worker that died or left is no fault of its."""
        if not isinstance(error, (KilledWorker, CommClosedError, CancelledError)):
            # The chunk's own are MeiErrors, an OSError is the way to the scheduler.
            is_told = isinstance(error, (MeiError, OSError))
            raise error if is_told else _chunk_failed("a worker", chunk, error)
        self._deaths[chunk] += 1
        if self._deaths[chunk] > _MOST_DEATHS:
            raise ServiceUnavailableError(
                f"workers must live through chunk {chunk}, {_MOST_DEATHS} ended in it: look at their logs (memory?); "
                "finished rows are in the journal, the same command goes on"
            )
        self._tell(f"[sweep] A worker ended while it ran chunk {chunk}: given out again")
