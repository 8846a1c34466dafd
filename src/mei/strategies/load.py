"""Strategies by name, or from a file of the user's: `path/to/file.py:ClassName`."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mei.model.errors import ConfigError, NotFoundError
from mei.model.typed_settings import merged_over
from mei.strategies.base import PortfolioStrategy, Strategy

Kind = type[Strategy] | type[PortfolioStrategy]


@dataclass(frozen=True, slots=True)
class LoadedStrategy:
    """A strategy class under the name it has in config, outputs and URLs.

    source_sha256: hash of the user's file and of the modules of the user's it imports, empty for built-in ones (the
    package's own hash covers those).
    """

    name: str
    kind: Kind
    source_sha256: str


def _built_in() -> dict[str, Kind]:
    from mei.strategies.mei_alpha import MeiAlpha
    from mei.strategies.momentum_breakout import MomentumBreakout

    return {MeiAlpha.name: MeiAlpha, MomentumBreakout.name: MomentumBreakout}


def load_strategy(spec: str) -> LoadedStrategy:
    """The strategy that `spec` names. Raises NotFoundError or ConfigError, saying what exists or what is wrong."""
    if ":" in spec or spec.endswith(".py"):
        return _from_file(spec)
    known = _built_in()
    if spec not in known:
        raise NotFoundError(
            f"STRATEGIES must name built-in strategies ({', '.join(sorted(known))}) or path/to/file.py:ClassName, "
            f"was {spec!r}"
        )
    return LoadedStrategy(spec, known[spec], "")


def known_strategies() -> tuple[str, ...]:
    """Names of the built-in strategies."""
    return tuple(sorted(_built_in()))


def merged_settings(
    strategy: LoadedStrategy,
    configured: Mapping[str, Any],
    folder: Path,
    instruments: tuple[str, ...],
) -> dict[str, Any]:
    """The class's defaults with `configured` over them. Raises ConfigError for unknown keys and wrong types.

    folder: where the file of `configured` lies; instruments: those of the run.
    """
    if issubclass(strategy.kind, PortfolioStrategy):
        return strategy.kind.resolved(configured, folder, instruments)
    return merged_over(
        strategy.kind.defaults, configured, owner=strategy.name, source="config/strategy.yaml"
    )


def _from_file(spec: str) -> LoadedStrategy:
    path_text, _, class_name = spec.partition(":")
    path = Path(path_text)
    if not path.is_file() or not class_name:
        raise ConfigError(
            f"a strategy file must be given as path/to/file.py:ClassName, was {spec!r}"
            + ("" if path.is_file() else f" ({path} does not exist)")
        )
    module, digest = _import(path)
    kind = getattr(module, class_name, None)
    if not (isinstance(kind, type) and issubclass(kind, Strategy | PortfolioStrategy)):
        raise ConfigError(
            f"{path} must define a class {class_name} derived from mei.strategies.base.Strategy or PortfolioStrategy, "
            f"found {kind!r}"
        )
    name = kind.name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", class_name).lower()
    if not re.fullmatch(r"[a-z0-9][a-z0-9_]{0,63}", name):
        raise ConfigError(
            f"{path}: {class_name}.name must be lower-case letters, digits and _, was {name!r}"
        )
    kind.name = name
    return LoadedStrategy(name, kind, digest)


def _import(path: Path) -> tuple[Any, str]:
    """The module of a user's file, and a hash of it and of what it imports of theirs."""
    own = hashlib.sha256(path.read_bytes()).hexdigest()
    module_name = f"mei_user_strategy_{own[:16]}"
    module_spec = importlib.util.spec_from_file_location(module_name, path)
    if module_spec is None or module_spec.loader is None:
        raise ConfigError(f"a strategy file must be a Python source file, was {path}")
    module = importlib.util.module_from_spec(module_spec)
    before = set(sys.modules)
    sys.modules[module_name] = module
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(
            f"strategy file {path} must import cleanly, found {type(error).__name__}: {error}"
        ) from error
    digest = hashlib.sha256(own.encode())
    for name, file in _users_modules(path, before):
        digest.update(name.encode())
        digest.update(file.read_bytes())
    return module, digest.hexdigest()


def _users_modules(path: Path, before: set[str]) -> list[tuple[str, Path]]:
    """Modules the user's file brought along: new ones outside of installed packages, and any beside the file."""
    folder = path.resolve().parent
    installed = [
        Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "purelib", "platlib")
    ]
    found = []
    for name, module in sorted(sys.modules.items()):
        origin = getattr(module, "__file__", None)
        if not isinstance(origin, str) or not origin.endswith(".py"):
            continue
        file = Path(origin).resolve()
        is_installed = any(file.is_relative_to(root) for root in installed)
        is_theirs = name not in before or file.is_relative_to(folder)
        if is_theirs and not is_installed and not name.startswith("mei_user_strategy_"):
            found.append((name, file))
    return found
