"""Judges what is on paper, and puts it into the live trader's place if it passed."""

from __future__ import annotations

import sys

from mei.cli.deployment_tools import promote_to_live
from mei.cli.tool_program import run_tool


def main(arguments: list[str]) -> int:
    """Run it; the exit code."""
    return run_tool("promote_to_live", promote_to_live, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
