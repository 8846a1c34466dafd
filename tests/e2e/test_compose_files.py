"""Every setting of the services is a knob of the Compose files, with the default that .env.example documents."""

from __future__ import annotations

import re

import yaml

from tests.arch.test_structure import env_example, settings_modules
from tests.e2e.composed import FILES, ROOT

#: Paths in the containers and the services' addresses there are fixed; JSON is what a container logs.
FIXED = {"RESEARCH_DIR", "RESULTS_DIR", "DATA_INCOMING", "MODELS_DIR", "CONFIG_DIR", "ML_SERVICE"}
FIXED |= {"PARAM_CONTROLLER"}
OTHER_DEFAULT = {"LEDGER_DB": "/shared/manifest.sqlite", "LOG_FORMAT": "json"}


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
