"""A guided search over the axes: Optuna's TPE, asked and told in batches, the same trials whenever it is interrupted.

Batch b is a function of the seed and of the trials before it: its sampler is built anew, seeded by (seed, b), and told
them in their order. So the journal needs the trials alone, no state of a sampler. TPE is quadratic in what it has been
told; it is told the best 1,000 and the latest 1,000.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from mei.metrics.replay import ReplayNumbers
from mei.model.bars import FloatArray
from mei.model.errors import ConfigError
from mei.workflows.relation import Relation
from mei.workflows.sweep.engine import SweepEngine
from mei.workflows.sweep.journal import Journal
from mei.workflows.sweep.merge import Named
from mei.workflows.sweep.plan import SweepPlan
from mei.workflows.sweep_spec import Axis, SweepSpec

_MOST_BEST, _MOST_LATEST = 1000, 1000
#: Fewer trades than this are too few to believe a profit.
_FEW_TRADES: Final = 20
_BELIEVED_FRAC: Final = 0.5
#: How often the sampler is asked anew for a trial that keeps the constraints, and then how often chance is.
_MOST_ASKED, _MOST_DRAWN = 10, 20_000
_TINY: Final = 1e-12


def trial_dtype(spec: SweepSpec, row_dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What the journal holds of a trial: its number, the value of each axis, and its result."""
    return np.dtype([("index", "<i8"), ("values", "<f8", (len(spec.axes),)), ("row", row_dtype)])


def objective(numbers: ReplayNumbers) -> float:
    """What is maximised: profit in USD, of which only half is believed below 20 trades; a loss counts in full."""
    profit = numbers.total_pnl_usd
    if not math.isfinite(profit):
        return -math.inf
    return (
        profit * _BELIEVED_FRAC if profit > 0.0 and numbers.total_trades < _FEW_TRADES else profit
    )


class Told(NamedTuple):
    """A finished trial: its number, its objective, the value of each axis (n_axes,)."""

    number: int
    score: float
    values: FloatArray


class Known:
    """The best and the latest of the trials added so far, which come in their order."""

    def __init__(self, most_best: int = _MOST_BEST, most_latest: int = _MOST_LATEST) -> None:
        self._latest: deque[Told] = deque(maxlen=most_latest)
        #: The worst of the best on top; of equals the one that came last.
        self._best: list[tuple[float, int, Told]] = []
        self._most_best = most_best

    def add(self, told: Told) -> None:
        """One more."""
        self._latest.append(told)
        entry = (told.score, -told.number, told)
        if len(self._best) < self._most_best:
            heapq.heappush(self._best, entry)
        else:
            heapq.heappushpop(self._best, entry)

    def kept(self) -> list[Told]:
        """Those to tell a sampler, by number."""
        found = {told.number: told for *_, told in self._best}
        found.update((told.number, told) for told in self._latest)
        return [found[number] for number in sorted(found)]


class TpeTrials:
    """An Executor whose chunks are batches; they must be asked for in ascending order."""

    def __init__(
        self,
        plan: SweepPlan,
        engine: SweepEngine,
        n_trials: int,
        batch: int,
        seed: int,
        journal: Journal,
    ) -> None:
        """Raises ConfigError for a spec without a range to search in."""
        self._plan = plan
        self._engine = engine
        self._n_trials, self._batch, self._seed = n_trials, batch, seed
        self._journal = journal
        #: The trials of so many batches are known.
        self._n_read = 0
        self._known = Known()
        self._axes = plan.spec.axes
        self._relations = _relations_of(plan)
        kinds = [plan.strategy.kind_of(axis.path) for axis in self._axes]
        self._distributions = {
            axis.path: found
            for axis, kind in zip(self._axes, kinds, strict=True)
            if (found := _distribution(axis, kind)) is not None
        }
        if not self._distributions:
            raise ConfigError(
                "--tpe needs an axis with at least two values, the sweep spec has none"
            )

    def rows(self, chunks: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """(batch, records), in the order asked for."""
        for batch in chunks:
            first = batch * self._batch
            n = min(self._batch, self._n_trials - first)
            values = self._asked(batch, n)
            records = np.zeros(n, dtype=trial_dtype(self._plan.spec, self._engine.row_dtype))
            records["index"] = np.arange(first, first + n)
            records["values"] = values
            columns: dict[str, FloatArray] = {
                axis.path: np.ascontiguousarray(values[:, place])
                for place, axis in enumerate(self._axes)
                if axis.path not in self._plan.unknown
            }
            records["row"] = self._engine.run(columns, n)
            yield batch, records

    def _asked(self, batch: int, n: int) -> FloatArray:
        """The values of a batch, (n, n_axes)."""
        study = self._study(batch)
        chance = np.random.default_rng((self._seed, batch))
        values = np.empty((n, len(self._axes)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            for row in values:
                # A sampler that has learnt to stay at the edge of a constraint may not come back by itself.
                if not self._ask(study, row):
                    self._draw(chance, row)
        return values

    def _ask(self, study: optuna.Study, row: FloatArray) -> bool:
        """Fill in what the sampler wants to see; False when it wants only what may not be."""
        for _ in range(_MOST_ASKED):
            trial = study.ask(self._distributions)
            self._fill(row, trial.params)
            if self._holds(row):
                return True
            study.tell(trial, state=TrialState.FAIL)
        return False

    def _draw(self, chance: np.random.Generator, row: FloatArray) -> None:
        """Fill in anything that may be. Raises ConfigError when nothing is found."""
        for _ in range(_MOST_DRAWN):
            self._fill(
                row, {path: _drawn(one, chance) for path, one in self._distributions.items()}
            )
            if self._holds(row):
                return
        raise ConfigError(
            f"the constraints of the sweep spec{_beside(self._relations)} must leave room to search in, "
            f"{_MOST_DRAWN:,} draws in a row broke them: loosen them, or name other ranges"
        )

    def _fill(self, row: FloatArray, params: Mapping[str, Any]) -> None:
        for place, axis in enumerate(self._axes):
            row[place] = float(params.get(axis.path, axis.values[0]))

    def _holds(self, row: FloatArray) -> bool:
        """Whether the constraints hold, and a strategy file may have these values together."""
        columns = {axis.path: row[place : place + 1] for place, axis in enumerate(self._axes)}
        if not all(bool(one.holds(columns)[0]) for one in self._plan.spec.constraints):
            return False
        setting_of = self._plan.strategy.setting_of
        swept = {setting_of(path): values for path, values in columns.items()}
        return not any(np.any(one.breaks(swept)) for one in self._relations)

    def _study(self, batch: int) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=_seed_of(self._seed, batch), constant_liar=True
            )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.add_trials(self._history(batch))
        return study

    def _history(self, batch: int) -> list[FrozenTrial]:
        """The best and the latest of the trials before a batch, in their order."""
        for before in range(self._n_read, batch):
            for record in self._journal.records(before):
                score = objective(self._engine.numbers(record["row"]))
                self._known.add(Told(int(record["index"]), score, record["values"].copy()))
        self._n_read = batch
        return [self._frozen(told.score, told.values) for told in self._known.kept()]

    def _frozen(self, score: float, values: FloatArray) -> FrozenTrial:
        params: dict[str, Any] = {}
        for place, axis in enumerate(self._axes):
            distribution = self._distributions.get(axis.path)
            if distribution is not None:
                value = float(values[place])
                params[axis.path] = (
                    int(value) if isinstance(distribution, IntDistribution) else value
                )
        if not math.isfinite(score):
            return create_trial(
                state=TrialState.FAIL, params=params, distributions=self._distributions
            )
        return create_trial(params=params, distributions=self._distributions, value=score)


def _relations_of(plan: SweepPlan) -> list[Relation]:
    """What must hold between a swept setting and others. The values listed were checked, not those between them; only
    strict refuses any."""
    if plan.semantics.config_errors != "refuse":
        return []
    swept = {plan.strategy.setting_of(axis.path) for axis in plan.spec.axes}
    return [one for one in plan.strategy.relations() if swept & one.base.keys()]


def _beside(relations: Sequence[Relation]) -> str:
    """What holds beside the constraints, for a message."""
    told = dict.fromkeys(one.must for one in relations)
    return f" and what settings must be ({'; '.join(told)})" if told else ""


def _drawn(distribution: BaseDistribution, chance: np.random.Generator) -> float:
    """A value of it, each as likely as another."""
    if isinstance(distribution, IntDistribution):
        return float(chance.integers(distribution.low, distribution.high, endpoint=True))
    if isinstance(distribution, CategoricalDistribution):
        choice: Any = distribution.choices[chance.integers(len(distribution.choices))]
        return float(choice)
    assert isinstance(distribution, FloatDistribution)
    return float(chance.uniform(distribution.low, distribution.high))


def _seed_of(seed: int, batch: int) -> int:
    """32 bits of (seed, batch)."""
    return int.from_bytes(hashlib.sha256(f"{seed} {batch}".encode()).digest()[:4], "little")


def _distribution(axis: Axis, kind: str) -> BaseDistribution | None:
    """Where an axis is searched: all of its range for numbers, the values listed for words; None = one value alone."""
    low, high = min(axis.values), max(axis.values)
    if high - low < _TINY:
        return None
    if kind == "float":
        return FloatDistribution(low, high)
    if kind == "uint":
        return IntDistribution(math.ceil(low), math.floor(high)) if high >= math.ceil(low) else None
    return CategoricalDistribution(tuple(dict.fromkeys(axis.values)))


def named_trial(spec: SweepSpec) -> Named:
    """What names a journal's record: `tpe_0042`, and its values by path."""

    def name(record: Any) -> tuple[str, dict[str, float]]:
        values = dict(
            zip((axis.path for axis in spec.axes), record["values"].tolist(), strict=True)
        )
        return f"tpe_{int(record['index']):04d}", values

    return name
