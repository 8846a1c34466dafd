"""The README's commands to the composed services, and the answers printed below them."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from tests.e2e.composed import ROOT

_SECTION = re.compile(r"^## In containers$(.*?)^## ", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```(bash|json)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Asked:
    """A command, and the JSON printed below it."""

    command: str
    answer: str


def asked() -> list[Asked]:
    """Every bash block of the section that has a JSON block after it, in order."""
    section = _SECTION.search((ROOT / "README.md").read_text())
    assert section is not None, "README.md must have a section 'In containers'"
    blocks = _BLOCK.findall(section[1])
    return [
        Asked(text, answer)
        for (kind, text), (next_kind, answer) in itertools.pairwise(blocks)
        if (kind, next_kind) == ("bash", "json")
    ]
