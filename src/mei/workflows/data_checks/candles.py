"""Whether the candle databases that a trader reads are fresh and whole."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mei.data.candle_db import interval_ms_or_zero
from mei.data.candle_health import CandleHealth, SymbolHealth, Window, candle_health, label_of_file
from mei.data.price_jumps import SPIKE_FACTOR, Jump, Spike, count_jumps
from mei.data.stamps import length_text, time_text
from mei.model.errors import ConfigError, DataError
from mei.workflows.data_checks.symbols import as_there
from mei.workflows.data_checks.verdict import (
    FAIL,
    WARN,
    CheckOutcome,
    graded,
    require_above,
    require_pair,
    worst,
)

_OK: Final = "OK"
_HOUR_MS: Final = 3_600_000

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CandleCheckRequest:
    """What the command line asks for. now_ms in epoch ms UTC; symbols empty = all there are.

    A threshold is reached by a value that is equal to it: multiples of the interval for freshness, bars for the rest.
    """

    db_glob: str
    now_ms: int
    lookback_hours: float = 24.0
    freshness_warn_mult: float = 2.0
    freshness_fail_mult: float = 5.0
    gap_warn_bars: int = 1
    gap_fail_bars: int = 3
    missing_warn_bars: int = 10
    missing_fail_bars: int = 50
    grace_seconds: float = 5.0
    max_gap_ranges: int = 5
    symbols: tuple[str, ...] = ()


def check_candle_dbs(request: CandleCheckRequest, tell: Tell) -> CheckOutcome:
    """Look at every database that the pattern names (specification part 3, section 8).

    `tell` hears one line for each thing found, and a last one. Raises ConfigError for flags that cannot be meant;
    a database that cannot be read is a FAIL of its own.
    """
    _check(request)
    paths = sorted(glob.glob(request.db_glob))  # noqa: PTH207 (a pattern with folders, perhaps absolute)
    databases = [_database(path, request) for path in paths]
    status = worst([one["status"] for one in databases], _OK)
    report: dict[str, Any] = {
        "schema": "candle_check_v1",
        "db_glob": request.db_glob,
        "now_ms": request.now_ms,
        "now_utc": time_text(request.now_ms),
        "lookback_hours": request.lookback_hours,
        "grace_seconds": request.grace_seconds,
        "thresholds": {
            "freshness_warn_mult": request.freshness_warn_mult,
            "freshness_fail_mult": request.freshness_fail_mult,
            "gap_warn_bars": request.gap_warn_bars,
            "gap_fail_bars": request.gap_fail_bars,
            "missing_warn_bars": request.missing_warn_bars,
            "missing_fail_bars": request.missing_fail_bars,
        },
        "dbs": databases,
    }
    if not databases:
        status = FAIL
        report["error"] = f"a candle database must match {request.db_glob}, none does"
        tell(f"[{FAIL}] {report['error']}: name another --db-glob, or import candles")
    report["status"] = status
    for line in _lines(databases):
        tell(line)
    n_symbols = sum(len(one["symbols"]) for part in databases for one in part["intervals"])
    tell(f"[{status}] {len(databases)} candle databases, {n_symbols} series")
    return CheckOutcome(status, report)


def _check(request: CandleCheckRequest) -> None:
    require_above("--lookback-hours", request.lookback_hours, 0.0)
    require_pair(
        "--freshness-warn-mult",
        request.freshness_warn_mult,
        "--freshness-fail-mult",
        request.freshness_fail_mult,
        at_least=1.0,
    )
    require_pair(
        "--gap-warn-bars",
        request.gap_warn_bars,
        "--gap-fail-bars",
        request.gap_fail_bars,
        at_least=1,
    )
    require_pair(
        "--missing-warn-bars",
        request.missing_warn_bars,
        "--missing-fail-bars",
        request.missing_fail_bars,
        at_least=1,
    )
    if not 0.0 <= request.grace_seconds < request.lookback_hours * 3600.0:
        raise ConfigError(
            f"--grace-seconds must be at least 0 and less than the lookback, was {request.grace_seconds:g}"
        )
    if request.max_gap_ranges < 0:
        raise ConfigError(
            f"--max-gap-ranges-per-symbol must be at least 0, was {request.max_gap_ranges}"
        )


def _database(path: str, request: CandleCheckRequest) -> dict[str, Any]:
    try:
        with candle_health(path) as health:
            by_label = health.symbols_by_interval()
            wanted = _wanted(path, by_label, request.symbols)
            intervals = [
                _interval(health, label, symbols, request) for label, symbols in wanted.items()
            ]
    except DataError as error:
        return {"path": path, "status": FAIL, "intervals": [], "error": str(error)}
    found: dict[str, Any] = {
        "path": path,
        "status": worst([one["status"] for one in intervals], _OK),
        "intervals": intervals,
    }
    if health.lacking:
        found["note"] = (
            f"prices are not looked at: the table candles has no {', '.join(health.lacking)}"
        )
    if not by_label:
        found["status"] = FAIL
        found["error"] = f"{path}: there must be bars, the table is empty: import candles"
    return found


def _wanted(
    path: str, by_label: dict[str, list[str]], symbols: Sequence[str]
) -> dict[str, list[str]]:
    """Which symbols to look at for which label: those asked for, or all; of an empty table, by the file's name."""
    label = label_of_file(path)
    if not by_label:
        return {} if label is None else {label: list(symbols)}
    if not symbols:
        return by_label
    return {
        name: [as_there(symbol, there) for symbol in symbols] for name, there in by_label.items()
    }


def _interval(
    health: CandleHealth, label: str, symbols: Sequence[str], request: CandleCheckRequest
) -> dict[str, Any]:
    interval_ms = 0 if re.fullmatch(r"\d+M", label) else interval_ms_or_zero(label)
    found: dict[str, Any] = {"interval": label, "interval_ms": interval_ms}
    if not interval_ms:
        # A month is no length either: 1M is not read as 1m, a minute.
        reason = f"the label must be a length of time such as 1h, was {label!r}: its bars cannot be checked"
        return found | {"status": FAIL, "symbols": [], "reasons": [reason]}
    window = Window(
        request.now_ms,
        round(request.lookback_hours * _HOUR_MS),
        round(request.grace_seconds * 1000.0),
    )
    first_ms, last_ms = window.first_and_last(interval_ms)
    series = [
        _series(health.look_at(symbol, label, window), interval_ms, request) for symbol in symbols
    ]
    found["symbols"] = series
    found["status"] = worst([one["status"] for one in series], _OK)
    found["first_expected_ms"], found["last_expected_ms"] = first_ms, last_ms
    found["reasons"] = []
    if last_ms < first_ms:
        found["first_expected_ms"] = found["last_expected_ms"] = None
        found["note"] = (
            f"no whole bar of {label} lies in the last {request.lookback_hours:g} hours: only freshness is checked; "
            "give more --lookback-hours"
        )
    return found


def _series(seen: SymbolHealth, interval_ms: int, request: CandleCheckRequest) -> dict[str, Any]:
    max_gap = max((gap.n_bars for gap in seen.gaps), default=0)
    found: dict[str, Any] = {
        "symbol": seen.symbol,
        "newest_open_ms": seen.newest_ms,
        "seen_ms": seen.seen_ms,
        "age_ms": None if seen.seen_ms is None else request.now_ms - seen.seen_ms,
        "expected_bars": seen.n_expected,
        "missing_bars": seen.n_missing,
        "max_gap_bars": max_gap,
        "off_grid_bars": seen.n_off_grid,
        "n_gap_ranges": len(seen.gaps),
        "gap_ranges": _ranges(seen, request.max_gap_ranges),
    }
    for name, prices in (("price_jumps", seen.jumps), ("price_spikes", seen.spikes)):
        if prices is not None:
            found[f"n_{name}"] = len(prices)
            found[name] = [_told(one) for one in prices.furthest(request.max_gap_ranges)]
    verdicts = list(_verdicts(seen, max_gap, interval_ms, request))
    found["reasons"] = [reason for _, reason in verdicts]
    found["status"] = worst([status for status, _ in verdicts], _OK)
    return found


def _verdicts(
    seen: SymbolHealth, max_gap: int, interval_ms: int, request: CandleCheckRequest
) -> Iterator[tuple[str, str]]:
    """What is wrong: a status and a sentence each."""
    if seen.newest_ms is None or seen.seen_ms is None:
        yield FAIL, "there is no bar"
        return
    if seen.newest_ms > request.now_ms + request.grace_seconds * 1000.0:
        yield FAIL, f"the newest bar opens in the future, at {time_text(seen.newest_ms)}"
    age_ms = request.now_ms - seen.seen_ms
    multiple = age_ms / interval_ms
    grades = (
        (
            graded(multiple, request.freshness_warn_mult, request.freshness_fail_mult, good=_OK),
            f"the newest bar was seen to {time_text(seen.seen_ms)}, {multiple:.2f} intervals ago",
        ),
        (
            graded(max_gap, request.gap_warn_bars, request.gap_fail_bars, good=_OK),
            f"{max_gap} bars are missing in a row",
        ),
        (
            graded(seen.n_missing, request.missing_warn_bars, request.missing_fail_bars, good=_OK),
            f"{seen.n_missing} of {seen.n_expected} bars are missing",
        ),
    )
    yield from ((status, reason) for status, reason in grades if status != _OK)
    if seen.n_off_grid:
        yield WARN, f"{seen.n_off_grid} bars do not open on the grid of {length_text(interval_ms)}"
    if seen.jumps:
        yield WARN, count_jumps(seen.jumps).describe()
    furthest = seen.spikes.largest() if seen.spikes else None
    if seen.spikes and furthest:
        yield (
            WARN,
            f"{len(seen.spikes)} bars have a high or low more than a factor {SPIKE_FACTOR:g} from all prices around "
            f"it, the furthest {furthest.describe()} (check for a wrong price)",
        )


def _ranges(seen: SymbolHealth, at_most: int) -> list[dict[str, Any]]:
    """The longest gaps, in order of time."""
    longest = sorted(seen.gaps, key=lambda gap: (-gap.n_bars, gap.from_ms))[:at_most]
    return [
        {
            "place": gap.place,
            "from_ms": gap.from_ms,
            "to_ms": gap.to_ms,
            "from_utc": time_text(gap.from_ms),
            "to_utc": time_text(gap.to_ms),
            "bars": gap.n_bars,
        }
        for gap in sorted(longest, key=lambda gap: gap.from_ms)
    ]


def _told(one: Jump | Spike) -> dict[str, Any]:
    return {**one._asdict(), "at_utc": time_text(one.at_ms)}


def _lines(databases: Sequence[dict[str, Any]]) -> Iterator[str]:
    for database in databases:
        if "error" in database:
            yield f"[{FAIL}] {database['error']}"
        if "note" in database:
            yield f"[note] {database['path']}: {database['note']}"
        for part in database["intervals"]:
            where = f"{database['path']} {part['interval']}"
            yield from (f"[{FAIL}] {where}: {reason}" for reason in part["reasons"])
            if "note" in part:
                yield f"[note] {where}: {part['note']}"
            for one in part["symbols"]:
                if one["reasons"]:
                    yield f"[{one['status']}] {where} {one['symbol']}: {'; '.join(one['reasons'])}"
