"""A folder with a market in it, and the program run there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mei.cli import main
from tests.factory.market import factory_line, write_market


@pytest.fixture(scope="package")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Databases for all tests; nothing is written to them."""
    return write_market(tmp_path_factory.mktemp("market"))


@pytest.fixture
def folder(market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the databases, a strategy file and axes."""
    monkeypatch.chdir(tmp_path)
    return furnish(market, tmp_path)


def furnish(market: Path, folder: Path) -> Path:
    """The market's files in another folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "candles_dbs").symlink_to(market / "candles_dbs")
    for name in ("c.yaml", "spec.yaml"):
        (folder / name).write_bytes((market / name).read_bytes())
    (folder / "paper.yaml").write_bytes((market / "c.yaml").read_bytes())
    return folder


class Bench:
    """Runs command lines and keeps what the last one said."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.out = self.err = ""

    def run(self, *arguments: str) -> int:
        """The exit code of a command line."""
        return self.call(lambda: main.run(list(arguments)))

    def call(self, program: Callable[[], int]) -> int:
        """The exit code of anything else that is run here."""
        self._capsys.readouterr()
        code = program()
        self.out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        assert "(a defect" not in self.err
        return code

    def factory(self, run_id: str, *more: str) -> int:
        """The exit code of a run of the factory."""
        return self.run(*factory_line(run_id, *more))

    def back_to(self, run_id: str, step: str) -> None:
        """As if the run had been stopped after the step."""
        name = f"artifacts/runs/{run_id}/state.json"
        state = self.json(name)
        names = [one["step"] for one in state["steps"]]
        state["steps"] = state["steps"][: names.index(step) + 1]
        (self.folder / name).write_text(json.dumps(state))

    def json(self, path: str) -> Any:
        """A file of JSON."""
        return json.loads((self.folder / path).read_text())


@pytest.fixture(name="bench")
def _bench(folder: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    return Bench(folder, capsys)
