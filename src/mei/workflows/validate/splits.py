"""Stretches of the data to test on, each after a stretch that a strategy may have been fitted on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mei.model.bars import DAY_MS
from mei.model.errors import ConfigError
from mei.workflows.window import iso_ms

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_WHOLE: Final = re.compile(r"[+-]?\d{1,6}", re.ASCII)
_FIELDS: Final = ("train_days", "test_days", "offset_days")
_WANTED: Final = "train,test,offset or name:train,test,offset in whole days (7,3,0)"


@dataclass(frozen=True, slots=True)
class Split:
    """`train_days` from `offset_days` after the start, then `test_days` to test on."""

    name: str
    offset_days: int
    train_days: int
    test_days: int


DEFAULT_SPLITS: Final = (
    Split("split1", 0, 12, 7),
    Split("split2", 3, 12, 4),
    Split("split3", 0, 9, 10),
)


@dataclass(frozen=True, slots=True)
class TestRange:
    """What a split tests on, epoch ms UTC, both ends included."""

    __test__ = False  # no test case, whatever its name says to pytest

    start_ms: int
    end_ms: int

    @property
    def days(self) -> float:
        """Its length."""
        return (self.end_ms - self.start_ms + 1) / DAY_MS

    def as_json(self) -> dict[str, Any]:
        """As it stands in a summary."""
        return range_object(self.start_ms, self.end_ms) | {"days": self.days}


def range_object(start_ms: int, end_ms: int) -> dict[str, Any]:
    """Both ends, epoch ms and ISO 8601 in UTC."""
    return {
        "start_ms": start_ms,
        "end_ms": end_ms,
        "start_iso": iso_ms(start_ms),
        "end_iso": iso_ms(end_ms),
    }


def parse_splits(texts: Sequence[str], json_path: str | None) -> tuple[Split, ...]:
    """Those of the file, then those of the command line; DEFAULT_SPLITS where there are neither. ConfigError.

    Without a name the k-th is called split<k>.
    """
    found: list[Split] = []
    if json_path is not None:
        found += _read_splits(json_path)
    for text in texts:
        found.append(_parse(text, f"split{len(found) + 1}"))
    if not found:
        return DEFAULT_SPLITS
    _refuse_twice(split.name for split in found)
    return tuple(found)


def place(split: Split, start_ms: int, end_ms: int, min_test_days: float) -> TestRange | str:
    """What the split tests on between `start_ms` and `end_ms`, or why there is nothing, in words."""
    if split.train_days <= 0 or split.test_days <= 0 or split.offset_days < 0:
        return (
            "train and test must be above 0 days and the offset at least 0, were "
            f"{split.train_days}, {split.test_days} and {split.offset_days}"
        )
    test_start_ms = start_ms + (split.offset_days + split.train_days) * DAY_MS
    if test_start_ms >= end_ms:
        return f"training must end before the range does, {iso_ms(end_ms)}, ends {iso_ms(test_start_ms)}"
    last_ms = min(test_start_ms + split.test_days * DAY_MS - 1, end_ms)
    found = TestRange(test_start_ms, last_ms)
    if found.days < min_test_days:
        return f"there must be {min_test_days:g} days to test on, there are {found.days:.2f}"
    return found


def _parse(text: str, usual_name: str) -> Split:
    name, colon, numbers = text.rpartition(":")
    days = [part.strip() for part in numbers.split(",")]
    if len(days) != 3 or not all(_WHOLE.fullmatch(part) for part in days):
        raise ConfigError(f"--split must be {_WANTED}, was {text!r}")
    train, test, offset = map(int, days)
    return Split(_checked_name(name.strip() if colon else usual_name), offset, train, test)


def _read_splits(path: str) -> list[Split]:
    try:
        rows = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"--splits-json {path} must be a JSON file, is not ({error})") from None
    if not isinstance(rows, list):
        raise ConfigError(f"--splits-json {path} must hold a list of splits, holds {rows!r:.60}")
    return [_of_row(row, f"{path}: split {number}", number) for number, row in enumerate(rows, 1)]


def _of_row(row: Any, where: str, number: int) -> Split:
    if not isinstance(row, dict):
        raise ConfigError(f"{where} must be an object, was {row!r:.60}")
    unknown = [key for key in row if key not in ("name", *_FIELDS)]
    if unknown:
        raise ConfigError(
            f"{where}: {unknown[0]} is not known: there are name, {', '.join(_FIELDS)}"
        )
    train, test, offset = (_days(row, name, where) for name in _FIELDS)
    name = row.get("name", f"split{number}")
    return Split(_checked_name(name), offset, train, test)


def _days(row: dict[str, Any], name: str, where: str) -> int:
    value = row.get(name, 0 if name == "offset_days" else None)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 999_999:
        told = "absent" if name not in row else f"{value!r:.60}"
        raise ConfigError(f"{where}: {name} must be a whole number of days, was {told}")
    return value


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(
            f"the name of a split names a folder, it must be of letters, digits, . _ and -, was {name!r:.60}"
        )
    return name


def _refuse_twice(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            raise ConfigError(f"names of splits must differ, {name} is there twice")
        seen.add(name.lower())
