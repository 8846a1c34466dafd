"""Rows of a finished sweep in Parquet, as those of its JSON Lines: a column `overrides.<path>` for each axis."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from mei.model.errors import ConfigError, DataError

PARQUET_ENDINGS: Final = (".parquet", ".pq")
_PREFIX: Final = "overrides."
_ROWS_AT_A_TIME: Final = 1_000


def parquet_objects(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file and row from 1 on, the row as JSON Lines have it) of each row: what is not finite is None.

    ConfigError when pyarrow is not installed, DataError for a file that is none of a sweep.
    """
    try:
        import pyarrow
        import pyarrow.parquet as pq
    except ImportError:
        raise ConfigError(
            f"{path} is Parquet, which needs pyarrow: pip install 'mei-backtester[parquet]'"
        ) from None
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            if not any(name.startswith(_PREFIX) for name in file.schema_arrow.names):
                raise DataError(
                    f"{path}: a sweep in Parquet must have a column {_PREFIX}<path> for each axis, has none"
                )
            for batch in file.iter_batches(_ROWS_AT_A_TIME):
                for flat in batch.to_pylist():
                    number += 1
                    yield f"{path} row {number}", _object(flat)
    except (OSError, pyarrow.ArrowException) as error:
        why = " ".join(str(error).split())
        raise DataError(
            f"{path} must be the Parquet file of a sweep, could not be read ({why}): check the path"
        ) from None


def _object(flat: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"overrides": {}}
    for name, value in flat.items():
        if not name.startswith(_PREFIX):
            row[name] = None if isinstance(value, float) and not math.isfinite(value) else value
        elif value is not None:
            row["overrides"][name.removeprefix(_PREFIX)] = value
    return row
