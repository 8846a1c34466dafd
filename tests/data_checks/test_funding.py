"""check_funding_rates_db: what is old, missing, too large or jumps, and above which number."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.data_checks.conftest import Bench, ms
from tests.workflows.databases import HOUR_MS

NOW = ms("2026-03-10 12:00:00")
SECOND_MS = 1_000


def hourly(rates: dict[int, float] | None = None, without: Sequence[int] = ()) -> list[Any]:
    """A rate for each hour of the last 72 and for NOW; `rates` and `without` by hours before NOW."""
    return [
        ("BTC", NOW - back * HOUR_MS, (rates or {}).get(back, 1e-5))
        for back in range(72, -1, -1)
        if back not in without
    ]


def check(bench: Bench, flags: str = "", now: int = NOW) -> tuple[int, str, list[tuple[str, str]]]:
    """Exit code, status of the only symbol, and the kinds of issues with their statuses."""
    code = bench.run("check_funding_rates_db", f"--now-ms {now} {flags}")
    report = bench.json()
    (symbol,) = report["symbols"]
    assert symbol["status"] == report["status"]
    return code, symbol["status"], [(one["kind"], one["status"]) for one in report["issues"]]


def test_hourly_rates_pass(bench: Bench) -> None:
    bench.rates(hourly())
    assert check(bench) == (0, "PASS", [])
    assert bench.err == "[PASS] candles_dbs/funding_rates.db: 1 symbols, 0 issues\n"
    assert bench.out == json.dumps(bench.json(), sort_keys=True, separators=(",", ":")) + "\n"
    assert bench.json()["symbols"][0] == {
        "symbol": "BTC",
        "status": "PASS",
        "newest_ms": NOW,
        "age_hours": 0.0,
        "n_rates": 73,
    }


@pytest.mark.parametrize(
    ("age_ms", "issues", "code"),
    [
        (8 * HOUR_MS, [], 0),
        (8 * HOUR_MS + 1, [("age", "WARN")], 0),
        (12 * HOUR_MS, [("age", "WARN")], 0),
        (12 * HOUR_MS + 1, [("age", "FAIL")], 2),
    ],
)
def test_age(bench: Bench, age_ms: int, issues: list[Any], code: int) -> None:
    bench.rates(hourly())
    found, _, kinds = check(bench, now=NOW + age_ms)
    assert (found, kinds) == (code, issues)
    if code == 0:
        assert check(bench, "--fail-on-warn", now=NOW + age_ms)[0] == len(issues)


def test_age_in_hours_and_in_intervals(bench: Bench) -> None:
    bench.rates(hourly())
    now = NOW + 3 * HOUR_MS
    assert check(bench, "--max-age-warn-hours 3", now)[2] == []
    assert check(bench, "--max-age-warn-hours 2.9", now)[2] == [("age", "WARN")]
    assert check(bench, "--max-age-warn-hours 1 --max-age-fail-hours 2.9", now)[0] == 2
    assert check(bench, "--max-age-warn-multiplier 2.5", now)[2] == [("age", "WARN")]
    every_two = "--expected-interval-hours 2 --max-age-warn-multiplier 1.4"
    assert check(bench, every_two, now)[2] == [("age", "WARN")]
    assert check(bench, every_two.replace("1.4", "1.5"), now)[2] == []


@pytest.mark.parametrize(
    ("distance_ms", "flags", "issues"),
    [
        (2 * HOUR_MS, "", []),
        (2 * HOUR_MS + 1, "", [("gap", "WARN")]),
        (4 * HOUR_MS, "", [("gap", "WARN")]),
        (4 * HOUR_MS + 1, "", [("gap", "FAIL")]),
        # Within interval and tolerance nothing is a gap, whatever the thresholds say.
        (HOUR_MS + 60 * SECOND_MS, "--warn-gap-hours 0.5 --max-gap-hours 0.5", []),
        (HOUR_MS + 60 * SECOND_MS + 1, "--warn-gap-hours 0.5", [("gap", "WARN")]),
        (
            HOUR_MS + 61 * SECOND_MS,
            "--warn-gap-hours 0.5 --interval-tolerance-seconds 61",
            [],
        ),
        (4 * HOUR_MS + 1, "--expected-interval-hours 4 --max-gap-hours 9", []),
    ],
)
def test_gaps(bench: Bench, distance_ms: int, flags: str, issues: list[Any]) -> None:
    # Hour by hour up to the last but one, and only then the distance.
    before = [NOW - distance_ms - back * HOUR_MS for back in range(72, -1, -1)]
    bench.rates([("BTC", t, 1e-5) for t in [*before, NOW]])
    assert check(bench, f"--lookback-hours 60 {flags}")[2] == issues


@pytest.mark.parametrize(
    ("late_ms", "issues"),
    [
        (2 * HOUR_MS, []),
        (2 * HOUR_MS + 1, [("leading_gap", "WARN")]),
        (4 * HOUR_MS + 1, [("leading_gap", "FAIL")]),
    ],
)
def test_leading_gap(bench: Bench, late_ms: int, issues: list[Any]) -> None:
    start = NOW - 72 * HOUR_MS
    first = start + late_ms
    later = [row for row in hourly() if row[1] > first]
    # A rate before the window fills no hole in it.
    bench.rates([("BTC", start - 1, 1e-5), ("BTC", first, 1e-5), *later])
    assert check(bench)[2] == issues


@pytest.mark.parametrize("flags", ["--lookback-hours 48", "--lookback-days 2"])
def test_lookback(bench: Bench, flags: str) -> None:
    bench.rates(hourly({49: 0.5, 48: 0.5}))
    assert [kind for kind, _ in check(bench, flags)[2]] == ["rate", "delta"]
    assert bench.json()["symbols"][0]["n_rates"] == 49


@pytest.mark.parametrize(
    ("rate", "issues"),
    [
        (0.01, []),
        (0.0101, [("rate", "WARN")]),
        (-0.02, [("rate", "WARN")]),
        (-0.0201, [("rate", "FAIL")]),
    ],
)
def test_rates(bench: Bench, rate: float, issues: list[Any]) -> None:
    bench.rates(hourly({5: rate}))
    assert check(bench, "--delta-rate-warn 1 --delta-rate-fail 1")[2] == issues


@pytest.mark.parametrize(
    ("pair", "distance_h", "issues"),
    [
        ((0.0, 0.01), 1, []),
        ((0.0, 0.0101), 1, [("delta", "WARN")]),
        ((0.01, -0.01), 1, [("delta", "WARN")]),
        ((0.01, -0.0101), 1, [("delta", "FAIL")]),
        # Across a gap a change is no spike.
        ((0.01, -0.0101), 2, []),
    ],
)
def test_changes(
    bench: Bench, pair: tuple[float, float], distance_h: int, issues: list[Any]
) -> None:
    before, after = 6 + distance_h, 6
    levels = {back: pair[0] for back in range(before, 73)} | {back: pair[1] for back in range(7)}
    bench.rates(hourly(levels, without=range(after + 1, before)))
    assert check(bench, "--abs-rate-warn 1 --abs-rate-fail 1")[2] == issues


def test_symbols(bench: Bench) -> None:
    bench.rates([*hourly(), *(("ETH", t, r) for _, t, r in hourly())])
    assert bench.run("check_funding_rates_db", f"--now-ms {NOW} --symbols btc,SOL") == 2
    report = bench.json()
    assert [(one["symbol"], one["status"]) for one in report["symbols"]] == [
        ("BTC", "PASS"),
        ("SOL", "FAIL"),
    ]
    assert report["issues"] == [
        {"kind": "missing", "said": "there is no rate", "status": "FAIL", "symbol": "SOL"}
    ]


def test_no_rate_in_the_window(bench: Bench) -> None:
    bench.rates([("BTC", NOW - 73 * HOUR_MS, 1e-5)])
    assert check(bench)[2] == [("age", "FAIL"), ("empty_window", "FAIL")]
    assert check(bench, "--max-age-warn-hours 99 --max-age-fail-hours 99")[0] == 2


def test_a_rate_of_the_future(bench: Bench) -> None:
    bench.rates([*hourly(), ("BTC", NOW + 1, 1e-5)])
    assert check(bench)[2] == [("future", "FAIL")]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("BTC", NOW // 1000 + 86_400 * 9999, 1e-5), "which is a time in s"),
        (("BTC", NOW - 1, None), "funding_rate=NULL"),
        (("BTC", NOW - 1, "free"), "funding_rate='free'"),
        (("BTC", "never", 1e-5), "found 'never'"),
    ],
)
def test_cells_that_are_no_rates(bench: Bench, row: Any, said: str) -> None:
    rows = [] if "time in s" in said else hourly()
    bench.rates([*rows, row])
    code, _, kinds = check(bench)
    assert (code, kinds) == (2, [("unreadable", "FAIL")])
    assert said in bench.err


def test_at_most_fifty_issues_are_told_and_failures_first(bench: Bench) -> None:
    bench.rates(hourly({back: 0.015 if back else 0.5 for back in range(73)}))
    assert check(bench, "--delta-rate-warn 1 --delta-rate-fail 1")[0] == 2
    lines = bench.err.splitlines()
    assert lines[0].startswith("[FAIL] BTC: the rate at 2026-03-10T12:00:00Z is 0.5")
    assert lines[50] == "and 23 more, all of them in the JSON"
    assert len(lines) == 52
    assert len(bench.json()["issues"]) == 73


def test_an_empty_table_and_a_missing_file_fail(bench: Bench) -> None:
    assert bench.run("check_funding_rates_db") == 2
    assert "there is no such file" in bench.json()["error"]
    bench.rates([])
    assert bench.run("check_funding_rates_db") == 2
    assert "the table is empty" in bench.json()["error"]
    assert bench.json()["status"] == "FAIL"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--lookback-hours 1 --lookback-days 1", "give one of them"),
        ("--lookback-hours 0", "--lookback-hours must be above 0"),
        ("--expected-interval-hours 0", "--expected-interval-hours must be above 0"),
        ("--interval-tolerance-seconds 3600", "less than the interval"),
        ("--max-age-warn-multiplier 13", "--max-age-warn-… must not be above"),
        ("--max-age-fail-hours 7", "--max-age-warn-… must not be above"),
        ("--warn-gap-hours 5", "--warn-gap-hours must not be above --max-gap-hours"),
        ("--abs-rate-warn 0.03", "--abs-rate-warn must not be above --abs-rate-fail"),
        ("--delta-rate-warn inf", "--delta-rate-warn must be at least 0"),
        ("--delta-rate-fail -1", "--delta-rate-fail must be at least 0"),
        ("--symbols ,", "--symbols must name a symbol"),
    ],
)
def test_flags_that_cannot_be_meant(bench: Bench, flags: str, said: str) -> None:
    bench.rates(hourly())
    assert bench.run("check_funding_rates_db", f"--now-ms {NOW} {flags}") == 2
    assert said in bench.err
    assert (bench.err.count("\n"), bench.out) == (1, "")
