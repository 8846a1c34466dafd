"""Folders that say what was deployed when: `<artefacts>/deployments/paper/<time>_<id>/deploy_event.json` and others.

A folder counts when its event is there; the event is written last. Dry runs leave folders, too, and never count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mei.data.trading_db import stamp_ms
from mei.model.errors import ConflictError, DataError
from mei.report.atomic import ensure_folder, fsync_folder, output_error, write_atomically
from mei.report.json_text import pretty_json
from mei.workflows.deploy.journal import sha256_of_text

DEPLOY_EVENT: Final = "deploy_event.json"
ROLLBACK_EVENT: Final = "rollback_event.json"
PROMOTION_EVENT: Final = "promotion_event.json"
DEPLOYED: Final = "deployed_config.yaml"
PREVIOUS: Final = "prev_config.yaml"
_ID_DIGITS: Final = 12
_STAMPED: Final = re.compile(r"\d{8}T\d{6}Z(_|$)")


@dataclass(frozen=True, slots=True)
class Recorded:
    """One folder. at_ms: epoch ms UTC of its event."""

    folder: Path
    event: Mapping[str, Any]
    at_ms: int

    @property
    def config_id(self) -> str:
        """Of what was deployed; empty where the event does not say."""
        return str(self.what.get("config_id") or "")

    @property
    def what(self) -> Mapping[str, Any]:
        """The part of the event about what was done."""
        found = self.event.get("what")
        return found if isinstance(found, Mapping) else {}

    def text(self, name: str) -> str | None:
        """A file of the folder, None when there is none. DataError when it cannot be read or was changed since."""
        path = self.folder / name
        try:
            text = path.read_bytes().decode("utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} must be a readable file in UTF-8: {error}") from None
        side = {DEPLOYED: "next", PREVIOUS: "prev"}[name]
        wanted = self.what.get(f"{side}_yaml_sha256")
        if wanted is not None and sha256_of_text(text) != wanted:
            raise DataError(
                f"{path} must be as it was recorded (SHA-256 {wanted[:12]}…), was changed: restore it from a backup"
            )
        return text


def paper_folder(artifacts_dir: str | Path) -> Path:
    """Where deployments to paper are recorded."""
    return Path(artifacts_dir) / "deployments" / "paper"


def live_folder(artifacts_dir: str | Path) -> Path:
    """Where promotions to live are recorded."""
    return Path(artifacts_dir) / "deployments" / "live"


def rollback_folder(artifacts_dir: str | Path) -> Path:
    """Where rollbacks of paper are recorded."""
    return Path(artifacts_dir) / "rollbacks" / "paper"


def recorded(folder: Path, event_name: str) -> list[Recorded]:
    """What was done and recorded under `folder`, newest (by name) first. DataError for an event that is none."""
    found = []
    for path in sorted(folder.glob(f"*/{event_name}"), key=lambda path: path.parent.name):
        if path.parent.name.startswith("."):
            continue
        one = _recorded(path)
        if one.event.get("dry_run") is not True:
            found.append(one)
    return found[::-1]


def _recorded(path: Path) -> Recorded:
    try:
        event = json.loads(path.read_bytes())
        at_ms = stamp_ms(event["ts_utc"])
        if at_ms is None:
            raise ValueError(f"ts_utc is no time, {event['ts_utc']!r:.40}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} must be a record of a deployment, is not ({type(error).__name__}: {error}): restore it, or move "
            "its folder away"
        ) from None
    return Recorded(path.parent, event, at_ms)


def compact_time(at_ms: int) -> str:
    """Epoch ms UTC as folders are named: 20260131T120000Z."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y%m%dT%H%M%SZ")


def folder_name(at_ms: int, config_id: str = "") -> str:
    """The time, and the first digits of what was deployed."""
    tail = f"_{config_id[:_ID_DIGITS]}" if config_id else ""
    return f"{compact_time(at_ms)}{tail}"


def new_folder(parent: Path, name: str) -> Path:
    """Make an empty folder that comes after all others in `parent` by name.

    ConflictError when one is as new or newer, for the order of names is the order of deployments; OutputError.
    """
    ensure_folder(parent)
    stamp = name.partition("_")[0]
    names = [one.name for one in parent.iterdir() if _STAMPED.match(one.name)]
    newer = [one for one in names if one.partition("_")[0] >= stamp]
    if newer:
        raise ConflictError(
            f"{parent} must have nothing as new as {stamp}, has {max(newer)}: wait a second, or set the clock right"
        )
    folder = parent / name
    try:
        folder.mkdir()
        fsync_folder(parent)
    except OSError as error:
        raise output_error(folder, error) from error
    return folder


def remove_empty(parent: Path) -> list[str]:
    """Take away folders that a deployment made and did not fill because it was cut short; their names."""
    removed = []
    for one in sorted(parent.iterdir()) if parent.is_dir() else ():
        if _STAMPED.match(one.name) and one.is_dir() and not one.is_symlink():
            with suppress(OSError):
                one.rmdir()
                removed.append(one.name)
    return removed


def write_event(folder: Path, name: str, event: Mapping[str, Any]) -> None:
    """Replace the event of a folder."""
    write_atomically(folder / name, pretty_json(event).encode())
