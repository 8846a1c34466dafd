"""The files a run grows: equity.csv, trades.csv, trainings.jsonl."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mei.model.http import TrainResult
from mei.model.orders import Fill
from mei.report.append import AppendLog
from mei.report.rows import TRADES_HEADER, equity_header, trade_row

EQUITY_CSV, TRADES_CSV, TRAININGS_JSONL = "equity.csv", "trades.csv", "trainings.jsonl"
_FLUSH_ROWS = 2_000
#: First line of trainings.jsonl, so that it says what it is.
TRAININGS_HEADER = '{"format":"mei.trainings","version":1}'


class RunOutputs:
    """Rows in the order of events; `commit` makes them durable and says how long each file is."""

    def __init__(
        self, folder: Path, symbols: Sequence[str], offsets: Mapping[str, int] | None
    ) -> None:
        def log(name: str, header: str) -> AppendLog:
            return AppendLog(folder / name, header, None if offsets is None else offsets[name])

        self._equity = log(EQUITY_CSV, equity_header(symbols))
        self._trades = log(TRADES_CSV, TRADES_HEADER)
        self._trainings = log(TRAININGS_JSONL, TRAININGS_HEADER)
        self._rows: list[str] = []

    def equity(self, row: str) -> None:
        """Add a row of equity.csv."""
        self._rows.append(row)
        if len(self._rows) >= _FLUSH_ROWS:
            self._flush()

    def fills(self, fills: Sequence[Fill]) -> None:
        """Add executed actions to trades.csv."""
        self._trades.write_lines([trade_row(fill) for fill in fills])

    def training(self, result: TrainResult) -> None:
        """Add what a training did to trainings.jsonl; without its stream, since a run's id enters no row."""
        self._trainings.write_lines([result.model_dump_json(exclude={"stream"})])

    def commit(self) -> dict[str, int]:
        """Put everything on disk; file name -> size in bytes, for the checkpoint."""
        self._flush()
        return {
            EQUITY_CSV: self._equity.commit(),
            TRADES_CSV: self._trades.commit(),
            TRAININGS_JSONL: self._trainings.commit(),
        }

    def close(self) -> None:
        """Release the files without committing what is buffered."""
        for log in (self._equity, self._trades, self._trainings):
            log.close()

    def _flush(self) -> None:
        self._equity.write_lines(self._rows)
        self._rows.clear()
