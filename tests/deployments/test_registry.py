"""registry_index: runs and strategy files are kept once, whole and as they were."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from mei.data.registry_db import config_text, mark_deployed, put_config
from mei.model.errors import NotFoundError
from tests.deployments.conftest import ARTIFACTS, NOW, REGISTRY, Bench, id_of, strategy

A, B = strategy("a", tp=4.0), strategy("b", tp=4.5)


def item(text: str, path: str, **numbers: Any) -> dict[str, Any]:
    """A candidate of report.json."""
    found = {
        "config_id": id_of(text),
        "config_path": path,
        "total_pnl": 10.5,
        "max_drawdown_pct": 0.05,
        "total_trades": 30,
        "win_rate": 0.5,
        "profit_factor": 1.5,
        "total_fees": 2.25,
    }
    return {**found, **numbers}


def write_run(
    name: str = "run1", items: Any = None, metadata: dict[str, Any] | None = None
) -> Path:
    """The folder of a finished run with two candidates."""
    folder = ARTIFACTS / "runs" / name
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    (folder / "reports").mkdir(exist_ok=True)
    (folder / "configs" / "a.yaml").write_text(A)
    (folder / "configs" / "b.yaml").write_text(B)
    about = {
        "run_id": name,
        "generated_at_ms": NOW,
        "run_date_utc": "2026-03-10",
        "git_head": "abc",
        "args": {"profile": "smoke", "b": [1]},
    }
    (folder / "run_metadata.json").write_text(json.dumps({**about, **(metadata or {})}))
    if items is None:
        items = [item(A, "configs/a.yaml"), item(B, "configs/b.yaml", total_pnl=20.0)]
    (folder / "reports" / "report.json").write_text(json.dumps({"run_id": name, "items": items}))
    return folder


def rows(query: str) -> list[Any]:
    """Of the registry."""
    with contextlib.closing(sqlite3.connect(REGISTRY)) as database:
        return database.execute(query).fetchall()


def test_ingest_and_query(bench: Bench) -> None:
    folder = write_run()
    bench.now = NOW
    assert bench.run("registry_index", f"ingest-run-dir --run-dir {folder}") == 0
    assert bench.json() == {
        "registry_db": str(REGISTRY),
        "run_id": "run1",
        "results": 2,
        "new_configs": 2,
    }
    created = NOW + 60_000
    assert rows("SELECT * FROM runs") == [
        ("run1", NOW, "2026-03-10", str(folder), "abc", '{"b": [1], "profile": "smoke"}', created)
    ]
    assert rows("SELECT * FROM configs ORDER BY yaml_text") == [
        (id_of(A), A, "run1", created),
        (id_of(B), B, "run1", created),
    ]
    assert bench.call(lambda: query("")) == 0
    first, second = bench.json()["results"]
    assert bench.json()["count"] == 2
    assert first == {
        "run_id": "run1",
        "config_id": id_of(B),
        "config_path": str(folder / "configs/b.yaml"),
        "total_pnl": 20.0,
        "max_drawdown_pct": 0.05,
        "total_trades": 30,
        "win_rate": 0.5,
        "profit_factor": 1.5,
        "total_fees": 2.25,
        "verdict": "unknown",
        "deployed": 0,
        "retirement_reason": None,
        "created_at_ms": created,
        "generated_at_ms": NOW,
        "run_date_utc": "2026-03-10",
        "run_dir": str(folder),
        "git_head": "abc",
    }
    assert second["config_id"] == id_of(A)


def query(flags: str) -> int:
    """Exit code of a query."""
    from tests.tools.loading import exit_code, tool

    return exit_code(tool("registry_index"), ["query", *flags.split()])


def test_ingesting_again_updates_numbers_and_keeps_verdicts(bench: Bench) -> None:
    folder = write_run()
    assert bench.run("registry_index", f"ingest-run-dir --run-dir {folder}") == 0
    mark_deployed(REGISTRY, "run1", id_of(A))
    with contextlib.closing(sqlite3.connect(REGISTRY)) as database, database:
        database.execute("UPDATE run_configs SET verdict = 'good', retirement_reason = 'old'")
    configs = rows("SELECT * FROM configs")
    (folder / "configs" / "a.yaml").write_text(f"# a comment\n{A}")
    other = [item(A, "configs/a.yaml", total_pnl=-1.0, profit_factor=None)]
    write_run(items=other, metadata={"git_head": "def"})
    (folder / "configs" / "a.yaml").write_text(f"# a comment\n{A}")
    assert bench.run("registry_index", f"ingest-run-dir --run-dir {folder}") == 0
    assert bench.json()["new_configs"] == 0
    assert rows("SELECT * FROM configs") == configs
    assert rows("SELECT git_head, created_at_ms FROM runs") == [("def", NOW + 60_000)]
    assert rows(
        "SELECT total_pnl, profit_factor, verdict, deployed, retirement_reason FROM run_configs ORDER BY total_pnl"
    ) == [(-1.0, None, "good", 1, "old"), (20.0, 1.5, "good", 0, "old")]


def test_queries(bench: Bench) -> None:
    days = {"run1": ("2026-03-10", 0), "run2": ("2026-03-11", 86_400_000)}
    for name, (day, later_ms) in days.items():
        about = {"run_date_utc": day, "generated_at_ms": NOW + later_ms}
        folder = write_run(name, metadata=about)
        assert bench.run("registry_index", f"ingest-run-dir --run-dir {folder}") == 0

    def found(flags: str) -> list[tuple[str, bool]]:
        assert bench.call(lambda: query(flags)) == 0
        return [(one["run_id"], one["config_id"] == id_of(A)) for one in bench.json()["results"]]

    everything = [("run2", False), ("run2", True), ("run1", False), ("run1", True)]
    assert found("") == everything
    assert found("--limit 3") == everything[:3]
    assert found("--run-id run1") == everything[2:]
    assert found(f"--config-id {id_of(A)}") == [("run2", True), ("run1", True)]
    assert found(f"--config-id {id_of(A)[:12].upper()} --date-utc 2026-03-10") == [("run1", True)]
    assert found("--run-id run3") == []
    assert found("--date-utc 2026-03-12") == []


def test_where_the_registry_is(bench: Bench) -> None:
    folder = write_run()
    line = f"--artifacts-dir elsewhere ingest-run-dir --run-dir {folder}"
    assert bench.run("registry_index", line) == 0
    assert Path("elsewhere/registry/registry.sqlite").is_file()
    assert bench.run("registry_index", f"--registry-db own.db {line}") == 0
    assert Path("own.db").is_file()
    assert not REGISTRY.exists()


def test_a_path_outside_of_the_run_and_a_day_that_is_not_written(bench: Bench) -> None:
    Path("a.yaml").write_text(A)
    folder = write_run(items=[item(A, "a.yaml")], metadata={"run_date_utc": None})
    assert bench.run("registry_index", f"ingest-run-dir --run-dir {folder}") == 0
    assert rows("SELECT run_date_utc FROM runs") == [("2026-03-10",)]


def test_what_was_deployed_is_marked(bench: Bench) -> None:
    put_config(REGISTRY, A, NOW)
    with pytest.raises(NotFoundError, match="must be a result of the run"):
        mark_deployed(REGISTRY, "run1", id_of(A))
    assert config_text(REGISTRY, id_of(A)) == A


NUMBERS = ("total_pnl", "max_drawdown_pct", "total_trades", "win_rate", "profit_factor")


@pytest.mark.parametrize(
    ("items", "metadata", "said"),
    [
        ("text", {}, "items must be a list"),
        ([1], {}, "item 1 must be an object"),
        ([item(A, "configs/a.yaml"), item(A, "configs/a.yaml")], {}, "must stand once"),
        ([item(A, "configs/b.yaml")], {}, "must have the config_id"),
        ([item(A, "configs/c.yaml")], {}, "configs/c.yaml must be a readable file"),
        ([item(A, "")], {}, "config_path must be a path"),
        ([item(A, "configs/a.yaml", config_id="abc")], {}, "config_id must be 64 hex digits"),
        *[
            ([item(A, "configs/a.yaml", **{name: value})], {}, f"{name} must be a number or null")
            for name, value in zip(NUMBERS, (True, "1", float("nan"), [], {}), strict=True)
        ],
        ([{"config_id": id_of(A), "config_path": "configs/a.yaml"}], {}, "must be there, is not"),
        (None, {"run_id": 7}, "run_id must be text"),
        (None, {"run_id": "other"}, "run_id must be that of run_metadata.json"),
        (None, {"generated_at_ms": "now"}, "generated_at_ms must be a whole number"),
        (None, {"run_date_utc": "10.3.2026"}, "the run must have a day"),
        (None, {"git_head": 1}, "git_head must be text"),
    ],
)
def test_a_run_that_is_not_as_it_must_be_changes_nothing(
    bench: Bench, items: Any, metadata: dict[str, Any], said: str
) -> None:
    folder = write_run("before")
    assert bench.run("registry_index", f"ingest-run-dir --run-dir {folder}") == 0
    folder = write_run(items=items, metadata=metadata)
    before = bench.snapshot()
    assert bench.run("registry_index", f"ingest-run-dir --run-dir {folder}") == 1
    assert said in bench.err
    assert (bench.err.count("\n"), bench.out) == (1, "")
    assert bench.snapshot() == before


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("", 2, "Missing command"),
        ("ingest-run-dir", 2, "Missing option '--run-dir'"),
        ("ingest-run-dir --run-dir nowhere", 2, "--run-dir must be the folder of a run"),
        ("ingest-run-dir --run-dir config", 1, "run_metadata.json must be readable"),
        ("query", 1, "there is no such file"),
        ("--registry-db config/strategy_overrides.yaml query", 1, "must be a readable registry"),
        ("query --limit 0", 2, "--limit"),
        ("query --date-utc today", 2, "--date-utc must be a day"),
        ("query --date-utc 2026-02-30", 2, "--date-utc must be a day"),
    ],
)
def test_wrong_flags(bench: Bench, line: str, code: int, said: str) -> None:
    before = bench.snapshot()
    from tests.tools.loading import exit_code, tool

    assert bench.call(lambda: exit_code(tool("registry_index"), line.split())) == code
    assert said in bench.err
    assert (bench.err.count("\n"), bench.out) == (1, "")
    assert bench.snapshot() == before


@pytest.mark.parametrize(
    ("point", "n_runs"), [("data.registry.before_commit:1", 0), ("data.registry.after_commit:1", 1)]
)
def test_killed_it_is_all_or_nothing(bench: Bench, point: str, n_runs: int) -> None:
    folder = write_run()
    code = bench.killed("registry_index", f"ingest-run-dir --run-dir {folder}", point)
    assert code == -signal.SIGKILL
    tables = [name for (name,) in rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    counts = [rows(f"SELECT count(*) FROM {table}")[0][0] for table in sorted(tables)]
    assert counts == [2 * n_runs, 2 * n_runs, n_runs][: len(tables)]
    assert bench.run("registry_index", f"ingest-run-dir --run-dir {folder}") == 0
    assert [rows(f"SELECT count(*) FROM {name}")[0][0] for name in ("configs", "runs")] == [2, 1]
