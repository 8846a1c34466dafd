"""Types of a strategy file's values, and everything in such a file that a strict run refuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from mei.model.bars import interval_ms
from mei.model.errors import ConfigError
from mei.rules.mei_alpha.keys import BY_PATH, KEYS, MAX_UINT, OF_PORTFOLIO, WORDS, Key
from mei.rules.mei_alpha.ranges import value_fault

LAYERS: Final = ("global", "symbols", "live")
#: Keys of the live engine; the backtester passes over them.
LIVE_ENGINE_KEYS: Final = frozenset(
    (
        *(
            f"market_regime.{name}"
            for name in (
                "enable_regime_gate",
                "regime_gate_breadth_low",
                "regime_gate_breadth_high",
                "regime_gate_btc_adx_min",
                "regime_gate_btc_atr_pct_min",
                "regime_gate_fail_open",
            )
        ),
        "trade.size_multiplier",
        "watchlist_exclude",
    )
)
_ROOT_IGNORED: Final = ("modes", "watchlist_exclude")
_MAX_SHOWN: Final = 60

#: Of an enumeration, what any other word is read as where nothing is refused.
_OTHER_WORD: Final = {"confidence": "high", "macd_mode": "accel"}
_MUST: Final = {
    "float": "a number",
    "uint": "a whole number, 0 or more",
    "bool": "true or false",
    "string": "text",
    "confidence": "low, medium or high",
    "macd_mode": "accel, sign or none",
}

Tree = dict[str, Any]


def tree_of_keys() -> Tree:
    """The sections as nested dicts, with the Key of each setting as a leaf."""
    tree: Tree = {}
    for key in KEYS:
        *sections, name = key.path.split(".")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
        node[name] = key
    return tree


_TREE: Final = tree_of_keys()


def type_fault(kind: str, value: Any) -> str | None:
    """What `value` must be to have the type `kind`, in words, or None if it has. No word of an enumeration is wrong."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if kind == "float":
        is_right = is_whole or isinstance(value, float)
    elif kind == "uint":
        is_right = is_whole and 0 <= value <= MAX_UINT
    elif kind == "bool":
        is_right = isinstance(value, bool)
    else:
        is_right = isinstance(value, str)
    return None if is_right else _MUST[kind]


def typed(kind: str, value: Any) -> float | int | bool | str:
    """A value without type fault as it stands in a configuration."""
    if kind in WORDS:
        words = WORDS[kind]
        return words.get(value.lower(), words[_OTHER_WORD[kind]])
    if kind == "float":
        return float(value)
    right: int | bool | str = value
    return right


def written(kind: str, value: Any) -> Any:
    """A value of a configuration as a file writes it: enumerations by their word."""
    if kind not in WORDS:
        return value
    return next(word for word, number in WORDS[kind].items() if number == value)


def shown(value: Any) -> str:
    """A value of a file for a message, on one line and not too long."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


@dataclass(slots=True)
class Found:
    """What is wrong in a file, in its order, and which of its keys are passed over."""

    faults: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def document_faults(document: Any, *, is_alone: bool = False) -> Found:
    """Everything in a parsed file that is no setting, or is one with a wrong value; one sentence each.

    is_alone: a symbol's layer is that of the whole portfolio when only this symbol is traded; otherwise it may not hold
    what is read once for all symbols.
    """
    found = Found()
    if not isinstance(document, Mapping):
        found.faults.append(
            f"the root must be a mapping of {', '.join(LAYERS)}, was {shown(document)}"
        )
        return found
    for name, node in document.items():
        if name in ("global", "live"):
            _check_section(found, name, "", _TREE, node)
        elif name == "symbols":
            _check_symbols(found, node)
            if not is_alone:
                _refuse_of_portfolio(found, node)
        elif name in _ROOT_IGNORED:
            found.ignored.append(name)
        elif name != "version":
            found.faults.append(f"{name} is not a key of the root{_root_hint(name)}")
    return found


def _root_hint(name: Any) -> str:
    if name in _TREE:
        return f", put it under global (global.{name})"
    near = get_close_matches(str(name), LAYERS, n=1)
    return f", did you mean {near[0]!r}?" if near else f": there are {', '.join(LAYERS)}"


def _check_symbols(found: Found, node: Any) -> None:
    if node is None:
        return
    if not isinstance(node, Mapping):
        found.faults.append(f"symbols must be a mapping of symbol to settings, was {shown(node)}")
        return
    for name, body in node.items():
        if isinstance(name, str) and name:
            _check_section(found, f"symbols.{name}", "", _TREE, body)
        else:
            found.faults.append(f"a symbol under symbols must be text, was {shown(name)}")


def _refuse_of_portfolio(found: Found, node: Any) -> None:
    for name, body in node.items() if isinstance(node, Mapping) else ():
        for path in OF_PORTFOLIO:
            section, _, key = path.partition(".")
            inner = body.get(section) if isinstance(body, Mapping) else None
            if isinstance(inner, Mapping) and inner.get(key) is not None:
                found.faults.append(
                    f"symbols.{name}.{path} would have no effect, it is read once for all symbols: put it under "
                    f"global (global.{path})"
                )


def _check_section(found: Found, layer: str, path: str, tree: Tree, node: Any) -> None:
    """Faults of one section; `path` is its dotted path inside of the layer, empty for the layer itself."""
    if node is None:
        return
    full = f"{layer}.{path}" if path else layer
    if not isinstance(node, Mapping):
        found.faults.append(f"{full} must be a mapping, was {shown(node)}")
        return
    for name, value in node.items():
        inner = f"{path}.{name}" if path else f"{name}"
        known = tree.get(name) if isinstance(name, str) else None
        if isinstance(known, Key):
            found.faults.extend(f"{full}.{name} {words}" for words in _leaf_faults(known, value))
        elif known is not None:
            _check_section(found, layer, inner, known, value)
        elif inner in LIVE_ENGINE_KEYS:
            found.ignored.append(f"{full}.{name}")
        else:
            found.faults.append(f"{full}.{name} is not a setting{_hint(name, tree)}")


def _hint(name: Any, tree: Tree) -> str:
    if name in LAYERS:
        return ": sections such as trade stand here"
    near = get_close_matches(str(name), tree, n=1)
    if near:
        return f", did you mean {near[0]!r}?"
    elsewhere = [path for path in BY_PATH if path.rpartition(".")[2] == name]
    if elsewhere or name in _TREE:
        return f", did you mean {' or '.join(elsewhere) or name}?"
    return f": there are {', '.join(tree)}" if len(tree) <= len(_TREE) else ""


def _leaf_faults(key: Key, value: Any) -> Iterator[str]:
    if value is None:
        return
    must = type_fault(key.kind, value)
    if must is not None:
        yield f"must be {must}, was {shown(value)}{_type_hint(key.kind, value)}"
    elif key.kind in WORDS:
        if value.lower() not in WORDS[key.kind]:
            near = get_close_matches(value.lower(), WORDS[key.kind], n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            yield f"must be {_MUST[key.kind]}, was {shown(value)}{hint}"
    elif key.kind == "string":
        if value and not _is_interval(value):
            yield f"must be an interval such as 1m or 4h, was {shown(value)}"
    elif (bounds := value_fault(key.path, value)) is not None:
        yield f"must be {bounds}, was {shown(value)}"


def _type_hint(kind: str, value: Any) -> str:
    """How the author may have meant it."""
    if kind == "uint" and isinstance(value, float) and value >= 0 and value.is_integer():
        return f", write {int(value)}"
    if kind == "bool" and str(value).lower() in ("yes", "on", "1"):
        return ", write true"
    if kind == "bool" and str(value).lower() in ("no", "off", "0"):
        return ", write false"
    if kind == "string" and isinstance(value, int | float) and not isinstance(value, bool):
        return ", write a number and its unit such as 1h"
    if kind in ("float", "uint") and isinstance(value, str) and _is_number(value):
        return f", write {float(value):g} without quotes and leading zeros"
    return ""


def _is_number(text: str) -> bool:
    try:
        return abs(float(text)) < float("inf")
    except ValueError:
        return False


def _is_interval(label: str) -> bool:
    try:
        interval_ms(label)
    except ConfigError:
        return False
    return True
