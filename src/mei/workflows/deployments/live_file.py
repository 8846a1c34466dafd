"""The strategy file of the live trader is one of its own: what is tried on paper must not trade real money."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mei.model.errors import ConfigError, MeiError
from mei.workflows.deployments.hands import Hands
from mei.workflows.deployments.records import PROMOTION_EVENT, live_folder, recorded


def is_same_file(one: str | Path, other: str | Path) -> bool:
    """Whether both paths lead to one file, through links of either kind."""
    try:
        if Path(one).resolve() == Path(other).resolve():
            return True
        return Path(one).samefile(other)
    except (OSError, RuntimeError):
        return False


def require_own_file(live: Path, papers: Iterable[str | Path | None], remedy: str) -> None:
    """ConfigError, ending in `remedy`, when the live file is one of `papers`, the places of paper's."""
    for paper in papers:
        if paper and is_same_file(live, paper):
            raise ConfigError(
                f"--live-yaml-path must be another file than that of paper, was {live} ({paper} on paper): whatever "
                f"is deployed to paper would trade real money, before any gate; {remedy}"
            )


def promoted_file(artifacts_dir: str, hands: Hands) -> Path | None:
    """The live trader's file by the newest promotion; None when there was none, or, told, when it cannot be read."""
    try:
        newest = next(iter(recorded(live_folder(artifacts_dir), PROMOTION_EVENT)), None)
    except MeiError as error:
        # A rollback of paper must not wait for a repair of records of live.
        hands.tell(f"warning: which file is the live trader's is not known: {error}")
        return None
    place = None if newest is None else newest.what.get("yaml_path")
    return Path(str(place)) if place else None


def is_live_file(yaml_path: Path, artifacts_dir: str, hands: Hands) -> bool:
    """Whether paper's file is that of the live trader by the newest promotion."""
    live = promoted_file(artifacts_dir, hands)
    return live is not None and is_same_file(live, yaml_path)


def tell_live(yaml_path: Path, hands: Hands) -> None:
    """Warn that what is done to paper's file is done to the live trader's."""
    hands.tell(
        f"WARNING: {yaml_path} is the file of the live trader, too, by the newest promotion: real money trades what "
        "is put there; give paper a file of its own"
    )
