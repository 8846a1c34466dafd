"""What the policy knows about a bar: x = [1, regime_0 .. regime_7, volatility_z].

The vector always has the same ten places, so that a draw belongs to a feature whatever the number of regimes is.
What is not defined does not speak:
- a regime block that is null as a whole (no model yet, warm-up) or absent is zeros: the intercept decides;
- a null or absent `volatility_z` is 0: no deviation from the usual is known;
- a block that is null in part, a name that does not exist, NaN or infinity is a RequestError.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mei.model.errors import RequestError
from mei.policy.schemas import refuse_unknown

MAX_REGIMES = 8
N_FEATURES = 2 + MAX_REGIMES
VOLATILITY = "volatility_z"

_VOLATILITY_PLACE = N_FEATURES - 1
_REGIME = re.compile(r"regime_([0-7])")

Floats = npt.NDArray[np.float64]


def context_rows(features: Mapping[str, Sequence[float | None]], n_rows: int) -> Floats:
    """Features as columns -> (n_rows, 10) contexts. Raises RequestError."""
    n_regimes = _count_regimes(features)
    contexts = np.zeros((n_rows, N_FEATURES))
    contexts[:, 0] = 1.0
    for place in range(n_regimes):
        name = f"regime_{place}"
        contexts[:, 1 + place] = _column(name, features[name], n_rows)
    if n_regimes:
        _silence_unknown_regimes(contexts[:, 1 : 1 + n_regimes])
    if VOLATILITY in features:
        column = _column(VOLATILITY, features[VOLATILITY], n_rows)
        contexts[:, _VOLATILITY_PLACE] = np.where(np.isnan(column), 0.0, column)
    return contexts


def context_of(features: Mapping[str, float | None]) -> Floats:
    """Features of one bar -> (10,) context. Raises RequestError."""
    row: Floats = context_rows({name: [value] for name, value in features.items()}, 1)[0]
    return row


def active_places(contexts: Floats, seen: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """The places that can matter: set in a row here, or `seen` in an outcome. Ascending."""
    return np.flatnonzero(seen | (contexts != 0.0).any(axis=0))


def _count_regimes(features: Mapping[str, object]) -> int:
    known = [f"regime_{place}" for place in range(MAX_REGIMES)] + [VOLATILITY]
    refuse_unknown(features, known, "no feature", RequestError)
    n_regimes = sum(1 for name in features if _REGIME.fullmatch(name))
    missing = [f"regime_{i}" for i in range(n_regimes) if f"regime_{i}" not in features]
    if missing:
        raise RequestError(
            f"regimes must be numbered from 0 without a hole; {missing[0]} is missing"
        )
    return n_regimes


def _column(name: str, values: Sequence[float | None], n_rows: int) -> Floats:
    if len(values) != n_rows:
        raise RequestError(
            f"features.{name} must have {n_rows} rows as as_of_ms, found {len(values)}"
        )
    column = np.array(values, dtype=np.float64)
    n_nulls = sum(1 for value in values if value is None)
    if np.isinf(column).any() or int(np.isnan(column).sum()) != n_nulls:
        raise RequestError(f"features.{name} must be finite numbers or null, found NaN or infinity")
    return column


def _silence_unknown_regimes(block: Floats) -> None:
    undefined = np.isnan(block)
    if not undefined.any():
        return
    unknown = undefined.all(axis=1)
    partly = undefined.any(axis=1) & ~unknown
    if partly.any():
        row = int(np.flatnonzero(partly)[0])
        raise RequestError(
            f"row {row}: regime probabilities are null in part; give all of them or none"
        )
    block[unknown] = 0.0
