"""From a body to a sweep: what it may read, its id, and its folder."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mei.data.candle_db import expand_db_set
from mei.model.errors import ConfigError, DataError, MeiError, RequestError
from mei.model.semantics import parse_semantics
from mei.report.atomic import ensure_folder, write_atomically
from mei.workflows.market import MarketRequest, Sources, files_read
from mei.workflows.sweep.plan import read_sweep
from mei.workflows.sweep.request import SweepRequest, TpeTerms
from mei.workflows.window import parse_timestamp
from services.sweep_worker.app.bodies import SweepBody
from services.sweep_worker.app.settings import Settings

CONFIG, SPEC, RESULTS = "strategy.yaml", "sweep_spec.yaml", "results.jsonl"
#: Hex digits of an id.
_ID_DIGITS = 16
_SETS = ("candles_db", "exit_candles_db", "entry_candles_db")
_FILES = ("config", "sweep_spec", "funding_db", "universe_db")


def _nothing(_: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Asked:
    """A sweep that can be run. text: of `request_json`; contents: name in the sweep's folder -> bytes."""

    job_id: str
    text: str
    contents: Mapping[str, bytes]


def ask(body: SweepBody, settings: Settings) -> Asked:
    """Check a body as far as that goes without the market. Raises MeiError.

    The id is a hash of everything it asks for, the contents of strategy file and spec, and name, size and time of
    change of every database: the same body asks for the same sweep until one of them changes.
    """
    contents = {
        CONFIG: _content(body.config, body.config_yaml, "config", settings),
        SPEC: _content(body.sweep_spec, body.sweep_spec_yaml, "sweep_spec", settings),
    }
    _refuse_elsewhere(body, settings)
    if body.on_cluster and not settings.sweep_scheduler:
        raise RequestError("on_cluster needs a worker with SWEEP_SCHEDULER, this one has none")
    with _at_hand(contents) as folder:
        request = sweep_request(body, folder, settings)
        sources = read_sweep(request, _nothing).sources
        databases = _databases(request.market, sources, settings)
    of_body = body.model_dump(exclude={"config", "config_yaml", "sweep_spec", "sweep_spec_yaml"})
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    everything = {"body": of_body, "files": hashes, "databases": databases}
    text = orjson.dumps(everything, option=orjson.OPT_SORT_KEYS).decode()
    return Asked(hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS], text, contents)


def request_of(text: str, folder: Path, settings: Settings) -> SweepRequest:
    """The sweep of a ledger's `request_json`, whose files lie in `folder`. Raises ConfigError if they do not."""
    found = orjson.loads(text)
    for name, expected in found["files"].items():
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise ConfigError(f"{path} must be as it was asked for, is not: post the sweep again")
    body = SweepBody(config=CONFIG, sweep_spec=SPEC, **found["body"])
    return sweep_request(body, folder, settings)


def refuse_other_databases(text: str) -> None:
    """DataError unless every database of a ledger's `request_json` is what it was when the sweep was asked for."""
    for path, *expected in orjson.loads(text)["databases"]:
        try:
            found = _stamp(path)
        except OSError as error:
            raise DataError(f"{path} must be readable, is not: {error.strerror}") from None
        if found != expected:
            raise DataError(
                f"{path} must be as it was when the sweep was asked for, has changed: post the sweep again, the new "
                "candles make a new one"
            )


def refuse_another_market(text: str, loaded: str, expected: str) -> None:
    """DataError unless the market that a sweep has loaded is that of its first run, by their ids."""
    if loaded != expected:
        paths = ", ".join(path for path, *_ in orjson.loads(text)["databases"])
        raise DataError(
            f"{paths} must hold the bars the sweep began with, a bar in its window has changed: post the sweep again, "
            "the new candles make a new one"
        )


def sweep_request(body: SweepBody, folder: Path, settings: Settings) -> SweepRequest:
    """What the command line would make of it, with strategy file, spec and results in `folder`."""
    market = MarketRequest(
        candles_db=body.candles_db,
        interval=body.interval,
        exit_candles_db=body.exit_candles_db,
        exit_interval=body.exit_interval,
        entry_candles_db=body.entry_candles_db,
        entry_interval=body.entry_interval,
        funding_db=body.funding_db,
        start_ms=_time("start_ts", body.start_ts),
        end_ms=_time("end_ts", body.end_ts),
        auto_scope=not body.no_auto_scope,
        universe_filter=body.universe_filter,
        universe_db=body.universe_db,
    )
    tpe = body.tpe
    return SweepRequest(
        spec=str(folder / SPEC),
        market=market,
        config=str(folder / CONFIG),
        live=body.live,
        strategy=body.strategy,
        semantics=parse_semantics(body.semantics),
        initial_balance_usd=body.initial_balance,
        output=str(folder / RESULTS),
        threads=settings.sweep_threads or None,
        top_n=body.top_n,
        n_rerun=body.rerun,
        parity_mode=body.parity_mode,
        chunk_size=body.chunk_size,
        ledger=settings.ledger_db,
        scheduler=settings.sweep_scheduler if body.on_cluster else None,
        tpe=None if tpe is None else TpeTerms(tpe.trials, tpe.batch, tpe.seed),
        device=body.device,
    )


def sweeps_folder(settings: Settings) -> Path:
    """Where sweeps have their folders. Raises OutputError when it cannot be made."""
    folder = settings.results_dir / "sweeps"
    ensure_folder(folder)
    return folder


def keep(asked: Asked, folder: Path) -> None:
    """Write strategy file and spec to the sweep's folder. Raises OutputError."""
    ensure_folder(folder)
    for name, content in asked.contents.items():
        write_atomically(folder / name, content)


def _time(field: str, text: str | None) -> int | None:
    try:
        return None if text is None else parse_timestamp(text)
    except ValueError as error:
        raise RequestError(f"{field}: {error}") from None


def _content(path: str | None, text: str | None, field: str, settings: Settings) -> bytes:
    if path is None:
        return (text or "").encode()
    _refuse_outside(field, [path], settings.input_dirs)
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise RequestError(
            f"{field} must be a readable file, {path} is not: {error.strerror}"
        ) from None


def _refuse_elsewhere(body: SweepBody, settings: Settings) -> None:
    """What is named must be below SWEEP_DIRS, before anything looks at it."""
    for field in _FILES:
        if (path := getattr(body, field)) is not None:
            _refuse_outside(field, [path], settings.input_dirs)
    for field in _SETS:
        if (given := getattr(body, field)) is None:
            continue
        parts = [part.strip() for part in given.split(",") if part.strip()]
        _refuse_outside(field, parts, settings.input_dirs)
        try:
            files = expand_db_set(given)
        except OSError as error:
            raise RequestError(f"{field} must be readable, is not: {error.strerror}") from None
        _refuse_outside(field, files, settings.input_dirs)


def _refuse_outside(field: str, paths: Sequence[str], folders: Sequence[Path]) -> None:
    roots = [folder.resolve() for folder in folders]
    for path in paths:
        found = Path(path).resolve()
        if not any(found.is_relative_to(root) for root in roots):
            raise RequestError(
                f"{field} must name files below {', '.join(map(str, folders))} (SWEEP_DIRS, links followed), "
                f"was {path!r}"
            )


def _databases(market: MarketRequest, sources: Sources, settings: Settings) -> list[list[Any]]:
    """[path, and its stamp] of every database, in the order they are read."""
    stamps: list[list[Any]] = []
    for flag, path in files_read(market, sources):
        if path is None:
            continue
        field = flag.removeprefix("--").replace("-", "_")
        _refuse_outside(field, [path], settings.input_dirs)
        try:
            found = _stamp(path)
        except OSError as error:
            raise DataError(f"{field}: {path} must be readable, is not: {error.strerror}") from None
        stamps.append([path, *found])
    return stamps


def _stamp(path: str) -> list[int]:
    """Bytes and time of change in ns, of the file and of what is written but not merged into it yet (its WAL)."""
    stamp: list[int] = []
    for name in (path, f"{path}-wal"):
        file = Path(name)
        try:
            found = file.stat()
        except FileNotFoundError:
            if name == path:
                raise
            continue
        stamp += [found.st_size, found.st_mtime_ns if found.st_size else 0]
    # A WAL that a reader left empty is none.
    return stamp[:2] if stamp[2:] == [0, 0] else stamp


@contextmanager
def _at_hand(contents: Mapping[str, bytes]) -> Iterator[Path]:
    """The contents as files for as long as they are checked; messages call them by their names alone."""
    with tempfile.TemporaryDirectory(prefix="mei-sweep-") as name:
        folder = Path(name)
        for file, content in contents.items():
            (folder / file).write_bytes(content)
        try:
            yield folder
        except MeiError as error:
            raise type(error)(str(error).replace(f"{folder}/", "")) from None
