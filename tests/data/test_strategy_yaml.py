"""Strategy files: layers, types, what reference lets pass without a word and what strict refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mei.data.strategy_faults import written
from mei.data.strategy_yaml import Layers, load_layers
from mei.model.errors import ConfigError
from mei.model.semantics import REFERENCE, STRICT, Semantics
from mei.rules.mei_alpha.keys import DEFAULTS, KEYS, OF_PORTFOLIO, Config, Key

SCENARIOS = Path(__file__).resolve().parents[2].parent / "shared" / "goldens" / "scenarios"

Read = Callable[..., Layers]


class Desk:
    """Writes one strategy file and reads it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "strategy.yaml"
        self.told: list[str] = []

    def layers(self, text: str | bytes, semantics: Semantics, *, live: bool = False) -> Layers:
        """The file with this content, read."""
        self.path.write_bytes(text.encode() if isinstance(text, str) else text)
        self.told.clear()
        return load_layers(self.path, live=live, semantics=semantics, tell=self.told.append)

    def reference(self, text: str | bytes, *, live: bool = False) -> Layers:
        """Read in reference."""
        return self.layers(text, REFERENCE, live=live)

    def strict(self, text: str | bytes, *, live: bool = False) -> Layers:
        """Read in strict."""
        return self.layers(text, STRICT, live=live)

    def refusal(self, text: str | bytes, *, live: bool = False) -> str:
        """What strict says against the file, without its name."""
        with pytest.raises(ConfigError) as caught:
            self.strict(text, live=live)
        message = str(caught.value)
        assert "\n" not in message
        assert message.startswith(f"{self.path}:")
        return message.removeprefix(f"{self.path}:").strip()


@pytest.fixture(name="desk")
def _desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def changed(config: Config) -> Config:
    """What differs from the defaults."""
    assert list(config) == list(DEFAULTS)
    assert all(type(config[path]) is type(DEFAULTS[path]) for path in DEFAULTS)
    return {path: config[path] for path in config if config[path] != DEFAULTS[path]}


LAYERED = """\
global:
  trade: {leverage: 2, sl_atr_mult: 1.5, entry_min_confidence: LOW}
  thresholds: {entry: {min_adx: 25}}
symbols:
  BTC: {trade: {leverage: 7, allocation_pct: 0.05}}
  eth: {trade: {leverage: 8}}
  ETH: {trade: {leverage: 9}}
live:
  trade: {leverage: 1, max_open_positions: 3}
"""
GLOBAL = {
    "trade.leverage": 2.0,
    "trade.sl_atr_mult": 1.5,
    "trade.entry_min_confidence": 0,
    "thresholds.entry.min_adx": 25.0,
}
LIVE = {"trade.leverage": 1.0, "trade.max_open_positions": 3}
BOTH = pytest.mark.parametrize("semantics", [REFERENCE, STRICT], ids=["reference", "strict"])


@BOTH
def test_later_layers_win(desk: Desk, semantics: Semantics) -> None:
    layers = desk.layers(LAYERED, semantics)
    assert changed(layers.portfolio) == GLOBAL
    assert changed(layers.for_symbol("BTC")) == {
        **GLOBAL, "trade.leverage": 7.0, "trade.allocation_pct": 0.05,
    }  # fmt: skip
    assert layers.symbols == ("BTC", "eth", "ETH")
    assert desk.told == []


@BOTH
def test_the_live_layer_comes_last_and_only_if_asked_for(desk: Desk, semantics: Semantics) -> None:
    layers = desk.layers(LAYERED, semantics, live=True)
    assert changed(layers.portfolio) == {**GLOBAL, **LIVE}
    assert changed(layers.for_symbol("BTC")) == {**GLOBAL, **LIVE, "trade.allocation_pct": 0.05}


@BOTH
def test_a_symbol_is_looked_up_as_written_and_then_in_upper_case(
    desk: Desk, semantics: Semantics
) -> None:
    layers = desk.layers(LAYERED, semantics)
    found = {
        name: layers.for_symbol(name)["trade.leverage"]
        for name in ("eth", "ETH", "Eth", "btc", "SOL")
    }
    assert found == {"eth": 8.0, "ETH": 9.0, "Eth": 9.0, "btc": 7.0, "SOL": 2.0}


@BOTH
def test_only_the_first_hit_is_used_even_if_it_is_empty(desk: Desk, semantics: Semantics) -> None:
    layers = desk.layers("symbols: {eth: , ETH: {trade: {leverage: 9}}}", semantics)
    assert layers.for_symbol("eth") == DEFAULTS


@BOTH
def test_a_configuration_belongs_to_the_caller(desk: Desk, semantics: Semantics) -> None:
    layers = desk.layers(LAYERED, semantics)
    layers.portfolio["trade.leverage"] = 99.0
    layers.for_symbol("SOL")["trade.leverage"] = 99.0
    assert layers.portfolio["trade.leverage"] == 2.0
    assert DEFAULTS["trade.leverage"] == 3.0


@BOTH
@pytest.mark.parametrize(
    "text",
    [
        "", "~", "---", "# nothing\n", "\ufeff", "global:\n", "global: {}\nsymbols:\nlive:\n",
        "global: {filters: , trade: {}}",
        "global: {trade: {leverage: ~, entry_min_confidence: null}}", "version: 3",
        "global: {thresholds: {entry: null}}\nsymbols: {BTC: }",
    ],
)  # fmt: skip
def test_what_is_empty_changes_nothing(desk: Desk, semantics: Semantics, text: str) -> None:
    layers = desk.layers(text, semantics)
    assert layers.portfolio == layers.for_symbol("BTC") == DEFAULTS
    assert desk.told == []


@BOTH
def test_a_null_keeps_what_the_layer_below_says(desk: Desk, semantics: Semantics) -> None:
    text = "global: {trade: {leverage: 2}}\nsymbols: {BTC: {trade: {leverage: ~}}}"
    assert desk.layers(text, semantics).for_symbol("BTC")["trade.leverage"] == 2.0


LEVERAGE = {"trade.leverage": 2.0}
ABSENT = [
    "trailing_start_atr_low_conf", "trailing_distance_atr_low_conf", "smart_exit_adx_exhaustion_lt",
    "smart_exit_adx_exhaustion_lt_low_conf", "rsi_exit_ub_lo_profit_low_conf", "rsi_exit_ub_hi_profit_low_conf",
    "rsi_exit_lb_lo_profit_low_conf", "rsi_exit_lb_hi_profit_low_conf",
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.path)
def test_a_null_for_eight_keys_drops_the_file_in_reference_only(desk: Desk, key: Key) -> None:
    value = "~"
    for name in reversed(key.path.split(".")):
        value = f"{{{name}: {value}}}"
    text = f"global: {value}\nlive: {{trade: {{leverage: 2}}}}"
    config = desk.reference(text, live=True).portfolio
    is_dropped = key.path.removeprefix("trade.") in ABSENT
    assert changed(config) == ({} if is_dropped else LEVERAGE)
    assert [line.split(": ")[0] for line in desk.told] == (
        ["[config] Failed to deserialize merged config"] if is_dropped else []
    )
    assert changed(desk.strict(text, live=True).portfolio) == LEVERAGE


@BOTH
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("trade: {leverage: 5}", {"trade.leverage": 5.0}),
        ("trade: {leverage: 1e1}", {"trade.leverage": 10.0}),
        ("trade: {leverage: 0x10}", {"trade.leverage": 16.0}),
        ("trade: {max_open_positions: 0b11}", {"trade.max_open_positions": 3}),
        ("trade: {enable_pyramiding: FALSE}", {"trade.enable_pyramiding": False}),
        ("trade: {entry_min_confidence: 'Medium'}", {"trade.entry_min_confidence": 1}),
        ("thresholds: {entry: {macd_hist_entry_mode: None}}", {"thresholds.entry.macd_hist_entry_mode": 2}),
        ("thresholds: {entry: {macd_hist_entry_mode: SIGN}}", {"thresholds.entry.macd_hist_entry_mode": 1}),
        ("engine: {interval: 5m, exit_interval: '1m'}", {"engine.interval": "5m", "engine.exit_interval": "1m"}),
        ("engine: {interval: ''}", {"engine.interval": ""}),
    ],
)  # fmt: skip
def test_values_have_the_types_of_their_keys(
    desk: Desk, semantics: Semantics, line: str, expected: Config
) -> None:
    assert changed(desk.layers(f"global: {{{line}}}", semantics).portfolio) == expected
    assert desk.told == []


WRONG_TYPES = [
    ("trade: {leverage: '7'}", "trade.leverage must be a number, was '7'",
     ", write 7 without quotes and leading zeros"),
    ("trade: {leverage: 010}", "trade.leverage must be a number, was '010'",
     ", write 10 without quotes and leading zeros"),
    ("trade: {leverage: true}", "trade.leverage must be a number, was true", ""),
    ("trade: {leverage: [1]}", "trade.leverage must be a number, was a list", ""),
    ("trade: {leverage: {a: 1}}", "trade.leverage must be a number, was a mapping", ""),
    ("trade: {leverage: 1e400}", "trade.leverage must be a number, was '1e400'", ""),
    ("trade: {max_open_positions: 5.0}", "trade.max_open_positions must be a whole number, 0 or more, was 5.0",
     ", write 5"),
    ("trade: {max_open_positions: -1}", "trade.max_open_positions must be a whole number, 0 or more, was -1", ""),
    ("trade: {max_open_positions: 1_000}", "trade.max_open_positions must be a whole number, 0 or more, was '1_000'",
     ", write 1000 without quotes and leading zeros"),
    ("trade: {enable_pyramiding: yes}", "trade.enable_pyramiding must be true or false, was 'yes'", ", write true"),
    ("trade: {enable_pyramiding: 0}", "trade.enable_pyramiding must be true or false, was 0", ", write false"),
    ("trade: {entry_min_confidence: 1}", "trade.entry_min_confidence must be low, medium or high, was 1", ""),
    ("thresholds: {entry: {macd_hist_entry_mode: false}}",
     "thresholds.entry.macd_hist_entry_mode must be accel, sign or none, was false", ""),
    ("engine: {interval: 60}", "engine.interval must be text, was 60", ", write a number and its unit such as 1h"),
    ("trade: 5", "trade must be a mapping, was 5", ""),
    ("thresholds: {entry: []}", "thresholds.entry must be a mapping, was a list", ""),
]  # fmt: skip


@pytest.mark.parametrize(("line", "fault", "hint"), WRONG_TYPES)
def test_a_wrong_type_drops_the_file_in_reference_and_is_refused_in_strict(
    desk: Desk, line: str, fault: str, hint: str
) -> None:
    text = f"global: {{{line}, indicators: {{atr_window: 9}}}}"
    layers = desk.reference(text)
    assert layers.portfolio == layers.portfolio == DEFAULTS
    assert desk.told == [f"[config] Failed to deserialize merged config: {desk.path}: {fault}"]
    assert desk.refusal(text) == f"global.{fault}{hint}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Any other word.
        ("global: {trade: {entry_min_confidence: ultra, leverage: 2}}", {"trade.leverage": 2.0}),
        ("global: {trade: {add_min_confidence: ' low'}}", {"trade.add_min_confidence": 2}),
        ("global: {thresholds: {entry: {macd_hist_entry_mode: acc, min_adx: 3}}}", {"thresholds.entry.min_adx": 3.0}),
        # Unknown keys, at any depth, and sections in the wrong place.
        ("global: {trade: {levrage: 2, leverage: 2, Leverage: 4, 5: 6}, bogus: [1]}", {"trade.leverage": 2.0}),
        ("trade: {leverage: 2}\nlive: {global: {trade: {leverage: 2}}}", {}),
        # No ranges.
        ("global: {indicators: {bb_window: 0}, trade: {leverage: -1}}",
         {"indicators.bb_window": 0, "trade.leverage": -1.0}),
        # What is wrong below and replaced above.
        ("global: {trade: {leverage: x}}\nlive: {trade: {leverage: 2}}", {"trade.leverage": 2.0}),
        # A section that was replaced by a scalar, and this by a section.
        ("global: {trade: {sl_atr_mult: 9}}\nsymbols: {BTC: {trade: 5}}\nlive: {trade: {leverage: 2}}",
         {"trade.leverage": 2.0, "trade.sl_atr_mult": 9.0}),
        # Outside of the layers anything goes that is well-formed.
        ("modes: {a: 1, a: 99999999999999999999}\nmodes: 2\nglobal: {trade: {leverage: 2}}", {"trade.leverage": 2.0}),
        # A mapping with a tag of its own replaces what is below.
        ("global: {trade: {leverage: 2, sl_atr_mult: 9}}\nlive: {trade: !mine {leverage: 5}}", {"trade.leverage": 5.0}),
        ("global: {trade: {leverage: !!float 7, sl_atr_mult: !x 9}}",
         {"trade.leverage": 7.0, "trade.sl_atr_mult": 9.0}),
        ("base: &b {leverage: 2}\nglobal: {trade: {<<: *b}}", {}),
    ],
)  # fmt: skip
def test_reference_lets_pass_without_a_word(desk: Desk, text: str, expected: Config) -> None:
    assert changed(desk.reference(text, live=True).portfolio) == expected
    assert desk.told == []
    assert desk.refusal(text, live=True)


def test_a_section_replaced_by_a_scalar_is_replaced_again_whole(desk: Desk) -> None:
    text = "global: {trade: {sl_atr_mult: 9}}\nsymbols: {BTC: {trade: 5}}\nlive: {trade: {leverage: 2}}"
    assert changed(desk.reference(text, live=True).for_symbol("BTC")) == {"trade.leverage": 2.0}
    assert desk.reference(text).for_symbol("BTC") == DEFAULTS
    assert "deserialize" in desk.told[0]


@pytest.mark.parametrize("node", ["[BTC]", "5", "text"])
def test_symbols_that_are_no_mapping_are_passed_over_in_reference(desk: Desk, node: str) -> None:
    text = f"symbols: {node}\nglobal: {{trade: {{leverage: 2}}}}"
    layers = desk.reference(text)
    assert changed(layers.for_symbol("BTC")) == {"trade.leverage": 2.0}
    assert (layers.symbols, desk.told) == ((), [])
    assert "symbols must be a mapping of symbol to settings" in desk.refusal(text)


def test_a_fault_of_a_symbol_is_told_only_when_that_symbol_is_asked_for(desk: Desk) -> None:
    text = "global: {trade: {leverage: 2}}\nsymbols: {BTC: {trade: {leverage: x}}}"
    layers = desk.reference(text)
    assert changed(layers.portfolio) == changed(layers.for_symbol("ETH")) == {"trade.leverage": 2.0}
    assert desk.told == []
    assert layers.for_symbol("BTC") == layers.for_symbol("BTC") == DEFAULTS
    assert len(desk.told) == 1
    assert "symbols.BTC.trade.leverage must be a number, was 'x'" in desk.refusal(text)


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("global: [unclosed\n  a: : b", "[config] Failed to parse YAML "),
        ("- 1\n- 2", "[config] Failed to parse YAML "),
        ("just text", "[config] Failed to parse YAML "),
        ("global: {trade: {leverage: 1, leverage: 2}}", "[config] Failed to parse YAML "),
        ("global: {}\nglobal: {}", "[config] Failed to parse YAML "),
        ("global: {}\n---\nglobal: {}", "[config] Failed to parse YAML "),
        ("global:\n\ttrade: {}", "[config] Failed to parse YAML "),
        ("global: {unknown: 18446744073709551616}", "[config] Failed to parse YAML "),
        (b"global: {trade: \xff}", "[config] Failed to read "),
        ("global: 5", "[config] Failed to deserialize merged config: "),
        ("global: {trade: {leverage: x}}", "[config] Failed to deserialize merged config: "),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_leaves_the_defaults_and_a_line_in_reference(
    desk: Desk, text: str | bytes, prefix: str
) -> None:
    layers = desk.reference(text)
    assert layers.portfolio == layers.for_symbol("BTC") == DEFAULTS
    assert desk.told[0].startswith(prefix)
    assert str(desk.path) in desk.told[0]
    assert "\n" not in desk.told[0]
    with pytest.raises(ConfigError):
        desk.strict(text)


def test_a_missing_file_is_the_defaults_in_reference_and_an_error_in_strict(tmp_path: Path) -> None:
    told: list[str] = []
    path = tmp_path / "absent.yaml"
    layers = load_layers(path, live=True, semantics=REFERENCE, tell=told.append)
    assert layers.portfolio == layers.for_symbol("BTC") == DEFAULTS
    assert (layers.symbols, told) == ((), [])
    with pytest.raises(ConfigError, match=r"absent\.yaml does not; name one with --config"):
        load_layers(path, live=True, semantics=STRICT, tell=told.append)


def test_a_symbol_that_is_the_whole_portfolio_may_have_its_settings(desk: Desk) -> None:
    text = "symbols: {BTC: {trade: {max_open_positions: 3}}}"
    layers = desk.layers(text, replace(STRICT, symbol_layer="alone"))
    assert changed(layers.for_symbol("BTC")) == {"trade.max_open_positions": 3}
    assert "max_open_positions would have no effect" in desk.refusal(text)


@pytest.mark.parametrize(
    ("layer", "near"),
    [
        ("btcusdt", "BTCUSDT"),
        ("BTC", "BTCUSDT"),
        ("SOLUSDTX", "SOL"),
        ("BTCUSD", "BTCUSDT"),
        ("ETHUSDC", ""),
        ("Sol", "SOL"),
    ],
)
def test_layers_of_no_symbol_are_found_with_what_may_be_meant(
    desk: Desk, layer: str, near: str
) -> None:
    text = f"symbols: {{{layer}: {{trade: {{leverage: 2}}}}, XRP: , BTCUSDT: , sol: }}"
    layers = desk.strict(text)
    assert layers.unmatched(["BTCUSDT", "sol", "XRP", "ADA"]) == (
        {layer: near.replace("SOL", "sol")}
    )
    assert layers.unmatched([layer, "BTCUSDT", "sol", "XRP"]) == {}


def test_a_folder_is_unreadable(tmp_path: Path) -> None:
    told: list[str] = []
    layers = load_layers(tmp_path, live=False, semantics=REFERENCE, tell=told.append)
    assert layers.portfolio == DEFAULTS
    assert told[0].startswith("[config] Failed to read ")
    with pytest.raises(ConfigError, match="must be a readable file"):
        load_layers(tmp_path, live=False, semantics=STRICT, tell=told.append)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("global: {trade: {levrage: 2}}", "global.trade.levrage is not a setting, did you mean 'leverage'?"),
        ("global: {trade: {Leverage: 2}}", "global.trade.Leverage is not a setting, did you mean 'leverage'?"),
        ("global: {trade: {min_adx: 2}}",
         "global.trade.min_adx is not a setting, did you mean thresholds.entry.min_adx?"),
        ("global: {trades: {}}", "global.trades is not a setting, did you mean 'trade'?"),
        ("global: {5: 1}",
         "global.5 is not a setting: there are trade, indicators, filters, market_regime, thresholds, engine"),
        ("symbols: {BTC: {leverage: 2}}", "symbols.BTC.leverage is not a setting, did you mean trade.leverage?"),
        ("symbols: {BTC: {trade: {max_total_margin_pct: 0.5, max_open_positions: ~, leverage: 2}}}",
         "symbols.BTC.trade.max_total_margin_pct would have no effect, it is read once for all symbols: put it under "
         "global (global.trade.max_total_margin_pct)"),
        ("symbols: {BTC: {engine: {exit_interval: 5m}}}",
         "symbols.BTC.engine.exit_interval would have no effect, it is read once for all symbols: put it under "
         "global (global.engine.exit_interval)"),
        ("symbols: {7: {}}", "a symbol under symbols must be text, was 7"),
        ("symbols: {BTC: 5}", "symbols.BTC must be a mapping, was 5"),
        ("live: {global: {}}", "live.global is not a setting: sections such as trade stand here"),
        ("live: {trade: {leverage: x}}", "live.trade.leverage must be a number, was 'x'"),
        ("trade: {leverage: 2}", "trade is not a key of the root, put it under global (global.trade)"),
        ("globals: {}", "globals is not a key of the root, did you mean 'global'?"),
        ("axes: []", "axes is not a key of the root: there are global, symbols, live"),
        ("- 1", "the root must be a mapping of global, symbols, live, was a list"),
        ("global: {trade: {entry_min_confidence: hgih}}",
         "global.trade.entry_min_confidence must be low, medium or high, was 'hgih', did you mean 'high'?"),
        ("global: {trade: {entry_min_confidence: ultra}}",
         "global.trade.entry_min_confidence must be low, medium or high, was 'ultra'"),
        ("global: {engine: {interval: 1hour}}",
         "global.engine.interval must be an interval such as 1m or 4h, was '1hour'"),
        ("global: {engine: {exit_interval: ' 1m'}}",
         "global.engine.exit_interval must be an interval such as 1m or 4h, was ' 1m'"),
        ("global: {trade: {leverage: 0}}", "global.trade.leverage must be above 0, was 0"),
        ("global: {trade: {leverage: .nan}}", "global.trade.leverage must be a finite number, was nan"),
        ("global: {trade: {leverage: -.inf}}", "global.trade.leverage must be a finite number, was -inf"),
        ("global: {indicators: {ema_macro_window: 0}}",
         "global.indicators.ema_macro_window must be 1 to 100000, was 0"),
        ("live: {trade: {allocation_pct: 30}}", "live.trade.allocation_pct must be 0 to 1, was 30"),
        ("global: {indicators: {ema_fast_window: 60}}",
         "indicators.ema_fast_window must be below indicators.ema_slow_window (50), was 60"),
        ("symbols: {BTC: {indicators: {ema_slow_window: 20}}}",
         "symbols.BTC: indicators.ema_fast_window must be below indicators.ema_slow_window (20), was 20"),
        ("global: {trade: {leverage: 1, leverage: 2}}", "1: the key 'leverage' is there twice"),
        ("global: {trade: !mine {leverage: 2}}", "1: the tag !mine is not known; leave it out"),
        (f"global: {{trade: {{leverage: {'x' * 99}}}}}", f"global.trade.leverage must be a number, was '{'x' * 59}…"),
    ],
)  # fmt: skip
def test_strict_names_the_key_what_was_found_and_what_it_could_have_meant(
    desk: Desk, text: str, said: str
) -> None:
    assert desk.refusal(text) == said


def test_strict_names_all_faults_in_the_order_of_the_file_ten_at_most(desk: Desk) -> None:
    names = [f"bogus{n}" for n in range(13)]
    text = (
        f"global: {{trade: {{leverage: x, {', '.join(f'{name}: 1' for name in names)}}}}}\nlive: 5"
    )
    first, *rest = desk.refusal(text).split("; ")
    assert first == "global.trade.leverage must be a number, was 'x'"
    assert [one.split()[0] for one in rest[:9]] == [f"global.trade.{name}" for name in names[:9]]
    assert rest[9:] == ["and 5 more"]


def test_strict_tells_of_an_order_together_with_other_faults_and_once_for_all_symbols(
    desk: Desk,
) -> None:
    text = (
        "global: {trade: {leverage: -1}, indicators: {ema_fast_window: 60}}\n"
        "symbols: {BTC: {trade: {tp_atr_mult: 1}}, ETH: }"
    )
    assert desk.refusal(text) == (
        "global.trade.leverage must be above 0, was -1; "
        "indicators.ema_fast_window must be below indicators.ema_slow_window (50), was 60"
    )


def test_strict_looks_at_the_order_of_the_live_layer_only_when_it_applies(desk: Desk) -> None:
    text = "live: {indicators: {ema_fast_window: 60}}"
    assert desk.strict(text).portfolio == DEFAULTS
    assert "ema_fast_window must be below" in desk.refusal(text, live=True)


def test_strict_passes_over_what_belongs_to_the_live_engine_and_says_so(desk: Desk) -> None:
    text = (
        "version: 1\nmodes: {primary: {global: {}}}\nwatchlist_exclude: []\n"
        "global: {watchlist_exclude: [], trade: {size_multiplier: 2},"
        " market_regime: {enable_regime_gate: true, regime_gate_fail_open: false}}\n"
        "symbols: {BTC: {trade: {size_multiplier: 2}}}"
    )
    assert desk.strict(text).portfolio == DEFAULTS
    assert [line.removeprefix(f"{desk.path}: ").split()[0] for line in desk.told] == [
        "modes", "watchlist_exclude", "global.watchlist_exclude", "global.trade.size_multiplier",
        "global.market_regime.enable_regime_gate", "global.market_regime.regime_gate_fail_open",
        "symbols.BTC.trade.size_multiplier",
    ]  # fmt: skip


def test_the_switch_alone_decides(desk: Desk) -> None:
    text = "global: {trade: {levrage: 2}}"
    assert desk.layers(text, Semantics(config_errors="defaults")).portfolio == DEFAULTS


def nested(config: Config) -> dict[str, Any]:
    """A configuration as a file writes it."""
    tree: dict[str, Any] = {}
    for key in KEYS:
        node = tree
        *sections, name = key.path.split(".")
        for section in sections:
            node = node.setdefault(section, {})
        if key.path in config:
            node[name] = written(key.kind, config[key.path])
    return tree


@given(chosen=st.sets(st.sampled_from([key.path for key in KEYS])))
def test_the_defaults_written_out_are_the_defaults(
    chosen: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    tree = nested({path: DEFAULTS[path] for path in chosen})
    of_symbol = nested({path: DEFAULTS[path] for path in chosen - set(OF_PORTFOLIO)})
    desk = Desk(tmp_path_factory.getbasetemp())
    for semantics in (REFERENCE, STRICT):
        text = json.dumps({"global": tree, "symbols": {"BTC": of_symbol}, "live": tree})
        layers = desk.layers(text, semantics, live=True)
        assert layers.portfolio == layers.for_symbol("BTC") == DEFAULTS
        assert desk.told == []


#: Scenarios whose config.yaml a strict run refuses, and why that is right.
REFUSED = {
    "p007_fixture_tp_atr_yaml": "thresholds.entry.min_adx must be 0 to 100, was -1.0",
    "p032_pullback_only_low": "tp_and_momentum.rsi_long_strong must be 0 to 100, was 200.0",
    "p033_pullback_only_high_nomacd": "tp_and_momentum.rsi_long_strong must be 0 to 100, was 200.0",
    "p034_slow_drift_only": "tp_and_momentum.rsi_long_strong must be 0 to 100, was 200.0",
    "p035_slow_drift_ranging_override": "tp_and_momentum.rsi_long_strong must be 0 to 100, was 200.0",
    "p055_exhaustion_fallback_cfg": "thresholds.entry.min_adx must be 0 to 100, was -1.0",
    "p085_blowup_leverage": "trade.max_total_margin_pct must be 0 to 1, was 2.0",
    "p093_null_and_unknown_keys": "trade.no_such_key is not a setting",
    "p130_no_losses_pf_null": "trade.max_entry_orders_per_loop must be 1 to",
}


@pytest.mark.skipif(not SCENARIOS.is_dir(), reason="the scenarios are not beside the repository")
def test_every_scenarios_file_is_read() -> None:
    refused = {}
    paths = sorted(SCENARIOS.glob("*/config.yaml"))
    assert len(paths) > 200
    for path in paths:
        told: list[str] = []
        layers = load_layers(path, live=True, semantics=REFERENCE, tell=told.append)
        configs = [layers.portfolio, *map(layers.for_symbol, layers.symbols)]
        assert told == []
        try:
            strict = load_layers(path, live=True, semantics=STRICT, tell=told.append)
        except ConfigError as error:
            refused[path.parent.name] = str(error)
            continue
        assert [strict.portfolio, *map(strict.for_symbol, strict.symbols)] == configs
    assert set(refused) == set(REFUSED)
    assert all(REFUSED[name] in message for name, message in refused.items())


@pytest.mark.skipif(not SCENARIOS.is_dir(), reason="the scenarios are not beside the repository")
@pytest.mark.parametrize(
    "name",
    ["p168_err_bad_yaml_uses_defaults", "p169_err_bad_type_uses_defaults", "p170_err_bad_enum_uses_defaults",
     "p172_err_bad_toplevel", "p190_err_window_zero_panic"],
)  # fmt: skip
def test_a_scenarios_file_with_a_fault_is_read_in_reference_and_refused_in_strict(
    name: str,
) -> None:
    path = SCENARIOS / name / "bad.yaml"
    config = load_layers(path, live=False, semantics=REFERENCE, tell=print).portfolio
    assert changed(config) == ({"indicators.bb_window": 0} if "zero" in name else {})
    with pytest.raises(ConfigError):
        load_layers(path, live=False, semantics=STRICT, tell=print)
