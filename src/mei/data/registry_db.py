"""The registry: every run of the factory, every strategy file it made, and what each of them came to.

A SQLite file with the tables `runs`, `configs` and `run_configs` (specification part 3, section 8). Times in epoch ms
UTC. A strategy file is known by its config_id, and its text is kept as it was first seen.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from mei.data.config_id import config_id as id_of
from mei.data.sqlite_file import require_columns
from mei.model import faults
from mei.model.errors import ConfigError, DataError, NotFoundError, OutputError
from mei.model.yaml12 import parse_yaml

_WHAT: Final = "registry"
_BUSY_S: Final = 30.0
_CREATE: Final = (
    """
CREATE TABLE IF NOT EXISTS runs (
  run_id TEXT PRIMARY KEY, generated_at_ms INTEGER, run_date_utc TEXT, run_dir TEXT, git_head TEXT, args_json TEXT,
  created_at_ms INTEGER
)
""",
    """
CREATE TABLE IF NOT EXISTS configs (
  config_id TEXT PRIMARY KEY, yaml_text TEXT NOT NULL, first_seen_run_id TEXT, created_at_ms INTEGER
)
""",
    """
CREATE TABLE IF NOT EXISTS run_configs (
  run_id TEXT NOT NULL, config_id TEXT NOT NULL, config_path TEXT, total_pnl REAL, max_drawdown_pct REAL,
  total_trades INTEGER, win_rate REAL, profit_factor REAL, total_fees REAL, verdict TEXT DEFAULT 'unknown',
  deployed INTEGER DEFAULT 0, retirement_reason TEXT, created_at_ms INTEGER,
  PRIMARY KEY (run_id, config_id)
)
""",
    "CREATE INDEX IF NOT EXISTS run_configs_by_config ON run_configs (config_id)",
)
_NEEDED: Final = {
    "runs": ("run_id", "generated_at_ms", "run_date_utc", "run_dir", "git_head", "args_json"),
    "configs": ("config_id", "yaml_text"),
    "run_configs": ("run_id", "config_id", "verdict", "deployed"),
}


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run of the factory. run_date_utc: YYYY-MM-DD; args_json: what it was asked for."""

    run_id: str
    generated_at_ms: int
    run_date_utc: str
    run_dir: str
    git_head: str | None
    args_json: str


@dataclass(frozen=True, slots=True)
class ResultRow:
    """What a strategy file came to in a run: USD, drawdown and win rate in fractions; None = not known.

    yaml_text: the file, whose config_id must be `config_id`.
    """

    config_id: str
    yaml_text: str
    config_path: str
    total_pnl: float | None
    max_drawdown_pct: float | None
    total_trades: int | None
    win_rate: float | None
    profit_factor: float | None
    total_fees: float | None


def ingest_run(path: Path, run: RunRow, results: Sequence[ResultRow], now_ms: int) -> int:
    """Put a run and its results into the registry, made if absent, in one transaction; how many files are new.

    A run that is there is brought up to date; its verdicts and what was deployed stay, and texts stay as first seen.
    DataError for a text that is not that of its config_id; OutputError when the file cannot be written.
    """
    for result in results:
        check_text(result.yaml_text, result.config_id, result.config_path)
    with _writing(path, create=True) as db:
        db.execute(
            "INSERT INTO runs "
            "(run_id, generated_at_ms, run_date_utc, run_dir, git_head, args_json, created_at_ms) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run_id) DO UPDATE SET "
            "generated_at_ms = excluded.generated_at_ms, "
            "run_date_utc = excluded.run_date_utc, run_dir = excluded.run_dir, git_head = excluded.git_head, "
            "args_json = excluded.args_json",
            (*astuple(run), now_ms),
        )
        n_new = 0
        for result in results:
            n_new += db.execute(
                "INSERT OR IGNORE INTO configs (config_id, yaml_text, first_seen_run_id, created_at_ms) "
                "VALUES (?, ?, ?, ?)",
                (result.config_id, result.yaml_text, run.run_id, now_ms),
            ).rowcount
            _put_result(db, run.run_id, result, now_ms)
    return n_new


def _put_result(db: sqlite3.Connection, run_id: str, result: ResultRow, now_ms: int) -> None:
    names = [
        field.name for field in fields(ResultRow) if field.name not in ("config_id", "yaml_text")
    ]
    values = [getattr(result, name) for name in names]
    updated = ", ".join(f"{name} = excluded.{name}" for name in names)
    db.execute(
        f"INSERT INTO run_configs (run_id, config_id, {', '.join(names)}, verdict, deployed, created_at_ms) "
        f"VALUES (?, ?, {', '.join('?' * len(names))}, 'unknown', 0, ?) "
        f"ON CONFLICT (run_id, config_id) DO UPDATE SET {updated}",
        (run_id, result.config_id, *values, now_ms),
    )


def put_config(path: Path, text: str, now_ms: int) -> str:
    """Keep the text of a strategy file that no run has made, such as one written by hand; its config_id.

    Raises ConfigError for a text that is no mapping in YAML.
    """
    document = parse_yaml(text, "the strategy file")
    if not isinstance(document, dict):
        raise ConfigError("a strategy file must be a mapping, is not")
    config_id = id_of(document)
    with _writing(path, create=True) as db:
        db.execute(
            "INSERT OR IGNORE INTO configs (config_id, yaml_text, created_at_ms) VALUES (?, ?, ?)",
            (config_id, text, now_ms),
        )
    return config_id


def config_text(path: Path, config_id: str) -> str:
    """The text of the strategy file with this config_id, whole or its first 12 or more digits.

    NotFoundError for one that is not there, DataError for a text that is not that of its id.
    """
    with _reading(path) as db:
        rows = db.execute(
            "SELECT config_id, yaml_text FROM configs WHERE substr(config_id, 1, ?) = ? LIMIT 2",
            (len(config_id), config_id.lower()),
        ).fetchall()
    if len(config_id) < 12 or len(rows) != 1:
        found = "is shorter than 12 digits" if len(config_id) < 12 else f"{len(rows) or 'none'} are"
        raise NotFoundError(
            f"{path}: a strategy file with config_id {config_id!r} must be there, {found}: see "
            "registry_index query for those there are"
        )
    whole_id, text = rows[0]
    check_text(text, whole_id, f"{path}: the text of {whole_id[:12]}")
    return str(text)


def check_text(text: Any, config_id: str, source: str) -> None:
    """DataError, naming `source`, unless the text is that of a strategy file with this config_id."""
    if not isinstance(text, str):
        raise DataError(f"{source} must be text, is not")
    try:
        document = parse_yaml(text, source)
    except ConfigError as error:
        raise DataError(str(error)) from None
    if not isinstance(document, dict):
        raise DataError(f"{source}: the root must be a mapping, is not")
    found = id_of(document)
    if found != config_id:
        raise DataError(
            f"{source} must have the config_id {config_id[:12]}…, has {found[:12]}…: it was changed; make it again"
        )


def mark_deployed(path: Path, run_id: str, config_id: str) -> None:
    """Note that a result of a run is what was deployed. NotFoundError when there is no such result."""
    with _writing(path, create=False) as db:
        changed = db.execute(
            "UPDATE run_configs SET deployed = 1 WHERE run_id = ? AND config_id = ?",
            (run_id, config_id),
        ).rowcount
        if not changed:
            raise NotFoundError(
                f"{path}: {config_id[:12]} must be a result of the run {run_id}, is none: ingest the run first"
            )


def query_results(
    path: Path,
    *,
    run_id: str | None = None,
    config_id: str | None = None,
    date_utc: str | None = None,
    limit: int = 50,
) -> list[dict[str, Any]]:
    """Results with what is known of their runs: newest runs first, in them the highest total_pnl first.

    config_id: its first digits will do. DataError when the registry cannot be read.
    """
    asked: list[tuple[str, Any]] = []
    if run_id is not None:
        asked.append(("r.run_id = ?", run_id))
    if config_id is not None:
        asked.append(("substr(c.config_id, 1, length(?)) = lower(?)", config_id))
    if date_utc is not None:
        asked.append(("r.run_date_utc = ?", date_utc))
    where = " AND ".join(text for text, _ in asked) or "1"
    values = [value for text, value in asked for _ in range(text.count("?"))]
    with _reading(path) as db:
        db.row_factory = sqlite3.Row
        rows = db.execute(
            "SELECT c.*, r.generated_at_ms, r.run_date_utc, r.run_dir, r.git_head FROM run_configs AS c "
            f"JOIN runs AS r ON r.run_id = c.run_id WHERE {where} "
            "ORDER BY r.generated_at_ms DESC, r.run_id, c.total_pnl DESC, c.config_id LIMIT ?",
            [*values, limit],
        ).fetchall()
    return [dict(row) for row in rows]


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.is_file():
        raise NotFoundError(
            f"{path}: must be a {_WHAT}, there is no such file; ingest a run first, or name it with --registry-db"
        )
    try:
        with closing(_opened(path, "rw")) as db:
            _check_tables(db, path)
            yield db
    except sqlite3.Error as error:
        raise DataError(f"{path}: must be a readable {_WHAT}, SQLite says: {error}") from None


@contextmanager
def _writing(path: Path, *, create: bool) -> Iterator[sqlite3.Connection]:
    """One transaction: all of the block or, when it raises, nothing of it."""
    try:
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        with closing(_opened(path, "rwc" if create else "rw")) as db:
            db.execute("BEGIN IMMEDIATE")
            for statement in _CREATE if create else ():
                db.execute(statement)
            _check_tables(db, path)
            # Closing without a commit rolls back.
            yield db
            faults.hit("data.registry.before_commit")
            db.execute("COMMIT")
            faults.hit("data.registry.after_commit")
    except (OSError, sqlite3.Error) as error:
        raise OutputError(f"{path}: must be a {_WHAT} that can be written to: {error}") from None


def _opened(path: Path, mode: str) -> sqlite3.Connection:
    address = f"file:{quote(str(path.absolute()))}?mode={mode}"
    db = sqlite3.connect(address, uri=True, timeout=_BUSY_S, isolation_level=None)
    db.execute("PRAGMA synchronous = FULL")
    return db


def _check_tables(db: sqlite3.Connection, path: Path) -> None:
    for table, columns in _NEEDED.items():
        require_columns(db, str(path), table, columns, _WHAT)
