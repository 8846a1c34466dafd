"""Who looks on while a sweep runs, and may stop it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class BestSoFar:
    """The row that would come first if the sweep ended now."""

    config_id: str
    overrides: dict[str, float]
    total_pnl_usd: float


@dataclass(frozen=True, slots=True)
class Progress:
    """n_rows of n_total are in the journal. rows_per_s: of this process, None before its first chunk."""

    n_rows: int
    n_total: int
    rows_per_s: float | None
    best: BestSoFar | None


class Watch(Protocol):
    """Called by the thread that runs the sweep."""

    def is_stopped(self) -> bool:
        """Asked after each chunk: whether to end with StoppedError, the journal kept."""

    def loaded(self, data_id: str) -> None:
        """Told which market was loaded, before anything runs. What this raises ends the sweep."""

    def progressed(self, progress: Progress) -> None:
        """Told before the first chunk and after each."""

    def finished(self) -> None:
        """Told when everything is written, before the journal goes. What this raises leaves the journal there."""


class Unwatched:
    """Nobody looks on, and nobody listens."""

    def tell(self, line: str) -> None:
        """Nothing."""

    def is_stopped(self) -> bool:
        """Never."""
        return False

    def loaded(self, data_id: str) -> None:
        """Nothing."""

    def progressed(self, progress: Progress) -> None:
        """Nothing."""

    def finished(self) -> None:
        """Nothing."""
