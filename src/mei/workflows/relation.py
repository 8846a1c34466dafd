"""Settings that must go together, so that a sweep can look at many of their values at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Relation:
    """A condition on some settings, in which each of them counts in one direction only.

    base: the settings it hangs on, with the values they have where they are not swept. is_broken: where numbers or
    arrays of these settings break it. must: the condition in words. wanted: the same as a constraint of a sweep spec,
    from what to write for each setting: the path of its axis, or its number.
    """

    base: Mapping[str, float]
    is_broken: Callable[[Values], Any]
    must: str
    wanted: Callable[[Mapping[str, str]], str]

    def breaks(self, swept: Values) -> Any:
        """Where it is broken by swept values (setting -> array, each of one shape) over the base."""
        return self.is_broken({**self.base, **swept})

    def constraint(self, axes: Mapping[str, str]) -> str:
        """What a sweep spec can say to hold it. axes: setting -> path of its axis."""
        return self.wanted(
            {name: axes.get(name, f"{value:.15g}") for name, value in self.base.items()}
        )
