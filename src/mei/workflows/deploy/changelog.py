"""The changelog of deployed strategy files: `{current_version, history: [{version, date, changes}]}`, newest first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mei.data.strategy_faults import shown
from mei.model.errors import DataError

FIRST_VERSION: Final = "v6.001"
_DIGITS: Final = 3


@dataclass(frozen=True, slots=True)
class Changelog:
    """A changelog as it is on the disk. text: None when there is no file; content: other keys are kept."""

    path: Path
    text: str | None
    content: Mapping[str, Any]

    @property
    def version(self) -> str | None:
        """The current version, None when nothing has one yet."""
        found: str | None = self.content.get("current_version")
        return found

    def with_entry(self, version: str, now_ms: int, changes: Sequence[str]) -> str:
        """The text with a new first entry. now_ms: epoch ms UTC."""
        date = datetime.fromtimestamp(now_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        entry = {"version": version, "date": date, "changes": list(changes)}
        content = {
            **self.content,
            "current_version": version,
            "history": [entry, *self.content.get("history", ())],
        }
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def read_changelog(path: str | Path) -> Changelog:
    """The changelog `path`; an absent one is empty. DataError, with file and line, for what is none."""
    found = Path(path).resolve()
    if not found.exists():
        return Changelog(found, None, {})
    try:
        text = found.read_text(encoding="utf-8")
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}:{error.lineno}: a changelog must be JSON, is not ({error.msg}): correct it or move it away"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: a changelog must be a file of JSON in UTF-8, is not ({error})"
        ) from None
    return Changelog(found, text, _checked(path, content))


def next_version(current: str | None) -> str:
    """The version after `current`: v6.000 -> v6.001; what ends in no number gets `.1`; v6.001 for the first."""
    if current is None:
        return FIRST_VERSION
    head, dot, last = current.rpartition(".")
    if dot and last.isascii() and last.isdigit():
        return f"{head}.{int(last) + 1:0{_DIGITS}d}"
    return f"{current}.1"


def _checked(path: str | Path, content: Any) -> dict[str, Any]:
    must = ""
    if not isinstance(content, dict):
        must = f"an object, was {shown(content)}"
    elif not isinstance(content.get("history", []), list):
        must = f"one with a list history, was {shown(content['history'])}"
    elif not isinstance(content.get("current_version", ""), str):
        must = f"one with a text current_version, was {shown(content['current_version'])}"
    if must:
        raise DataError(f"{path}: a changelog must be {must}: correct it or move it away")
    checked: dict[str, Any] = content
    return checked
