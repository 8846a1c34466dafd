"""Every setting of the services is a knob of the Compose files, with the default that .env.example documents."""

from __future__ import annotations

import re

import yaml

from tests.arch.test_structure import env_example, settings_modules
from tests.e2e.composed import FILES, ROOT

#: Paths in the containers and the services' addresses there are fixed; JSON is what a container logs.
FIXED = {"RESEARCH_DIR", "RESULTS_DIR", "DATA_INCOMING", "MODELS_DIR", "CONFIG_DIR", "ML_SERVICE"}
FIXED |= {"PARAM_CONTROLLER", "CANDLES_DIR"}
OTHER_DEFAULT = {
    "LEDGER_DB": "/shared/manifest.sqlite",
    "LOG_FORMAT": "json",
    "AI_QUANT_PAPER_DB_PATH": "/results/trading_engine.db",
    "AI_QUANT_KILL_SWITCH_FILE": "/results/pause",
    "INGEST_SECONDS": "30.0",
    "SWEEP_SCHEDULER": "tcp://dask_scheduler:8786",
}


def environments() -> dict[str, dict[str, str]]:
    """Service -> its environment over the three files joined."""
    joined: dict[str, dict[str, str]] = {}
    for name in FILES:
        for service, content in yaml.safe_load((ROOT / name).read_text())["services"].items():
            joined.setdefault(service, {}).update(content.get("environment", {}))
    return joined


def test_every_setting_is_a_knob_with_its_documented_default() -> None:
    documented, found = {**env_example(), **OTHER_DEFAULT}, environments()
    for module in settings_modules():
        service = module.__name__.split(".")[1]
        for name in (field.upper() for field in module.Settings.model_fields):
            value = found[service][name]
            if name in FIXED:
                continue
            match = re.fullmatch(r"\$\{(\w+):-(.*)\}", value)
            assert match, f"{service}: {name} is {value!r}"
            assert match.groups() == (name, documented[name]), service


def test_the_three_files_are_joined_by_env() -> None:
    assert f"COMPOSE_FILE={':'.join(FILES)}" in (ROOT / ".env").read_text().splitlines()


def test_ports_are_published_on_loopback_only() -> None:
    for name in FILES:
        for service in yaml.safe_load((ROOT / name).read_text())["services"].values():
            assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_example_names_what_containers_have_otherwise() -> None:
    head, _, _ = (ROOT / ".env.example").read_text().partition("\n\n")
    assert set(re.findall(r"\b[A-Z][A-Z_]*_[A-Z]+\b", head)) == FIXED | set(OTHER_DEFAULT) | {
        "COMPOSE_FILE"
    }
