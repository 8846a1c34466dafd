"""Puts the paper trader back to a strategy file it had before."""

from __future__ import annotations

import sys

from mei.cli.deployment_tools import rollback_to_last_good
from mei.cli.tool_program import run_tool


def main(arguments: list[str]) -> int:
    """Run it; the exit code."""
    return run_tool("rollback_to_last_good", rollback_to_last_good, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
