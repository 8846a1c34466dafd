"""Mutants of the rules: one line each, changed as a tired programmer might."""

from __future__ import annotations

from dataclasses import dataclass

from tests.mutants.deciding import DECIDING
from tests.mutants.seeing import SEEING
from tests.mutants.trading import TRADING


@dataclass(frozen=True)
class Mutant:
    """file: below the package. old: text that occurs there once. why: what the mutant would do."""

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


MUTANTS = tuple(
    Mutant(file, old, new, why)
    for table in (SEEING, DECIDING, TRADING)
    for file, rows in table.items()
    for old, new, why in rows
)
