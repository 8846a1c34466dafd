"""`mei-backtester` as a process that a test may have killed at a fault point (see `mei.web.fault_plan`)."""

from __future__ import annotations

import sys

from mei.cli.main import run
from mei.web.fault_plan import install_fault_plan

if __name__ == "__main__":
    install_fault_plan()
    sys.exit(run(sys.argv[1:]))
