"""Which files a set of candles stands for."""

from __future__ import annotations

from pathlib import Path

from mei.model.errors import DataError


def candle_files(text: str) -> str:
    """A comma-separated set of files, folders replaced by the candles_*.db in them, sorted; each file once.

    A folder may hold funding rates and listings, too, which are no candles. DataError for a folder without candles.
    """
    files: dict[str, None] = {}
    for part in (piece.strip() for piece in text.split(",")):
        if not part:
            continue
        if not Path(part).is_dir():
            files[part] = None
            continue
        found = sorted(str(one) for one in Path(part).glob("candles_*.db") if one.is_file())
        if not found:
            raise DataError(
                f"--candles-db {part} must hold candle databases (candles_*.db), holds none: download or import candles"
            )
        files.update(dict.fromkeys(found))
    return ",".join(files)
