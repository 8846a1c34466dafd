"""What a sweep runs: axes, constraints, and every combination by its number, never all of them at once.

Combination `index` of the product has the values of its digits in mixed radix, the first axis the slowest; so a plan of
ten million combinations takes no more memory than its axes. A constraint leaves combinations out; the others keep their
numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

from mei.model.bars import FloatArray, IntArray
from mei.model.errors import ConfigError, DataError
from mei.model.yaml12 import load_yaml
from mei.workflows.sweep_constraint import Constraint, parse_constraint

#: Rows of `SweepSpec.indices` that are checked in one go.
_BLOCK: Final = 1 << 16
#: Of one axis.
MOST_VALUES: Final = 1_000_000
_MOST_COMBINATIONS: Final = 1 << 62
_SPEC_KEYS: Final = ("axes", "constraints", "lookback", "initial_balance")
_RANGE_KEYS: Final = ("min", "max", "step")
_AXIS_KEYS: Final = ("path", "values", *_RANGE_KEYS)


@dataclass(frozen=True, slots=True)
class Axis:
    """A dotted path and the values it takes, in their order."""

    path: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SweepSpec:
    """What is swept. lookback: as in a replay. initial_balance_usd: as the file says, which is only told.

    gives_lookback: whether the file has a lookback.
    """

    axes: tuple[Axis, ...]
    lookback: int = 200
    constraints: tuple[Constraint, ...] = ()
    initial_balance_usd: float | None = None
    gives_lookback: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        """The swept paths in the order of the axes, each once."""
        return tuple(dict.fromkeys(axis.path for axis in self.axes))

    @property
    def n_product(self) -> int:
        """Combinations of all values, constraints aside; 1 without an axis."""
        return math.prod(len(axis.values) for axis in self.axes)

    def overrides(self, index: int) -> dict[str, float]:
        """Path -> value of a combination, in the order of the axes; of equal paths the last counts.

        IndexError unless 0 <= index < n_product.
        """
        if not 0 <= index < self.n_product:
            raise IndexError(f"a combination must be 0 to {self.n_product - 1}, was {index}")
        values = []
        for axis in reversed(self.axes):
            index, digit = divmod(index, len(axis.values))
            values.append(axis.values[digit])
        return dict(zip((axis.path for axis in self.axes), reversed(values), strict=True))

    def columns(self, indices: IntArray) -> dict[str, FloatArray]:
        """Path -> the values of the combinations `indices` (within 0 to n_product), each of shape (n,)."""
        columns: list[FloatArray] = []
        rest = np.asarray(indices, dtype=np.int64)
        for axis in reversed(self.axes):
            rest, digits = np.divmod(rest, len(axis.values))
            columns.append(np.asarray(axis.values)[digits])
        return dict(zip((axis.path for axis in self.axes), reversed(columns), strict=True))

    def allowed(self, start: int, stop: int) -> IntArray:
        """The combinations from `start` to `stop` (cut to what there is) that hold every constraint, ascending."""
        return self.holding(np.arange(max(start, 0), min(stop, self.n_product), dtype=np.int64))

    def holding(self, indices: IntArray) -> IntArray:
        """Those of `indices` (within 0 to n_product) that hold every constraint, in their order."""
        if not self.constraints or len(indices) == 0:
            return indices
        columns = self.columns(indices)
        holds = np.ones(len(indices), dtype=np.bool_)
        for constraint in self.constraints:
            holds &= constraint.holds(columns)
        return indices[holds]

    def indices(self) -> Iterator[int]:
        """Every combination that holds the constraints, ascending, a block in memory at a time."""
        for start in range(0, self.n_product, _BLOCK):
            yield from self.allowed(start, start + _BLOCK).tolist()

    def n_allowed(self) -> int:
        """How many combinations hold the constraints; a look at each of them if there is a constraint."""
        if not self.constraints:
            return self.n_product
        starts = range(0, self.n_product, _BLOCK)
        return sum(len(self.allowed(start, start + _BLOCK)) for start in starts)


def config_id(index: int) -> str:
    """The name of a combination in results: `sweep_0042`."""
    return f"sweep_{index:04d}"


def read_spec(path: str, *, strict: bool = True) -> SweepSpec:
    """The spec in a YAML file.

    strict: refuse names without meaning, paths that are there twice, axes without a value and values that are not
    finite, instead of going on as the reference does. Raises DataError (ConfigError for a name) naming the file and the
    part that is wrong.
    """
    try:
        content = load_yaml(Path(path))
    except ConfigError as error:
        raise DataError(f"--sweep-spec {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("axes"), list):
        raise DataError(f"{path}: a sweep spec must be a mapping with a list `axes`, is not")
    axes = tuple(
        _axis(f"{path}: axes[{number}]", item, strict=strict)
        for number, item in enumerate(content["axes"])
    )
    if strict:
        _refuse_keys(path, content, _SPEC_KEYS)
        _refuse_twice(path, axes)
    n_product = math.prod(len(axis.values) for axis in axes)
    if n_product > _MOST_COMBINATIONS:
        raise DataError(
            f"{path}: the axes of a sweep spec must have at most 2**62 combinations, have {n_product}"
        )
    return SweepSpec(
        axes,
        _lookback(path, content.get("lookback", 200)),
        _constraints(path, content.get("constraints"), axes),
        _balance(path, content),
        "lookback" in content,
    )


def refuse_unknown_axes(unknown: Sequence[str], known: Collection[str]) -> None:
    """ConfigError, with what may have been meant among `known`, if there are `unknown` paths."""
    if not unknown:
        return
    close = get_close_matches(unknown[0], known, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise ConfigError(
        f"every axis must be a setting that can be swept, {', '.join(unknown)} is none{hint}: correct the "
        "sweep spec, or give --semantics strict,config_errors=defaults to leave it without effect"
    )


def _axis(where: str, item: Any, *, strict: bool) -> Axis:
    if not isinstance(item, dict) or not isinstance(item.get("path"), str):
        raise DataError(f"{where} of a sweep spec must have a `path`, was {item!r:.80}")
    if strict:
        _refuse_keys(where, item, _AXIS_KEYS)
    given = [name for name in _RANGE_KEYS if name in item]
    if "values" in item or not given:
        values = _listed(where, item)
        if strict and given:
            raise DataError(
                f"{where} of a sweep spec must have either `values` or `min`, `max` and `step`, has both"
            )
    else:
        values = _stepped(where, item)
    if strict and not values:
        raise ConfigError(
            f"{where}.values of a sweep spec must have at least one value, has none: leave the axis out to sweep the "
            "setting as it is"
        )
    if strict:
        for number, value in enumerate(values):
            if not math.isfinite(value):
                raise DataError(
                    f"{where}.values[{number}] of a sweep spec must be finite, was {value}"
                )
    return Axis(item["path"], values)


def _listed(where: str, item: Mapping[str, Any]) -> tuple[float, ...]:
    values = item.get("values")
    if not isinstance(values, list):
        raise DataError(
            f"{where} of a sweep spec must have a list `values`, or `min`, `max` and `step`, was {item!r:.80}"
        )
    for number, value in enumerate(values):
        if not _is_number(value):
            raise DataError(
                f"{where}.values[{number}] of a sweep spec must be a number, was {value!r:.80}"
            )
    return tuple(map(float, values))


def _stepped(where: str, item: Mapping[str, Any]) -> tuple[float, ...]:
    """min, min + step and so on up to max, counted in decimals as written: 0.3, not 0.30000000000000004."""
    for name in _RANGE_KEYS:
        value: Any = item.get(name)
        if not _is_number(value) or not math.isfinite(value):
            raise DataError(f"{where}.{name} of a sweep spec must be a number, was {value!r:.80}")
    first, last, step = (Fraction(repr(item[name])) for name in _RANGE_KEYS)
    if step <= 0 or first > last:
        raise DataError(
            f"{where} of a sweep spec must have step > 0 and min <= max, "
            f"was min {item['min']}, max {item['max']}, step {item['step']}"
        )
    n_values = (last - first) // step + 1
    if n_values > MOST_VALUES:
        raise DataError(
            f"{where} of a sweep spec must have at most {MOST_VALUES:,} values, has {n_values:,}: "
            "take a larger step"
        )
    # A quotient of two whole numbers is rounded once.
    units = math.lcm(first.denominator, step.denominator)
    start, stride = int(first * units), int(step * units)
    return tuple((start + number * stride) / units for number in range(n_values))


def _lookback(path: str, lookback: Any) -> int:
    if isinstance(lookback, bool) or not isinstance(lookback, int) or lookback < 0:
        raise DataError(
            f"{path}: lookback of a sweep spec must be a whole number from 0 on, was {lookback!r}"
        )
    return lookback


def _balance(path: str, content: Mapping[str, Any]) -> float | None:
    if "initial_balance" not in content:
        return None
    balance = content["initial_balance"]
    if not _is_number(balance):
        raise DataError(
            f"{path}: initial_balance of a sweep spec must be a number, was {balance!r}"
        )
    return float(balance)


def _constraints(path: str, texts: Any, axes: Sequence[Axis]) -> tuple[Constraint, ...]:
    if texts is None:
        return ()
    if not isinstance(texts, list):
        raise DataError(
            f"{path}: constraints of a sweep spec must be a list of comparisons, was {texts!r:.80}"
        )
    paths = [axis.path for axis in axes]
    return tuple(
        parse_constraint(text, paths, f"{path}: constraints[{number}]")
        for number, text in enumerate(texts)
    )


def _refuse_keys(where: str, content: Mapping[Any, Any], known: Sequence[str]) -> None:
    for name in content:
        if name not in known:
            close = get_close_matches(str(name), known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            raise ConfigError(f"{where}: {name} is not a key of a sweep spec, {hint}")


def _refuse_twice(path: str, axes: Sequence[Axis]) -> None:
    for one, other in itertools.combinations(enumerate(axes), 2):
        if one[1].path == other[1].path:
            raise ConfigError(
                f"{path}: axes[{one[0]}] and axes[{other[0]}] must have different paths, "
                f"both have {one[1].path}: leave one out"
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
