"""Says whether funding rates are fresh, whole and possible."""

from __future__ import annotations

import sys

from mei.cli.data_tools import check_funding_rates_db
from mei.cli.tool_program import run_tool


def main(arguments: list[str]) -> int:
    """Run it; the exit code."""
    return run_tool("check_funding_rates_db", check_funding_rates_db, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
