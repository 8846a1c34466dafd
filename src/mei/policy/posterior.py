"""The outcome log of one (stream, strategy, instrument), and what it teaches about each preset.

A posterior is a function of the ordered list of outcomes and of nothing else: sums are plain loops in the order
(known_at_ms, trade_id), and the small linear systems are solved in scalar loops, without BLAS.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mei.jit import compiled
from mei.policy.context import N_FEATURES, Floats

#: reward = net_pnl_bps / REWARD_BPS
REWARD_BPS = 20.0
PRIOR_RIDGE = 1.0
NOISE_VARIANCE = 1.0

_FIRST_CAPACITY = 64


def _absorb(
    precision: Any, moment: Any, contexts: Any, rewards: Any, arms: Any, noise_variance: Any
) -> None:
    """Add outcomes, in order, to the sums of their arms: precision (arms, d, d), moment (arms, d)."""
    d = contexts.shape[1]
    for row in range(contexts.shape[0]):
        arm = arms[row]
        for i in range(d):
            moment[arm, i] += contexts[row, i] * rewards[row] / noise_variance
            for j in range(d):
                precision[arm, i, j] += contexts[row, i] * contexts[row, j] / noise_variance


absorb = compiled(_absorb)


def _solve(precision: Any, moment: Any, mean: Any, lower: Any) -> None:
    """Per arm: lower·lowerᵀ = precision (Cholesky), mean = precision⁻¹·moment."""
    n_arms, d = moment.shape
    for arm in range(n_arms):
        for i in range(d):
            for j in range(i + 1):
                total = precision[arm, i, j]
                for k in range(j):
                    total -= lower[arm, i, k] * lower[arm, j, k]
                lower[arm, i, j] = math.sqrt(total) if i == j else total / lower[arm, j, j]
        for i in range(d):
            total = moment[arm, i]
            for k in range(i):
                total -= lower[arm, i, k] * mean[arm, k]
            mean[arm, i] = total / lower[arm, i, i]
        for i in range(d - 1, -1, -1):
            total = mean[arm, i]
            for k in range(i + 1, d):
                total -= lower[arm, k, i] * mean[arm, k]
            mean[arm, i] = total / lower[arm, i, i]


solve = compiled(_solve)


@dataclass(frozen=True, slots=True)
class Posterior:
    """N(mean, (lower·lowerᵀ)⁻¹) of the weights of each arm; `places` = features ever seen non-zero."""

    mean: Floats
    lower: Floats
    places: npt.NDArray[np.bool_]


class OutcomeLog:
    """Outcomes ordered by (known_at_ms, trade_id), whatever the order they arrived in."""

    def __init__(self) -> None:
        self._keys: list[tuple[int, str]] = []
        self._known_at_of: dict[str, int] = {}
        self._arms: list[int] = []
        self._arm_of: dict[str, int] = {}
        self._rewards: list[float] = []
        self._contexts: list[Floats] = []
        self._times = np.empty(0, dtype=np.int64)
        self._absorbed = 0
        self._precision, self._moment = _prior(0)
        self._solved: tuple[int, tuple[str, ...], Posterior] | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def known_at_ms(self, trade_id: str) -> int | None:
        """When the outcome of a trade became known; None if it is not in the log."""
        return self._known_at_of.get(trade_id)

    def insert(
        self, known_at_ms: int, trade_id: str, preset: str, context: Floats, net_pnl_bps: float
    ) -> None:
        """Put an outcome in its place. A trade may be there once."""
        if trade_id in self._known_at_of:
            raise ValueError(f"trade {trade_id!r} is in the log already")
        key = (known_at_ms, trade_id)
        place = bisect_right(self._keys, key)
        self._keys.insert(place, key)
        self._known_at_of[trade_id] = known_at_ms
        self._arms.insert(place, self._arm_of.setdefault(preset, len(self._arm_of)))
        self._rewards.insert(place, net_pnl_bps / REWARD_BPS)
        self._contexts.insert(place, context)
        self._times = np.insert(self._times, place, known_at_ms)
        if place < self._absorbed:
            self._forget()
        self._solved = None

    def counts_as_of(self, as_of_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """How many outcomes were known at each time (known_at_ms <= as_of_ms)."""
        return np.searchsorted(self._times, as_of_ms, side="right")

    def posterior(self, n_known: int, presets: Sequence[str]) -> Posterior:
        """The posterior of each of `presets`, in their order, after the first `n_known` outcomes."""
        wanted = (n_known, tuple(presets))
        if self._solved is None or self._solved[:2] != wanted:
            self._solved = (*wanted, self._solve(n_known, presets))
        return self._solved[2]

    def _solve(self, n_known: int, presets: Sequence[str]) -> Posterior:
        if n_known < self._absorbed:
            self._forget()
        self._absorb_through(n_known)
        precision, moment = _prior(len(presets))
        for row, preset in enumerate(presets):
            arm = self._arm_of.get(preset)
            if arm is not None and arm < len(self._moment):
                precision[row], moment[row] = self._precision[arm], self._moment[arm]
        mean, lower = np.zeros_like(moment), np.zeros_like(precision)
        solve(precision, moment, mean, lower)
        return Posterior(mean, lower, _places_seen(precision))

    def _absorb_through(self, n_known: int) -> None:
        n_new_arms = len(self._arm_of) - len(self._moment)
        if n_new_arms:
            precision, moment = _prior(n_new_arms)
            self._precision = np.concatenate([self._precision, precision])
            self._moment = np.concatenate([self._moment, moment])
        rows = slice(self._absorbed, n_known)
        if self._absorbed < n_known:
            contexts = np.array(self._contexts[rows])
            rewards = np.array(self._rewards[rows])
            arms = np.array(self._arms[rows], dtype=np.int64)
            absorb(self._precision, self._moment, contexts, rewards, arms, NOISE_VARIANCE)
            self._absorbed = n_known

    def _forget(self) -> None:
        self._absorbed = 0
        self._precision, self._moment = _prior(0)


def _prior(n_arms: int) -> tuple[Floats, Floats]:
    precision = np.zeros((n_arms, N_FEATURES, N_FEATURES))
    for i in range(N_FEATURES):
        precision[:, i, i] = PRIOR_RIDGE
    return precision, np.zeros((n_arms, N_FEATURES))


def _places_seen(precision: Floats) -> npt.NDArray[np.bool_]:
    places: npt.NDArray[np.bool_] = (precision.diagonal(axis1=1, axis2=2) != PRIOR_RIDGE).any(
        axis=0
    )
    return places
