"""Pauses the traders, then closes everything they hold, on paper or at the exchange."""

from __future__ import annotations

import sys

from mei.cli.flat_now import flat_now
from mei.cli.tool_program import run_tool


def main(arguments: list[str]) -> int:
    """Run it; the exit code."""
    return run_tool("flat_now", flat_now, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
