"""Tries every mutant of the rules against the oracle: after how many cases is it found out, and by what.

    python -m tests.mutants.killing [--json FILE] [--table FILE] [--only PATTERN] [--cases N] [--from-start]

first_kills.json holds the case that killed each mutant last time; it is tried first, then all from the start.
`--from-start` goes by the order of the cases alone and, run over all mutants, writes that file anew.

The package is copied; each mutant is written into the copy, run there uncompiled in a process of its own that is
forked with the cases and the oracle's answers at hand, and taken back. This process never imports the package.
"""

from __future__ import annotations

import argparse
import compileall
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from itertools import count, islice
from multiprocessing import get_context
from pathlib import Path
from py_compile import PycInvalidationMode
from random import Random
from typing import Any, NamedTuple

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.mutants.table import MUTANTS, Mutant
from tests.oracles.mei_alpha import snapshots
from tests.oracles.mei_alpha.cases import Case, cases
from tests.oracles.mei_alpha.engine import Result
from tests.oracles.mei_alpha.switches import REFERENCE, STRICT

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "mei"
FIRST_KILLS = Path(__file__).with_name("first_kills.json")
#: Cases of the first draw, and of every further one.
_DRAW = 300
N_CASES = 2 * _DRAW
#: A mutant that has not answered after so long never will.
_PATIENCE_S = 120.0
_FORK = get_context("fork")
#: Every other case runs with so little room that chunks of bars and a longer log are needed.
_LITTLE_ROOM = {"_BANK_BARS": 16, "_FIRST_LOG": 2}


class Example(NamedTuple):
    """A case, the switches to run it with, by name, and what the oracle says: of each run, and of the indicators."""

    case: Case
    semantics: dict[str, dict[str, str]]
    runs: dict[str, Result]
    snapshots: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """n_cases: number of the case that shows a difference, or of cases without one. error: why none could be tried."""

    difference: str | None
    n_cases: int
    seconds: float = 0.0
    error: str | None = None


def drawn(n_cases: int) -> list[Case]:
    """The same cases on every machine."""
    found: list[Case] = []

    @settings(
        max_examples=n_cases,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases())
    def collect(case: Case) -> None:
        found.append(case)

    collect()
    return found[:n_cases]


def drawn_on(n_cases: int, number: int) -> list[Case]:
    """The cases of a further draw: the first one stays what it is, and so do the numbers of its cases."""
    found: list[Case] = []

    @seed(number)
    @settings(
        max_examples=n_cases,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases())
    def collect(case: Case) -> None:
        found.append(case)

    collect()
    return found[:n_cases]


def all_cases() -> Iterator[Case]:
    """Draw after draw, without end."""
    yield from drawn(_DRAW)
    for number in count(1):
        yield from drawn_on(_DRAW, number)


def answered(case: Case, number: int) -> Example:
    """A case with everything the oracle says about it: in both semantics, and with some switches of each."""
    rng = Random(number)
    mixed = {name: rng.choice((REFERENCE[name], STRICT[name])) for name in REFERENCE}
    semantics = {"reference": REFERENCE, "strict": STRICT, "mixed": mixed}
    layers = case.symbol_configs or {}
    runs = {name: case.run(switches) for name, switches in semantics.items()}
    rows = {
        name: snapshots(bars, layers.get(name, case.config)) for name, bars in case.candles.items()
    }
    return Example(case, semantics, runs, rows)


def judged(package_parent: Path, examples: Sequence[Example], first: int) -> Outcome:
    """In a process of its own: run the examples on the package found there until one differs, number `first` first."""
    sys.path.insert(0, str(package_parent))
    comparison = import_module("tests.oracles.comparison")
    interpreted = import_module("tests.oracles.interpreted").interpreted
    engine = import_module("mei.engines.mei_alpha")
    if not Path(engine.__file__ or "").is_relative_to(package_parent):
        raise RuntimeError(f"the engine must be the copy's, was {engine.__file__}")
    with interpreted():
        for number in (first, *range(1, len(examples) + 1)):
            example = examples[number - 1]
            room = _LITTLE_ROOM if number % 2 == 0 else {"_BANK_BARS": 1024, "_FIRST_LOG": 4096}
            vars(engine).update(room)
            difference = first_difference(comparison, example)
            if difference is not None:
                return Outcome(difference, number)
    return Outcome(None, len(examples))


def first_difference(comparison: Any, example: Example) -> str | None:
    """Runs in both semantics, then the indicators; a crash is a difference, too."""
    try:
        for name, expected in example.runs.items():
            found = comparison.first_difference(example.case, example.semantics[name], expected)
            if found is not None:
                return f"{name}: {found}"
        return comparison.first_indicator_difference(example.case, example.snapshots)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def outcome_of(package_parent: Path, examples: Sequence[Example], first: int = 1) -> Outcome:
    """`judged` in a forked process, which is given up on when it does not end."""
    reader, writer = _FORK.Pipe(duplex=False)

    def run() -> None:
        try:
            writer.send(judged(package_parent, examples, first))
        except BaseException:
            writer.send(Outcome(None, 0, error=traceback.format_exc()))

    process = _FORK.Process(target=run)
    started = time.perf_counter()
    process.start()
    writer.close()
    try:
        answer = reader.recv() if reader.poll(_PATIENCE_S) else Outcome("it does not end", 0)
    except EOFError:
        answer = Outcome(None, 0, error="the process died")
    process.kill()
    process.join()
    return Outcome(answer.difference, answer.n_cases, time.perf_counter() - started, answer.error)


@contextmanager
def planted(mutant: Mutant, package: Path) -> Iterator[None]:
    """The mutant's line in the copied package; the old one afterwards."""
    path = package / mutant.file
    text = path.read_text()
    path.write_text(mutant.applied_to(text))
    try:
        yield
    finally:
        path.write_text(text)


def tried(
    mutants: Sequence[Mutant], n_cases: int, first_kills: Mapping[str, int]
) -> dict[str, Outcome]:
    """Outcomes by name; that of the copy without a mutant is called `none`."""
    examples = [answered(case, number) for number, case in enumerate(islice(all_cases(), n_cases))]
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "mei"
        shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
        # Compiled by content: a mutant of the same length in the same second must not be taken for the old line.
        by_content = PycInvalidationMode.CHECKED_HASH
        compileall.compile_dir(package, quiet=1, invalidation_mode=by_content)
        outcomes = {"none": outcome_of(Path(folder), examples)}
        for mutant in mutants:
            with planted(mutant, package):
                first = min(first_kills.get(mutant.name, 1), len(examples))
                outcomes[mutant.name] = outcome_of(Path(folder), examples, first)
            tell(mutant.name, outcomes[mutant.name])
    return outcomes


def tell(name: str, outcome: Outcome) -> None:
    """One line on stdout."""
    verdict = outcome.error or outcome.difference or "SURVIVED"
    last = verdict.strip().splitlines()[-1]
    print(f"{outcome.n_cases:4d} {outcome.seconds:5.1f} s  {name}: {last[:110]}", flush=True)


def as_table(mutants: Sequence[Mutant], outcomes: dict[str, Outcome], seconds: float) -> str:
    """The outcomes in Markdown."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout.strip()
    n_killed = sum(outcomes[mutant.name].difference is not None for mutant in mutants)
    counts = sorted(outcomes[mutant.name].n_cases for mutant in mutants)
    rows = [
        f"| `{mutant.file}` | `{old}` | `{new}` | {mutant.why} | {outcome.n_cases} | {seen_as(outcome)} |"
        for mutant in mutants
        for outcome in (outcomes[mutant.name],)
        for old, new in (mutant.change(),)
    ]
    return "\n".join(
        (
            "# Mutants of the Mei Alpha rules",
            "",
            f"Commit {commit}, `python -m tests.mutants.killing --from-start --table FILE` (asserted by "
            f"`pytest tests/mutants`): {n_killed} of {len(mutants)} killed, {seconds:.0f} s on one core.",
            "",
            "Each mutant is one line changed as a tired programmer might. The mutated rules run uncompiled and are "
            "compared with the oracle, bit for bit, on random cases in reference and strict semantics, with switches "
            "of both, and in their indicators. The rules as they are pass all "
            f"{outcomes['none'].n_cases} cases. Cases until the first difference: median {counts[len(counts) // 2]}, "
            f"most {counts[-1]}.",
            "",
            "| file | line | mutant | what it would do | cases | first seen as |",
            "|---|---|---|---|---|---|",
            *(row.replace("\n", " ") for row in rows),
            "",
        )
    )


def seen_as(outcome: Outcome) -> str:
    """What differed, without the numbers."""
    words = (outcome.difference or "not killed").split(" (")[0].split(", expected")[0]
    return words.replace("|", "\\|")[:80]


def main() -> None:
    """Try, tell, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--only", default="", help="a pattern the names of mutants must contain")
    parser.add_argument("--cases", type=int, default=N_CASES)
    parser.add_argument(
        "--from-start", action="store_true", help="do not try the last killer first"
    )
    arguments = parser.parse_args()
    started = time.perf_counter()
    mutants = [mutant for mutant in MUTANTS if re.search(arguments.only, mutant.name)]
    first_kills = {} if arguments.from_start else json.loads(FIRST_KILLS.read_text())
    outcomes = tried(mutants, arguments.cases, first_kills)
    seconds = time.perf_counter() - started
    tell("none", outcomes["none"])
    survivors = [name for name in outcomes if name != "none" and not outcomes[name].difference]
    print(f"{len(mutants)} mutants in {seconds:.0f} s; survivors: {survivors or 'none'}")
    if arguments.from_start and len(mutants) == len(MUTANTS):
        kills = {mutant.name: outcomes[mutant.name].n_cases for mutant in mutants}
        FIRST_KILLS.write_text(json.dumps(kills, indent=1) + "\n")
    if arguments.json:
        whole = {name: asdict(outcome) for name, outcome in outcomes.items()}
        arguments.json.write_text(json.dumps(whole, indent=1))
    if arguments.table:
        arguments.table.write_text(as_table(mutants, outcomes, seconds))


if __name__ == "__main__":
    main()
