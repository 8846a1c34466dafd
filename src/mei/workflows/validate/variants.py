"""Strategy files that differ from one file in one setting, by a little."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from mei.data.strategy_faults import shown
from mei.model.errors import ConfigError
from mei.model.yaml12 import load_yaml
from mei.rules.mei_alpha.keys import BY_PATH
from mei.workflows.strategy import MEI_ALPHA, MOMENTUM_BREAKOUT
from mei.workflows.swept_config import default_of

#: What is tried if nothing is said: path -> deltas, one at a time.
DEFAULT_DELTAS: Final[Mapping[str, tuple[float, ...]]] = {
    "indicators.ema_fast_window": (-1, 1),
    "indicators.ema_slow_window": (-1, 1),
    "indicators.adx_window": (-1, 1),
    "indicators.bb_window": (-1, 1),
    "thresholds.entry.min_adx": (-1, 1),
    "trade.sl_atr_mult": (-0.1, 0.1),
    "trade.tp_atr_mult": (-0.1, 0.1),
}
_STEM: Final = re.compile(r"[A-Za-z0-9_.]+")


@dataclass(frozen=True, slots=True)
class Variant:
    """One setting moved. before, value: what the file says and the variant does; skip: why there is none, or empty.

    is_default: the file does not say, `before` is what is built in; document: the parsed file of the variant, empty
    with `skip`; kept_by: layers whose own value of the setting stays.
    """

    path: str
    delta: float
    before: Any
    value: Any
    document: Mapping[str, Any]
    skip: str = ""
    kept_by: tuple[str, ...] = ()
    is_default: bool = False

    @property
    def stem(self) -> str:
        """What its files are called."""
        delta = delta_text(self.delta).replace("-", "m").replace(".", "p")
        return f"variant__{self.path.replace('.', '_')}__d{delta}"


def delta_text(delta: float) -> str:
    """A delta in digits, a whole one without a point: -1, 0.1."""
    return repr(float(delta)).removesuffix(".0")


def parse_perturbs(texts: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Path -> deltas, each once, of texts `path:delta,delta`; DEFAULT_DELTAS where there are none. ConfigError."""
    found: dict[str, tuple[float, ...]] = {}
    for text in texts:
        path, colon, numbers = text.partition(":")
        path = path.strip().removeprefix("global.")
        deltas = tuple(_delta(part, text) for part in numbers.split(","))
        if not colon or not _STEM.fullmatch(path):
            raise ConfigError(_wanted(text))
        found[path] = tuple(dict.fromkeys((*found.get(path, ()), *deltas)))
    return found or dict(DEFAULT_DELTAS)


def read_document(path: str) -> dict[str, Any]:
    """A strategy file as it is parsed. ConfigError when it is absent or no mapping."""
    document = load_yaml(Path(path))
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: the root must be a mapping, was {shown(document)}")
    return document


def variants(
    document: Mapping[str, Any],
    perturbs: Mapping[str, Sequence[float]],
    strategy: str,
    *,
    is_strict: bool,
) -> list[Variant]:
    """Each delta of each path added to what the file says, in the order given.

    Skipped: settings that the file does not have as a number, windows and multiples of ATR that would not be above 0,
    a fast window that would not be below the slow one; in strict also a value that stays what it is. Strict takes what
    is built in where the file does not say, refuses paths that are no settings (ConfigError), and adds to a multiple
    that is written as a whole number as to any other.
    """
    if is_strict:
        _refuse_unknown(perturbs, strategy)
    root = "global" if strategy == MEI_ALPHA else MOMENTUM_BREAKOUT
    built_in = _built_in(strategy) if is_strict else {}
    made = [
        _variant(document, root, path.removeprefix(f"{root}."), delta, built_in)
        for path, deltas in perturbs.items()
        for delta in deltas
    ]
    stems = [one.stem for one in made]
    for stem in stems:
        if stems.count(stem) > 1:
            raise ConfigError(f"--perturb must give every variant once, gives {stem} twice")
    return made


def _variant(
    document: Mapping[str, Any], root: str, path: str, delta: float, built_in: Mapping[str, Any]
) -> Variant:
    before = _value_at(document.get(root), path)
    is_default = before is None and path in built_in
    if is_default:
        before = built_in[path]
    if isinstance(before, bool) or not isinstance(before, (int, float)):
        return Variant(path, delta, before, None, {}, skip=_not_there(path, before))
    # Strict goes by what is built in, the reference by how the file writes it: 2 or 2.0.
    value = _moved(before, delta, is_whole=isinstance(built_in.get(path, before), int))
    made = copy.deepcopy(dict(document))
    *sections, name = path.split(".")
    node = made
    for section in (root, *sections):
        if node.get(section) is None:
            node[section] = {}
        node = node[section]
    node[name] = value
    skip = _fault(made[root], path, value)
    if built_in and value == before:
        skip = f"{path} would stay {value}: a whole number moves by whole numbers"
    return Variant(
        path,
        delta,
        before,
        value,
        {} if skip else made,
        skip=skip,
        kept_by=tuple(_kept_by(document, path)),
        is_default=is_default,
    )


def _moved(before: float, delta: float, *, is_whole: bool) -> float:
    """`before` + `delta`: rounded where the setting is whole; halves go to the even number."""
    moved = before + delta
    return round(moved) if is_whole else float(moved)


def _fault(section: Any, path: str, value: float) -> str:
    """Why no run should be made with the value, or nothing."""
    if path.endswith("_window") and value <= 0:
        return f"{path} must be above 0, would be {value}"
    if path in ("trade.sl_atr_mult", "trade.tp_atr_mult") and value <= 0.0:
        return f"{path} must be above 0, would be {value}"
    fast, slow = (_value_at(section, f"indicators.ema_{name}_window") for name in ("fast", "slow"))
    if isinstance(fast, (int, float)) and isinstance(slow, (int, float)) and fast >= slow:
        return f"ema_fast_window must be below ema_slow_window, would be {fast} and {slow}"
    return ""


def _not_there(path: str, before: Any) -> str:
    if before is None:
        return f"{path} is not in the file: write its value there to have it varied"
    return f"{path} must be a number, is {shown(before)}"


def _kept_by(document: Mapping[str, Any], path: str) -> Iterator[str]:
    symbols = document.get("symbols")
    for name, layer in symbols.items() if isinstance(symbols, Mapping) else ():
        if _value_at(layer, path) is not None:
            yield f"symbols.{name}"


def _value_at(node: Any, path: str) -> Any:
    for part in path.split("."):
        if not isinstance(node, Mapping):
            return None
        node = node.get(part)
    return node


def _built_in(strategy: str) -> Mapping[str, Any]:
    """Path -> value of every setting as a file writes it."""
    if strategy == MEI_ALPHA:
        return {path: default_of(path) for path in BY_PATH}
    from mei.rules.momentum_breakout.settings import DEFAULTS

    return DEFAULTS


def _refuse_unknown(perturbs: Mapping[str, Sequence[float]], strategy: str) -> None:
    known = list(_built_in(strategy))
    for path in perturbs:
        if path.removeprefix(f"{MOMENTUM_BREAKOUT}.") not in known:
            near = get_close_matches(path, known, n=1)
            hint = f", did you mean {near[0]}?" if near else ""
            raise ConfigError(f"--perturb: {path} is no setting of {strategy}{hint}")


def _delta(part: str, text: str) -> float:
    try:
        value = float(part)
    except ValueError:
        raise ConfigError(_wanted(text)) from None
    if not math.isfinite(value) or value == 0.0:
        raise ConfigError(f"a delta of --perturb must be a number other than 0, was {text!r}")
    return value


def _wanted(text: str) -> str:
    return f"--perturb must be path:delta,delta (trade.sl_atr_mult:-0.2,0.2), was {text!r}"
