"""Whether the funding rates that a trader pays are fresh, whole and possible."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

from mei.data.funding_health import FundingHealth, Rate, funding_health
from mei.data.stamps import length_text, time_text
from mei.model.errors import ConfigError, DataError
from mei.workflows.data_checks.symbols import as_there
from mei.workflows.data_checks.verdict import (
    FAIL,
    CheckOutcome,
    exceeding,
    require_above,
    require_pair,
    worst,
)

_PASS: Final = "PASS"
_HOUR_MS: Final = 3_600_000
_MOST_TOLD: Final = 50

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class FundingCheckRequest:
    """What the command line asks for. now_ms in epoch ms UTC; symbols empty = all there are.

    Every limit is the largest value that passes. Ages are multiples of the interval, unless given in hours.
    """

    db: str
    now_ms: int
    symbols: tuple[str, ...] = ()
    lookback_hours: float = 72.0
    expected_interval_hours: float = 1.0
    interval_tolerance_seconds: float = 60.0
    max_age_warn_multiplier: float = 8.0
    max_age_fail_multiplier: float = 12.0
    max_age_warn_hours: float | None = None
    max_age_fail_hours: float | None = None
    warn_gap_hours: float = 2.0
    max_gap_hours: float = 4.0
    abs_rate_warn: float = 0.01
    abs_rate_fail: float = 0.02
    delta_rate_warn: float = 0.01
    delta_rate_fail: float = 0.02

    @property
    def age_limits_hours(self) -> tuple[float, float]:
        """Above which age the newest rate is old: warn, fail."""
        by_interval = (
            self.max_age_warn_multiplier * self.expected_interval_hours,
            self.max_age_fail_multiplier * self.expected_interval_hours,
        )
        given = (self.max_age_warn_hours, self.max_age_fail_hours)
        warn, fail = (
            limit if hours is None else hours
            for hours, limit in zip(given, by_interval, strict=True)
        )
        return warn, fail


class _Issue(NamedTuple):
    """status: WARN or FAIL. kind: a word for programs. said: a sentence for people."""

    status: str
    kind: str
    symbol: str
    said: str


def check_funding_rates_db(request: FundingCheckRequest, tell: Tell) -> CheckOutcome:
    """Look at the rates of every symbol (specification part 3, section 8).

    `tell` hears at most 50 lines on what was found, and a last one. Raises ConfigError for flags that cannot be
    meant; a database that cannot be read is a FAIL.
    """
    _check(request)
    report: dict[str, Any] = {
        "schema": "funding_check_v1",
        "db": request.db,
        "now_ms": request.now_ms,
        "lookback_hours": request.lookback_hours,
        "expected_interval_hours": request.expected_interval_hours,
        "thresholds": _thresholds(request),
        "symbols": [],
    }
    issues: list[_Issue] = []
    try:
        with funding_health(request.db) as health:
            there = health.symbols()
            wanted = [as_there(one, there) for one in request.symbols] or there
            for symbol in wanted:
                found, of_symbol = _symbol(health, symbol, request)
                report["symbols"].append(found)
                issues += of_symbol
        if not wanted:
            raise DataError(
                f"{request.db}: there must be funding rates, the table is empty: import them"
            )
    except DataError as error:
        report["error"] = str(error)
        tell(f"[{FAIL}] {error}")
    status = FAIL if "error" in report else worst([issue.status for issue in issues], _PASS)
    report["status"] = status
    report["issues"] = [issue._asdict() for issue in issues]
    _tell_issues(issues, tell)
    tell(f"[{status}] {request.db}: {len(report['symbols'])} symbols, {len(issues)} issues")
    return CheckOutcome(status, report)


def _check(request: FundingCheckRequest) -> None:
    require_above("--lookback-hours", request.lookback_hours, 0.0)
    require_above("--expected-interval-hours", request.expected_interval_hours, 0.0)
    if not 0.0 <= request.interval_tolerance_seconds < request.expected_interval_hours * 3600.0:
        raise ConfigError(
            "--interval-tolerance-seconds must be at least 0 and less than the interval, was "
            f"{request.interval_tolerance_seconds:g}"
        )
    warn_hours, fail_hours = request.age_limits_hours
    pairs = (
        ("--max-age-warn-…", warn_hours, "--max-age-fail-… (in hours)", fail_hours),
        ("--warn-gap-hours", request.warn_gap_hours, "--max-gap-hours", request.max_gap_hours),
        ("--abs-rate-warn", request.abs_rate_warn, "--abs-rate-fail", request.abs_rate_fail),
        (
            "--delta-rate-warn",
            request.delta_rate_warn,
            "--delta-rate-fail",
            request.delta_rate_fail,
        ),
    )
    for warn_flag, warn, fail_flag, fail in pairs:
        require_pair(warn_flag, warn, fail_flag, fail, at_least=0.0)


def _thresholds(request: FundingCheckRequest) -> dict[str, float]:
    warn_hours, fail_hours = request.age_limits_hours
    return {
        "interval_tolerance_seconds": request.interval_tolerance_seconds,
        "max_age_warn_hours": warn_hours,
        "max_age_fail_hours": fail_hours,
        "warn_gap_hours": request.warn_gap_hours,
        "max_gap_hours": request.max_gap_hours,
        "abs_rate_warn": request.abs_rate_warn,
        "abs_rate_fail": request.abs_rate_fail,
        "delta_rate_warn": request.delta_rate_warn,
        "delta_rate_fail": request.delta_rate_fail,
    }


def _symbol(
    health: FundingHealth, symbol: str, request: FundingCheckRequest
) -> tuple[dict[str, Any], list[_Issue]]:
    found: dict[str, Any] = {"symbol": symbol, "newest_ms": None, "age_hours": None, "n_rates": 0}
    issues: list[_Issue] = []
    try:
        newest_ms = health.newest_ms(symbol)
        from_ms = request.now_ms - round(request.lookback_hours * _HOUR_MS)
        rates = health.rates(symbol, from_ms, request.now_ms)
        if newest_ms is None:
            issues.append(_Issue(FAIL, "missing", symbol, "there is no rate"))
        else:
            found["newest_ms"] = newest_ms
            found["age_hours"] = (request.now_ms - newest_ms) / _HOUR_MS
            issues += _of_age(symbol, newest_ms, request)
            issues += _of_window(symbol, rates, from_ms, request)
            issues += _of_rates(symbol, rates, request)
        found["n_rates"] = len(rates)
    except DataError as error:
        issues.append(_Issue(FAIL, "unreadable", symbol, str(error)))
    found["status"] = worst([issue.status for issue in issues], _PASS)
    return found, issues


def _of_age(symbol: str, newest_ms: int, request: FundingCheckRequest) -> Iterator[_Issue]:
    if newest_ms > request.now_ms:
        said = f"the newest rate must not be of the future, is of {time_text(newest_ms)}"
        yield _Issue(FAIL, "future", symbol, said)
    age_hours = (request.now_ms - newest_ms) / _HOUR_MS
    status = exceeding(age_hours, *request.age_limits_hours, good=_PASS)
    if status != _PASS:
        said = f"the newest rate is of {time_text(newest_ms)}, {age_hours:.2f} hours ago"
        yield _Issue(status, "age", symbol, said)


def _of_window(
    symbol: str, rates: Sequence[Rate], from_ms: int, request: FundingCheckRequest
) -> Iterator[_Issue]:
    if not rates:
        said = f"there is no rate in the last {request.lookback_hours:g} hours"
        yield _Issue(FAIL, "empty_window", symbol, said)
        return
    kinds = ["leading_gap", *["gap"] * (len(rates) - 1)]
    times = [from_ms, *(rate.time_ms for rate in rates)]
    for kind, (before_ms, after_ms) in zip(kinds, pairwise(times), strict=True):
        length_ms = after_ms - before_ms
        if _is_adjacent(length_ms, request):
            continue
        status = exceeding(
            length_ms / _HOUR_MS, request.warn_gap_hours, request.max_gap_hours, good=_PASS
        )
        if status != _PASS:
            said = f"no rate from {time_text(before_ms)} to {time_text(after_ms)}, {length_text(length_ms)}"
            yield _Issue(status, kind, symbol, said)


def _of_rates(symbol: str, rates: Sequence[Rate], request: FundingCheckRequest) -> Iterator[_Issue]:
    for one in rates:
        size = abs(one.rate)
        status = exceeding(size, request.abs_rate_warn, request.abs_rate_fail, good=_PASS)
        if status != _PASS:
            said = f"the rate at {time_text(one.time_ms)} is {one.rate:g}"
            yield _Issue(status, "rate", symbol, said)
    for before, after in pairwise(rates):
        if not _is_adjacent(after.time_ms - before.time_ms, request):
            continue
        change = abs(after.rate - before.rate)
        status = exceeding(change, request.delta_rate_warn, request.delta_rate_fail, good=_PASS)
        if status != _PASS:
            said = f"the rate at {time_text(after.time_ms)} goes from {before.rate:g} to {after.rate:g}"
            yield _Issue(status, "delta", symbol, said)


def _is_adjacent(distance_ms: int, request: FundingCheckRequest) -> bool:
    allowed_ms = request.expected_interval_hours * _HOUR_MS
    return distance_ms <= allowed_ms + request.interval_tolerance_seconds * 1000.0


def _tell_issues(issues: Sequence[_Issue], tell: Tell) -> None:
    """The failures first."""
    ordered = sorted(issues, key=lambda issue: issue.status != FAIL)
    for issue in ordered[:_MOST_TOLD]:
        tell(f"[{issue.status}] {issue.symbol}: {issue.said}")
    if len(ordered) > _MOST_TOLD:
        tell(f"and {len(ordered) - _MOST_TOLD} more, all of them in the JSON")
