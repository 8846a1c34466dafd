"""Rows of a finished sweep, JSON Lines or Parquet, as any of its engines writes them.

`overrides` may be a mapping of path to value, or a list of [path, value] pairs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from mei.data.sweep_parquet_rows import PARQUET_ENDINGS, parquet_objects
from mei.model.errors import DataError

#: Numbers from here on are no floats.
_LIMIT = float("inf")
_MOST_DIGITS = 300


@dataclass(frozen=True, slots=True)
class SweepResult:
    """One row. where: file and line, for messages; fields: everything in it; overrides: path -> value as it stands."""

    where: str
    fields: Mapping[str, Any]
    overrides: Mapping[str, Any]

    def number(self, name: str, *, absent: float | None = None, null: float | None = None) -> float:
        """A field that must be a number; absent, null: what to take where it is not there, or null. DataError."""
        value = self.fields.get(name)
        if value is None:
            found = null if name in self.fields else absent
            if found is not None:
                return found
            value = "null" if name in self.fields else "absent"
        elif (
            isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _LIMIT
        ):
            return float(value)
        else:
            value = repr(value)[:60]
        raise DataError(f"{self.where}: {name} of a sweep's row must be a number, was {value}")


def sweep_results(path: str) -> Iterator[SweepResult]:
    """The rows of file `path`, one at a time; empty lines are passed over. Parquet if the name ends so.

    Raises DataError naming file and line for what is no row, or has no overrides; ConfigError for Parquet without what
    reads it.
    """
    if path.endswith(PARQUET_ENDINGS):
        for where, fields in parquet_objects(path):
            yield SweepResult(where, fields, fields["overrides"])
        return
    try:
        with Path(path).open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _result(f"{path}:{number}", line)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path} must be the JSON Lines of a sweep, could not be read ({why}): check the path"
        ) from None


def _result(where: str, line: str) -> SweepResult:
    try:
        fields = json.loads(line, parse_int=_whole, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where}: a row of a sweep must be a JSON object, is not ({error})"
        ) from None
    if not isinstance(fields, dict):
        raise DataError(f"{where}: a row of a sweep must be a JSON object, was {fields!r:.60}")
    return SweepResult(where, fields, _overrides(where, fields.get("overrides")))


def _overrides(where: str, given: Any) -> dict[str, Any]:
    if isinstance(given, dict):
        return given
    pairs = given if isinstance(given, list) else [None]
    overrides: dict[str, Any] = {}
    for pair in pairs:
        if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
            raise DataError(
                f"{where}: a row of a sweep must have overrides, path: value or a list of [path, value], "
                f"was {given!r:.60}"
            )
        if pair[0] in overrides:
            raise DataError(f"{where}: overrides must have a path once, have {pair[0]} twice")
        overrides[pair[0]] = pair[1]
    return overrides


def _whole(digits: str) -> float:
    """A whole number; infinite when it is longer than any float."""
    return int(digits) if len(digits) < _MOST_DIGITS else float(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
