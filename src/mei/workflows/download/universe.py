"""The exchange's universe into its history: the job of tools/sync_universe_history.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mei.data.universe_writer import add_snapshot
from mei.model.errors import DataError, OutputError
from mei.workflows.download.hyperliquid_info import HyperliquidInfo
from mei.workflows.download.patience import Patience


class EmptyUniverseError(DataError):
    """The exchange lists nothing, which is noted by nobody."""


@dataclass(frozen=True, slots=True)
class Synced:
    """What one snapshot said. symbols: upper case, sorted; n_new: never seen before."""

    path: Path
    at_ms: int
    symbols: tuple[str, ...]
    n_new: int


def sync_universe(path: Path, *, at_ms: int, info: HyperliquidInfo, patience: Patience) -> Synced:
    """Note what is listed now as of `at_ms`.

    ServiceUnavailableError and DataError when the exchange does not tell, EmptyUniverseError when it lists nothing,
    OutputError for the database: nothing is written then.
    """
    names = patience.ask("the universe", info.universe)
    symbols = tuple(sorted({name.strip().upper() for name in names if name.strip()}))
    if not symbols:
        raise EmptyUniverseError(
            "the exchange must list a perpetual, lists none: nothing was written"
        )
    try:
        n_new = add_snapshot(path, symbols, at_ms)
    except DataError as error:
        raise OutputError(str(error)) from None
    return Synced(path, at_ms, symbols, n_new)
