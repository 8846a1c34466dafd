"""Writes the state of a paper or live trader as init-state, for a replay to start with."""

from __future__ import annotations

import sys

from mei.cli.export_state import export_state
from mei.cli.tool_program import run_tool


def main(arguments: list[str]) -> int:
    """Run it; the exit code."""
    return run_tool("export_state", export_state, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
