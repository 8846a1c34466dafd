"""The identity of a run: a hash of everything that can change a byte of its results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mei.model.settings import LoopSettings

RUN_ID_DIGITS = 12


def canonical_json(content: Any) -> str:
    """JSON with sorted keys and no spaces: equal contents give equal text."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def settings_dict(settings: LoopSettings) -> dict[str, Any]:
    """The settings as JSON can carry them."""
    plain = asdict(settings)
    plain["training_settings"] = settings.training_settings.model_dump()
    content: dict[str, Any] = json.loads(json.dumps(plain))
    return content


def run_id(
    settings: LoopSettings,
    data_sha256: Mapping[str, str],
    catalog: Any,
    sources: Mapping[str, str],
) -> str:
    """First 12 hex digits of SHA-256 over settings, data hashes, presets and their bounds, and source hashes."""
    content = {
        "settings": settings_dict(settings),
        "data": dict(data_sha256),
        "catalog": catalog,
        "sources": dict(sources),
    }
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:RUN_ID_DIGITS]


def folder_sha256(folder: Path, pattern: str = "*.py") -> str:
    """SHA-256 over the matching files of a folder: relative path and content, in path order."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob(pattern)):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
