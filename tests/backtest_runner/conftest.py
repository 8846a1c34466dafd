"""A bench for the runner: folders of its own, a small run, the command line in process."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mei.cli.main import run
from mei.data.sample import write_sample
from mei.model.moments import parse_moment_ms

ROOT = Path(__file__).parents[2]

SMALL = {
    "SYMBOLS": "BTC/USDT",
    "CHUNK_ROWS": "240",
    "TRAIN_CRON_MINUTES": "240",
    "TRAIN_MIN_POINTS": "500",
    "TRAIN_WINDOW_DAYS": "1",
    "PROMOTION_MIN_DELTA": "0",
    "END_TS": "2024-01-02T12:00",
    "CONFIG_DIR": str(ROOT / "config"),
}


@dataclass
class Bench:
    """Runs `mei-backtester loop` in this process, in a folder of its own."""

    folder: Path
    setenv: Callable[[str, str], None]
    capsys: pytest.CaptureFixture[str]

    def loop(self, *flags: str, **environment: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of one command line."""
        for name, value in environment.items():
            self.setenv(name, value)
        self.capsys.readouterr()
        code = run(["loop", *flags])
        out, err = self.capsys.readouterr()
        return code, out, err

    def snapshot(self) -> dict[str, bytes]:
        """Every file under the folder but the locks and SQLite's scratch files."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and not path.name.endswith(("-wal", "-shm", ".lock"))
        }

    @property
    def research(self) -> Path:
        """Where the candles are by now."""
        return Path(os.environ["RESEARCH_DIR"])

    @staticmethod
    def end_ms(end_ts: str) -> int:
        """END_TS as epoch ms."""
        return parse_moment_ms("END_TS", end_ts)

    def outputs(self) -> dict[str, bytes]:
        """The published files."""
        return {
            path.name: path.read_bytes()
            for path in (self.folder / "results").iterdir()
            if path.is_file()
        }


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "research"
    write_sample(folder, days=4)
    return folder


@pytest.fixture
def bench(
    tmp_path: Path,
    sample: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Bench:
    for name, value in {
        **SMALL,
        "RESEARCH_DIR": str(sample),
        "RESULTS_DIR": str(tmp_path / "results"),
        "LEDGER_DB": str(tmp_path / "shared" / "manifest.sqlite"),
        "DATA_INCOMING": str(tmp_path / "incoming"),
        "MODELS_DIR": str(tmp_path / "models"),
    }.items():
        monkeypatch.setenv(name, value)
    return Bench(tmp_path, monkeypatch.setenv, capsys)
