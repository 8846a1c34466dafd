"""Says whether candle databases are fresh and whole."""

from __future__ import annotations

import sys

from mei.cli.data_tools import check_candle_dbs
from mei.cli.tool_program import run_tool


def main(arguments: list[str]) -> int:
    """Run it; the exit code."""
    return run_tool("check_candle_dbs", check_candle_dbs, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
