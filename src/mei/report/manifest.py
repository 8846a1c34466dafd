"""run.json and summary.json: canonical JSON, and the hashes that say whether outputs are still whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mei.model.errors import OutputError
from mei.report.atomic import sha256_file, write_atomically


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """The same bytes for the same content: sorted keys, two blanks, UTF-8, one line end.

    Raises OutputError for NaN, an infinity, or what JSON cannot hold.
    """
    try:
        text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise OutputError(f"results must be plain JSON without NaN, were not: {error}") from error
    return f"{text}\n".encode()


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace `path` atomically by `value` as canonical JSON."""
    write_atomically(path, canonical_json(value))


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in `path`, None when there is no such file. Raises OutputError when it is broken."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{path} must hold JSON, does not ({error}): restore it, or move it away to run again"
        ) from error
    if not isinstance(value, dict):
        raise OutputError(f"{path} must hold a JSON object, holds {type(value).__name__}")
    return value


def output_hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """File name -> SHA-256 in hex, for the files `names` of `folder`."""
    return {name: sha256_file(folder / name) for name in sorted(names)}


def changed_outputs(folder: Path, hashes: Mapping[str, str]) -> list[str]:
    """Names whose file in `folder` is absent or no longer what `hashes` says, in order."""
    return [
        name
        for name in sorted(hashes)
        if not (folder / name).is_file() or sha256_file(folder / name) != hashes[name]
    ]
