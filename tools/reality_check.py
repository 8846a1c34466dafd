"""Prints what the traders did of late and how the candles are; reads only."""

from __future__ import annotations

import sys

from mei.cli.data_tools import reality_check
from mei.cli.tool_program import run_tool


def main(arguments: list[str]) -> int:
    """Run it; the exit code."""
    return run_tool("reality_check", reality_check, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
