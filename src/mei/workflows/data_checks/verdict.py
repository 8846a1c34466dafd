"""What a check answers: the worst of what it found, and the exit code that says so."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from mei.model.errors import ConfigError

WARN: Final = "WARN"
FAIL: Final = "FAIL"
#: From good to bad; both checks have their own word for good.
_BADNESS: Final = {"OK": 0, "PASS": 0, WARN: 1, FAIL: 2}


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """status: OK or PASS, WARN, FAIL. report: what goes out as JSON."""

    status: str
    report: dict[str, Any]

    def exit_code(self, *, fail_on_warn: bool) -> int:
        """2 for FAIL, 1 for WARN if that is asked for, else 0 (specification part 3, section 8)."""
        badness = _BADNESS[self.status]
        return badness if badness != 1 or fail_on_warn else 0


def worst(statuses: Iterable[str], good: str) -> str:
    """The worst of them, `good` when there is none."""
    return max((good, *statuses), key=_BADNESS.__getitem__)


def graded(value: float, warn: float, fail: float, *, good: str) -> str:
    """FAIL from `fail` on, WARN from `warn` on (>=), else `good`."""
    return FAIL if value >= fail else WARN if value >= warn else good


def exceeding(value: float, warn: float, fail: float, *, good: str) -> str:
    """FAIL above `fail`, WARN above `warn` (>), else `good`."""
    return FAIL if value > fail else WARN if value > warn else good


def require_pair(
    warn_flag: str, warn: float, fail_flag: str, fail: float, *, at_least: float
) -> None:
    """ConfigError unless at_least <= warn <= fail and both are finite."""
    for flag, value in ((warn_flag, warn), (fail_flag, fail)):
        if not (math.isfinite(value) and value >= at_least):
            raise ConfigError(f"{flag} must be at least {at_least:g}, was {value:g}")
    if warn > fail:
        raise ConfigError(
            f"{warn_flag} must not be above {fail_flag}, was {warn:g} and {fail:g}: nothing would ever only warn"
        )


def require_above(flag: str, value: float, above: float) -> None:
    """ConfigError unless the value is finite and above `above`."""
    if not (math.isfinite(value) and value > above):
        raise ConfigError(f"{flag} must be above {above:g}, was {value:g}")
