"""The preset of each bar of a batch, by a policy, from what was known at each bar.

A batch is cut where an outcome becomes known or a preset is registered, so that it answers what single requests
would; the policy state is chained through the pieces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mei.model.errors import ConfigError, NotFoundError, RequestError
from mei.model.http import PolicyState
from mei.policy.bandit import MAX_CHANGES_A_DAY, MIN_ADVANTAGE, NONE, choose, follow
from mei.policy.context import N_FEATURES, Floats, active_places
from mei.policy.draws import preset_key, series_key
from mei.policy.posterior import OutcomeLog

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Policy:
    """How a preset is chosen: `thompson`, `round_robin`, or `fixed:<preset>`."""

    kind: Literal["thompson", "round_robin", "fixed"]
    preset: str | None = None

    @staticmethod
    def parse(text: str, error: type[ConfigError] = ConfigError) -> Policy:
        """Read the policy's name. Raises `error` (ConfigError or RequestError)."""
        if text == "thompson":
            return Policy("thompson")
        if text == "round_robin":
            return Policy("round_robin")
        if text.startswith("fixed:") and len(text) > len("fixed:"):
            return Policy("fixed", text.removeprefix("fixed:"))
        raise error(f"POLICY must be thompson, round_robin or fixed:<preset>, found {text!r}")

    def __str__(self) -> str:
        return f"{self.kind}:{self.preset}" if self.preset else self.kind


@dataclass(frozen=True, slots=True)
class PresetTimeline:
    """Names of presets in their order, with the time each became known (those of the schema: always)."""

    names: tuple[str, ...]
    known_at_ms: Integers

    def counts_as_of(self, as_of_ms: Integers) -> Integers:
        """How many presets (a prefix of `names`) were known at each time."""
        return np.searchsorted(self.known_at_ms, as_of_ms, side="right")


@dataclass(frozen=True, slots=True)
class Question:
    """One batch for one strategy on one instrument; `as_of_ms` strictly ascending, contexts (n, 10)."""

    strategy: str
    instrument: str
    seed: int
    policy: Policy
    as_of_ms: Integers
    contexts: Floats


def decide(
    question: Question, log: OutcomeLog, presets: PresetTimeline, state: PolicyState
) -> Integers:
    """(n, 3) integers: index into presets.names, changed_at_ms (-1 = never), changes_today after each bar.

    Raises RequestError for times or a state that cannot be meant, NotFoundError for an unknown preset.
    """
    _check_times(question.as_of_ms, state)
    chosen = np.empty((len(question.as_of_ms), 3), dtype=np.int64)
    carried = np.array(_carried(state, presets.names), dtype=np.int64)
    for rows, n_known, n_presets in _pieces(question.as_of_ms, log, presets):
        names = presets.names[:n_presets]
        if carried[0] >= n_presets:
            raise _unknown_preset(presets.names[carried[0]], names)
        _decide_piece(question, rows, log, n_known, names, carried, chosen)
    return chosen


def _decide_piece(
    question: Question,
    rows: slice,
    log: OutcomeLog,
    n_known: int,
    names: Sequence[str],
    carried: Integers,
    chosen: Integers,
) -> None:
    as_of_ms = question.as_of_ms[rows]
    policy = question.policy
    if policy.kind == "round_robin":
        follow(as_of_ms, n_known % len(names), carried, chosen[rows])
    elif policy.kind == "fixed":
        if policy.preset not in names:
            raise _unknown_preset(str(policy.preset), names)
        follow(as_of_ms, names.index(policy.preset), carried, chosen[rows])
    else:
        posterior = log.posterior(n_known, names)
        contexts = question.contexts[rows]
        choose(
            as_of_ms,
            contexts,
            posterior.mean,
            posterior.lower,
            active_places(contexts, posterior.places),
            np.empty(N_FEATURES),
            np.empty(len(names)),
            series_key(question.seed, question.strategy, question.instrument),
            np.array([preset_key(name) for name in names], dtype=np.uint64),
            MIN_ADVANTAGE,
            MAX_CHANGES_A_DAY,
            carried,
            chosen[rows],
        )


def _pieces(
    as_of_ms: Integers, log: OutcomeLog, presets: PresetTimeline
) -> Iterator[tuple[slice, int, int]]:
    """(rows, outcomes known, presets known) for each run of rows that know the same."""
    if not len(as_of_ms):
        return
    n_known = log.counts_as_of(as_of_ms)
    n_presets = presets.counts_as_of(as_of_ms)
    is_cut = (n_known[1:] != n_known[:-1]) | (n_presets[1:] != n_presets[:-1])
    cuts = np.flatnonzero(is_cut) + 1
    starts = [0, *cuts.tolist()]
    for start, end in zip(starts, [*starts[1:], len(as_of_ms)], strict=True):
        yield slice(start, end), int(n_known[start]), int(n_presets[start])


def _check_times(as_of_ms: Integers, state: PolicyState) -> None:
    if not len(as_of_ms):
        return
    if as_of_ms[0] < 0 or (as_of_ms[1:] <= as_of_ms[:-1]).any():
        raise RequestError("as_of_ms must be epoch ms, strictly ascending: one row a bar close")
    changed_at_ms = state.changed_at_ms
    if changed_at_ms is not None and not 0 <= changed_at_ms <= as_of_ms[0]:
        raise RequestError(
            f"policy_state.changed_at_ms must not be after the first as_of_ms, "
            f"found {changed_at_ms} and {as_of_ms[0]}"
        )


def _carried(state: PolicyState, names: Sequence[str]) -> tuple[int, int, int]:
    is_changed = state.changed_at_ms is not None
    if not 0 <= state.changes_today < 2**31 or (state.changes_today > 0 and not is_changed):
        raise RequestError(
            f"policy_state.changes_today must be >= 0, and 0 without changed_at_ms, "
            f"found {state.changes_today}"
        )
    if state.preset is None:
        if is_changed:
            raise RequestError("policy_state.changed_at_ms is set without a preset")
        return NONE, NONE, 0
    if state.preset not in names:
        raise _unknown_preset(state.preset, names)
    changed_at_ms = NONE if state.changed_at_ms is None else state.changed_at_ms
    return names.index(state.preset), changed_at_ms, state.changes_today


def _unknown_preset(name: str, names: Sequence[str]) -> NotFoundError:
    return NotFoundError(f"no preset {name!r}; there are {', '.join(names)}")
