"""Moves old bars of a candle database into databases of a month each."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mei.data.candle_db import interval_ms_or_zero
from mei.data.candle_partition import (
    Month,
    copy_month,
    delete_month,
    months_before,
    only_one,
    partitioning,
    vacuum,
)
from mei.data.stamps import time_text
from mei.model import faults
from mei.model.bars import DAY_MS
from mei.model.errors import ConfigError, NotFoundError

Tell = Callable[[str], None]

#: What the program answers when there is no such source (specification part 3, section 8).
EXIT_NO_SOURCE: Final = 3


@dataclass(frozen=True, slots=True)
class PartitionRequest:
    """What the command line asks for. now_ms in epoch ms UTC.

    src_db: a candle database; out_dir None = partitions/<interval> beside it. apply: else it is only counted. delete:
    bars leave the source once they are copied. replace: bars of the source win over those of a month's database.
    """

    interval: str
    src_db: Path
    now_ms: int
    out_dir: Path | None = None
    keep_days: int = 90
    apply: bool = False
    delete: bool = False
    vacuum: bool = False
    replace: bool = False


def interval_label(text: str) -> str:
    """An interval in the way candles are labelled: in lower case, 1hr as 1h. ConfigError for what is no length."""
    label = re.sub(r"^(\d+)hr$", r"\1h", text.strip().lower())
    if not interval_ms_or_zero(label):
        raise ConfigError(f"--interval must be a length of time such as 1m or 1h, was {text!r}")
    return label


def partition_candles_db(request: PartitionRequest, tell: Tell) -> dict[str, Any]:
    """Copy the bars that open before now - keep_days into candles_<interval>_<YYYY-MM>.db; what was done, as JSON.

    Bars leave the source only after all months are copied. Killed at any moment it leaves every bar in the source or
    in a month's database, and the same call goes on. Raises ConfigError for flags that do not go together,
    NotFoundError (exit code 3) without a source, DataError and OutputError.
    """
    interval = interval_label(request.interval)
    _check(request)
    if not request.src_db.is_file():
        error = NotFoundError(
            f"{request.src_db}: must be a candle database, there is no such file; name it with --src-db"
        )
        error.exit_code = EXIT_NO_SOURCE
        raise error
    out_dir = request.out_dir or request.src_db.parent / "partitions" / interval
    cutoff_ms = request.now_ms - request.keep_days * DAY_MS
    with partitioning(request.src_db, write=request.delete) as db:
        months = months_before(db, request.src_db, interval, cutoff_ms)
        paths = {month: out_dir / f"candles_{interval}_{month.name}.db" for month in months}
        for path in paths.values():
            if path.exists() and path.samefile(request.src_db):
                raise ConfigError(
                    f"--out-dir must not lead to the source itself, {path} is it: name another folder"
                )
        report: dict[str, Any] = {
            "schema": "candle_partition_v1",
            "interval": interval,
            "src_db": str(request.src_db),
            "out_dir": str(out_dir),
            "cutoff_ms": cutoff_ms,
            "cutoff_utc": time_text(cutoff_ms),
            "applied": request.apply,
        }
        done = {month: _counted(month, path) for month, path in paths.items()}
        report["months"] = list(done.values())
        if request.apply and months:
            with only_one(out_dir):
                _move(db, request, paths, done)
        if request.vacuum:
            faults.hit("data.partition.vacuum.before")
            vacuum(db)
        report["vacuumed"] = request.vacuum
        report["deleted_bars"] = sum(one["deleted_bars"] for one in done.values())
    _tell(report, tell)
    return report


def _move(
    db: sqlite3.Connection,
    request: PartitionRequest,
    paths: dict[Month, Path],
    done: dict[Month, dict[str, Any]],
) -> None:
    """Copy every month, then delete; `done` hears how many bars."""
    interval = interval_label(request.interval)
    for month, path in paths.items():
        copied = copy_month(db, path, interval, month, replace=request.replace)
        done[month] |= {
            "new_bars": copied.n_new,
            "same_bars": copied.n_same,
            "replaced_bars": copied.n_replaced,
        }
    for month, path in paths.items() if request.delete else ():
        done[month]["deleted_bars"] = delete_month(db, path, interval, month)


def _check(request: PartitionRequest) -> None:
    if request.keep_days < 1:
        raise ConfigError(
            f"--keep-days must be at least 1, was {request.keep_days}: the newest bars are still being written"
        )
    needs = (
        ("--delete", request.delete, "--apply", request.apply),
        ("--vacuum", request.vacuum, "--delete", request.delete),
        ("--replace", request.replace, "--apply", request.apply),
    )
    for flag, is_given, needed, is_there in needs:
        if is_given and not is_there:
            raise ConfigError(f"{flag} must come with {needed}, which was left out: add it")


def _counted(month: Month, path: Path) -> dict[str, Any]:
    return {
        "month": month.name,
        "path": str(path),
        "bars": month.n_bars,
        "symbols": month.n_symbols,
        "new_bars": 0,
        "same_bars": 0,
        "replaced_bars": 0,
        "deleted_bars": 0,
    }


def _tell(report: dict[str, Any], tell: Tell) -> None:
    what = f"{report['interval']} bars of {report['src_db']} before {report['cutoff_utc']}"
    if not report["months"]:
        tell(f"[partition] There are no {what}: nothing to do")
        return
    for one in report["months"]:
        line = f"[partition] {one['month']}: {one['bars']} bars of {one['symbols']} symbols"
        if report["applied"]:
            line += (
                f", {one['new_bars']} new, {one['same_bars']} already there, {one['replaced_bars']} replaced in "
                f"{one['path']}, {one['deleted_bars']} deleted from the source"
            )
        tell(line)
    if not report["applied"]:
        tell(
            "[partition] Nothing was written: add --apply to copy them, and --delete to take them out"
        )
