"""What the loop needs from the world: answers of the two services. How they travel is not its business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from mei.model.bars import BarArray
from mei.model.http import Outcome, TrainingSettings, TrainResult


class PolicyPoint(NamedTuple):
    """The policy state after a row: what the next request has to return."""

    preset: str | None = None
    changed_at_ms: int | None = None
    changes_today: int = 0


@dataclass(frozen=True, slots=True)
class Regimes:
    """Filtered regimes of consecutive bars. Lists have one value a bar; -1 and None = not defined there.

    probabilities: one column a regime, None when no model answered any row.
    trained_through_ms: model version -> close of the newest bar its lineage was fitted on.
    """

    regime: list[int]
    regime_prob: list[float]
    probabilities: list[list[float | None]] | None
    volatility_z: list[float | None]
    model_version: list[int | None]
    trained_through_ms: dict[int, int]


@dataclass(frozen=True, slots=True)
class PresetRows:
    """The policy's answers for consecutive bars, as columns."""

    preset: list[str]
    changed_at_ms: list[int | None]
    changes_today: list[int]
    presets: dict[str, dict[str, float]]

    def point(self, row: int) -> PolicyPoint:
        """The policy state after `row`."""
        return PolicyPoint(self.preset[row], self.changed_at_ms[row], self.changes_today[row])


class LoopServices(Protocol):
    """The two services of the loop, asked as of a time. Repeating a question repeats the answer."""

    async def train(
        self, symbol: str, as_of_ms: int, settings: TrainingSettings
    ) -> tuple[TrainResult, float]:
        """Train `symbol`'s model on what is registered by `as_of_ms`; the result and the fit's milliseconds."""
        ...

    async def regimes(self, symbol: str, as_of_ms: list[int], bars: BarArray) -> Regimes:
        """Regimes at each of `as_of_ms` (closes of the last bars of `bars`)."""
        ...

    async def presets(
        self,
        strategy: str,
        symbol: str,
        as_of_ms: list[int],
        features: dict[str, list[float | None]],
        state: PolicyPoint,
    ) -> PresetRows:
        """Presets at each of `as_of_ms`, starting from `state`."""
        ...

    async def outcome(self, strategy: str, symbol: str, preset: str, outcome: Outcome) -> None:
        """Tell the policy about a closed trade."""
        ...
