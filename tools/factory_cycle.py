"""Sweeps, validates what is asked for, chooses a strategy file and deploys it to the paper trader.

The same as `mei-backtester factory run`: its flags, its exit codes. Only its default differs: of the validations those
alone are made that are named.
"""

from __future__ import annotations

import sys
from typing import Final

from mei.cli.main import run

#: What a flag given later turns on again.
_NONE_ASKED: Final = (
    "--no-walk-forward",
    "--no-slippage-stress",
    "--no-concentration-checks",
    "--no-sensitivity-checks",
    "--no-monte-carlo",
)


def main(arguments: list[str]) -> int:
    """Run the command; its exit code."""
    return run(["factory", "run", *_NONE_ASKED, *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
