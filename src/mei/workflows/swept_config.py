"""A strategy file made of a base file and one row of a sweep: the file that the row was the replay of."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mei.data.config_id import config_id
from mei.data.strategy_faults import shown, written
from mei.data.strategy_yaml import refuse_faults
from mei.data.sweep_results import SweepResult, sweep_results
from mei.model.errors import ConfigError, DataError, NotFoundError
from mei.model.yaml12 import dump_yaml, load_yaml
from mei.rules.mei_alpha.keys import BY_PATH, DEFAULTS, SWEPT, WORDS, Config, set_swept

#: What rows can be sorted by, best first.
SORT_KEYS: Final = ("pnl", "dd", "pf", "wr", "sharpe", "trades", "balanced")
#: Fewer trades than this halve the balanced score.
_FEW_TRADES: Final = 20
_WORDS_OF_TRUTH: Final = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True, slots=True)
class Standing:
    """One row of a ranking. score: as sorted by; ratios are fractions, pnl in USD; profit_factor inf without a loss."""

    row: SweepResult
    score: float
    pnl: float
    drawdown: float
    profit_factor: float
    win_rate: float
    sharpe: float
    trades: float


@dataclass(frozen=True, slots=True)
class SweptConfig:
    """A strategy file in the making.

    document: the parsed file; changes: (path, value before or None, value) of what was set; left_out: paths that no
    sweep can set; notes: what else there is to say, a line each.
    """

    document: dict[str, Any]
    changes: tuple[tuple[str, Any, Any], ...]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def id(self) -> str:
        """The config_id of the document."""
        return config_id(self.document)

    def text(self, comments: Sequence[str]) -> str:
        """The file: a line of comment each, and the YAML."""
        head = "".join(f"# {' '.join(comment.split())}\n" for comment in comments)
        return head + dump_yaml(self.document)


def ranked(path: str, sort_by: str, min_trades: int, most: int | None = None) -> list[Standing]:
    """The rows of a sweep with at least `min_trades`, best first, equal ones as in the file.

    most: how many of them, and in memory at a time; None = all. What is absent counts as 0, an absent drawdown as 1. A
    profit factor of null is that of a run without a loss and comes first; any other null comes last.
    Raises DataError for a file that is wrong, NotFoundError for no row.
    """
    n_rows = 0

    def kept() -> Iterator[Standing]:
        nonlocal n_rows
        for row in sweep_results(path):
            n_rows += 1
            one = standing(row, sort_by)
            if one.trades >= min_trades or min_trades <= 0:
                yield one

    def loss(one: Standing) -> float:
        return -one.score

    found = (
        sorted(kept(), key=loss)
        if most is None
        else heapq.nsmallest(max(most, 1), kept(), key=loss)
    )
    if not found:
        raise NotFoundError(
            f"{path} must have a row with at least {min_trades} trades, has {n_rows} rows, "
            "none with so many: sweep more, or give a smaller --min-trades"
        )
    return found


def of_rank(standings: Sequence[Standing], rank: int) -> Standing:
    """The row at `rank`, from 1 on. NotFoundError when there is none, or it has no overrides."""
    if not 1 <= rank <= len(standings):
        raise NotFoundError(f"--rank must be 1 to {len(standings)}, was {rank}")
    chosen = standings[rank - 1]
    if not chosen.row.overrides:
        raise NotFoundError(
            f"{chosen.row.where}: the row must have overrides to apply, has none: the base is its configuration"
        )
    return chosen


def read_base(path: str) -> dict[str, Any]:
    """A strategy file as it is parsed. NotFoundError when it is absent, ConfigError when it is no mapping."""
    if not Path(path).is_file():
        raise NotFoundError(f"--base-config must name a strategy file, {path} is none")
    document = load_yaml(Path(path))
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: the root must be a mapping, was {shown(document)}")
    return document


def swept_config(base: Mapping[str, Any], row: SweepResult, source: str) -> SweptConfig:
    """`base` with the overrides of `row` under `global`, converted as the sweep converted them.

    A symbol's own value of such a path is replaced as well, as a sweep does; the `live` layer keeps its values. Paths
    that no sweep can set had no effect and are left out. ConfigError, naming `source`, if a strict run would refuse the
    result; DataError for a value that cannot be meant.
    """
    document: dict[str, Any] = _unshared(base)
    config: Config = {}
    left_out = [path for path in row.overrides if not _apply(config, row, path)]
    if not config:
        raise NotFoundError(
            f"{row.where}: overrides must name settings of Mei Alpha, {', '.join(left_out)} are none"
        )
    values = {path: written(BY_PATH[path].kind, value) for path, value in config.items()}
    changes = tuple(
        (path, _value_at(document.get("global"), path), values[path]) for path in values
    )
    notes: list[str] = []
    layers = _layers(document, source)
    for path, value in values.items():
        _set(document, ("global", *path.split(".")), value, source)
        for name, layer in layers.items():
            before = _value_at(layer, path)
            if before is None:
                continue
            if name == "live":
                notes.append(f"live.{path} stays {shown(before)} and wins with --live")
            elif before != value:
                _set(
                    document,
                    ("symbols", name.removeprefix("symbols."), *path.split(".")),
                    value,
                    source,
                )
                notes.append(f"{name}.{path} was {shown(before)}, set as well, as the sweep did")
    for live in (False, True) if "live" in layers else (False,):
        refuse_faults(document, source, live=live)
    return SweptConfig(document, changes, tuple(left_out), tuple(notes))


def default_of(path: str) -> Any:
    """The built-in value of a setting as a file writes it."""
    return written(BY_PATH[path].kind, DEFAULTS[path])


def standing(row: SweepResult, sort_by: str) -> Standing:
    """A row as one of SORT_KEYS ranks it. DataError for a number that is none."""
    pnl = row.number("total_pnl", absent=0.0, null=-math.inf)
    drawdown = row.number("max_drawdown_pct", absent=1.0, null=math.inf)
    profit_factor = row.number("profit_factor", absent=0.0, null=math.inf)
    win_rate = row.number("win_rate", absent=0.0, null=-math.inf)
    sharpe = row.number("sharpe_ratio", absent=0.0, null=-math.inf)
    trades = row.number("total_trades", absent=0.0, null=0.0)
    balanced = 0.3 * pnl + 20.0 * min(profit_factor, 10.0) + 15.0 * sharpe - 100.0 * drawdown
    scores = {
        "pnl": pnl,
        "dd": -drawdown,
        "pf": profit_factor,
        "wr": win_rate,
        "sharpe": sharpe,
        "trades": trades,
        "balanced": balanced * (0.5 if trades < _FEW_TRADES else 1.0),
    }
    return Standing(row, scores[sort_by], pnl, drawdown, profit_factor, win_rate, sharpe, trades)


def _apply(config: Config, row: SweepResult, path: str) -> bool:
    """Set a row's value in `config`; whether a sweep can set it at all."""
    if path not in SWEPT:
        return False
    kind, value = BY_PATH[path].kind, row.overrides[path]
    if isinstance(value, (int, float)):
        return set_swept(config, path, float(value))
    word = value.strip().lower() if isinstance(value, str) else ""
    words: Mapping[str, float] = _WORDS_OF_TRUTH if kind == "bool" else WORDS.get(kind, {})
    if word not in words:
        must = "a number" + (f" or one of {', '.join(words)}" if words else "")
        raise DataError(f"{row.where}: {path} must be {must}, was {shown(value)}")
    return set_swept(config, path, float(words[word]))


def _unshared(node: Any) -> Any:
    """A copy in which what an alias of the file named twice is two things: each layer is set by itself."""
    if isinstance(node, Mapping):
        return {key: _unshared(value) for key, value in node.items()}
    return [_unshared(one) for one in node] if isinstance(node, list) else node


def _layers(document: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The layers over `global` by name, `symbols.ETH` and `live`, that are there."""
    symbols = document.get("symbols") or {}
    if not isinstance(symbols, Mapping):
        raise ConfigError(f"{source}: symbols must be a mapping, was {shown(symbols)}")
    layers = {f"symbols.{name}": layer for name, layer in symbols.items()}
    if document.get("live") is not None:
        layers["live"] = document["live"]
    return layers


def _value_at(layer: Any, path: str) -> Any:
    for part in path.split("."):
        if not isinstance(layer, Mapping):
            return None
        layer = layer.get(part)
    return layer


def _set(document: dict[str, Any], parts: Sequence[str], value: Any, source: str) -> None:
    node = document
    for depth, part in enumerate(parts[:-1], 1):
        if node.get(part) is None:
            node[part] = {}
        node = node[part]
        if not isinstance(node, dict):
            raise ConfigError(
                f"{source}: {'.'.join(parts[:depth])} must be a mapping, was {shown(node)}"
            )
    node[parts[-1]] = value
