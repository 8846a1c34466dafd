"""Rows of a sweep as Parquet: the fields of the JSON Lines, `overrides` as a column a path (`overrides.<path>`)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from mei.metrics.replay import GATES
from mei.model.errors import ConfigError
from mei.report.atomic import copy_atomically, output_error

_ROWS_A_GROUP: Final = 10_000
_GROUPS: Final = {
    "by_confidence": "confidence",
    "by_exit_reason": "reason",
    "by_reason_code": "reason_code",
    "by_symbol": "symbol",
    "by_side": "side",
}
_COUNTS: Final = ("total_trades", "total_wins", "total_losses", "total_signals")
_MONEY: Final = (
    "initial_balance",
    "final_balance",
    "total_pnl",
    "win_rate",
    "profit_factor",
    "avg_trade_pnl",
    "avg_win",
    "avg_loss",
    "total_fees",
    "neutral_pct",
    "sharpe_ratio",
    "max_drawdown_usd",
    "max_drawdown_pct",
)


def check_installed() -> None:
    """ConfigError, with the remedy, when what writes Parquet is not installed."""
    if find_spec("pyarrow") is None:
        raise ConfigError(
            "--output *.parquet needs pyarrow, which is not installed: pip install 'mei-backtester[parquet]', or name "
            "an output that ends in .jsonl"
        )


def write_parquet(
    output: str, rows: Iterable[Mapping[str, Any]], paths: Sequence[str], counts: Sequence[str]
) -> None:
    """Replace `output` by the rows, in their order. OutputError when it cannot be written.

    paths: those swept. counts: fields of whole numbers beside those that every report has.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(pa, paths, counts)
    target = Path(output)
    part = target.with_name(f".{target.name}.part")
    try:
        with pq.ParquetWriter(part, schema, compression="zstd") as writer:
            flat = map(_flat, rows)
            while block := list(itertools.islice(flat, _ROWS_A_GROUP)):
                writer.write_table(pa.Table.from_pylist(block, schema=schema))
        copy_atomically(part, target)
    except OSError as error:
        raise output_error(target, error) from error
    finally:
        part.unlink(missing_ok=True)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat = {name: value for name, value in row.items() if name != "overrides"}
    return flat | {f"overrides.{path}": value for path, value in row["overrides"].items()}


def _schema(pa: Any, paths: Sequence[str], counts: Sequence[str]) -> Any:
    """Counts are whole numbers, money and ratios doubles, groups lists of records; columns in order of their names."""
    columns = {name: pa.float64() for name in _MONEY}
    columns |= {name: pa.int64() for name in (*_COUNTS, *counts)}
    columns["config_id"] = pa.string()
    columns["gate_stats"] = pa.struct(
        [(name, pa.int64()) for name in ("total_checks", "signals_generated", *GATES)]
        + [("signal_pct", pa.float64())]
    )
    for name, key in _GROUPS.items():
        fields = [(key, pa.string()), ("trades", pa.int64()), ("pnl", pa.float64())]
        fields += [("win_rate", pa.float64())]
        fields += [("avg_pnl", pa.float64())] if name == "by_confidence" else []
        columns[name] = pa.list_(pa.struct(fields))
    swept = [(f"overrides.{path}", pa.float64()) for path in paths]
    return pa.schema([*sorted(columns.items()), *swept])
