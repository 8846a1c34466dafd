"""Which rows of a sweep become candidates: the first of each order, each strategy file once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mei.model.errors import ConfigError, NotFoundError
from mei.workflows.swept_config import Standing, SweptConfig, ranked, swept_config

#: Orders of the rows that candidates are taken from: the least drawdown, and a bit of everything.
ORDERS: Final = ("dd", "balanced")


@dataclass(slots=True)
class Candidate:
    """A row and the file made of it. places: `dd #1` of every order and rank it was found at, the first first."""

    made: SweptConfig
    standing: Standing
    places: list[str]

    @property
    def config_id(self) -> str:
        """Of the file."""
        return self.made.id


@dataclass(slots=True)
class Shortlist:
    """Candidates in the order they were found, and what was passed over: a line each, why."""

    candidates: list[Candidate] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)


def shortlist(
    results: str,
    base: Mapping[str, Any],
    source: str,
    *,
    per_mode: int,
    max_rank: int,
    min_trades: int,
) -> Shortlist:
    """Down each of ORDERS from rank 1 to `max_rank`, until `per_mode` files were found that none before has made.

    results: JSON Lines of a sweep; base, source: the file that was swept, and its name; rows with fewer than
    `min_trades` trades have no rank. Raises DataError for rows that are none.
    """
    found = Shortlist()
    by_id: dict[str, Candidate] = {}
    for order in ORDERS:
        try:
            rows = ranked(results, order, min_trades, max_rank)
        except NotFoundError as error:
            found.passed_over.append(f"{order}: {error}")
            continue
        n_new = 0
        for rank, standing in enumerate(rows, 1):
            place = f"{order} #{rank}"
            made = _made(base, standing, source, place, found)
            if made is None:
                continue
            known = by_id.get(made.id)
            if known is not None:
                known.places.append(place)
                continue
            by_id[made.id] = Candidate(made, standing, [place])
            n_new += 1
            if n_new == per_mode:
                break
    found.candidates = list(by_id.values())
    return found


def _made(
    base: Mapping[str, Any], standing: Standing, source: str, place: str, found: Shortlist
) -> SweptConfig | None:
    """The file of a row; None, told in `found`, where it makes none."""
    row = standing.row
    if not row.overrides:
        found.passed_over.append(f"{place}: {row.where} has no overrides, its file is the base")
        return None
    try:
        return swept_config(base, row, f"{source} with the row at {row.where}")
    except (ConfigError, NotFoundError) as error:
        found.passed_over.append(f"{place}: {error}")
        return None
