"""Mutants of the rules: one line each, changed as a tired programmer might."""

from __future__ import annotations

from dataclasses import dataclass

from tests.mutants.breaking import BREAKING
from tests.mutants.deciding import DECIDING
from tests.mutants.seeing import SEEING
from tests.mutants.stepping import STEPPING
from tests.mutants.trading import TRADING


@dataclass(frozen=True)
class Mutant:
    """deck: the cases that find it out. file: below the package. old: text there, once. why: what it would do."""

    deck: str
    file: str
    old: str
    new: str
    why: str

    @property
    def name(self) -> str:
        """File and what it would do."""
        return f"{self.file.removesuffix('.py').removeprefix('rules/')}: {self.why}"

    def applied_to(self, text: str) -> str:
        """The file with the mutant in it."""
        if text.count(self.old) != 1:
            raise ValueError(
                f"{self.name}: {self.old!r} must occur once, does {text.count(self.old)} times"
            )
        return text.replace(self.old, self.new)

    def change(self) -> tuple[str, str]:
        """The first lines that differ, as old and new."""
        old, new = self.old.splitlines(), self.new.splitlines()
        for one, other in zip(old, new, strict=False):
            if one != other:
                return one.strip(), other.strip()
        return (old[len(new)].strip(), "") if len(old) > len(new) else ("", new[len(old)].strip())


def deck_of(file: str, deck: str) -> str:
    """What is added up is tried in sweeps, everything else where its table is."""
    return "sweep" if file.endswith("tally.py") else deck


MUTANTS = tuple(
    Mutant(deck_of(file, deck), file, old, new, why)
    for deck, table in (
        ("replay", SEEING),
        ("replay", DECIDING),
        ("replay", TRADING),
        ("live", STEPPING),
        ("breakout", BREAKING),
    )
    for file, rows in table.items()
    for old, new, why in rows
)
