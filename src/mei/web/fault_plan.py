"""Ends the process at a named fault point, when a test asks for it through the environment.

MEI_FAULT=`<point>:<n>` sends SIGKILL to this process at the n-th hit of the point. MEI_FAULT_LOG=`<file>` collects the
names of the points that were hit, one line each. Neither is set outside tests; this is the one place that reads them.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

from mei.model import faults


def install_fault_plan() -> None:
    """Install the plan of the environment, if there is one."""
    plan, log = os.environ.get("MEI_FAULT", ""), os.environ.get("MEI_FAULT_LOG", "")
    if not plan and not log:
        return
    point, _, count = plan.rpartition(":")
    hits: Counter[str] = Counter()

    def on_hit(name: str) -> None:
        hits[name] += 1
        if log and hits[name] == 1:
            with open(log, "a", encoding="utf-8") as file:  # noqa: PTH123 — one short append
                file.write(f"{name}\n")
        if name == point and hits[name] == int(count):
            os.kill(os.getpid(), signal.SIGKILL)

    faults.install(on_hit)
