"""Golden scenarios: their databases, a command line run in this process, and what counts as the same answer.

Rows of trades are matched by (timestamp, symbol, action, reason, size), whatever their order within a timestamp; their
running balance, which hangs on that order, is left out. Floats agree within 1e-12 of their size, so that sums may be
formed in another order and nothing else; indicators, as dumped, are the same text.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import json
import math
import os
import re
import sqlite3
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from mei.cli import main

HOUR_MS = 3_600_000
_CANDLES = "symbol TEXT, interval TEXT, t INTEGER, t_close INTEGER, o REAL, h REAL, l REAL, c REAL, v REAL, n INTEGER"
_CLOSE = 1e-12
#: Columns of trades.csv have eight decimals: the last bit of a float may turn the last of them by one.
CSV_STEP = 1.001e-8

Scenario = dict[str, Any]
Runner = Callable[[list[str], Path], "subprocess.CompletedProcess[str]"]


def scenarios_of(root: Path) -> list[Scenario]:
    """The scenarios of a set."""
    found: list[Scenario] = json.loads((root / "manifest.json").read_text())["scenarios"]
    return found


def build_databases(root: Path) -> None:
    """Databases of every data folder of a set, and a link to them in every scenario."""
    for folder in (root / "data").iterdir():
        _build(folder)
    for scenario in scenarios_of(root):
        link = root / scenario["dir"] / "candles_dbs"
        link.symlink_to((root / scenario["data"] / "candles_dbs").resolve())


def _build(folder: Path) -> None:
    target = folder / "candles_dbs"
    (target / "partitions_1h").mkdir(parents=True)
    if (folder / "candles_1h.csv.gz").exists():
        rows = [
            (name, "1h", int(t), int(t) + HOUR_MS - 1, *map(float, prices), int(n))
            for name, t, *prices, n in _csv(folder / "candles_1h.csv.gz")
        ]
        key = ", PRIMARY KEY (symbol, interval, t)"
        _write(target / "candles_1h.db", "candles", _CANDLES + key, rows)
        times = sorted({row[2] for row in rows})
        third = len(times) // 3
        cuts = [(0, times[third + 10]), (times[third], times[2 * third + 10])]
        for number, (first, end) in enumerate([*cuts, (times[2 * third], 1 << 62)]):
            part = [row for row in rows if first <= row[2] < end]
            path = target / "partitions_1h" / f"part_{number}.db"
            _write(path, "candles", _CANDLES + key, part)
    if (folder / "funding.csv.gz").exists():
        rates = [(row[0], int(row[1]), float(row[2])) for row in _csv(folder / "funding.csv.gz")]
        columns = "symbol TEXT, time INTEGER, funding_rate REAL, PRIMARY KEY (symbol, time)"
        _write(target / "funding_rates.db", "funding_rates", columns, rates)
    if (folder / "universe.csv").exists():
        listed = [(row[0], int(row[1]), int(row[2])) for row in _csv(folder / "universe.csv")]
        columns = "symbol TEXT PRIMARY KEY, first_seen_ms INTEGER, last_seen_ms INTEGER"
        _write(target / "universe_history.db", "universe_listings", columns, listed)


def _csv(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(read(path))))[1:]


def _write(path: Path, table: str, columns: str, rows: Iterable[tuple[Any, ...]]) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(f"CREATE TABLE {table} ({columns})")
        for row in rows:
            database.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(row))})", row)


def read(path: Path) -> str:
    """The text of a file, packed or not."""
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode()


def in_process(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the program in this process with `folder` as the working directory."""
    before = Path.cwd()
    out, err = io.StringIO(), io.StringIO()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main.run(arguments)
    finally:
        os.chdir(before)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def faults(root: Path, scenario: Scenario, runner: Runner = in_process) -> list[str]:
    """How the answer under reference semantics differs from the expected one; empty if it does not."""
    folder = root / scenario["dir"]
    arguments = list(scenario["argv"])
    if arguments and arguments[0] in ("replay", "sweep", "dump-indicators"):
        arguments += ["--semantics", "reference"]
    done = runner(arguments, folder)
    if scenario["exit_code"]:
        return _faults_of_error(scenario, done)
    if done.returncode:
        return [f"exit code {done.returncode}: {done.stderr[-200:]}"]
    found = []
    for output in scenario["outputs"]:
        name = output.removeprefix("expected.").removesuffix(".gz")
        kind = "report.json" if name == "stdout.txt" else name
        text = done.stdout if name == "stdout.txt" else read(folder / name)
        what = difference(kind, read(folder / output), text)
        if what:
            found.append(what)
    return found


def _faults_of_error(scenario: Scenario, done: subprocess.CompletedProcess[str]) -> list[str]:
    said = done.stderr + done.stdout
    found = []
    if done.returncode != scenario["exit_code"]:
        found.append(f"exit code {done.returncode}, expected {scenario['exit_code']}")
    if not re.search(scenario["message_names"], said, re.IGNORECASE):
        found.append(f"the message does not name {scenario['message_names']}: {said[-200:]}")
    if "Traceback" in said:
        found.append("a traceback")
    return found


def difference(kind: str, expected: str, found: str) -> str | None:
    """How file `found` differs from `expected`, or None; `kind` is its name."""
    if kind == "report.json":
        return first_difference(_report(expected), _report(found), kind)
    if kind == "results.jsonl":
        return first_difference(_lines(expected), _lines(found), kind)
    if kind == "trades.csv":
        return first_difference(_table(expected), _table(found), kind, CSV_STEP)
    return first_difference(expected.splitlines(), found.splitlines(), kind)


def first_difference(a: Any, b: Any, where: str, absolute: float = 0.0) -> str | None:
    """Where two parsed values differ first, or None."""
    if _is_number(a) and _is_number(b):
        return None if is_close(float(a), float(b), absolute) else f"{where}: {b!r}, expected {a!r}"
    if type(a) is not type(b):
        return f"{where}: {b!r}, expected {a!r}"
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return f"{where}: keys differ by {sorted(a.keys() ^ b.keys())}"
        pairs = [(a[key], b[key], f"{where}.{key}") for key in a]
    elif isinstance(a, list):
        if len(a) != len(b):
            return f"{where}: {len(b)} items, expected {len(a)}"
        pairs = [(x, y, f"{where}[{i}]") for i, (x, y) in enumerate(zip(a, b, strict=True))]
    else:
        return None if a == b else f"{where}: {b!r}, expected {a!r}"
    differences = itertools.starmap(first_difference, ((*pair, absolute) for pair in pairs))
    return next((difference for difference in differences if difference), None)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_close(a: float, b: float, absolute: float) -> bool:
    """Whether two numbers are the same but for rounding, or `absolute` apart at most."""
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return a == b or abs(a - b) <= max(_CLOSE * max(abs(a), abs(b)), absolute)


def _report(text: str) -> Any:
    report = json.loads(text[text.index("{") :])
    for trade in report.get("trades", []):
        del trade["balance"]
    report.get("trades", []).sort(
        key=lambda t: (t["timestamp"], t["symbol"], t["action"], t["reason"], round(t["size"], 6))
    )
    return report


def _lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def _table(text: str) -> list[Any]:
    rows = list(csv.reader(io.StringIO(text)))
    return [rows[0], *sorted([_number(cell) for cell in row] for row in rows[1:])]


def _number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell
