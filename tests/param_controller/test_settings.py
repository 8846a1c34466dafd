"""Settings of the service: every wrong value is one line that names the variable; auth; packaged schemas."""

from __future__ import annotations

from pathlib import Path

import pytest

from mei.model.errors import ConfigError, LedgerError
from services.param_controller.app import main
from services.param_controller.app.settings import Settings

SCHEMA = """\
strategy: toy
instruments: [ETH/USDT]
parameters:
  n: {type: int, min: 1, max: 9}
presets:
  one: {n: 1}
"""


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("POLICY", "best", "POLICY must be thompson"),
        ("SEED", "many", "SEED must be a valid integer"),
        ("SEED", "-1", "SEED must be greater than or equal to 0"),
        ("SEED", "inf", "SEED must be a valid integer"),
        ("SEED", "9223372036854775808", "SEED must be less than or equal to 9223372036854775807"),
        ("STRATEGIES", "nope", "STRATEGIES: no schema of 'nope'"),
        ("SYMBOLS", " , ", "SYMBOLS must name an instrument"),
        ("CONFIG_DIR", "/nowhere/at/all", "CONFIG_DIR must be a folder"),
        ("REQUIRE_AUTH", "true", "REQUIRE_AUTH=true needs"),
        ("REQUIRE_AUTH", "perhaps", "REQUIRE_AUTH must be a valid boolean"),
        ("AUTH_TOKEN_FILE", "/nowhere/token", "AUTH_TOKEN_FILE=/nowhere/token"),
    ],
)
def test_a_wrong_variable_is_one_line_and_exit_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    variable: str, value: str, said: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("LEDGER_DB", str(tmp_path / "m.sqlite"))
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=said) as caught:
        main.create_app()
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_manifest_that_is_none_is_a_ledger_error(tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    path.write_text("this is not a database, but long enough to look at " * 40)
    with pytest.raises(LedgerError, match="SQLite"):
        main.create_app(Settings(ledger_db=str(path)))


def test_schemas_come_from_config_dir_and_name_their_instruments(tmp_path: Path) -> None:
    (tmp_path / "strategy_schemas").mkdir()
    (tmp_path / "strategy_schemas" / "toy.yaml").write_text(SCHEMA)
    settings = Settings(config_dir=tmp_path, symbols="BTC_USDT,ETH/USDT", strategies="toy")
    assert list(settings.schemas()) == ["toy"]
    assert settings.instruments == ("BTC/USDT", "ETH/USDT")
    assert settings.schemas()["toy"].instruments == ("ETH/USDT",)
    main.create_app(settings.model_copy(update={"ledger_db": str(tmp_path / "m.sqlite")}))


def test_without_a_folder_of_schemas_the_packaged_ones_serve(tmp_path: Path) -> None:
    assert list(Settings(config_dir=tmp_path, strategies="").schemas()) == [
        "mei_alpha",
        "momentum_breakout",
    ]


def test_a_strategy_in_a_file_of_the_users_is_known_by_its_schema(tmp_path: Path) -> None:
    (tmp_path / "strategy_schemas").mkdir()
    (tmp_path / "strategy_schemas" / "toy.yaml").write_text(SCHEMA)
    settings = Settings(config_dir=tmp_path, strategies="mine/toy.py:Toy")
    assert list(settings.schemas()) == ["toy"]
