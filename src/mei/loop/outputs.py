"""The files a run grows: equity.csv, trades.csv, trainings.jsonl."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mei.model.http import TrainResult
from mei.model.orders import Fill
from mei.report.append import AppendLog
from mei.report.rows import TRADES_HEADER, equity_header, trade_row

EQUITY_CSV, TRADES_CSV, TRAININGS_JSONL = "equity.csv", "trades.csv", "trainings.jsonl"
DECISIONS_CSV = "decisions.csv"
DECISIONS_HEADER = (
    "timestamp,instrument,strategy,preset,regime,regime_prob,model_version,volatility_z"
)
_FLUSH_ROWS = 2_000
#: First line of trainings.jsonl, so that it says what it is.
TRAININGS_HEADER = '{"format":"mei.trainings","version":1}'


class RunOutputs:
    """Rows in the order of events; `commit` makes them durable and says how long each file is.

    decision_log: also keep decisions.csv, what was known at every close of every book.
    """

    def __init__(
        self,
        folder: Path,
        symbols: Sequence[str],
        offsets: Mapping[str, int] | None,
        *,
        decision_log: bool = False,
    ) -> None:
        def log(name: str, header: str) -> AppendLog:
            return AppendLog(folder / name, header, None if offsets is None else offsets[name])

        self._equity = log(EQUITY_CSV, equity_header(symbols))
        self._trades = log(TRADES_CSV, TRADES_HEADER)
        self._trainings = log(TRAININGS_JSONL, TRAININGS_HEADER)
        self._decisions = log(DECISIONS_CSV, DECISIONS_HEADER) if decision_log else None
        self._rows: list[str] = []
        self._decision_rows: list[str] = []

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

    def decision(self, row: str) -> None:
        """Add a row of decisions.csv."""
        self._decision_rows.append(row)

    def commit(self) -> dict[str, int]:
        """Put everything on disk; file name -> size in bytes, for the checkpoint."""
        self._flush()
        return {log.path.name: log.commit() for log in self._logs()}

    def close(self) -> None:
        """Release the files without committing what is buffered."""
        for log in self._logs():
            log.close()

    def _logs(self) -> list[AppendLog]:
        logs = [self._equity, self._trades, self._trainings]
        return logs if self._decisions is None else [*logs, self._decisions]

    def _flush(self) -> None:
        self._equity.write_lines(self._rows)
        self._rows.clear()
        if self._decisions is not None:
            self._decisions.write_lines(self._decision_rows)
            self._decision_rows.clear()
