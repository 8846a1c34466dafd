"""What a strict sweep refuses before it starts: axes, values and combinations that a strategy file may not have."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from mei.model.bars import FloatArray
from mei.model.errors import ConfigError
from mei.workflows.relation import Relation
from mei.workflows.strategy import BacktestStrategy
from mei.workflows.sweep_constraint import Constraint
from mei.workflows.sweep_spec import Axis, SweepSpec, refuse_unknown_axes

_BLOCK: Final = 1 << 16
#: Combinations of the axes that a relation hangs on that are looked at.
_MOST_CHECKED: Final = 1 << 26


def check_swept(strategy: BacktestStrategy, spec: SweepSpec, path: str) -> None:
    """ConfigError, naming the spec `path` and the part of it that is wrong.

    Axes must be settings that can be swept, each once; values those a file may have; and no combination may bring
    settings together that a file would be refused for. This looks at the values of the axes concerned, not at every
    combination of the sweep.
    """
    _, unknown = strategy.with_swept(dict.fromkeys(spec.paths, 1.0))
    refuse_unknown_axes(unknown, strategy.sweepable())
    settings = [strategy.setting_of(axis.path) for axis in spec.axes]
    for number, setting in enumerate(settings):
        if setting in settings[:number]:
            other = spec.axes[settings.index(setting)].path
            raise ConfigError(
                f"{path}: axes must be different settings, {other} and {spec.axes[number].path} are the same: "
                "leave one out"
            )
    if spec.gives_lookback and not strategy.reads_lookback:
        raise ConfigError(
            f"{path}: lookback has no effect on this strategy, whose signals wait for a lookback of its own settings: "
            "leave it out"
        )
    for axis in spec.axes:
        for value in axis.values:
            fault = strategy.value_fault(axis.path, value)
            if fault is not None:
                raise ConfigError(
                    f"{path}: values of axis {axis.path} must be {fault}, was {value!r}"
                )
    for relation in strategy.relations():
        _check_relation(relation, strategy, spec, path)


def _check_relation(
    relation: Relation, strategy: BacktestStrategy, spec: SweepSpec, path: str
) -> None:
    """What does not hold for the extreme values may still be left out by constraints; only then is there a search."""
    own = [axis for axis in spec.axes if strategy.setting_of(axis.path) in relation.base]
    if not own or not _breaks_somewhere(relation, strategy, own):
        return
    names = {strategy.setting_of(axis.path): axis.path for axis in own}
    wanted = relation.constraint(names)
    if any("".join(one.text.split()) == "".join(wanted.split()) for one in spec.constraints):
        return
    inner = [one for one in spec.constraints if one.paths <= {axis.path for axis in own}]
    axes, constraints = _linked(spec, own)
    # Most often the constraints on these axes alone settle it.
    if _first_broken(relation, strategy, own, inner) is None:
        return
    found = _first_broken(relation, strategy, axes, constraints)
    if found is None:
        return
    values = {**relation.base, **{name: found.get(at, np.nan) for name, at in names.items()}}
    where = ", ".join(f"{names.get(name, name)} = {value:.15g}" for name, value in values.items())
    told = f"is not with {where}" if found else f"which {_MOST_CHECKED:,} of them do not show"
    raise ConfigError(
        f"{path}: {relation.must} in every combination, {told}: leave such out, "
        f"constraints: [{wanted}]"
    )


def _breaks_somewhere(relation: Relation, strategy: BacktestStrategy, axes: Sequence[Axis]) -> bool:
    """Whether the relation breaks for the smallest or largest values; if not, it does for none between them."""
    corners = itertools.product(*({min(axis.values), max(axis.values)} for axis in axes))
    columns = np.array(list(corners)).T
    swept = {
        strategy.setting_of(axis.path): column for axis, column in zip(axes, columns, strict=True)
    }
    return bool(np.any(relation.breaks(swept)))


def _linked(spec: SweepSpec, own: Sequence[Axis]) -> tuple[list[Axis], list[Constraint]]:
    """The axes that constraints tie to `own`, with those constraints."""
    paths = {axis.path for axis in own}
    while True:
        constraints = [one for one in spec.constraints if one.paths & paths]
        wider = paths.union(*(one.paths for one in constraints))
        if wider == paths:
            return [axis for axis in spec.axes if axis.path in paths], constraints
        paths = wider


def _first_broken(
    relation: Relation,
    strategy: BacktestStrategy,
    axes: Sequence[Axis],
    constraints: Sequence[Constraint],
) -> dict[str, float] | None:
    """The first combination of `axes` that holds the constraints and breaks the relation.

    {} if the first `_MOST_CHECKED` do not and there are more.
    """
    distinct = tuple(Axis(axis.path, tuple(dict.fromkeys(axis.values))) for axis in axes)
    part = SweepSpec(distinct, constraints=tuple(constraints))
    for start in range(0, min(part.n_product, _MOST_CHECKED), _BLOCK):
        indices = part.allowed(start, start + _BLOCK)
        columns = part.columns(indices)
        broken = indices[_broken(relation, strategy, columns, len(indices))]
        if len(broken):
            return part.overrides(int(broken[0]))
    return None if part.n_product <= _MOST_CHECKED else {}


def _broken(
    relation: Relation, strategy: BacktestStrategy, columns: Mapping[str, FloatArray], n: int
) -> Any:
    swept = {strategy.setting_of(path): values for path, values in columns.items()}
    return np.broadcast_to(relation.breaks(swept), (n,))
