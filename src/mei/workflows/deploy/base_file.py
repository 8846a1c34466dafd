"""Whether a row is put into the file that it was swept from: into another one its numbers do not belong."""

from __future__ import annotations

from glob import escape
from pathlib import Path
from typing import Any

from mei.data.config_id import config_id
from mei.model.errors import MeiError
from mei.model.yaml12 import load_yaml, parse_yaml
from mei.workflows.deploy.choice import Choice, about_sweep
from mei.workflows.deploy.yaml_deploy import real_path
from mei.workflows.swept_config import SweptConfig, swept_config


def other_base(choice: Choice, given: str, before: str, made: SweptConfig) -> str | None:
    """Why a replay of the new file need not give the row's numbers; None when it does, by all that is known.

    given, before: path and text of the file that is changed; made: what becomes of it.
    """
    swept_id, swept_path = _swept(choice)
    if swept_id is None:
        return None
    document = parse_yaml(before.removeprefix("\ufeff"), given)
    if swept_id == config_id(document):
        return None
    candidates = [
        Path(swept_path),
        *sorted(real_path(given).parent.glob(f"{escape(Path(given).name)}.bak.*")),
    ]
    if any(_comes_to_the_same(choice, swept_id, path, made) for path in candidates):
        return None
    return (
        f"the sweep was of {swept_path} as it was with config_id {swept_id[:12]}, {given} is another file now: "
        "if the rest of it differs, a replay does not give these numbers"
    )


def _swept(choice: Choice) -> tuple[str | None, str]:
    """config_id and path of the strategy file that was swept; None when nobody knows."""
    found: Any = about_sweep(choice)
    for key in ("run", "config"):
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(found.get("config_id"), str):
        return None, ""
    return found["config_id"], str(found.get("path"))


def _comes_to_the_same(choice: Choice, swept_id: str, path: Path, made: SweptConfig) -> bool:
    """Whether `path` is the file that was swept, and would become the same file: only the axes differed."""
    try:
        document = load_yaml(path)
        if not isinstance(document, dict) or config_id(document) != swept_id:
            return False
        return swept_config(document, choice.standing.row, str(path)).id == made.id
    except MeiError:
        return False
