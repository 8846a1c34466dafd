"""Times on the command line and the window of a run (specification part 2, H.2 and H.5)."""

from __future__ import annotations

from typing import Any

import pytest

from mei.model.errors import DataError
from mei.workflows.window import (
    Coverage,
    Window,
    describe_window,
    iso_ms,
    parse_timestamp,
    resolve_window,
)

JUNE_MS = 1_748_736_000_000


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("1748736000", JUNE_MS),
        ("1748736000000", JUNE_MS),
        ("1748736000000000", JUNE_MS),
        ("1748736000000999999", JUNE_MS),
        (" 1_748_736_000_000 ", JUNE_MS),
        ("+1748736000", JUNE_MS),
        ("-5", -5000),
        ("-10000000000001", -10_000_000_000),
        ("9999999999", 9_999_999_999_000),
        ("10000000000", 10_000_000_000),
        ("9999999999999", 9_999_999_999_999),
        ("10000000000000", 10_000_000_000),
        ("20250125", 20_250_125_000),
        ("0", 0),
        ("2025-06-01", JUNE_MS),
        ("2025-6-1", JUNE_MS),
        ("1969-12-31", -86_400_000),
        ("2025-06-01T00:00:00Z", JUNE_MS),
        ("2025-06-01t00:00:00z", JUNE_MS),
        ("2025-06-01 02:30:00+02:30", JUNE_MS),
        ("2025-05-31T23:00:00-01:00", JUNE_MS),
        ("2025-06-01T00:00:00.0019Z", JUNE_MS + 1),
        ("2025-06-01T00:00:00.5Z", JUNE_MS + 500),
    ],
)
def test_times_are_read(text: str, expected_ms: int) -> None:
    assert parse_timestamp(text) == expected_ms


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "",
        "-",
        "1.5",
        "2025-13-01",
        "2025-02-30",
        "25-06-01",
        "2025-06-01T00:00:00",
        "2025-06-01T00:00Z",
        "2025-06-01T24:00:00Z",
        "2025-06-01T00:00:00+24:00",
        "2025-06-01T00:00:00.Z",
        "١٢",
        str(1 << 63),
    ],
)
def test_what_is_no_time_is_refused_with_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match="2024-01-01T00:00:00Z") as caught:
        parse_timestamp(text)
    assert repr(text) in str(caught.value)


def test_iso_text_has_milliseconds() -> None:
    assert iso_ms(JUNE_MS + 7) == "2025-06-01T00:00:00.007Z"
    assert iso_ms(-1) == "1969-12-31T23:59:59.999Z"
    assert iso_ms(1 << 62) == str(1 << 62)


COVERAGES = [Coverage("a.db", "1h", 100, 900), Coverage("b.db", "5m", 300, 1000)]


def resolve(start: int | None, end: int | None, **more: Any) -> tuple[Window, list[str]]:
    """The window over COVERAGES, and what was told."""
    told: list[str] = []
    settings = {"auto_scope": True, "tell": told.append} | more
    return resolve_window(start, end, lambda: COVERAGES, **settings), told


def test_window_is_what_all_databases_cover() -> None:
    window, told = resolve(None, None)
    assert window == Window(300, 900)
    assert told == [
        "[auto-scope] a.db (1h): 100..900 (0.0 days)",
        "[auto-scope] b.db (5m): 300..1000 (0.0 days)",
        "[auto-scope] Common range: 300..900 (0.0 days)",
    ]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(300, 900, Window(300, 900)), (400, None, Window(400, 900)), (None, 301, Window(300, 301))],
)
def test_bounds_that_are_covered_are_taken(
    start: int | None, end: int | None, expected: Window
) -> None:
    assert resolve(start, end)[0] == expected


@pytest.mark.parametrize(
    ("start", "end", "auto_scope", "words"),
    [
        (500, 400, True, "--start-ts must not be after --end-ts"),
        (500, 400, False, "--start-ts must not be after --end-ts"),
        (299, None, True, "--start-ts must lie in the common range .* 299 .* earlier"),
        (901, None, True, "--start-ts .* later"),
        (None, 901, True, "--end-ts must lie in .* later"),
        (None, 299, True, "--end-ts must lie in .* earlier"),
        (200, None, False, "--start-ts must lie in the range of b.db"),
        (None, 950, False, "--end-ts must lie in the range of a.db"),
    ],
)
def test_bounds_that_are_not_covered_are_refused(
    start: int | None, end: int | None, auto_scope: bool, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        resolve(start, end, auto_scope=auto_scope)


def test_databases_without_a_common_range_are_refused() -> None:
    apart = [Coverage("a.db", "1h", 0, 10), Coverage("b.db", "5m", 11, 20)]
    with pytest.raises(DataError, match="must cover a common range"):
        resolve_window(None, None, lambda: apart, auto_scope=True, tell=lambda line: None)


def test_without_scope_and_bounds_no_database_is_asked() -> None:
    def never() -> list[Coverage]:
        raise AssertionError("asked")

    window = resolve_window(None, None, never, auto_scope=False, tell=lambda line: None)
    assert window == Window(None, None)
    assert describe_window(window) == "start=unbounded, end=unbounded"
    assert resolve(400, None, auto_scope=False)[0] == Window(400, None)
    assert describe_window(Window(400, None)) == (
        "start=400 (1970-01-01T00:00:00.400Z), end=unbounded"
    )
