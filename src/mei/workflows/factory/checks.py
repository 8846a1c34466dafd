"""The checks of a candidate: their names, and what each gave in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

#: In the order they are made, after the replay.
CHECKS: Final = (
    "monte_carlo",
    "cross_universe",
    "concentration",
    "walk_forward",
    "slippage_stress",
    "sensitivity",
)


def in_words(name: str, found: Mapping[str, Any]) -> str:
    """What the check `name` gave, as it stands in an item of report.json."""
    if name == "walk_forward":
        one = found["aggregate"]
        daily = ", ".join(f"{value * 100.0:+.4f}%" for value in one["oos_daily_returns"])
        return f"{daily} a day out of sample, deepest drawdown {one['max_oos_drawdown_pct'] * 100.0:.2f}%"
    if name == "slippage_stress":
        one = found["aggregate"]
        return (
            f"PnL ${one['baseline_total_pnl']:.2f} at {one['baseline_bps']:g} bps, "
            f"${one['pnl_at_reject_bps']:.2f} at {one['reject_bps']:g}"
        )
    if name == "sensitivity":
        one = found["aggregate"]
        return (
            f"{one['positive_rate'] * 100.0:.0f}% of {one['variants_ran']} variants with a profit, median PnL "
            f"${one['median_total_pnl']:.2f}"
        )
    if name == "concentration":
        one = found["metrics"]
        return f"{one['symbols_traded']} symbols, the best made {one['top1_pnl_pct'] * 100.0:.1f}% of all profits"
    if name == "cross_universe":
        return "; ".join(
            f"{which}: {shares['net_pnl_usd'] * 100.0:.1f}% of net PnL"
            for which, shares in found.items()
        )
    if "skipped" in found:
        return str(found["skipped"])
    return "; ".join(
        f"{method}: final balance ${of['final_balance']['p02_5']:.2f} to ${of['final_balance']['p97_5']:.2f}"
        for method, of in found["methods"].items()
    )
