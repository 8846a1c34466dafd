"""Sweep specs: combinations by number, ranges, constraints, and what is refused."""

from __future__ import annotations

import itertools
import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mei.model.errors import ConfigError, DataError, MeiError
from mei.workflows.sweep_constraint import parse_constraint
from mei.workflows.sweep_spec import Axis, SweepSpec, config_id, read_spec

FAST, SLOW = "indicators.ema_fast_window", "indicators.ema_slow_window"


def spec_of(folder: Path, text: str, *, strict: bool = True) -> SweepSpec:
    """The spec that a file with `text` holds."""
    (folder / "spec.yaml").write_text(text)
    return read_spec(str(folder / "spec.yaml"), strict=strict)


def test_the_first_axis_is_the_slowest() -> None:
    spec = SweepSpec((Axis("a", (1.0, 2.0)), Axis("b", (3.0, 4.0, 5.0))))
    found = [tuple(spec.overrides(index).values()) for index in spec.indices()]
    assert found == [(1, 3), (1, 4), (1, 5), (2, 3), (2, 4), (2, 5)]
    assert list(spec.overrides(0)) == ["a", "b"]
    for index in (-1, 6):
        with pytest.raises(IndexError, match="0 to 5"):
            spec.overrides(index)


def test_the_last_of_equal_paths_counts() -> None:
    spec = SweepSpec((Axis("a", (1.0,)), Axis("b", (2.0,)), Axis("a", (3.0, 4.0))))
    assert [spec.overrides(index) for index in spec.indices()] == [
        {"a": 3.0, "b": 2.0},
        {"a": 4.0, "b": 2.0},
    ]
    assert spec.columns(np.array([1]))["a"].tolist() == [4.0]
    assert spec.paths == ("a", "b")


@pytest.mark.parametrize(("axes", "n"), [((), 1), ((Axis("a", ()), Axis("b", (1.0, 2.0))), 0)])
def test_sweeps_of_nothing(axes: tuple[Axis, ...], n: int) -> None:
    spec = SweepSpec(axes)
    assert (spec.n_product, spec.n_allowed(), len(list(spec.indices()))) == (n, n, n)


@given(
    st.lists(st.lists(st.integers(-9, 9), max_size=4), max_size=4),
    st.integers(0, 300),
    st.integers(0, 300),
)
def test_numbers_stand_for_the_product(axes: list[list[int]], start: int, stop: int) -> None:
    spec = SweepSpec(tuple(Axis(f"p{i}", tuple(map(float, v))) for i, v in enumerate(axes)))
    product = list(itertools.product(*axes))
    assert spec.n_product == len(product)
    rows = [tuple(spec.overrides(index).values()) for index in range(len(product))]
    assert rows == product
    indices = spec.allowed(start, stop)
    assert indices.tolist() == list(range(len(product)))[start:stop]
    for number, values in enumerate(spec.columns(indices).values()):
        assert values.tolist() == [product[index][number] for index in indices]


def test_ten_million_combinations_take_no_memory() -> None:
    digits = tuple(map(float, range(10)))
    axes = tuple(Axis(f"p{number}", digits) for number in range(7))
    spec = SweepSpec(
        axes, constraints=(parse_constraint("p0 > p6", [f"p{i}" for i in range(7)], "s"),)
    )
    assert spec.n_product == 10_000_000
    tracemalloc.start()
    draw = random.Random(3)
    for index in [0, 9_999_999, *(draw.randrange(10_000_000) for _ in range(2000))]:
        text = "".join(str(int(value)) for value in spec.overrides(index).values())
        assert text == f"{index:07d}"
        is_allowed = text[0] > text[6]
        assert spec.allowed(index, index + 1).tolist() == [index] * is_allowed
    first = list(itertools.islice(spec.indices(), 50_000))
    del first
    middle = spec.allowed(5_000_000, 5_100_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(middle) == 50_000
    assert peak < 30e6
    assert spec.n_allowed() == 4_500_000


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ("min: 0.1, max: 0.5, step: 0.1", (0.1, 0.2, 0.3, 0.4, 0.5)),
        ("min: 1, max: 2, step: 0.4", (1.0, 1.4, 1.8)),
        ("min: -1, max: 1, step: 1", (-1.0, 0.0, 1.0)),
        ("min: 3, max: 3, step: 1e-3", (3.0,)),
        ("min: 1e-5, max: 3e-5, step: 1e-5", (1e-5, 2e-5, 3e-5)),
    ],
)
def test_ranges_count_in_decimals(tmp_path: Path, axis: str, values: tuple[float, ...]) -> None:
    spec = spec_of(tmp_path, f"axes: [{{path: trade.leverage, {axis}}}]")
    assert spec.axes[0].values == values


def test_a_long_range_is_quick_and_has_its_end(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, "axes: [{path: a, min: 0, max: 0.99999, step: 0.00001}]")
    assert spec.n_product == 100_000
    assert spec.axes[0].values[-1] == 0.99999
    assert spec.axes[0].values == tuple(float(f"{i}e-5") for i in range(100_000))


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("a < b", lambda a, b: a < b),
        ("a<=b", lambda a, b: a <= b),
        ("a == b or b != 3", lambda a, b: a == b or b != 3),
        ("not (a >= b and b > 1)", lambda a, b: not (a >= b and b > 1)),
        ("1 < a < b", lambda a, b: 1 < a < b),
        ("2 * a - 1 <= b + -1", lambda a, b: 2 * a - 1 <= b - 1),
        ("a > 2.5", lambda a, _: a > 2.5),
    ],
)
def test_constraints_leave_out_and_numbers_stay(text: str, holds: object) -> None:
    values = (1.0, 2.0, 3.0, 4.0)
    axes = (Axis("a", values), Axis("b", values))
    spec = SweepSpec(axes, constraints=(parse_constraint(text, ("a", "b"), "s"),))
    assert callable(holds)
    expected = [i for i, pair in enumerate(itertools.product(values, values)) if holds(*pair)]
    assert 0 < len(expected) < 16
    assert list(spec.indices()) == expected
    assert spec.n_allowed() == len(expected)


def test_all_constraints_hold_in_what_is_left(tmp_path: Path) -> None:
    spec = spec_of(
        tmp_path,
        f"axes:\n- {{path: {FAST}, min: 5, max: 20, step: 5}}\n- {{path: {SLOW}, values: [10, 20]}}\n"
        f'constraints: ["{FAST} < {SLOW}", "{FAST} + {SLOW} > 20"]\nlookback: 150\ninitial_balance: 5\n',
    )
    pairs = [tuple(spec.overrides(index).values()) for index in spec.indices()]
    assert pairs == [(5, 20), (10, 20), (15, 20)]
    assert [config_id(index) for index in spec.indices()] == [
        "sweep_0001",
        "sweep_0003",
        "sweep_0005",
    ]
    assert config_id(12345) == "sweep_12345"
    assert (spec.lookback, spec.initial_balance_usd) == (150, 5.0)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (
            "axes: [{path: a, valuse: [1]}]",
            ConfigError,
            r"axes\[0\]: valuse .* did you mean values",
        ),
        ("axes: []\nconstraint: []", ConfigError, "did you mean constraints"),
        ("axes: []\nxyz: 1", ConfigError, "xyz is not a key .* there are axes"),
        ("axes: [{path: a, values: [1]}, {path: a, values: [2]}]", ConfigError, "both have a"),
        ("axes: [{path: a, values: [.inf]}]", DataError, r"values\[0\] .* finite, was inf"),
        ("axes: [{path: a, values: [1], min: 3}]", DataError, "either `values` or"),
        ("axes: [{path: a}]", DataError, "list `values`, or `min`"),
        ("axes: [{path: a, min: 1, max: 2}]", DataError, r"axes\[0\].step .* number, was None"),
        ("axes: [{path: a, min: 1, max: 2, step: true}]", DataError, "step .* was True"),
        ("axes: [{path: a, min: 1, max: .inf, step: 1}]", DataError, "max .* was inf"),
        ("axes: [{path: a, min: 2, max: 1, step: 1}]", DataError, "min <= max, was min 2, max 1"),
        ("axes: [{path: a, min: 1, max: 2, step: 0}]", DataError, "step > 0"),
        ("axes: [{path: a, min: 0, max: 1, step: 1e-9}]", DataError, "has 1,000,000,001: take a"),
        ("constraints: 3\naxes: []", DataError, "a list of comparisons"),
        ("constraints: [3]\naxes: []", DataError, r"constraints\[0\] .* compare axes .* was 3"),
        ("constraints: ['1 < 2']\naxes: []", DataError, "must speak of an axis"),
        ("constraints: ['a <']\naxes: [{path: a, values: [1]}]", DataError, "was 'a <'"),
        ("constraints: ['a']\naxes: [{path: a, values: [1]}]", DataError, "was 'a'"),
        ("constraints: ['a < f(2)']\naxes: [{path: a, values: [1]}]", DataError, r"was 'f\(2\)'"),
        ("constraints: ['a is 2']\naxes: [{path: a, values: [1]}]", DataError, "was 'a is 2'"),
        ("constraints: ['a < 1 / 0']\naxes: [{path: a, values: [1]}]", DataError, "was '1 / 0'"),
        ("constraints: ['a < True']\naxes: [{path: a, values: [1]}]", DataError, "was 'True'"),
        (
            f"constraints: ['{FAST} < indicators.ema_slo_window']\n"
            f"axes: [{{path: {FAST}, values: [1]}}, {{path: {SLOW}, values: [2]}}]",
            ConfigError,
            f"indicators.ema_slo_window is none: did you mean {SLOW}",
        ),
        (
            "constraints: ['a < xyz']\naxes: [{path: a, values: [1]}]",
            ConfigError,
            "write its number",
        ),
        (
            "axes:\n" + "- {path: a%d, min: 1, max: 1000, step: 1}\n" * 7 % (*range(7),),
            DataError,
            "at most 2\\*\\*62 combinations",
        ),
    ],
)
def test_what_has_no_meaning_is_refused(
    tmp_path: Path, text: str, kind: type[MeiError], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        spec_of(tmp_path, text)
    assert "spec.yaml" in str(caught.value)


def test_reference_passes_over_what_it_does_not_know(tmp_path: Path) -> None:
    text = "gates: 1\naxes: [{path: a, values: [.inf], note: x, min: 3}, {path: a, values: [2]}]"
    spec = spec_of(tmp_path, text, strict=False)
    assert spec.overrides(0) == {"a": 2.0}
