"""Schemas of strategies: bounded parameters, presets, instruments; one YAML file a strategy."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from mei.model.errors import ConfigError
from mei.model.yaml12 import load_yaml

#: Used where no folder of schemas is given.
PACKAGED_SCHEMAS = Path(__file__).parent / "strategy_schemas"

Number = int | float
ParameterType = Literal["int", "float"]

_PRESET_ID = re.compile(r"[a-z0-9][a-z0-9_\-]{0,31}")
_TOP_KEYS = ("strategy", "description", "instruments", "parameters", "presets")
_PARAMETER_KEYS = ("type", "min", "max", "unit", "description")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a strategy and its bounds, both inclusive."""

    name: str
    type: ParameterType
    minimum: float
    maximum: float
    unit: str
    description: str

    def problem_with(self, value: object) -> str | None:
        """What is wrong with a value, or None."""
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            return f"{self.name} must be a number, found {value!r}"
        if self.type == "int" and value != int(value):
            return f"{self.name} must be a whole number of {self.unit}, found {value!r}"
        if not self.minimum <= value <= self.maximum:
            bounds = f"{self.minimum:g} to {self.maximum:g} {self.unit}".rstrip()
            return f"{self.name} must be {bounds}, found {value!r}"
        return None


@dataclass(frozen=True, slots=True)
class StrategySchema:
    """What may be set on a strategy. `presets` keep the file's order; `instruments` None = any."""

    strategy: str
    description: str
    instruments: tuple[str, ...] | None
    parameters: Mapping[str, Parameter]
    presets: Mapping[str, Mapping[str, Number]]

    def checked(
        self, params: Mapping[str, object], where: str, error: type[ConfigError] = ConfigError
    ) -> dict[str, Number]:
        """Parameters in the schema's order and types; every one must be there and within its bounds.

        Raises `error` (ConfigError or RequestError) naming `where`, the parameter and its bounds.
        """
        refuse_unknown(params, self.parameters, f"{where}: no parameter", error)
        missing = [name for name in self.parameters if name not in params]
        if missing:
            raise error(f"{where}: {', '.join(missing)} missing; a preset sets every parameter")
        problems = [self.parameters[name].problem_with(value) for name, value in params.items()]
        found = [problem for problem in problems if problem is not None]
        if found:
            raise error(f"{where}: {'; '.join(found)}")
        return {name: _typed(one, params[name]) for name, one in self.parameters.items()}


def _typed(parameter: Parameter, value: Any) -> Number:
    return int(value) if parameter.type == "int" else float(value)


def refuse_unknown(
    names: Iterable[Any], known: Iterable[str], what: str, error: type[ConfigError] = ConfigError
) -> None:
    """Raise `error` for the first name that is not known, with the nearest one that is."""
    choices = list(known)
    for name in names:
        if name in choices:
            continue
        near = get_close_matches(str(name), choices, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(choices)}"
        raise error(f"{what} {name!r}; {hint}")


def load_schemas(folder: Path | None = None) -> dict[str, StrategySchema]:
    """All schemas of a folder (None = the packaged ones), by strategy, in alphabetical order.

    Raises ConfigError naming file and key if anything is missing, unknown or out of bounds.
    """
    folder = PACKAGED_SCHEMAS if folder is None else folder
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise ConfigError(
            f"no strategy schema (*.yaml) in {folder}; put one there for each strategy"
        )
    return {path.stem: load_schema(path) for path in paths}


def load_schema(path: Path) -> StrategySchema:
    """The schema in one file, whose name is the strategy's. Raises ConfigError."""
    document = _mapping(load_yaml(path), f"{path}")
    refuse_unknown(document, _TOP_KEYS, f"{path}: no key")
    if document.get("strategy") != path.stem:
        found = document.get("strategy")
        raise ConfigError(
            f"{path}: strategy must be {path.stem!r} as the file's name, found {found!r}"
        )
    parameters = {
        str(name): _parameter(str(name), body, f"{path}: parameters.{name}")
        for name, body in _mapping(document.get("parameters"), f"{path}: parameters").items()
    }
    schema = StrategySchema(
        strategy=path.stem,
        description=str(document.get("description", "")),
        instruments=_instruments(document.get("instruments"), path),
        parameters=parameters,
        presets={},
    )
    presets = {}
    for name, body in _mapping(document.get("presets"), f"{path}: presets").items():
        where = f"{path}: presets.{name}"
        if not isinstance(name, str) or not _PRESET_ID.fullmatch(name):
            raise ConfigError(f"{where}: a preset's name must match {_PRESET_ID.pattern}")
        presets[name] = schema.checked(_mapping(body, where), where)
    return StrategySchema(
        schema.strategy, schema.description, schema.instruments, parameters, presets
    )


def _mapping(node: Any, where: str) -> dict[Any, Any]:
    if not isinstance(node, dict) or not node:
        raise ConfigError(f"{where} must be a mapping with at least one key, found {node!r}")
    return node


def _instruments(node: Any, path: Path) -> tuple[str, ...] | None:
    if node is None:
        return None
    if not isinstance(node, list) or not node or not all(isinstance(one, str) for one in node):
        raise ConfigError(f"{path}: instruments must be a list like [BTC/USDT], found {node!r}")
    return tuple(one.replace("_", "/") for one in node)


def _parameter(name: str, node: Any, where: str) -> Parameter:
    body = _mapping(node, where)
    refuse_unknown(body, _PARAMETER_KEYS, f"{where}: no key")
    if body.get("type") not in ("int", "float"):
        raise ConfigError(f"{where}.type must be int or float, found {body.get('type')!r}")
    bounds = []
    for key in ("min", "max"):
        bound = body.get(key)
        if (
            isinstance(bound, bool)
            or not isinstance(bound, int | float)
            or not math.isfinite(bound)
        ):
            raise ConfigError(f"{where}.{key} must be a number, found {bound!r}")
        bounds.append(float(bound))
    if bounds[0] > bounds[1]:
        raise ConfigError(f"{where}: min {bounds[0]:g} must not be above max {bounds[1]:g}")
    unit, description = str(body.get("unit", "")), str(body.get("description", ""))
    return Parameter(name, body["type"], bounds[0], bounds[1], unit, description)
