"""A number as it is reported: with its unit, and with a reason where it is not defined."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Number:
    """`value` is None exactly when `reason` says why. `periods_per_year` is set if annualised.

    Units: frac, ratio, usd, bps, ms, count, usd_per_trade.
    """

    value: float | int | None
    unit: str
    reason: str | None = None
    periods_per_year: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The number as it stands in summary.json; what does not apply is left out."""
        fields: dict[str, Any] = {"value": self.value, "unit": self.unit}
        if self.periods_per_year is not None:
            fields["periods_per_year"] = self.periods_per_year
        if self.reason is not None:
            fields["reason"] = self.reason
        return fields


def defined(value: float | int, unit: str, periods_per_year: int | None = None) -> Number:
    """A number that is defined; one that is not finite becomes undefined, and says so."""
    if not math.isfinite(value):
        return undefined("not finite", unit, periods_per_year)
    return Number(value, unit, None, periods_per_year)


def undefined(reason: str, unit: str, periods_per_year: int | None = None) -> Number:
    """A number that is not defined, and why."""
    return Number(None, unit, reason, periods_per_year)
