"""A market in the working directory, and the file the command line makes of its sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mei.cli import main
from tests.sweep_worker.desk import Desk
from tests.sweeps.markets import sweep_line, write_market


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a market."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LEDGER_DB", raising=False)
    return write_market(tmp_path)


@pytest.fixture
def undisturbed(folder: Path) -> bytes:
    """The output of `mei-backtester sweep`."""
    assert main.run(sweep_line("whole.jsonl", "--ledger", "none", "--rerun", "0")) == 0
    return (folder / "whole.jsonl").read_bytes()


@pytest.fixture
def open_desk(folder: Path) -> Iterator[Callable[..., Desk]]:
    """Start services; they are shut down after the test."""
    opened: list[Desk] = []

    def start(**settings: Any) -> Desk:
        opened.append(Desk(folder, **settings))
        return opened[-1]

    yield start
    for desk in opened:
        desk.close()


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    """One service."""
    return open_desk()
