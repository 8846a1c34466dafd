"""An interrupted sweep goes on where it was, and ends with the file of an undisturbed one."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from mei.cli import main
from mei.model.errors import VerificationError
from mei.workflows.sweep import best, plan, work
from tests.sweeps.markets import (
    CHUNK_SIZE,
    N_ROWS,
    SPEC,
    killed_at,
    start,
    sweep_line,
    write_market,
)

N_CHUNKS = -(-N_ROWS // CHUNK_SIZE)
#: Every point of a sweep that writes something; `o` and `01_…` are stems of its files.
FAULTS = [
    *(f"sweep.journal.torn:{n}" for n in (1, 4, N_CHUNKS)),
    *(f"sweep.journal.appended:{n}" for n in (1, 3, N_CHUNKS)),
    "ledger.sweep_trials.before_commit:1",
    "ledger.sweep_trials.after_commit:1",
    "report.o.before_rename:1",
    "report.o.after_rename:1",
    "sweep.merge.written:1",
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a market."""
    monkeypatch.chdir(tmp_path)
    return write_market(tmp_path)


@pytest.fixture
def undisturbed(folder: Path) -> bytes:
    """The output of a sweep that nothing happened to."""
    assert main.run(sweep_line("whole.jsonl", "--chunk-size", "1000")) == 0
    return (folder / "whole.jsonl").read_bytes()


def trials_in(folder: Path) -> list[int]:
    """What the ledger has counted, a number a sweep."""
    with contextlib.closing(sqlite3.connect(folder / "shared/manifest.sqlite")) as ledger:
        rows = ledger.execute("SELECT n_trials FROM sweep_trials ORDER BY n_trials").fetchall()
    return [row[0] for row in rows]


def leftovers(folder: Path) -> list[str]:
    """Files that a finished sweep should not leave."""
    return [path.name for path in folder.iterdir() if "journal" in path.name or ".tmp" in path.name]


@pytest.mark.parametrize("fault", FAULTS)
def test_killed_at_every_point(folder: Path, undisturbed: bytes, fault: str) -> None:
    assert killed_at(folder, sweep_line(), fault), "the point was not reached"
    assert main.run(sweep_line()) == 0
    assert (folder / "o.jsonl").read_bytes() == undisturbed
    assert leftovers(folder) == []
    assert trials_in(folder) == [N_ROWS]


@pytest.mark.parametrize("seed", [5, 6])
def test_killed_again_and_again(folder: Path, undisturbed: bytes, seed: int) -> None:
    """At random chunks until it is through: no row is lost, none is run twice."""
    rng = random.Random(seed)
    lives = 0
    while killed_at(folder, sweep_line(), f"sweep.journal.{rng.choice(('torn', 'appended'))}:2"):
        lives += 1
    assert lives >= 4
    assert (folder / "o.jsonl").read_bytes() == undisturbed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_the_user(folder: Path, number: signal.Signals) -> None:
    axes = SPEC.replace("[0.5, 1.0, 1.5, 2.0]", "{min: 0.5, max: 60, step: 0.01}")
    axes = axes.replace("values: {min", "min").replace("step: 0.01}}", "step: 0.01}")
    (folder / "spec.yaml").write_text(axes)
    process = start(folder, sweep_line())
    journal = None
    while journal is None or journal.stat().st_size < 4096:
        time.sleep(0.02)
        assert process.poll() is None
        journal = next(folder.glob("o.jsonl.*.journal"), None)
    process.send_signal(number)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert "rows; they are kept in o.jsonl." in said
    assert "the same command goes on from there" in said
    assert not (folder / "o.jsonl").exists()
    counted = trials_in(folder)
    assert len(counted) == 1
    assert counted[0] > 0


def test_rows_in_the_journal_are_not_run_again(
    folder: Path, undisturbed: bytes, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    killed_at(folder, sweep_line(), "sweep.journal.appended:4")
    seen: list[int] = []
    real = work.run_chunk

    def counting(plan: Any, engine: Any, chunk: int) -> Any:
        seen.append(chunk)
        return real(plan, engine, chunk)

    monkeypatch.setattr(work, "run_chunk", counting)
    assert main.run(sweep_line()) == 0
    assert len(seen) == N_CHUNKS - 4
    assert "20 rows are in o.jsonl." in capsys.readouterr().err


def test_another_spec_has_another_journal(folder: Path, undisturbed: bytes, capsys: Any) -> None:
    killed_at(folder, sweep_line(), "sweep.journal.appended:4")
    (folder / "spec.yaml").write_text(SPEC.replace("4.0]", "4.5]"))
    killed_at(folder, sweep_line(), "sweep.journal.appended:2")
    assert len(list(folder.glob("*.journal"))) == 2
    (folder / "spec.yaml").write_text(SPEC)
    capsys.readouterr()
    assert main.run(sweep_line()) == 0
    assert "is of another sweep that was not finished" in capsys.readouterr().err
    assert (folder / "o.jsonl").read_bytes() == undisturbed
    assert len(list(folder.glob("*.journal"))) == 1


def test_parquet_has_the_same_rows(folder: Path, undisturbed: bytes) -> None:
    import pyarrow.parquet as pq

    assert main.run(sweep_line("o.parquet")) == 0
    table = pq.read_table(folder / "o.parquet").to_pylist()
    lines = [json.loads(line) for line in undisturbed.splitlines()]
    assert len(table) == N_ROWS
    for row, line in zip(table, lines, strict=True):
        overrides = {f"overrides.{path}": value for path, value in line.pop("overrides").items()}
        infinite = {name for name, value in line.items() if value is None}
        assert {name: value for name, value in row.items() if name not in infinite} == {
            name: value for name, value in (line | overrides).items() if name not in infinite
        }


def test_a_row_that_is_not_its_replay_is_never_ranked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    real = best.replay_numbers

    def other(result: Any, reasons: Any) -> Any:
        from dataclasses import replace

        return replace(real(result, reasons), total_fees_usd=1e-9)

    monkeypatch.setattr(best, "replay_numbers", other)
    assert main.run(sweep_line()) == 1
    said = capsys.readouterr().err
    assert "total_fees of a sweep's row must be that of its replay" in said
    assert VerificationError.__doc__
    assert not (folder / "o.jsonl").exists()


def test_the_best_are_run_again(folder: Path, undisturbed: bytes, capsys: Any) -> None:
    rows = [json.loads(line) for line in undisturbed.splitlines()[:3]]
    for rank, row in enumerate(rows, start=1):
        report = json.loads(
            (folder / f"whole.jsonl.best/{rank:02d}_{row['config_id']}.json").read_text()
        )
        assert report["total_pnl"] == row["total_pnl"]
        assert len(report["trades"]) > report["total_trades"] > 0
        assert len(report["equity_curve"]) > 100
        assert 0.0 <= report["deflated_sharpe_ratio"] <= report["probabilistic_sharpe_ratio"] <= 1.0


def test_trials_add_up_over_sweeps_and_deflate(folder: Path, capsys: Any) -> None:
    def deflated() -> float:
        found = next(folder.glob("o.jsonl.best/01_*.json"))
        return float(json.loads(found.read_text())["deflated_sharpe_ratio"])

    assert main.run(sweep_line()) == 0
    first = deflated()
    assert (
        "Does it survive 48 trials, counted on this market so far, 48 of them here?"
        in capsys.readouterr().err
    )
    assert main.run(sweep_line()) == 0
    assert "survive 48 trials" in capsys.readouterr().err  # the same sweep counts once
    assert deflated() == first
    (folder / "other.yaml").write_text("axes: [{path: trade.sl_atr_mult, values: [1, 2, 3, 9]}]")
    other = "sweep --config c.yaml --sweep-spec other.yaml --output p.jsonl"
    assert main.run(other.split()) == 0
    assert "survive 52 trials" in capsys.readouterr().err
    assert main.run([*sweep_line(), "--ledger", "none"]) == 0
    assert "48 trials, in this sweep (no ledger counts others)" in capsys.readouterr().err
    assert deflated() == first
    assert main.run(sweep_line()) == 0
    assert "survive 52 trials" in capsys.readouterr().err
    assert deflated() != first


def test_what_the_sweep_was_of_stands_beside_it(folder: Path, capsys: Any) -> None:
    assert main.run(sweep_line("o.jsonl", "--rerun", "0")) == 0
    said = capsys.readouterr().err
    assert "[sweep] Run: mei_alpha strict, config c.yaml (" in said
    about = json.loads((folder / "o.jsonl.best/sweep.json").read_text())
    assert about["rows"] == about["trials_on_this_market"] == N_ROWS
    assert about["axes"]["trade.tp_atr_mult"] == 3
    assert about["run"]["semantics"] == "strict"
    assert about["run"]["symbols"] == {"loaded": 3, "traded": 3}
    assert about["symbols_left_out"] == []


@pytest.mark.parametrize("semantics", ["strict", "reference"])
def test_symbols_left_out_are_told_and_recorded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, semantics: str
) -> None:
    monkeypatch.setattr(plan, "_MOST_SYMBOLS", 2)
    line = sweep_line("o.jsonl", "--semantics", semantics, "--parity-mode")
    assert main.run([*line, "identical-symbol-universe"]) == 0
    said = capsys.readouterr().err
    assert "[sweep] warning: 1 symbols are left out of every row" in said
    assert "keeps the first 2: SOL\n" in said
    rows = [json.loads(text) for text in (folder / "o.jsonl").read_text().splitlines()]
    assert {row.get("symbols_left_out") for row in rows} == {
        None if semantics == "reference" else 1
    }
    assert main.run([*line, "production"]) == 0
    assert "warning: 1 symbols" not in capsys.readouterr().err
    assert "symbols_left_out" not in (folder / "o.jsonl").read_text()


def test_two_sweeps_never_write_one_output(folder: Path, capsys: Any) -> None:
    with best.only_writer("o.jsonl"):
        assert main.run(sweep_line()) == 1
    assert "another sweep is writing it" in capsys.readouterr().err
    assert main.run(sweep_line()) == 0


def test_chunks_in_another_order_are_another_journal(
    folder: Path, undisturbed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release that runs the combinations in another order must not take chunks of this one for its own."""
    assert killed_at(folder, sweep_line(), "sweep.journal.appended:4")
    monkeypatch.setattr("mei.workflows.strategy._MeiAlpha.stage_of", lambda self, path: 0)
    assert main.run(sweep_line()) == 0
    assert (folder / "o.jsonl").read_bytes() == undisturbed
    assert len(list(folder.glob("*.journal"))) == 1


def test_a_journal_of_the_wrong_rows_is_never_ranked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    real = work.run_chunk
    monkeypatch.setattr(
        work, "run_chunk", lambda plan, engine, chunk: real(plan, engine, chunk // 2)
    )
    assert main.run(sweep_line()) == 1
    assert "must hold 48 different combinations, holds 50 rows of 25" in capsys.readouterr().err
    assert not (folder / "o.jsonl").exists()


def test_constraints_that_leave_nothing(folder: Path, capsys: Any) -> None:
    (folder / "spec.yaml").write_text(f"{SPEC}constraints: ['trade.sl_atr_mult > 9']\n")
    assert main.run(sweep_line()) == 2
    assert "the constraints must leave a combination" in capsys.readouterr().err


def test_a_full_disk_is_told_and_loses_nothing(folder: Path, undisturbed: bytes) -> None:
    for limit in (100, 20_000):
        line = sweep_line("o.jsonl", "--ledger", "none")
        process = start(folder, line, {"MEI_TEST_FILE_LIMIT": str(limit)})
        _, said = process.communicate(timeout=300)
        assert process.returncode == 1, said[-2000:]
        assert "must be writable, was not" in said
        assert "a defect" not in said
    assert main.run(sweep_line()) == 0
    assert (folder / "o.jsonl").read_bytes() == undisturbed


def test_a_redirected_standard_output_is_no_output_of_a_sweep(folder: Path, capsys: Any) -> None:
    assert main.run(sweep_line("/dev/stdout")) == 2
    assert "--output of a sweep must be a file, /dev/stdout is none" in capsys.readouterr().err
