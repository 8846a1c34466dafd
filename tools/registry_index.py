"""Keeps and finds runs of the factory and the strategy files they made."""

from __future__ import annotations

import sys

from mei.cli.deployment_tools import registry_index
from mei.cli.tool_program import run_tool


def main(arguments: list[str]) -> int:
    """Run it; the exit code."""
    return run_tool("registry_index", registry_index, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
