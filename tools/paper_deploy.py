"""Puts a strategy file of the registry into the paper trader's place."""

from __future__ import annotations

import sys

from mei.cli.deployment_tools import paper_deploy
from mei.cli.tool_program import run_tool


def main(arguments: list[str]) -> int:
    """Run it; the exit code."""
    return run_tool("paper_deploy", paper_deploy, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
