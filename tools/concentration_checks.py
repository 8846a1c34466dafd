"""Tells whether the profit of a replay hangs on few symbols.

The same as `mei-backtester validate concentration`: its flags, its exit codes.
"""

from __future__ import annotations

import sys

from mei.cli.main import run


def main(arguments: list[str]) -> int:
    """Run the command; its exit code."""
    return run(["validate", "concentration", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
