"""The report of a replay, read back: the numbers that are asked of it, or a line about what is wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mei.model.errors import DataError


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """A report. where: the file, for messages; fields: everything in it."""

    where: str
    fields: Mapping[str, Any]

    def number(self, name: str) -> float:
        """A field at the root that is a finite number. DataError."""
        return _number(self.fields, name, f"{self.where}: {name}")

    def by_symbol(self, names: Iterable[str]) -> dict[str, dict[str, float]]:
        """Symbol -> those fields of `per_symbol`, in the order of the report. DataError."""
        wanted = tuple(names)
        found = {}
        for symbol, numbers in self._mapping("per_symbol").items():
            where = f"{self.where}: per_symbol.{symbol}"
            if not isinstance(numbers, Mapping):
                raise DataError(f"{where} must be an object, was {numbers!r:.60}")
            found[symbol] = {name: _number(numbers, name, f"{where}.{name}") for name in wanted}
        return found

    def pnl_of_side(self, side: str) -> float:
        """`pnl` of LONG or SHORT in `by_side`, USD before fees; 0 for a side that was not traded. DataError."""
        sides = self.fields.get("by_side")
        if not isinstance(sides, list) or not all(isinstance(one, Mapping) for one in sides):
            raise DataError(_absent(self.where, "by_side", "a list of objects", sides))
        for one in sides:
            if one.get("side") == side:
                return _number(one, "pnl", f"{self.where}: pnl of {side}")
        return 0.0

    def config_id(self) -> str | None:
        """Of the strategy file that was replayed; None where the report does not tell."""
        node: Any = self.fields
        for name in ("run", "config", "config_id"):
            node = node.get(name) if isinstance(node, Mapping) else None
        return node if isinstance(node, str) else None

    def _mapping(self, name: str) -> Mapping[str, Any]:
        found = self.fields.get(name)
        if not isinstance(found, Mapping):
            raise DataError(_absent(self.where, name, "an object", found))
        return found


def read_replay_report(path: str) -> ReplayReport:
    """The report in file `path`. DataError for a file that is none."""
    must = "must be the report of a replay (JSON, of --output)"
    try:
        fields = json.loads(Path(path).read_bytes())
    except OSError as error:
        why = error.strerror or error
        raise DataError(f"{path} {must}, could not be read ({why}): check the path") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} {must}, is no JSON ({error})") from None
    if not isinstance(fields, dict):
        raise DataError(f"{path} {must}, was {fields!r:.60}")
    return ReplayReport(path, fields)


def _number(fields: Mapping[str, Any], name: str, where: str) -> float:
    value = fields.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            if math.isfinite(value):
                return value
        except OverflowError:
            pass
    told = "absent" if name not in fields else f"{value!r:.60}"
    raise DataError(
        f"{where} must be a finite number, was {told}: give the report of a replay, as --output writes it"
    )


def _absent(where: str, name: str, must: str, found: Any) -> str:
    told = "absent" if found is None else f"{found!r:.60}"
    return f"{where}: {name} must be {must}, was {told}: give the report of a replay, as --output writes it"
