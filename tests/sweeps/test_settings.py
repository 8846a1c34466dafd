"""Settings converted column by column are those of one configuration after another."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from mei.engines.mei_alpha import CHECKED, check_configs
from mei.engines.mei_alpha import SymbolConfigs as Configs
from mei.engines.mei_alpha_settings import SweptSettings
from mei.engines.mei_alpha_sweep import reads_stages
from mei.rules.mei_alpha.keys import DEFAULTS, SWEPT, set_swept
from mei.rules.mei_alpha.records import capped, field_of, reads_risk, risk_record

AWKWARD = (0.0, -0.0, 1.0, 2.5, -3.0, float("nan"), float("inf"), 1e300)


def random_columns(seed: int, n: int) -> dict[str, np.ndarray]:
    """Some paths of every stage, one that no sweep may set, and one of two that set both."""
    rng = random.Random(seed)
    paths = [*rng.sample(sorted(SWEPT), 12), "no.such_path", "indicators.ave_avg_atr_window"]
    return {path: np.array([rng.choice(AWKWARD) for _ in range(n)]) for path in paths}


def one_after_another(columns: Mapping[str, np.ndarray], n: int) -> list[dict[str, Any]]:
    settings: list[dict[str, Any]] = [{} for _ in range(n)]
    for path, numbers in columns.items():
        for one, number in zip(settings, numbers.tolist(), strict=True):
            set_swept(one, path, number)
    return settings


@pytest.mark.parametrize("seed", range(5))
def test_settings_are_those_of_each_configuration(seed: int) -> None:
    columns = random_columns(seed, 60)
    found, expected = SweptSettings(columns, 60), one_after_another(columns, 60)
    assert [repr(found.of(number)) for number in range(60)] == [repr(one) for one in expected]


@pytest.mark.parametrize("seed", range(5))
def test_configurations_are_together_where_all_that_is_read_is_equal(seed: int) -> None:
    columns = dict(list(random_columns(seed, 200).items())[:4])
    for numbers in columns.values():
        numbers[numbers == 0.0] = 0.0  # a zero equals one of the other sign
    settings = one_after_another(columns, 200)
    for reads in (reads_stages, reads_risk, lambda path: False):
        groups: dict[str, list[int]] = {}
        for number, one in enumerate(settings):
            key = repr([(path, value) for path, value in one.items() if reads(path)])
            groups.setdefault(key, []).append(number)
        found = SweptSettings(columns, 200).alike(reads)
        assert [members.tolist() for members in found] == list(groups.values())


@pytest.mark.parametrize("seed", range(5))
def test_risk_records_are_those_of_each_configuration(seed: int) -> None:
    columns = random_columns(seed, 40)
    base = np.concatenate([risk_record(DEFAULTS), risk_record(DEFAULTS | {"trade.leverage": 7.0})])
    members = [3, 1, 39]
    found = SweptSettings(columns, 40).risks(base, members)
    settings = one_after_another(columns, 40)
    for records, number in zip(found, members, strict=True):
        expected = base.copy()
        for path, value in settings[number].items():
            if reads_risk(path):
                expected[field_of(path)] = capped(value)
        assert records.tobytes() == expected.tobytes()


class Noting(Mapping[str, Any]):
    """A configuration that notes what is read of it."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content, self.read = content, set[str]()

    def __getitem__(self, path: str) -> Any:
        self.read.add(path)
        return self.content[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)


def test_what_a_configuration_is_checked_for_is_named() -> None:
    """A sweep checks one configuration of all that agree on these."""
    noted = Noting(DEFAULTS | {"trade.enable_dynamic_sizing": True})
    check_configs(Configs(noted))
    assert noted.read == CHECKED
