"""Files that list symbols: a JSON array, or text with one a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mei.model.errors import DataError


def read_symbols(path: str) -> tuple[str, ...]:
    """The symbols of a file, each once, in its order; `.json` is an array of texts, anything else has one symbol a line
    and may have `#` with a comment. DataError for a file that is neither, or names none.
    """
    try:
        text = Path(path).read_text("utf-8-sig")
        found: Any = json.loads(text) if path.lower().endswith(".json") else _lines(text)
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{path} must be a list of symbols, could not be read ({why})") from None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise DataError(f"{path} must be a JSON array of symbols, was {found!r:.60}")
    symbols = tuple(dict.fromkeys(one.strip() for one in found if one.strip()))
    if not symbols:
        raise DataError(f"{path} must name a symbol, names none")
    return symbols


def _lines(text: str) -> list[str]:
    return [line.partition("#")[0] for line in text.splitlines()]
