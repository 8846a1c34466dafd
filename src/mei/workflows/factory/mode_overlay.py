"""The strategy file that a run is of: the one given, with the overlay of a mode on it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

from mei.data.strategy_faults import shown
from mei.data.strategy_yaml import refuse_faults
from mei.model.errors import ConfigError

#: Other names of modes.
ALIASES: Final = {
    "mode1": "primary",
    "mode2": "fallback",
    "mode3": "conservative",
    "safety": "conservative",
    "safe": "conservative",
    "halt": "flat",
    "pause": "flat",
}
_LAYERS: Final = ("global", "symbols")


def mode_name(given: str) -> str:
    """The name of a mode in a file: in lower case, an alias as what it stands for."""
    name = given.strip().lower()
    return ALIASES.get(name, name)


def with_mode(document: Mapping[str, Any], mode: str, source: str) -> dict[str, Any]:
    """`document` with `modes.<mode>` merged into `global` and `symbols`, mappings key by key, the rest replaced.

    An overlay without a layer is one of `global`. The modes stay in the file. ConfigError, naming `source`, for a mode
    that is not there or a file that a strict run refuses.
    """
    modes = document.get("modes")
    modes = {} if modes is None else modes
    if not isinstance(modes, Mapping):
        raise ConfigError(f"{source}: modes must be a mapping, was {shown(modes)}")
    name = mode_name(mode)
    if name not in modes:
        known = ", ".join(sorted(map(str, modes))) or "none"
        raise ConfigError(
            f"{source}: modes must have {name} (--strategy-mode {mode}), has {known}: add it, or leave the flag out"
        )
    overlay = modes[name]
    overlay = {} if overlay is None else overlay
    if not isinstance(overlay, Mapping):
        raise ConfigError(f"{source}: modes.{name} must be a mapping, was {shown(overlay)}")
    if not any(layer in overlay for layer in _LAYERS):
        overlay = {"global": overlay}
    if others := [key for key in overlay if key not in _LAYERS]:
        raise ConfigError(
            f"{source}: modes.{name} must have global and symbols, or settings of global alone, has {others[0]!r}"
        )
    merged = copy.deepcopy(dict(document))
    for layer in _LAYERS:
        if overlay.get(layer) is not None:
            merged[layer] = _merged(merged.get(layer), overlay[layer])
    refuse_faults(merged, f"{source} with mode {name}", live=False)
    return merged


def _merged(base: Any, overlay: Any) -> Any:
    if not (isinstance(base, Mapping) and isinstance(overlay, Mapping)):
        return copy.deepcopy(overlay)
    found = dict(base)
    for key, value in overlay.items():
        found[key] = _merged(found[key], value) if key in found else copy.deepcopy(value)
    return found
