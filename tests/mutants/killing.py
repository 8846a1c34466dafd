"""Tries every mutant of the rules on cases with answers: after how many is it found out, and by what.

    python -m tests.mutants.killing [--json FILE] [--table FILE] [--only PATTERN] [--all] [--from-start] [--write]

first_kills.json holds the case that kills each mutant; it alone is tried, on the package as it stands, too. `--all`
goes on with all cases for mutants that it does not name or that survive theirs; `--from-start` goes by all cases
alone; `--write` notes the cases that killed: after a change of rules, mutants or cases.

The package is copied; each mutant is written into the copy, run there uncompiled in a process of its own that is
forked with cases and answers at hand, and taken back. This process never imports the package.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any

import numpy as np

from tests.mutants.alpha_decks import LIVE, REPLAY, SWEEP
from tests.mutants.breakout_deck import BREAKOUT
from tests.mutants.deck import Deck
from tests.mutants.table import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "mei"
FIRST_KILLS = Path(__file__).with_name("first_kills.json")
DECKS: Mapping[str, Deck] = {"replay": REPLAY, "live": LIVE, "sweep": SWEEP, "breakout": BREAKOUT}
#: What the package needs of others is loaded once, before processes fork.
_SHARED = tuple(
    import_module(name) for name in ("numpy", "pydantic.main", "concurrent.futures.thread")
)
_EMPTY = np.empty
_LOUD = 0x7F
#: A case that has taken so much time of a processor will never end.
_CASE_S = 20.0
#: A process that has not answered after so long is lost.
_PATIENCE_S = 1800.0
_FORK = get_context("fork")
#: Most mutants are killed by the first cases: more are answered only for those that are not.
_STAGES = (40, 200)


@dataclass(frozen=True)
class Outcome:
    """case: number of the case that shows a difference. n_cases: how many were tried. error: why none could be."""

    difference: str | None
    case: int
    n_cases: int
    seconds: float = 0.0
    error: str | None = None


class Answers:
    """The cases of a deck, each answered when it is asked for; `numbers` are all there are."""

    def __init__(self, deck: Deck) -> None:
        self.deck = deck
        self.numbers = range(1, deck.n_cases + 1)
        self._source = deck.cases()
        self._cases: list[Any] = []
        self._answered: dict[int, Any] = {}

    def prepare(self, numbers: Iterable[int]) -> None:
        """Answer these, so that processes forked from here on need not."""
        for number in numbers:
            self.of(number)

    def of(self, number: int) -> Any:
        """An answered case."""
        while len(self._cases) < number:
            self._cases.append(next(self._source))
        if number not in self._answered:
            self._answered[number] = self.deck.answered(self._cases[number - 1], number)
        return self._answered[number]


def judged(parent: Path, answers: Answers, numbers: Sequence[int], file: str | None) -> Outcome:
    """In a process of its own: try the cases on the package found in `parent` until one differs.

    file: the changed one, which must be what has run.
    """
    sys.path.insert(0, str(parent))
    np.empty = filled
    signal.signal(signal.SIGPROF, give_up)
    for n_tried, number in enumerate(numbers, start=1):
        example = answers.of(number)
        signal.setitimer(signal.ITIMER_PROF, _CASE_S)
        try:
            difference = answers.deck.first_difference(example, number)
        except Exception as error:
            # A crash is a difference, too.
            difference = f"{type(error).__name__}: {error}"
        if n_tried == 1:
            check_origin(parent, file)
        if difference is not None:
            return Outcome(difference, number, n_tried)
    return Outcome(None, 0, len(numbers))


def filled(*args: Any, **kwargs: Any) -> Any:
    """np.empty with memory that looks like nothing: 1.4e306 in a float; to read before writing never goes unseen."""
    array = _EMPTY(*args, **kwargs)
    if array.size:
        array.reshape(-1).view(np.uint8)[:] = _LOUD
    return array


def give_up(*_: object) -> None:
    """Raises TimeoutError."""
    raise TimeoutError(f"a case must be over within {_CASE_S:.0f} s of a processor, was not")


def check_origin(parent: Path, file: str | None) -> None:
    """Raises RuntimeError unless the package, and of it the changed file, were imported from `parent`."""
    name = (
        "mei.model.replay" if file is None else f"mei.{file.removesuffix('.py').replace('/', '.')}"
    )
    origin = getattr(sys.modules.get(name), "__file__", None)
    if origin is None or not Path(origin).is_relative_to(parent):
        raise RuntimeError(f"{name} must be that of {parent}, was {origin}")


def outcome_of(
    parent: Path, answers: Answers, numbers: Sequence[int], file: str | None = None
) -> Outcome:
    """`judged` in a forked process, which is given up on when it does not end."""
    reader, writer = _FORK.Pipe(duplex=False)

    def run() -> None:
        try:
            writer.send(judged(parent, answers, numbers, file))
        except BaseException:
            writer.send(Outcome(None, 0, 0, error=traceback.format_exc()))

    process = _FORK.Process(target=run)
    started = time.perf_counter()
    process.start()
    writer.close()
    try:
        is_over = reader.poll(_PATIENCE_S)
        answer = reader.recv() if is_over else Outcome(None, 0, 0, error="the process hangs")
    except EOFError:
        answer = Outcome(None, 0, 0, error="the process died")
    process.kill()
    process.join()
    return Outcome(
        answer.difference,
        answer.case,
        answer.n_cases,
        time.perf_counter() - started,
        answer.error,
    )


@contextmanager
def planted(mutant: Mutant, package: Path) -> Iterator[None]:
    """The mutant's line in the copied package; the old one afterwards."""
    path = package / mutant.file
    text = path.read_text()
    path.write_text(mutant.applied_to(text))
    if path.read_text() == text:
        raise ValueError(f"{mutant.name}: the mutant must change its file, did not")
    try:
        yield
    finally:
        path.write_text(text)


@contextmanager
def copied() -> Iterator[Path]:
    """A folder with a copy of the package.

    Compiled by content: a mutant of the same length in the same second must not be taken for the old line.
    """
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "mei"
        shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
        by_content = PycInvalidationMode.CHECKED_HASH
        compileall.compile_dir(package, quiet=1, invalidation_mode=by_content)
        yield Path(folder)


def tried(
    mutants: Sequence[Mutant], first_kills: Mapping[str, int], searches: bool = True
) -> tuple[dict[str, Outcome], dict[str, Outcome]]:
    """Outcomes of the unchanged package, by deck, and of the mutants, by name.

    The unchanged package is tried on every case that any mutant is tried on.
    """
    untouched: dict[str, Outcome] = {}
    outcomes: dict[str, Outcome] = {}
    with copied() as parent:
        for name, deck in DECKS.items():
            own = [mutant for mutant in mutants if mutant.deck == name]
            if own:
                answers = Answers(deck)
                known = {mutant.name: first_kills.get(mutant.name, 0) for mutant in own}
                untouched[name] = tried_on(answers, own, known, parent, outcomes, searches)
                tell(f"{name}, unchanged", untouched[name])
    return untouched, {mutant.name: outcomes[mutant.name] for mutant in mutants}


def tried_on(
    answers: Answers,
    mutants: Sequence[Mutant],
    known: Mapping[str, int],
    parent: Path,
    outcomes: dict[str, Outcome],
    searches: bool,
) -> Outcome:
    """The same for the mutants of one deck; returns the outcome of the unchanged package. known: 0 = no case is."""
    asked = sorted({known[mutant.name] for mutant in mutants} & set(answers.numbers))
    n_cases = passed(answers, asked, parent)
    for mutant in mutants:
        numbers = [known[mutant.name]] if known[mutant.name] in asked else []
        outcomes[mutant.name] = tried_one(answers, mutant, numbers, parent)
    start = 0
    for end in (*_STAGES, len(answers.numbers)) if searches else ():
        left = [mutant for mutant in mutants if is_open(outcomes[mutant.name])]
        numbers = list(answers.numbers[start:end]) if left else []
        n_cases += passed(answers, sorted(set(numbers) - set(asked)), parent)
        for mutant in left:
            outcomes[mutant.name] = tried_one(answers, mutant, numbers, parent)
        start = end
    return Outcome(None, 0, n_cases)


def passed(answers: Answers, numbers: Sequence[int], parent: Path) -> int:
    """How many cases the unchanged package passes: all of these. Raises RuntimeError where it does not.

    Without this every mutant would look killed by what is wrong with a case.
    """
    answers.prepare(numbers)
    outcome = outcome_of(parent, answers, numbers) if numbers else Outcome(None, 0, 0)
    found = outcome.error or outcome.difference
    if found is not None:
        raise RuntimeError(
            f"rules without a mutant must pass case {outcome.case}, did not: {found}"
        )
    return outcome.n_cases


def is_open(outcome: Outcome) -> bool:
    """Neither killed nor untried for an error."""
    return outcome.difference is None and outcome.error is None


def tried_one(answers: Answers, mutant: Mutant, numbers: Sequence[int], parent: Path) -> Outcome:
    """One mutant on these cases."""
    if not numbers:
        return Outcome(None, 0, 0)
    with planted(mutant, parent / "mei"):
        outcome = outcome_of(parent, answers, numbers, mutant.file)
    tell(mutant.name, outcome)
    return outcome


def tell(name: str, outcome: Outcome) -> None:
    """One line on stdout."""
    verdict = outcome.error or outcome.difference or "no difference"
    last = verdict.strip().splitlines()[-1]
    print(f"{outcome.case:4d} {outcome.seconds:5.1f} s  {name}: {last[:110]}", flush=True)


def as_table(
    mutants: Sequence[Mutant],
    untouched: Mapping[str, Outcome],
    outcomes: Mapping[str, Outcome],
    seconds: float,
) -> str:
    """The outcomes in Markdown."""
    n_killed = Counter(mutant.file for mutant in mutants if outcomes[mutant.name].difference)
    n_tried = Counter(mutant.file for mutant in mutants if outcomes[mutant.name].n_cases)
    totals = Counter(mutant.file for mutant in mutants)
    by_deck = ", ".join(f"{outcome.n_cases} {name}" for name, outcome in untouched.items())
    numbers = sorted(outcome.case for outcome in outcomes.values() if outcome.difference)
    n_killing = len(numbers)
    head = f"""# Mutants of the rules

Commit {commit()}, {machine()}: of {len(mutants)} mutants {sum(n_tried.values())} were tried and
**{n_killing} killed**. `pytest tests/mutants` repeats the kills, each with the case named here ({seconds:.0f} s
of a processor), and fails for one that survives. `python -m tests.mutants.killing --all --write --table FILE` searches
all cases for kills of the others; after a change of rules, cases or mutants, too.

Each mutant is one change as a tired programmer might make it. The changed rules run uncompiled and must give the bits
of an oracle: `replay` and `live` those of Mei Alpha in plain Python, in reference and strict semantics, with switches
of both, and in its indicators; `sweep` those of the report of a replay; `breakout` those of a plain loop. The rules
as they are pass all cases ({by_deck}). Killing case: median
{numbers[n_killing // 2]}, last {numbers[-1]}.

| file | mutants | tried | killed |
|---|---|---|---|
"""
    counts = [
        f"| `{file}` | {totals[file]} | {n_tried[file]} | {n_killed[file]} |" for file in totals
    ]
    files = (path.relative_to(PACKAGE).as_posix() for path in (PACKAGE / "rules").rglob("*.py"))
    without = sorted(file for file in files if file not in totals and "__init__" not in file)
    counts.append(f"\nRules without mutants: {', '.join(f'`{file}`' for file in without)}.")
    rows = [
        f"| `{mutant.file.removeprefix('rules/')}` | `{code(old)}` | `{code(new)}` | {mutant.why} | "
        f"{mutant.deck} {outcome.case or ''} | {seen_as(outcome)} |"
        for mutant in mutants
        for outcome in (outcomes[mutant.name],)
        for old, new in (mutant.change(),)
    ]
    names = ("file", "line", "mutant", "what it would do", "killed by case", "first seen as")
    titles = f"\n\n| {' | '.join(names)} |\n{'|---' * len(names)}|\n"
    return head + "\n".join(counts) + titles + "\n".join(rows) + "\n"


def code(line: str) -> str:
    """A line of code that does not end the cell of a table."""
    return line.replace("|", "\\|") or " "


def commit() -> str:
    """The commit at hand, short."""
    words = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(
        words, capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.strip()


def machine() -> str:
    """What it ran on."""
    about = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", about.read_text()) if about.exists() else []
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}"


def seen_as(outcome: Outcome) -> str:
    """What differed, without the numbers."""
    if outcome.difference is None:
        return "survived" if outcome.n_cases else "not tried"
    words = outcome.difference.split(" (")[0].split(", expected")[0]
    return code(words.replace("\n", " ")[:80])


def write_kills(outcomes: Mapping[str, Outcome]) -> None:
    """Bring first_kills.json up to date; mutants that are no more, or survive, leave it."""
    kills = json.loads(FIRST_KILLS.read_text()) if FIRST_KILLS.exists() else {}
    kills |= {name: outcome.case for name, outcome in outcomes.items()}
    names = [mutant.name for mutant in MUTANTS]
    kept = {name: kills[name] for name in names if kills.get(name)}
    FIRST_KILLS.write_text(json.dumps(kept, indent=1) + "\n")


def main() -> None:
    """Try, tell, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--only", default="", help="a pattern the names of mutants must contain")
    parser.add_argument(
        "--from-start", action="store_true", help="do not try the last killer alone"
    )
    parser.add_argument("--all", action="store_true", help="search for kills that are not known")
    parser.add_argument("--write", action="store_true", help="note the cases that killed")
    arguments = parser.parse_args()
    mutants = [mutant for mutant in MUTANTS if re.search(arguments.only, mutant.name)]
    first_kills = {} if arguments.from_start else json.loads(FIRST_KILLS.read_text())
    searches = arguments.all or arguments.from_start
    untouched, outcomes = tried(mutants, first_kills, searches)
    times = os.times()
    seconds = times.user + times.system + times.children_user + times.children_system
    left = [name for name, outcome in outcomes.items() if not outcome.difference]
    print(f"{len(mutants)} mutants in {seconds:.0f} s of a processor; not killed: {left or 'none'}")
    if arguments.write:
        write_kills(outcomes)
    if arguments.json:
        whole = {
            "unchanged": {name: asdict(outcome) for name, outcome in untouched.items()},
            "mutants": {name: asdict(outcome) for name, outcome in outcomes.items()},
        }
        arguments.json.write_text(json.dumps(whole, indent=1))
    if arguments.table:
        arguments.table.write_text(as_table(mutants, untouched, outcomes, seconds))


if __name__ == "__main__":
    main()
