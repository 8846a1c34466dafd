"""What containers are started with is looked at before they are: docker/preflight.py, without containers."""

from __future__ import annotations

import os
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.paper_trader.app.settings import Settings as PaperSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture(name="preflight")
def _preflight(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The program, in an environment as Compose makes it by default."""
    spec = spec_from_file_location("preflight", ROOT / "docker/preflight.py")
    assert spec is not None
    assert spec.loader is not None
    program = module_from_spec(spec)
    spec.loader.exec_module(program)
    live = yaml.safe_load((ROOT / "compose.autotrain.yml").read_text())["x-live"]
    for name, value in live.items():
        monkeypatch.setenv(name, value.partition(":-")[2].removesuffix("}"))
    monkeypatch.setenv("ML_SERVICE", "http://ml_service:8003")
    monkeypatch.delenv("COMPOSE_PROFILES", raising=False)
    monkeypatch.chdir(tmp_path)
    return program


def refused(preflight: Any) -> str:
    """The line that the settings are refused with."""
    with pytest.raises(preflight.Refusal) as caught:
        preflight.check_settings()
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_the_defaults_pass(preflight: Any) -> None:
    preflight.check_settings()
    preflight.check_paper_db(os.environ["AI_QUANT_PAPER_DB_PATH"])


@pytest.mark.parametrize(
    "given",
    [
        {"BAR_GRACE_SECONDS": "60"},
        {"BAR_GRACE_SECONDS": "0", "INGEST_SECONDS": "1"},
        {"INGEST_SECONDS": "150"},
    ],
)
def test_a_grace_in_which_bars_may_be_missed_is_refused(
    preflight: Any, monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert "BAR_GRACE_SECONDS must be more than INGEST_SECONDS (" in refused(preflight)


@pytest.mark.parametrize(
    "given",
    [
        {"BAR_GRACE_SECONDS": "60.5"},
        {"BAR_GRACE_SECONDS": "3600", "INGEST_SECONDS": "1"},
        {"BAR_GRACE_SECONDS": "0", "PAPER_CLOCK": "feed", "PAPER_INTERVAL": "1h"},
        {"BAR_GRACE_SECONDS": "0", "INGEST_SECONDS": "0"},
    ],
)
def test_a_grace_that_does_passes(
    preflight: Any, monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    preflight.check_settings()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PAPER_CLOCK", "feed", "PAPER_INTERVAL must name the main bars"),
        ("PAPER_LOOKBACK", "many", "PAPER_LOOKBACK must be"),
        ("PAPER_INIT_STATE", "no.json", "PAPER_INIT_STATE must be a file"),
        ("AI_QUANT_PAPER_DB_PATH", "/", "AI_QUANT_PAPER_DB_PATH must be a file"),
    ],
)
def test_the_paper_trader_is_looked_at_too(
    preflight: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    assert said in refused(preflight)


def test_the_start_state_may_be_gone_when_the_trader_has_one_of_its_own(
    preflight: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PAPER_INIT_STATE", "no.json")
    monkeypatch.setenv("AI_QUANT_PAPER_DB_PATH", str(tmp_path / "t.db"))
    assert "PAPER_INIT_STATE" in refused(preflight)
    (tmp_path / "t.db").touch()
    preflight.check_settings()
    PaperSettings.load().check()


def test_a_trading_database_in_the_image_is_refused(preflight: Any) -> None:
    with pytest.raises(preflight.Refusal, match="must be a file under /results/"):
        preflight.check_paper_db("trading_engine.db")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize("profiles", ["", "sweep", "live", "sweep, live", "*"])
def test_candles_must_be_writable_where_live_is_known_to_run(
    preflight: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, profiles: str
) -> None:
    folders = {name: tmp_path / name.lower() for name in ("CANDLES", "RESULTS", "RESEARCH")}
    for name, folder in folders.items():
        folder.mkdir()
        monkeypatch.setattr(preflight, name, folder)
    os.chown(folders["CANDLES"], 4242, 4242)
    monkeypatch.setattr(preflight, "VOLUMES", ())
    for name, value in {"UID": "0", "GID": "0", "COMPOSE_PROFILES": profiles}.items():
        monkeypatch.setenv(name, value)
    # Root may write everywhere: what another user may is not tried here.
    monkeypatch.setattr(preflight, "is_writable", lambda folder, *_: folder.stat().st_uid == 0)
    assert preflight.main() == (6 if profiles.endswith(("live", "*")) else 0)
