"""A finished run of the factory into the registry."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from mei.data.registry_db import ResultRow, RunRow, ingest_run
from mei.model.errors import ConfigError, DataError
from mei.model.yaml12 import read_text

_METADATA = "run_metadata.json"
_REPORT = "reports/report.json"


@dataclass(frozen=True, slots=True)
class Ingested:
    """What an ingest did: results in the run, and strategy files that the registry had not seen."""

    run_id: str
    n_results: int
    n_new_configs: int


def registry_path(artifacts_dir: str | Path, registry_db: str | Path | None) -> Path:
    """Where the registry is: as named, or registry/registry.sqlite under the artefacts."""
    return (
        Path(registry_db) if registry_db else Path(artifacts_dir) / "registry" / "registry.sqlite"
    )


def ingest_run_dir(run_dir: Path, registry_db: Path, now_ms: int) -> Ingested:
    """Read run_metadata.json, reports/report.json and the strategy files they name, and keep them; all or nothing.

    Doing it again brings numbers up to date and changes no verdict. DataError, naming the file and what it lacks.
    """
    if not run_dir.is_dir():
        raise ConfigError(f"--run-dir must be the folder of a run, {run_dir} is none")
    metadata = _mapping(run_dir / _METADATA)
    report = _mapping(run_dir / _REPORT)
    run = _run(metadata, run_dir)
    if report.get("run_id", run.run_id) != run.run_id:
        raise DataError(
            f"{run_dir / _REPORT}: run_id must be that of {_METADATA}, {run.run_id}, was {report['run_id']!r}"
        )
    items = report.get("items")
    if not isinstance(items, list):
        raise DataError(f"{run_dir / _REPORT}: items must be a list, was {items!r:.60}")
    results = [_result(item, number, run_dir) for number, item in enumerate(items, 1)]
    ids = [result.config_id for result in results]
    if len(set(ids)) < len(ids):
        twice = next(one for one in ids if ids.count(one) > 1)
        raise DataError(
            f"{run_dir / _REPORT}: a config_id must stand once, {twice[:12]} does twice"
        )
    return Ingested(run.run_id, len(results), ingest_run(registry_db, run, results, now_ms))


def _mapping(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"{path} must be readable, was not ({error.strerror}): the run must be finished"
        ) from None
    except ValueError as error:
        raise DataError(f"{path} must be JSON, is not ({error})") from None
    if not isinstance(found, dict):
        raise DataError(f"{path} must be a JSON object, is not")
    return found


def _run(metadata: Mapping[str, Any], run_dir: Path) -> RunRow:
    where = run_dir / _METADATA
    run_id, at_ms = metadata.get("run_id"), metadata.get("generated_at_ms")
    if not isinstance(run_id, str) or not run_id:
        raise DataError(f"{where}: run_id must be text, was {run_id!r:.60}")
    if not isinstance(at_ms, int) or isinstance(at_ms, bool):
        raise DataError(f"{where}: generated_at_ms must be a whole number, was {at_ms!r:.60}")
    git_head = metadata.get("git_head")
    if not isinstance(git_head, str | None):
        raise DataError(f"{where}: git_head must be text, was {git_head!r:.60}")
    try:
        day = (
            metadata.get("run_date_utc") or f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d}"
        )
        require_day(day, f"{where}: run_date_utc")
    except (ValueError, OverflowError, OSError, ConfigError) as error:
        raise DataError(f"{where}: the run must have a day ({error})") from None
    args = json.dumps(metadata.get("args", {}), sort_keys=True, ensure_ascii=False)
    return RunRow(run_id, at_ms, day, str(run_dir), git_head, args)


def require_day(text: Any, source: str) -> None:
    """ConfigError unless the text is a day, YYYY-MM-DD."""
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            raise ValueError
        date.fromisoformat(text)
    except (ValueError, TypeError):
        raise ConfigError(f"{source} must be a day such as 2026-01-31, was {text!r}") from None


def _result(item: Any, number: int, run_dir: Path) -> ResultRow:
    where = f"{run_dir / _REPORT}: item {number}"
    if not isinstance(item, dict):
        raise DataError(f"{where} must be an object, was {item!r:.60}")
    config_id, config_path = item.get("config_id"), item.get("config_path")
    if not isinstance(config_id, str) or not re.fullmatch(r"[0-9a-f]{64}", config_id):
        raise DataError(f"{where}: config_id must be 64 hex digits, was {config_id!r:.80}")
    if not isinstance(config_path, str) or not config_path:
        raise DataError(f"{where}: config_path must be a path, was {config_path!r:.60}")
    inside = run_dir / config_path
    path = inside if inside.is_file() else Path(config_path)
    try:
        text = read_text(path)
    except ConfigError as error:
        raise DataError(f"{where}: {error}") from None
    trades = _number(item, "total_trades", where)
    return ResultRow(
        config_id,
        text,
        str(path),
        _number(item, "total_pnl", where),
        _number(item, "max_drawdown_pct", where),
        None if trades is None else int(trades),
        _number(item, "win_rate", where),
        _number(item, "profit_factor", where),
        _number(item, "total_fees", where),
    )


def _number(item: Mapping[str, Any], name: str, where: str) -> float | None:
    """A finite number, or None where the report has null: a profit factor without a loss."""
    if name not in item:
        raise DataError(f"{where}: {name} must be there, is not")
    value = item[name]
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise DataError(f"{where}: {name} must be a number or null, was {value!r:.60}")
    return value
