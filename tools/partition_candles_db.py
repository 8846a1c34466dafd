"""Moves old bars of a candle database into databases of a month each."""

from __future__ import annotations

import sys

from mei.cli.data_tools import partition_candles_db
from mei.cli.tool_program import run_tool


def main(arguments: list[str]) -> int:
    """Run it; the exit code."""
    return run_tool("partition_candles_db", partition_candles_db, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
