"""YAML scalars by the 1.2 core rules, and what is no document at all."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mei.model.errors import ConfigError
from mei.model.yaml12 import TaggedMapping, load_yaml, parse_yaml

INF = math.inf


def parsed(text: str, **options: Any) -> Any:
    """The content of a text."""
    return parse_yaml(text, "f.yaml", **options)


def refusal(text: str, **options: Any) -> str:
    """What is said about a text that is refused."""
    with pytest.raises(ConfigError) as caught:
        parsed(text, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("-0", 0), ("+7", 7), ("-7", -7), ("10", 10), ("0x1F", 31), ("+0xff", 255), ("-0x10", -16),
        ("0o17", 15), ("-0o7", -7), ("0b101", 5), ("-0b1", -1), ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
    ],
)  # fmt: skip
def test_whole_numbers(text: str, value: int) -> None:
    found = parsed(f"a: {text}")["a"]
    assert (found, type(found)) == (value, int)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.5", 1.5), ("+1.5", 1.5), (".5", 0.5), ("-.5", -0.5), ("5.", 5.0), ("01.5", 1.5), ("0.", 0.0), ("1e3", 1e3),
        ("1e-3", 1e-3), ("1E+3", 1e3), ("1.e3", 1e3), ("08e1", 80.0), ("00.5", 0.5), ("-1.5e-3", -0.0015),
        (".5e2", 50.0), ("1e-999", 0.0), (".inf", INF), (".Inf", INF), (".INF", INF), ("+.inf", INF), ("-.INF", -INF),
    ],
)  # fmt: skip
def test_real_numbers(text: str, value: float) -> None:
    found = parsed(f"a: {text}")["a"]
    assert (found, type(found)) == (value, float)


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN"])
def test_not_a_number(text: str) -> None:
    assert math.isnan(parsed(f"a: {text}")["a"])


@pytest.mark.parametrize(
    "text",
    [
        "010", "-010", "00", "1_000", "1_0.5", "12:30", "190:20:30.15", "2025-01-01", "0X1F", "0O17", "0B1", "0x",
        "0o8", "0b2", "0x-1", "+-1", "--1", "1e400", "-1e400", "1e", "1.5.2", ".", ".e3", "e3", "+", "inf", "nan",
        "+.nan", "Infinity", "-nan", "yes", "no", "on", "off", "y", "n", "Yes", "tRUE", "nULL", "NaN", "=", "<<", "1h",
        "0.5%",
    ],
)  # fmt: skip
def test_everything_else_is_text(text: str) -> None:
    assert parsed(f"a: {text}")["a"] == text


@pytest.mark.parametrize("text", ["7", "1.5", "true", "null", "~", ".inf", "0x1F", ""])
@pytest.mark.parametrize("quote", ["'", '"'])
def test_what_is_quoted_is_text(text: str, quote: str) -> None:
    assert parsed(f"a: {quote}{text}{quote}")["a"] == text


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "false", "False", "FALSE"])
def test_truth(text: str) -> None:
    assert parsed(f"a: {text}")["a"] is (text.lower() == "true")


@pytest.mark.parametrize("text", ["null", "Null", "NULL", "~", "", "# a remark"])
def test_null(text: str) -> None:
    assert parsed(f"a: {text}") == {"a": None}


@pytest.mark.parametrize("text", ["", "# only a remark\n", "\ufeff", "\n\n"])
def test_an_empty_document_is_none(text: str) -> None:
    assert parsed(text) is None


@given(st.integers(min_value=-(2**63), max_value=2**64 - 1))
def test_integers_come_back(number: int) -> None:
    assert parsed(f"[{number}, {number:#x}, {number:#o}, {number:#b}]") == [number] * 4


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_come_back(number: float) -> None:
    found = parsed(f"a: {number!r}")["a"]
    assert (found, type(found)) == (number, float)


@given(st.text(alphabet="0123456789+-.eExob_", min_size=1, max_size=8))
def test_a_number_is_what_python_reads_as_one(text: str) -> None:
    """An independent reading of the rules with int() and float()."""
    digits = text.lstrip("+-")
    expected: object = text
    if len(text) - len(digits) <= 1 and "_" not in text:
        if digits[:2] in ("0x", "0o", "0b") and digits[2:3].isalnum():
            expected = _or(lambda: int(text, 0), text)
        elif digits.isdigit():
            expected = text if digits[0] == "0" and len(digits) > 1 else int(text)
        elif not any(c in digits for c in "xob"):
            expected = _or(lambda: float(text), text)
            expected = text if expected in (INF, -INF) else expected
    assert _or(lambda: parsed(f"a: {text}")["a"], None) in (expected, None)


def _or(read: Any, other: object) -> object:
    try:
        return read()
    except (ValueError, ConfigError):
        return other


def test_the_merge_key_is_a_key() -> None:
    found = parsed("base: &b {x: 1}\nover: {<<: *b, y: 2}")
    assert found["over"] == {"<<": {"x": 1}, "y": 2}


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb:\r\n  c: x\r\n")
    assert load_yaml(path) == {"a": 1, "b": {"c": "x"}}


def test_numbers_and_words_that_python_takes_for_equal_are_different_keys() -> None:
    assert 1 in parsed("{1: a, true: b, 1.0: c}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", "f.yaml:3: the key 'a' is there twice"),
        ("x: {a: 1, 'a': 2}", "the key 'a' is there twice"),
        ("a: 1\n---\nb: 2", "f.yaml:2: expected a single document in the stream but found another document"),
        ("a:\n\tb: 1", "f.yaml:2: found character '\\t'"),
        ("a: 18446744073709551616", "f.yaml:1: a whole number must be -9223372036854775808 to"),
        ("a: -9223372036854775809", "a whole number must be"),
        ("a: 0x10000000000000000", "a whole number must be"),
        (f"a: {'9' * 5000}", "a whole number must be"),
        ("a: !!int 7.5", "!!int must be a whole number, was '7.5'"),
        ("a: !!float x", "!!float must be a number, was 'x'"),
        ("a: !!bool yes", "!!bool must be true or false, was 'yes'"),
        ("a: !!null x", "!!null must be null, was 'x'"),
        ("a: !mine {b: 1}", "the tag !mine is not known; leave it out"),
        ("a: !!set {b, c}", "the tag tag:yaml.org,2002:set is not known"),
        ("a: !!map 5", "a mapping must stand here"),
        ("a: &x [*x]", "an alias stands inside of what it names"),
        ("? [a]\n: 1", "a key is a list or a mapping"),
        ("[" * 3000, "must not be nested so deeply"),
        ("a: [1", "f.yaml:1"),
        ("a: \x00", "f.yaml: "),
        ("a: *b", "found undefined alias"),
    ],
)  # fmt: skip
def test_what_is_no_document_is_refused_with_its_line(text: str, said: str) -> None:
    assert said in refusal(text)


def test_a_tag_that_is_right_is_taken() -> None:
    found = parsed("{a: !!float 7, b: !!str 7, c: !!int '7', d: !!float -0x10}")
    assert found == {"a": 7.0, "b": "7", "c": 7, "d": -16.0}
    assert [type(one) for one in found.values()] == [float, str, int, float]


def test_aliases_that_would_expand_without_end_cost_nothing() -> None:
    lines = ["a0: &a0 [1, 1]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    assert len(parsed("\n".join(lines))) == 60


FOREIGN = "modes: {a: 1, a: 2}\nmodes: [99999999999999999999]\nglobal: {a: 1}\n"


def test_other_keys_of_the_root_need_only_be_well_formed_if_a_few_are_asked_for() -> None:
    assert parsed(FOREIGN, only=("global",)) == {"global": {"a": 1}}
    assert "there twice" in refusal(FOREIGN)
    assert "there twice" in refusal("global: 1\nglobal: 2", only=("global",))
    assert "must be" in refusal("global: 99999999999999999999", only=("global",))
    assert "f.yaml" in refusal("global: 1\nmodes: [", only=("global",))
    assert parsed("[1]", only=("global",)) == [1]
    assert parsed("? [a]\n: 1\nglobal: 2", only=("global",)) == {"global": 2}


def test_tags_of_the_users_are_passed_over_if_a_few_keys_are_asked_for() -> None:
    found = parsed("global: {a: !mine {b: !mine 7}, c: !x [1], d: !x '7', e: {}}", only=("global",))
    assert found == {"global": {"a": {"b": 7}, "c": [1], "d": "7", "e": {}}}
    assert isinstance(found["global"]["a"], TaggedMapping)
    assert not isinstance(found["global"]["e"], TaggedMapping)
