"""Journal -> one file: rows by profit, best first, those of equal profit by combination; one record in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mei.metrics.overfitting import Spread
from mei.metrics.replay import ReplayNumbers
from mei.model.errors import VerificationError
from mei.report.json_text import compact_json
from mei.report.replay_json import numbers_object
from mei.workflows.files import write_result_blocks
from mei.workflows.sweep.engine import SweepEngine
from mei.workflows.sweep.journal import Frame, Journal
from mei.workflows.sweep_spec import SweepSpec, config_id
from mei.workflows.trial_spread import add_rows

_LINES: Final = 256
_PARQUET: Final = (".parquet", ".pq")


@dataclass(frozen=True, slots=True)
class SweptRow:
    """One combination and what came of it. overrides: path -> number, in the order of the axes."""

    config_id: str
    overrides: dict[str, float]
    numbers: ReplayNumbers
    record: Any

    def object(self) -> dict[str, Any]:
        """The row as a report has it, and its overrides."""
        return numbers_object(self.config_id, self.numbers) | {"overrides": self.overrides}


Named = Callable[[Any], tuple[str, dict[str, float]]]


def named_combination(spec: SweepSpec) -> Named:
    """What names a record of a grid: `sweep_0042`, and its values by path."""

    def name(record: Any) -> tuple[str, dict[str, float]]:
        index = int(record["index"])
        return config_id(index), spec.overrides(index)

    return name


class Ranking:
    """The order of a journal's rows, 8 bytes a row; to find it takes 28 bytes a row for a moment."""

    def __init__(
        self, journal: Journal, engine: SweepEngine, spec: SweepSpec, named: Named
    ) -> None:
        """Read every row's profit and Sharpe ratio once. A profit that is no number comes last. named: id and overrides
        of a record."""
        n_rows = journal.n_rows
        # Room for all at once: pieces put together would be there twice.
        losses, indices = np.empty(n_rows), np.empty(n_rows, dtype=np.int64)
        frames, starts = [], [0]
        self.spread = Spread()
        for frame, records in journal.blocks():
            frames.append(frame)
            rows = records["row"]
            here = slice(starts[-1], starts[-1] + frame.n_records)
            starts.append(here.stop)
            np.negative(engine.total_pnl_usd(rows), out=losses[here])
            indices[here] = records["index"]
            add_rows(self.spread, engine, rows)
        self._journal, self._engine, self._spec, self._named = journal, engine, spec, named
        self._frames: Sequence[Frame] = frames
        self._starts = starts
        self._order = np.lexsort((indices, losses))
        del losses
        # In place; equal ones are neighbours then.
        indices.sort()
        self._n_distinct = int(np.count_nonzero(indices[1:] != indices[:-1])) + min(n_rows, 1)

    def check_complete(self, n_rows: int) -> None:
        """VerificationError unless there are so many rows, each of another combination."""
        if len(self) != n_rows or self._n_distinct != n_rows:
            raise VerificationError(
                f"{self._journal.path} must hold {n_rows} different combinations, holds {len(self)} rows of "
                f"{self._n_distinct}: move it away and run again, and please report it"
            )

    @property
    def paths(self) -> tuple[str, ...]:
        """What is swept."""
        return self._spec.paths

    def __len__(self) -> int:
        return len(self._order)

    def row(self, rank: int) -> SweptRow:
        """The row of a rank, 0 the best. IndexError when there is none."""
        position = int(self._order[rank])
        number = bisect_right(self._starts, position) - 1
        record = self._journal.record(self._frames[number], position - self._starts[number])[0]
        config_id, overrides = self._named(record)
        numbers = self._engine.numbers(record["row"])
        return SweptRow(config_id, overrides, numbers, record["row"])

    def rows(self) -> Iterator[SweptRow]:
        """All of them, best first."""
        return (self.row(rank) for rank in range(len(self)))


def write_rows(ranking: Ranking, output: str, marks: dict[str, int]) -> None:
    """Write every row: Parquet if the name ends so, JSON Lines otherwise. OutputError when that cannot be.

    marks: fields that every row has beside its own.
    """
    objects = (row.object() | marks for row in ranking.rows())
    if output.endswith(_PARQUET):
        from mei.report.sweep_parquet import write_parquet

        write_parquet(output, objects, ranking.paths, tuple(marks))
    else:
        write_result_blocks(output, _lines(objects))


def check_format(output: str) -> None:
    """Before a long run: what writes the output's format must be installed. ConfigError when it is not."""
    if output.endswith(_PARQUET):
        from mei.report.sweep_parquet import check_installed

        check_installed()


def _lines(objects: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    block: list[str] = []
    for one in objects:
        block.append(compact_json(one))
        if len(block) == _LINES:
            yield "\n".join([*block, ""]).encode()
            block.clear()
    yield "\n".join([*block, ""]).encode() if block else b""
