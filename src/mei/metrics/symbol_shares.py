"""How much of a result hangs on few symbols, or on those of a list (specification part 3, section 8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

#: Fields of a symbol in a report that add up.
SUMMED: Final = (
    "trades",
    "wins",
    "losses",
    "realised_pnl_usd",
    "funding_pnl_usd",
    "fees_usd",
    "net_pnl_usd",
    "estimated_slippage_usd",
    "fills",
    "funding_events",
)
#: Those of them that are counts.
COUNTED: Final = ("trades", "wins", "losses", "fills", "funding_events")
#: Those whose share in the total is told.
SHARED: Final = ("net_pnl_usd", "trades", "fees_usd")
_TINY: Final = 1e-12
_FEW: Final = 5


@dataclass(frozen=True, slots=True)
class Concentration:
    """Of profits net of costs, by symbol. Fractions of `positive_usd`, what the symbols with a profit made together.

    top1_symbol: the one that made most, None without a symbol. Fractions are 0 where no symbol made a profit.
    """

    n_symbols: int
    positive_usd: float
    top1_symbol: str | None
    top1_frac: float
    top5_frac: float


def concentration(net_usd: Mapping[str, float]) -> Concentration:
    """Symbol -> net profit in USD; equal profits are ranked as they stand."""
    positive = _sum(max(0.0, net) for net in net_usd.values())
    best = sorted(net_usd, key=lambda symbol: -net_usd[symbol])[:_FEW]
    if not positive > 0.0:
        return Concentration(len(net_usd), positive, best[0] if best else None, 0.0, 0.0)
    top5 = _sum(max(0.0, net_usd[symbol]) for symbol in best)
    return Concentration(
        len(net_usd), positive, best[0], net_usd[best[0]] / positive, top5 / positive
    )


def sums_of(
    by_symbol: Mapping[str, Mapping[str, float]], symbols: Iterable[str]
) -> dict[str, float]:
    """SUMMED over `symbols`, in their order; counts stay whole."""
    rows = [by_symbol[symbol] for symbol in symbols]
    sums: dict[str, float] = {}
    for name in SUMMED:
        values = [row[name] for row in rows]
        sums[name] = sum(map(int, values)) if name in COUNTED else _sum(values)
    return sums


def shares_of(part: Mapping[str, float], total: Mapping[str, float]) -> dict[str, float]:
    """SHARED of `part` as fractions of `total`; 0 where the total is next to nothing."""
    return {name: part[name] / total[name] if abs(total[name]) >= _TINY else 0.0 for name in SHARED}


def _sum(values: Iterable[float]) -> float:
    """Plain, from left to right: that of Python itself differs between its versions."""
    total = 0.0
    for value in values:
        total += value
    return total
