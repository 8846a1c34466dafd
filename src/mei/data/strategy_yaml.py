"""Mei Alpha's strategy file: layers of one YAML document, merged and typed into configurations.

Order, later wins: built-in defaults, `global`, `symbols.<SYM>`, `live` (only if asked for). A null keeps what is below
it. With `config_errors = refuse` every fault of the file is told at once and nothing runs; with `defaults` any fault
drops the whole file and leaves a message.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from mei.data.strategy_faults import (
    LAYERS,
    document_faults,
    shown,
    tree_of_keys,
    type_fault,
    typed,
    written,
)
from mei.model.errors import ConfigError
from mei.model.semantics import Semantics
from mei.model.yaml12 import TaggedMapping, parse_yaml, read_text
from mei.rules.mei_alpha.keys import DEFAULTS, KEYS, Config, Key
from mei.rules.mei_alpha.ranges import relation_faults

_MAX_TOLD: Final = 10

#: Absent from the tree below the file's layers: a null written for one of these is a value of the wrong type.
_ABSENT: Final = frozenset(
    f"trade.{name}_low_conf"
    for name in (
        "trailing_start_atr",
        "trailing_distance_atr",
        "smart_exit_adx_exhaustion_lt",
        "rsi_exit_ub_lo_profit",
        "rsi_exit_ub_hi_profit",
        "rsi_exit_lb_lo_profit",
        "rsi_exit_lb_hi_profit",
    )
) | {"trade.smart_exit_adx_exhaustion_lt"}


@dataclass(frozen=True, slots=True)
class Layers:
    """A strategy file, read. Every configuration asked of it is a dict of the caller's own."""

    path: Path
    symbols: tuple[str, ...]
    _document: Mapping[Any, Any]
    _is_live: bool
    _is_strict: bool
    _tell: Callable[[str], None]
    _made: dict[str, Config] = field(default_factory=dict)

    @property
    def portfolio(self) -> Config:
        """Defaults, `global`, and `live` if asked for."""
        return self._config("", None)

    def for_symbol(self, name: str) -> Config:
        """Defaults, `global`, `symbols.<name>` (as written, else in upper case), and `live` if asked for."""
        for key in self._keys_of(name):
            return self._config(f"symbols.{key}", self._document["symbols"][key])
        return self.portfolio

    def unmatched(self, names: Collection[str]) -> dict[str, str]:
        """Layers that belong to none of the symbols `names` -> the one that may be meant, or an empty text."""
        used = {one for name in names for one in self._keys_of(name)[:1]}
        return {layer: _near_symbol(layer, names) for layer in self.symbols if layer not in used}

    def _keys_of(self, name: str) -> list[str]:
        """Keys under `symbols` for a symbol: as written, then in upper case; the first counts."""
        return [one for one in dict.fromkeys((name, name.upper())) if one in self.symbols]

    def _config(self, owner: str, layer: Any) -> Config:
        if owner not in self._made:
            self._made[owner] = self._merged(layer)
        return dict(self._made[owner])

    def _merged(self, layer: Any) -> Config:
        config = _merged_config(self._document, layer, self._is_live, with_all=self._is_strict)
        if isinstance(config, str):
            self._tell(f"[config] Failed to deserialize merged config: {self.path}: {config}")
            return dict(DEFAULTS)
        return config


def _near_symbol(layer: str, names: Collection[str]) -> str:
    """The symbol that the name of a layer may stand for: another case, another quote, a typo."""
    by_case = {name.upper(): name for name in names}
    written = layer.upper()
    near = [written] if written in by_case else []
    near += [one for one in by_case if one.startswith(written) or written.startswith(one)]
    near += get_close_matches(written, by_case, n=1)
    return by_case[near[0]] if near else ""


def load_layers(
    path: Path, *, live: bool, semantics: Semantics, tell: Callable[[str], None]
) -> Layers:
    """Read a strategy file.

    live: whether the `live` layer applies; `tell` gets what the user should know, a line each. Raises ConfigError for a
    file that is missing or at fault, with the faults in one line, if `semantics.config_errors` is `refuse`; otherwise
    the file counts as empty.
    """
    is_strict = semantics.config_errors == "refuse"
    is_alone = semantics.symbol_layer == "alone"
    document = _checked(path, live, is_alone, tell) if is_strict else _forgiven(path, tell)
    entries = document.get("symbols")
    names = entries if isinstance(entries, Mapping) else ()
    symbols = tuple(name for name in names if isinstance(name, str))
    return Layers(path, symbols, document, live, is_strict, tell)


def _checked(
    path: Path, live: bool, is_alone: bool, tell: Callable[[str], None]
) -> Mapping[Any, Any]:
    if not path.exists():
        raise ConfigError(f"a strategy file must exist, {path} does not; name one with --config")
    document = parse_yaml(read_text(path), str(path))
    document = {} if document is None else document
    for ignored in refuse_faults(document, str(path), live=live, is_alone=is_alone):
        tell(f"{path}: {ignored} is a setting of the live engine; the backtester does without it")
    checked: Mapping[Any, Any] = document
    return checked


def refuse_faults(document: Any, source: str, *, live: bool, is_alone: bool = False) -> list[str]:
    """Refuse a parsed strategy file that a strict run refuses: ConfigError with the faults in one line.

    `source` stands before them; live: whether the `live` layer applies; is_alone: as of `document_faults`. Gives the
    keys that are passed over.
    """
    found = document_faults(document, is_alone=is_alone)
    faults = [*found.faults, *_disorder(document, live)]
    if faults:
        more = len(faults) - _MAX_TOLD
        rest = [f"and {more} more"] if more > 0 else []
        raise ConfigError(f"{source}: {'; '.join([*faults[:_MAX_TOLD], *rest])}")
    return found.ignored


def _disorder(document: Any, live: bool) -> list[str]:
    """Settings of the merged configurations that do not go together, as far as these can be made."""
    if not isinstance(document, Mapping):
        return []
    entries = document.get("symbols")
    layers: dict[str, Any] = {"": None}
    if isinstance(entries, Mapping):
        layers |= {f"symbols.{name}: ": body for name, body in entries.items()}
    told: dict[str, str] = {}
    for owner, layer in layers.items():
        config = _merged_config(document, layer, live, with_all=True)
        if not isinstance(config, str):
            for path, words in relation_faults(config):
                told.setdefault(f"{path} {words}", owner)
    return [f"{owner}{sentence}" for sentence, owner in told.items()]


def _forgiven(path: Path, tell: Callable[[str], None]) -> Mapping[Any, Any]:
    if not path.exists():
        return {}
    try:
        text = read_text(path)
    except ConfigError as error:
        tell(f"[config] Failed to read {error}")
        return {}
    try:
        document = parse_yaml(text, str(path), only=LAYERS)
    except ConfigError as error:
        tell(f"[config] Failed to parse YAML {error}")
        return {}
    if document is None:
        return {}
    if not isinstance(document, Mapping):
        tell(
            f"[config] Failed to parse YAML {path}: the root must be a mapping, was {shown(document)}"
        )
        return {}
    return document


def _merged_config(
    document: Mapping[Any, Any], layer: Any, live: bool, *, with_all: bool
) -> Config | str:
    """The layers over the defaults, `layer` being that of a symbol or None; the first fault of their types instead."""
    tree = _default_tree(with_all)
    for overlay in (document.get("global"), layer, document.get("live") if live else None):
        tree = _merge(tree, overlay)
    config: Config = {}
    fault = _fill(config, "", tree_of_keys(), tree)
    return config if fault is None else fault


def _default_tree(with_all: bool) -> Any:
    """The defaults as a file would write them, without the keys of which a null is a fault unless `with_all`."""
    tree: dict[str, Any] = {}
    for key in KEYS:
        if with_all or key.path not in _ABSENT:
            *sections, name = key.path.split(".")
            node = tree
            for section in sections:
                node = node.setdefault(section, {})
            node[name] = written(key.kind, key.default)
    return tree


def _merge(base: Any, overlay: Any) -> Any:
    """`overlay` over `base`: mappings key by key, everything else in one piece; a null changes nothing."""
    if overlay is None:
        return base
    if not (_is_plain(base) and _is_plain(overlay)):
        return overlay
    merged = dict(base)
    for name, value in overlay.items():
        merged[name] = _merge(merged[name], value) if name in merged else value
    return merged


def _is_plain(node: Any) -> bool:
    return isinstance(node, Mapping) and not isinstance(node, TaggedMapping)


def _fill(config: Config, path: str, tree: Mapping[str, Any], node: Any) -> str | None:
    """Type a section into `config`, defaults where it has no key; the first fault, or None."""
    if not isinstance(node, Mapping):
        return f"{path or 'a layer'} must be a mapping, was {shown(node)}"
    for name, known in tree.items():
        inner = f"{path}.{name}" if path else name
        fault = None
        if not isinstance(known, Key):
            fault = _fill(config, inner, known, node.get(name, {}))
        elif name not in node:
            config[inner] = known.default
        elif (must := type_fault(known.kind, node[name])) is None:
            config[inner] = typed(known.kind, node[name])
        else:
            fault = f"{inner} must be {must}, was {shown(node[name])}"
        if fault is not None:
            return fault
    return None
