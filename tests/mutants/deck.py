"""Cases with answers: what mutants are tried on. Each deck has an oracle of its own and asks for the same bits.

A deck is drawn and answered without the package, which is imported, changed by a mutant, only where a case is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NamedTuple


class Deck(NamedTuple):
    """n_cases: how many there are. cases: the first one on. answered: a case with its answer, by its number.

    first_difference: where an answered case of that number shows the package to be wrong, None where it does not.
    """

    n_cases: int
    cases: Callable[[], Iterator[Any]]
    answered: Callable[[Any, int], Any]
    first_difference: Callable[[Any, int], str | None]


@contextmanager
def uncompiled(engines: Mapping[str, Mapping[str, int]]) -> Iterator[None]:
    """Inside, these engines run their rules as plain Python, and with these of their constants."""
    bind_python = import_module("mei.engines.interpreted").bind_python
    modules = {import_module(f"mei.engines.{name}"): room for name, room in engines.items()}
    before = {module: dict(vars(module)) for module in modules}
    for module, room in modules.items():
        vars(module).update({"bind_cpu": bind_python, **room})
    try:
        yield
    finally:
        for module, values in before.items():
            vars(module).update(values)
