"""Strategy files as text: what they are known by, and which intervals they trade on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mei.data.config_id import config_id as id_of
from mei.data.registry_db import config_text
from mei.data.strategy_yaml import refuse_faults
from mei.model.errors import ConfigError
from mei.model.yaml12 import parse_yaml
from mei.rules.mei_alpha.keys import DEFAULTS
from mei.workflows.deploy.deploy_validate import validate_deployable
from mei.workflows.deploy.journal import sha256_of_text

_INTERVALS: Final = ("interval", "exit_interval", "entry_interval")


@dataclass(frozen=True, slots=True)
class StrategyText:
    """A strategy file. source: where it is from, for messages; document: what is in it, None when that is no YAML."""

    source: str
    text: str
    document: Mapping[Any, Any] | None

    @property
    def config_id(self) -> str | None:
        """What the file is known by."""
        return None if self.document is None else id_of(self.document)

    @property
    def sha256(self) -> str:
        """Of the bytes, in hex."""
        return sha256_of_text(self.text)

    @property
    def intervals(self) -> tuple[str, ...] | None:
        """Labels of main, exit and entry candles, the built-in one where the file has none; None if it is no YAML."""
        if self.document is None:
            return None
        return tuple(str(self._global("engine", name) or "") for name in _INTERVALS)

    @property
    def main_interval(self) -> str | None:
        """The first of `intervals`."""
        return None if self.intervals is None else self.intervals[0]

    @property
    def slippage_bps(self) -> float:
        """The highest that a layer says: `global` or the built-in one, symbols, `live`. ConfigError for no number."""
        found = {"global": self._global("trade", "slippage_bps")}
        symbols = (self.document or {}).get("symbols")
        layers = {"live": (self.document or {}).get("live")}
        if isinstance(symbols, Mapping):
            layers |= {f"symbols.{name}": layer for name, layer in symbols.items()}
        for name, layer in layers.items():
            value = _settings(layer).get("trade.slippage_bps")
            if value is not None:
                found[name] = value
        for name, value in found.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ConfigError(
                    f"{self.source}: {name}.trade.slippage_bps must be a number, was {value!r}"
                )
        return max(float(value) for value in found.values())

    @property
    def live_layer(self) -> dict[str, Any]:
        """Settings that a live trader alone applies, by their path below `live`."""
        return _settings((self.document or {}).get("live"))

    def _global(self, section: str, name: str) -> Any:
        layer = (self.document or {}).get("global")
        node = layer.get(section) if isinstance(layer, Mapping) else None
        value = node.get(name) if isinstance(node, Mapping) else None
        return DEFAULTS[f"{section}.{name}"] if value is None else value


def _settings(layer: Any, above: str = "") -> dict[str, Any]:
    """Path -> value of a layer; without what is null, which keeps the layer below."""
    if not isinstance(layer, Mapping):
        return {above: layer} if above and layer is not None else {}
    found: dict[str, Any] = {}
    for name, node in layer.items():
        found |= _settings(node, f"{above}.{name}" if above else str(name))
    return found


def strategy_text(text: str, source: str) -> StrategyText:
    """Of a text. ConfigError, naming `source`, for one that is no mapping in YAML."""
    document = parse_yaml(text.removeprefix("\ufeff"), source)
    if not isinstance(document, Mapping):
        raise ConfigError(f"{source}: the root must be a mapping, is not")
    return StrategyText(source, text, document)


def strategy_in_use(path: Path) -> StrategyText | None:
    """Of the file of a trader as it is, even where that is no YAML: it is to be replaced. None when there is none.

    ConfigError when it cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} must be a readable file in UTF-8: {error}") from None
    try:
        return strategy_text(text, str(path))
    except ConfigError:
        return StrategyText(str(path), text, None)


def registered(registry: Path, config_id: str) -> StrategyText:
    """Of the registry, its hash checked. NotFoundError, DataError as of `config_text`."""
    text = config_text(registry, config_id)
    return strategy_text(text, f"{registry}: {config_id[:12]}")


def require_deployable(strategy: StrategyText) -> None:
    """ConfigError with all rules that the file breaks, in one line, or with what every trader refuses in it."""
    faults = validate_deployable(strategy.document or {})
    if faults:
        raise ConfigError(f"{strategy.source} must be fit to be deployed: {'; '.join(faults)}")
    require_runnable(strategy)


def require_runnable(strategy: StrategyText) -> None:
    """ConfigError for a file that a strict run refuses: no trader starts on it, or goes on with it."""
    refuse_faults(strategy.document, strategy.source, live=False)
    if strategy.live_layer:
        refuse_faults(strategy.document, f"{strategy.source}, with its layer live", live=True)


def needs_restart(before: StrategyText | None, after: StrategyText) -> bool:
    """Whether a trader that runs must be started anew: it keeps the intervals it began with.

    Of a file that is no YAML these are not known: then it must be.
    """
    return before is not None and before.intervals != after.intervals
