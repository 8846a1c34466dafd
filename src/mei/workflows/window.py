"""Times as a command line gives them, and the part of the data that a run covers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from mei.model.bars import DAY_MS
from mei.model.errors import DataError

_EPOCH = re.compile(r"([+-]?)(\d+)", re.ASCII)
_DAY = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})", re.ASCII)
_MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))",
    re.ASCII,
)
_WANTED = (
    "a moment like 2024-01-01T00:00:00Z (with its offset), a day like 2024-01-01 (midnight UTC), or an epoch in s, ms, "
    "us or ns"
)
_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a set of candle databases covers, epoch ms UTC, both ends included. label: how messages name the set."""

    label: str
    interval: str
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Window:
    """Bounds of a run in epoch ms UTC, both included; None = none."""

    from_ms: int | None
    to_ms: int | None


def parse_timestamp(text: str) -> int:
    """Epoch ms UTC of a time on the command line (specification part 2, H.2).

    Raises ValueError saying what it must be; the number of digits of an epoch tells its unit.
    """
    trimmed = text.strip()
    epoch = _EPOCH.fullmatch(trimmed.replace("_", ""))
    try:
        if epoch is not None:
            return _epoch_ms(int(epoch[1] + epoch[2]))
        if (day := _DAY.fullmatch(trimmed)) is not None:
            found = date(int(day[1]), int(day[2]), int(day[3])) - _EPOCH_START.date()
            return found.days * DAY_MS
        if (moment := _MOMENT.fullmatch(trimmed)) is not None:
            return _moment_ms(moment)
    except ValueError:
        pass
    raise ValueError(f"a time must be {_WANTED}, was {text!r}")


def iso_ms(at_ms: int) -> str:
    """ISO 8601 in UTC with milliseconds; the number itself where a calendar ends."""
    seconds, ms = divmod(at_ms, 1000)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"
    except (ValueError, OverflowError, OSError):
        return str(at_ms)


def resolve_window(
    start_ms: int | None,
    end_ms: int | None,
    coverages: Callable[[], Sequence[Coverage]],
    *,
    auto_scope: bool,
    tell: Callable[[str], None],
) -> Window:
    """The bounds of a run (specification part 2, H.5), from those asked for and what the databases cover.

    coverages: asked only when needed. `tell` hears what was found. DataError when nothing is covered by all, or a bound
    that was asked for is not covered.
    """
    if start_ms is not None and end_ms is not None and start_ms > end_ms:
        raise DataError(
            f"--start-ts must not be after --end-ts, start is {_shown(start_ms)} and end is {_shown(end_ms)}"
        )
    if auto_scope:
        common = _common(coverages(), tell)
        _check_bounds(start_ms, end_ms, common, "the common range of the databases")
        return Window(
            common.first_ms if start_ms is None else start_ms,
            common.last_ms if end_ms is None else end_ms,
        )
    if start_ms is not None or end_ms is not None:
        for coverage in coverages():
            label = f"the range of {coverage.label} ({coverage.interval})"
            _check_bounds(start_ms, end_ms, coverage, label)
    return Window(start_ms, end_ms)


def describe_window(window: Window) -> str:
    """The effective range in words: both ends, or what is unbounded."""
    if window.from_ms is not None and window.to_ms is not None:
        return f"{_shown(window.from_ms)}..{_shown(window.to_ms)}"
    start, end = (
        "unbounded" if bound is None else _shown(bound) for bound in (window.from_ms, window.to_ms)
    )
    return f"start={start}, end={end}"


def _epoch_ms(number: int) -> int:
    size = abs(number)
    if size >= 1 << 63:
        raise ValueError
    if size < 10**10:
        return number * 1000
    if size < 10**13:
        return number
    whole = size // (1000 if size < 10**16 else 1_000_000)
    return whole if number > 0 else -whole


def _moment_ms(moment: re.Match[str]) -> int:
    year, month, day, hour, minute, second = (int(moment[number]) for number in range(1, 7))
    at = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    ms = int((moment[7] or "0")[:3].ljust(3, "0"))
    offset_minutes = 0
    if moment[8]:
        hours, minutes = int(moment[9]), int(moment[10])
        if hours > 23 or minutes > 59:
            raise ValueError
        offset_minutes = (hours * 60 + minutes) * (-1 if moment[8] == "-" else 1)
    since = at - _EPOCH_START
    return since.days * DAY_MS + since.seconds * 1000 + ms - offset_minutes * 60_000


def _common(coverages: Sequence[Coverage], tell: Callable[[str], None]) -> Coverage:
    for one in coverages:
        tell(f"[auto-scope] {one.label} ({one.interval}): {_extent(one.first_ms, one.last_ms)}")
    first_ms = max(one.first_ms for one in coverages)
    last_ms = min(one.last_ms for one in coverages)
    if first_ms > last_ms:
        raise DataError(
            f"the databases must cover a common range, they do not (the latest start is {_shown(first_ms)}, the "
            f"earliest end {_shown(last_ms)}); import more candles, or give --no-auto-scope"
        )
    tell(f"[auto-scope] Common range: {_extent(first_ms, last_ms)}")
    return Coverage("", "", first_ms, last_ms)


def _extent(first_ms: int, last_ms: int) -> str:
    return f"{first_ms}..{last_ms} ({(last_ms - first_ms) / DAY_MS:.1f} days)"


def _check_bounds(start_ms: int | None, end_ms: int | None, coverage: Coverage, label: str) -> None:
    for flag, bound in (("--start-ts", start_ms), ("--end-ts", end_ms)):
        if bound is not None and not coverage.first_ms <= bound <= coverage.last_ms:
            side = "earlier" if bound < coverage.first_ms else "later"
            raise DataError(
                f"{flag} must lie in {label}, {_shown(coverage.first_ms)}..{_shown(coverage.last_ms)}, but "
                f"{_shown(bound)} is {side}; correct it or import more candles (coverage)"
            )


def _shown(at_ms: int) -> str:
    return f"{at_ms} ({iso_ms(at_ms)})"
