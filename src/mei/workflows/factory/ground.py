"""What a run stands on: its own copies of the files it reads, the bars it may use, whether they are fit for it."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from mei.data.strategy_faults import shown
from mei.model.errors import ConfigError, DataError
from mei.model.semantics import STRICT
from mei.model.yaml12 import dump_yaml, load_yaml
from mei.report.atomic import sha256_file, write_atomically
from mei.report.json_text import pretty_json
from mei.workflows.data_checks.candles import CandleCheckRequest, check_candle_dbs
from mei.workflows.data_checks.funding import FundingCheckRequest, check_funding_rates_db
from mei.workflows.data_checks.verdict import FAIL
from mei.workflows.factory.candle_set import candle_files
from mei.workflows.factory.holes import candle_holes, funding_holes, traded_symbols
from mei.workflows.factory.mode_overlay import mode_name, with_mode
from mei.workflows.factory.request import FactoryRequest
from mei.workflows.factory.run_folder import RunFolder
from mei.workflows.market import find_window
from mei.workflows.strategy import Tell
from mei.workflows.validate.coverage import coverage
from mei.workflows.validate.cross_universe import parse_sets
from mei.workflows.validate.splits import TestRange, place
from mei.workflows.validate.terms import Ground, RunTerms, find_ground
from mei.workflows.window import Window

_PROGRAM: Final = "factory"
_HOUR_MS: Final = 3_600_000.0
#: Files of past months, which grow old by nature.
_PARTITION: Final = re.compile(r"_\d{4}-\d{2}\.db$")


@dataclass(frozen=True, slots=True)
class Inputs:
    """Copies in the run's folder, as paths. config: with the overlay; symbol_sets: texts `NAME=PATH`."""

    config: str
    sweep_spec: str
    symbol_sets: tuple[str, ...]


def copy_inputs(run: RunFolder, request: FactoryRequest, tell: Tell) -> Inputs:
    """Copy what is read, so that a run that goes on reads the same; a file that is there already is kept.

    Raises MeiError for files that are none.
    """
    given = run.once("inputs", lambda: _copied(run, request))
    for name, path, digest in given["sources"]:
        if not Path(path).is_file() or sha256_file(Path(path)) != digest:
            tell(
                f"[{_PROGRAM}] {path} is not as it was when {run.run_id} began: its copy "
                f"{run.path / name} is used"
            )
    return Inputs(
        str(run.path / given["config"]),
        str(run.path / "inputs/sweep_spec.yaml"),
        tuple(f"{name}={run.path / path}" for name, path in given["symbol_sets"]),
    )


def _copied(run: RunFolder, request: FactoryRequest) -> dict[str, Any]:
    wanted = [("config.yaml", request.config), ("sweep_spec.yaml", request.sweep_spec)]
    sets = []
    if request.checks.symbol_sets:
        for name, path in parse_sets(request.checks.symbol_sets).items():
            copy = f"symbols_{name}{Path(path).suffix}"
            wanted.append((copy, path))
            sets.append([name, f"inputs/{copy}"])
    sources = []
    for copy, path in wanted:
        content = _read(path)
        target = run.file("inputs", copy)
        write_atomically(target, content)
        sources.append([f"inputs/{copy}", path, sha256_file(target)])
    config = "inputs/config.yaml"
    if request.strategy_mode is not None:
        mode = mode_name(request.strategy_mode)
        merged = with_mode(read_document(str(run.path / config)), mode, request.config)
        config = f"_effective_configs/{_safe(mode)}.yaml"
        write_atomically(run.file(config), dump_yaml(merged).encode())
    return {"config": config, "sources": sources, "symbol_sets": sets}


def _safe(name: str) -> str:
    return re.sub(r"[^a-z0-9._-]", "_", name)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} must be a readable file, was not ({error.strerror})") from None


def read_document(path: str) -> dict[str, Any]:
    """A strategy file as it is parsed. ConfigError when it is no mapping."""
    document = load_yaml(Path(path))
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: the root must be a mapping, was {shown(document)}")
    return document


def find_terms(run: RunFolder, request: FactoryRequest, inputs: Inputs, tell: Tell) -> Ground:
    """The bars of the run: those that were there when it began. Candles that come later are not used by it.

    Raises MeiError when there are none, or when no split of the walk-forward fits.
    """

    def window() -> dict[str, Any]:
        files = candle_files(request.candles_db)
        ground = find_ground(_terms(request, inputs, files), tell)
        scope = ground.sources.around() or [ground.sources.main]
        found = find_window(ground.market, scope, STRICT, _PROGRAM, tell)
        assert found.from_ms is not None, "auto-scope gives both ends"
        assert found.to_ms is not None, "auto-scope gives both ends"
        if request.checks.walk_forward:
            tell(f"[{_PROGRAM}] walk forward, {check_splits(request, found)}")
        return {"candles_db": files, "from_ms": found.from_ms, "to_ms": found.to_ms}

    found = run.once("window", window)
    terms = replace(
        _terms(request, inputs, found["candles_db"]),
        start_ms=found["from_ms"],
        end_ms=found["to_ms"],
    )
    return find_ground(terms, lambda line: None)


def _terms(request: FactoryRequest, inputs: Inputs, candles_db: str) -> RunTerms:
    return RunTerms(
        config=inputs.config,
        interval=request.interval,
        candles_db=candles_db,
        funding_db=request.funding_db,
        revision=request.revision,
    )


def check_splits(request: FactoryRequest, window: Window) -> str:
    """Before hours of work: which part of the window a walk-forward tests; DataError when no split fits into it."""
    from_ms, to_ms = window.from_ms, window.to_ms
    assert from_ms is not None, "auto-scope gives both ends"
    assert to_ms is not None, "auto-scope gives both ends"
    found = [
        place(split, from_ms, to_ms, request.checks.min_test_days)
        for split in request.checks.splits
    ]
    tests = [one for one in found if isinstance(one, TestRange)]
    if not tests:
        raise DataError(
            f"a split of --walk-forward must fit into the candles, none does ({found[0]}): give --split "
            "train,test,offset, or more candles"
        )
    return coverage(request.checks.splits, tests, from_ms, to_ms)


def check_data(
    run: RunFolder, request: FactoryRequest, ground: Ground, tell: Tell
) -> dict[str, Any]:
    """Look whether candles and funding rates are fresh and whole, and write what was found.

    What the window of the sweep lacks is a warning, one of `warnings` in the result; a symbol that is traded and has no
    rate at all is a failure. DataError when something fails; nothing of that is written down as done, so that the run
    can go on when the data are repaired.
    """

    def look() -> dict[str, Any]:
        if not request.data_checks:
            tell(f"[{_PROGRAM}] Candles and funding rates are not checked (--no-data-checks)")
            unknown = "not asked for"
            return {"candles": unknown, "funding": unknown, "warnings": []}
        now_ms = run.now_ms()
        candles, holes = _check_candles(run, ground, now_ms, tell)
        funding = "no funding"
        if request.funding_db is not None:
            funding, more = _check_funding(run, request.funding_db, ground, now_ms, tell)
            holes += more
        found = {"candles": candles, "funding": funding, "warnings": holes}
        failed = [name for name in ("candles", "funding") if found[name] == FAIL]
        if failed:
            raise DataError(
                f"{' and '.join(failed)} must be fresh and whole, are not: see {run.path / 'checks'}, download what is "
                "missing and give --resume, or --no-data-checks in a new run"
            )
        return found

    result: dict[str, Any] = run.once("data_checks", look)
    return result


def _check_funding(
    run: RunFolder, path: str, ground: Ground, now_ms: int, tell: Tell
) -> tuple[str, list[str]]:
    """The status of the rates of all symbols that are traded, and what the window lacks."""
    asked = FundingCheckRequest(path, now_ms, symbols=traded_symbols(ground.sources.main))
    outcome = check_funding_rates_db(asked, _indented(tell))
    _write(run, "checks/funding.json", outcome.report)
    whole = replace(asked, lookback_hours=_window_hours(ground, now_ms))
    report = check_funding_rates_db(whole, lambda line: None).report
    _write(run, "checks/funding_window.json", report)
    return outcome.status, funding_holes(report)


def _window_hours(ground: Ground, now_ms: int) -> float:
    """From the first bar of the window until now; at least an hour."""
    assert ground.terms.start_ms is not None, "the window is fixed"
    return max(1.0, (now_ms - ground.terms.start_ms) / _HOUR_MS)


def _check_candles(
    run: RunFolder, ground: Ground, now_ms: int, tell: Tell
) -> tuple[str, list[str]]:
    """The worst status among the series that the run reads, and what the window lacks.

    Databases of past months are not looked at.
    """
    series = [
        ground.sources.main,
        *(one for one in (ground.sources.exit, ground.sources.entry) if one),
    ]
    used = {one.interval for one in series}
    statuses, reports, whole = [], [], []
    for path in dict.fromkeys(path for one in series for path in one.db_set.split(",")):
        if _PARTITION.search(path):
            continue
        outcome = check_candle_dbs(CandleCheckRequest(glob.escape(path), now_ms), lambda line: None)
        reports.append(outcome.report)
        asked = CandleCheckRequest(
            glob.escape(path), now_ms, lookback_hours=_window_hours(ground, now_ms)
        )
        whole.append(check_candle_dbs(asked, lambda line: None).report)
        for database in outcome.report["dbs"]:
            if "error" in database:
                statuses.append(database["status"])
            statuses += [one["status"] for one in database["intervals"] if one["interval"] in used]
    _write(run, "checks/candles.json", {"intervals": sorted(used), "reports": reports})
    _write(run, "checks/candles_window.json", {"intervals": sorted(used), "reports": whole})
    status = max(statuses, key=("OK", "WARN", FAIL).index, default=FAIL)
    tell(f"[{_PROGRAM}] Candles of {', '.join(sorted(used))}: {status}")
    return status, candle_holes(whole, used)


def _indented(tell: Tell) -> Callable[[str], None]:
    return lambda line: tell(f"[{_PROGRAM}] {line}")


def _write(run: RunFolder, name: str, report: dict[str, Any]) -> None:
    write_atomically(run.file(name), pretty_json(report).encode())
