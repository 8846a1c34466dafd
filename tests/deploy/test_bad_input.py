"""What is wrong is told in one line, with exit code 1 (2 for flags), and nothing is written."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mei.report import atomic
from tests.deploy.desk import ROW, STRATEGY, Desk

Change = Callable[[Desk], None]


def rows(overrides: Any, **fields: Any) -> Change:
    """One row with these overrides."""
    return lambda desk: desk.rows({**ROW, "overrides": overrides, **fields})


def without(name: str) -> Change:
    """One row that lacks a field."""
    return lambda desk: desk.rows({key: ROW[key] for key in ROW if key != name})


def text(content: str | bytes) -> Change:
    """A file of results with this content."""
    return lambda desk: put(desk.folder / "rows.jsonl", content)


def strategy(content: str | bytes) -> Change:
    """A strategy file with this content."""
    return lambda desk: put(desk.path, content)


def log(content: str) -> Change:
    """A changelog with this content."""
    return lambda desk: put(desk.folder / "strategy_changelog.json", content)


def put(path: Path, content: str | bytes) -> None:
    """Write a file."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def nothing(desk: Desk) -> None:
    """As it is."""


def no_strategy(desk: Desk) -> None:
    """Without a strategy file."""
    desk.path.unlink()


ONE = {"trade.leverage": 1}
CASES = [
    (nothing, "--sweep-results none.jsonl", "none.jsonl must be the JSON Lines of a sweep"),
    (nothing, "--sweep-results .", "must be the JSON Lines of a sweep, could not be read (Is a"),
    (nothing, "--sweep-results none.parquet", "none.parquet must be the Parquet file of a sweep"),
    (text(""), "", "rows.jsonl must have a row to deploy, has none: sweep first"),
    (text("\n \n"), "", "must have a row to deploy"),
    (nothing, "--rank 3", "--rank must be 1 to 2, the rows of rows.jsonl, was 3"),
    (nothing, "--rank 0", "was 0"),
    (nothing, "--rank -1", "was -1"),
    (rows({}), "", "rows.jsonl:1: the row must have overrides to apply, has none"),
    (rows([]), "", "must have overrides to apply"),
    (rows(None), "", "rows.jsonl:1: a row of a sweep must have overrides"),
    (rows([["a"]]), "", "a list of [path, value], was [['a']]"),
    (rows([["trade.leverage", 1], ["trade.leverage", 2]]), "", "have trade.leverage twice"),
    (text('{"a": 1}\n{"overrides": {'), "", "rows.jsonl:1: a row of a sweep must have overrides"),
    (text('{"overrides": {"a": 1}}\n{oops'), "", "rows.jsonl:2: a row of a sweep must be a JSON"),
    (text("[1]"), "", "rows.jsonl:1: a row of a sweep must be a JSON object, was [1]"),
    (text(b"\xff\xfe"), "", "could not be read ('utf-8' codec"),
    (rows({"trade.leverage": 1}, total_pnl="x"), "", "total_pnl of a sweep's row must be a number"),
    (rows({"lookback_bars": 60}), "", "must name settings of Mei Alpha, lookback_bars are none"),
    (rows({"trade.leverage": "x"}), "", "rows.jsonl:1: trade.leverage must be a number, was 'x'"),
    (rows({"trade.leverage": 0}), "", "global.trade.leverage must be above 0, was 0.0"),
    (
        rows({"trade.max_open_positions": 0}),
        "",
        "max_open_positions must be 1 to 1000000000, was 0",
    ),
    (rows({"indicators.ema_fast_window": 60}), "", "must be below indicators.ema_slow_window (50)"),
    (rows({"trade.allocation_pct": 1.5}), "", "global.trade.allocation_pct must be 0 to 1"),
    (no_strategy, "", "strategy_overrides.yaml must be the strategy file that was swept, there is"),
    (nothing, "--config no/such.yaml", "no/such.yaml must be in a folder that exists"),
    (nothing, "--config config", "config must be a file, is a directory"),
    (strategy(""), "", "the root must be a mapping, was null"),
    (strategy("[1]"), "", "the root must be a mapping, was a list"),
    (strategy("global: 3"), "", "global must be a mapping, was 3"),
    (strategy("global: {trad: {}}"), "", "did you mean 'trade'"),
    (strategy("a: [\n"), "", "strategy_overrides.yaml:"),
    (strategy(b"a: \xff"), "", "must be a readable file in UTF-8"),
    (strategy(f"{STRATEGY}\nlive: {{trade: {{leverage: -1}}}}\n"), "", "live.trade.leverage must"),
    (strategy("global: {trade: {min_atr_pct: 1.5}}"), "", "min_atr_pct must be 0 to 1, was 1.5"),
    (log('{\n  "history": [,]\n}'), "", "strategy_changelog.json:2: a changelog must be JSON"),
    (log("[]"), "", "a changelog must be an object, was a list"),
    (log('{"history": {}}'), "", "one with a list history, was a mapping"),
    (log('{"current_version": 6}'), "", "one with a text current_version, was 6"),
    (nothing, "--changelog no/log.json", "no/log.json must be in a folder that exists"),
    (nothing, "--changelog config/../config/strategy_overrides.yaml", "must be a file of its own"),
    (nothing, "--close-live", "--exchange must be mainnet, testnet or a URL"),
    (nothing, "--close-live --exchange testnet", "could not be opened (No such file"),
    (nothing, "--close-paper --paper-db rows.jsonl", "rows.jsonl: must be a usable trading"),
    (
        nothing,
        "--min-trades 32",
        "rows.jsonl:1: the row must have at least --min-trades 32 trades, has 31",
    ),
    (rows(ONE, total_trades=0), "--min-trades 1", "at least --min-trades 1 trades, has 0"),
    (without("total_trades"), "--min-trades 1", "no total_trades, whether it traded enough cannot"),
    (rows(ONE, total_trades=None), "--min-trades 1", "no total_trades, whether it traded enough"),
    (rows(ONE, total_pnl=0.0), "--require-profit", "rows.jsonl:1: the row must have a profit"),
    (rows(ONE, total_pnl=-1.5), "--require-profit", "its net PnL is $-1.50"),
    (
        rows(ONE, total_pnl=None),
        "--require-profit",
        "no total_pnl, whether it made a profit cannot",
    ),
    (without("total_pnl"), "--require-profit", "no total_pnl, whether it made a profit cannot"),
]


@pytest.mark.parametrize(
    ("change", "flags", "words", "how"),
    [
        (*case, how)
        for case in CASES
        for how in ("--yes", "--dry-run")
        if how == "--yes" or "--close" not in case[1]  # a dry run closes nothing
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(
    desk: Desk, change: Change, flags: str, words: str, how: str
) -> None:
    change(desk)
    before = desk.files()
    assert desk.run(f"{how} {flags}") == 1
    assert words in desk.err
    assert desk.err.splitlines()[-1].startswith("error: ")
    assert desk.err.count("error: ") == 1
    assert "a defect" not in desk.err
    assert desk.files() == before


@pytest.mark.parametrize(
    "flags", ["--rank x", "--no-such-flag", "--yes=1", "--min-trades -1", "--min-trades 2.5"]
)
def test_wrong_flags_leave_with_2(desk: Desk, flags: str) -> None:
    before = desk.files()
    assert desk.run(flags) == 2
    assert desk.files() == before


def test_a_restart_command_that_cannot_be_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTART_COMMAND", "sh -c 'x")
    before = desk.files()
    assert desk.run("--yes --restart") == 1
    assert "RESTART_COMMAND must be a command" in desk.err
    assert desk.files() == before


@pytest.mark.parametrize("name", ["config", "config/strategy_overrides.yaml", "."])
def test_a_place_that_cannot_be_written_is_found_before_anything_is_closed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real, locked = os.access, (desk.folder / name).resolve()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != locked and real(path, mode))
    before = desk.files()
    assert desk.run("--yes") == 1
    assert "must be writable" in desk.err
    assert desk.files() == before
    assert desk.run("--dry-run") == 0


def test_somebody_elses_deployment_is_waited_for(desk: Desk) -> None:
    before = desk.files()
    descriptor = os.open(desk.path.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert desk.run("--yes") == 1
        assert "another deployment is under way there" in desk.err
        assert desk.files() == before
        assert desk.run("--dry-run") == 0
    finally:
        os.close(descriptor)
    assert desk.run("--yes") == 0


@pytest.mark.parametrize(
    ("pattern", "is_backed_up", "is_restored"),
    [
        (r"\.strategy_overrides\.yaml\.deploy\.json\.tmp", False, False),
        (r"\.strategy_overrides\.yaml\.bak\.[0-9]+\.tmp", False, False),
        (r"\.strategy_overrides\.yaml\.tmp", True, False),
        (r"\.strategy_changelog\.json\.tmp", True, True),
    ],
)
def test_a_disk_that_fails_half_way_puts_everything_back(
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
    pattern: str,
    is_backed_up: bool,
    is_restored: bool,
) -> None:
    real = atomic._write_all

    def failing(descriptor: int, blocks: Any) -> None:
        target = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if re.fullmatch(pattern, target) and is_failing:
            is_failing.pop()
            raise OSError(28, "No space left on device")
        real(descriptor, blocks)

    is_failing = [True]
    monkeypatch.setattr(atomic, "_write_all", failing)
    (desk.folder / "strategy_changelog.json").write_text(json.dumps({"history": []}))
    before = desk.files()
    assert desk.run("--yes") == 1
    assert "No space left on device" in desk.err
    after = desk.files()
    backups = [name for name in after if ".bak." in name]
    assert [after.pop(name) for name in backups] == [STRATEGY.encode()] * is_backed_up
    assert after == before
    assert ("was restored, it is as it was before" in desk.err) is is_restored
    assert desk.run("--yes") == 0
