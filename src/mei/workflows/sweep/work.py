"""What a sweep does, chunk by chunk: every combination of a grid, or the trials of a guided search."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from mei.jit import sources_hash
from mei.workflows.strategy import Tell
from mei.workflows.sweep.chunk import record_dtype, run_chunk
from mei.workflows.sweep.engine import SweepEngine
from mei.workflows.sweep.journal import Journal
from mei.workflows.sweep.merge import Named, named_combination
from mei.workflows.sweep.plan import SweepPlan
from mei.workflows.sweep.request import SweepRequest

#: Hex digits of a sweep's identity in the name of its journal.
_SHORT: Final = 12


class Executor(Protocol):
    """What runs chunks: threads, a card, a cluster."""

    def rows(self, chunks: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """(chunk, its records) in any order; records of `record_dtype`."""


class Work(Protocol):
    """One kind of sweep over a plan."""

    @property
    def n_chunks(self) -> int:
        """Chunks are numbered from 0."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """A record of the journal; it has `index` and `row`."""

    @property
    def named(self) -> Named:
        """What names a record."""

    @property
    def identity(self) -> str:
        """What its trials are: the same text, the same rows."""

    @property
    def journal_identity(self) -> str:
        """The same, and how they are cut into chunks."""

    def executor(self, journal: Journal, is_stopped: Callable[[], bool]) -> Executor:
        """What runs the chunks that the journal lacks; is_stopped: the user wants it to end."""

    def tell_count(self, tell: Tell) -> int:
        """Tell how much there is to do; the number of rows."""


@dataclass(frozen=True, slots=True)
class Here:
    """Chunks one after another in this process; the engine's own threads share each."""

    plan: SweepPlan
    engine: SweepEngine

    def rows(self, chunks: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """As Executor has it."""
        for chunk in chunks:
            yield chunk, run_chunk(self.plan, self.engine, chunk)


@dataclass(frozen=True, slots=True)
class Grid:
    """Every combination that holds the constraints. scheduler: a Dask cluster, None = this process."""

    plan: SweepPlan
    engine: SweepEngine
    scheduler: str | None
    n_threads: int
    tell: Tell

    @property
    def n_chunks(self) -> int:
        """As Work has it."""
        return self.plan.n_chunks

    @property
    def dtype(self) -> np.dtype[Any]:
        """As Work has it."""
        return record_dtype(self.engine.row_dtype)

    @property
    def named(self) -> Named:
        """As Work has it."""
        return named_combination(self.plan.spec)

    @property
    def identity(self) -> str:
        """As Work has it."""
        return self.plan.identity

    @property
    def journal_identity(self) -> str:
        """As Work has it."""
        order = f"in chunks of {self.plan.chunk_size} by {self.plan.turns.order}"
        return _journal_identity(self.plan, order)

    def executor(self, journal: Journal, is_stopped: Callable[[], bool]) -> Executor:
        """As Work has it."""
        if self.scheduler is None:
            return Here(self.plan, self.engine)
        from mei.workflows.sweep.cluster import Cluster

        return Cluster(self.plan, self.scheduler, self.n_threads, self.tell, is_stopped)

    def tell_count(self, tell: Tell) -> int:
        """As Work has it."""
        spec = self.plan.spec
        is_whole = not spec.constraints
        left_out = "" if is_whole else f" ({spec.n_product} less those that break a constraint)"
        n_allowed = spec.n_allowed()
        tell(
            f"[sweep] Generated {n_allowed} config combinations across {len(spec.axes)} axes{left_out}"
        )
        for path in self.plan.unknown:
            for _ in range(n_allowed):
                tell(f"[sweep] Unknown override path: {path}")
        return n_allowed


@dataclass(frozen=True, slots=True)
class Search:
    """The trials of TPE, batch by batch."""

    plan: SweepPlan
    engine: SweepEngine
    n_trials: int
    batch: int
    seed: int

    @property
    def n_chunks(self) -> int:
        """As Work has it."""
        return -(-self.n_trials // self.batch)

    @property
    def dtype(self) -> np.dtype[Any]:
        """As Work has it."""
        from mei.workflows.sweep.tpe import trial_dtype

        return trial_dtype(self.plan.spec, self.engine.row_dtype)

    @property
    def named(self) -> Named:
        """As Work has it."""
        from mei.workflows.sweep.tpe import named_trial

        return named_trial(self.plan.spec)

    @property
    def identity(self) -> str:
        """As Work has it. The sampler's version is part of it: another one may ask for other trials."""
        terms = f"{self.n_trials} {self.batch} {self.seed} optuna {version('optuna')}"
        return hashlib.sha256(f"{self.plan.identity} tpe {terms}".encode()).hexdigest()

    @property
    def journal_identity(self) -> str:
        """As Work has it."""
        return _journal_identity(self.plan, self.identity)

    def executor(self, journal: Journal, is_stopped: Callable[[], bool]) -> Executor:
        """As Work has it."""
        from mei.workflows.sweep.tpe import TpeTrials

        return TpeTrials(self.plan, self.engine, self.n_trials, self.batch, self.seed, journal)

    def tell_count(self, tell: Tell) -> int:
        """As Work has it."""
        n_axes = len(self.plan.spec.axes)
        tell(
            f"[sweep] TPE: {self.n_trials} trials in batches of {self.batch} over {n_axes} axes, seed {self.seed}"
        )
        tell("[sweep] TPE searches numbers in the whole range of their values, between them, too")
        return self.n_trials


def _journal_identity(plan: SweepPlan, how: str) -> str:
    """Rows of other sources, other libraries or another device are never mixed with these, equal as they should be."""
    where = "card" if plan.is_on_card else "cpu"
    return f"{plan.identity} {how} on {where} from {sources_hash()} with {compilers()}"


def compilers() -> str:
    """The versions of what turns rules into machine code."""
    return " ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "llvmlite"))


def work_of(
    request: SweepRequest, plan: SweepPlan, engine: SweepEngine, n_threads: int, tell: Tell
) -> Work:
    """What the request asks for."""
    if request.tpe is not None:
        return Search(plan, engine, request.tpe.n_trials, request.tpe.batch, request.tpe.seed)
    return Grid(plan, engine, request.scheduler, n_threads, tell)


def journal_path(output: str, work: Work) -> Path:
    """Beside the output, named by the sweep: another spec has another journal, so neither loses the other's rows."""
    path = Path(output)
    name = hashlib.sha256(work.journal_identity.encode()).hexdigest()[:_SHORT]
    return path.with_name(f"{path.name}.{name}.journal")
