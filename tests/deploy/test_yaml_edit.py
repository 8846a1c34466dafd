"""Values changed where they stand: comments, order and spelling stay, and the content is what was wanted, or None."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mei.data.config_id import config_id
from mei.model.yaml12 import dump_yaml, parse_yaml
from mei.workflows.deploy.yaml_edit import with_values


def edited(text: str, changes: dict[str, Any]) -> str | None:
    """`text` with values set by their paths."""
    old = parse_yaml(text, "x")
    new = parse_yaml(dump_yaml(old), "x")  # what an alias names twice is two things now
    for path, value in changes.items():
        node = new
        *sections, name = path.split(".")
        for section in sections:
            if node.get(section) is None:
                node[section] = {}
            node = node[section]
        node[name] = value
    return with_values(text, old, new)


@pytest.mark.parametrize(
    ("text", "changes", "expected"),
    [
        ("a: 1  # one\nb: 2\n", {"a": 3}, "a: 3  # one\nb: 2\n"),
        ("a: 1", {"b": 2.5}, "a: 1\nb: 2.5\n"),
        ("a: 1", {"a": 1.0}, "a: 1.0"),
        ("a: {b: 1, c: 2} # x\n", {"a.c": True, "a.d": "low"}, "a: {b: 1, c: true, d: low} # x\n"),
        ("a: {}\n", {"a.b": 1}, "a: {b: 1}\n"),
        ("a: {b: 1,}\n", {"a.b": 2}, "a: {b: 2,}\n"),
        (
            "a:\n  b: 1 # x\n\n# tail\nc: 2\n",
            {"a.d": 3},
            "a:\n  b: 1 # x\n  d: 3\n\n# tail\nc: 2\n",
        ),
        ("a:\n  b:\n    c: 1\n", {"a.b.d": 2, "a.e": 3}, "a:\n  b:\n    c: 1\n    d: 2\n  e: 3\n"),
        ("a:\n  b: 1\n", {"a.c.d.e": 2}, "a:\n  b: 1\n  c:\n    d:\n      e: 2\n"),
        ("a: {b: 1}\n", {"a.c.d": 2}, "a: {b: 1, c: {d: 2}}\n"),
        ("a: 'low'\n", {"a": "none"}, "a: none\n"),
        ("a: low\n", {"a": "yes"}, "a: 'yes'\n"),
        ("a: 1e-3\n", {"a": 1e-7}, "a: 1.0e-07\n"),
        ("a:\nb: 1\n", {"a": 2}, "a: 2\nb: 1\n"),
        ("a: 1\r\nb:\r\n  c: 2\r\n", {"a": 3, "b.d": 4}, "a: 3\r\nb:\r\n  c: 2\r\n  d: 4\r\n"),
        ("é: ü # ö\na: 1\n", {"a": 2}, "é: ü # ö\na: 2\n"),
        ("---\na: 1\n...\n", {"a": 2}, "---\na: 2\n...\n"),
        ('a:\n- 1\n- {b: 2}\nc: "x: #y"\n', {"c": 1}, "a:\n- 1\n- {b: 2}\nc: 1\n"),
        ("a: !!float 1\n", {"a": 2.5}, "a: 2.5\n"),
    ],
)
def test_only_what_changes_is_touched(text: str, changes: dict[str, Any], expected: str) -> None:
    assert edited(text, changes) == expected


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("a: &x 1\nb: *x\n", {"a": 2}),
        ("a: &x {b: 1}\nc: *x\n", {"a.b": 2}),
        ("a: |\n  text\n", {"a": 2}),
        ("a:\n  b: |\n    text\n", {"a.c": 2}),
        ("a:\nb: 1\n", {"a.c": 2}),
    ],
)
def test_what_cannot_be_done_is_none(text: str, changes: dict[str, Any]) -> None:
    assert edited(text, changes) is None


NAMES = st.sampled_from(["trade", "entry", "a b", "null", "1", "é", "x#y", "yes", ": "])
LEAVES = st.one_of(
    st.booleans(),
    st.integers(-5, 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["low", "none", "1e3", "", "# no", "a: b", "é"]),
)
TREES = st.recursive(LEAVES, lambda inner: st.dictionaries(NAMES, inner, max_size=4), max_leaves=12)
DOCUMENTS = st.dictionaries(NAMES, TREES, min_size=1, max_size=4)


@given(DOCUMENTS, st.data())
def test_whatever_is_set_the_content_is_that_or_nothing(
    document: dict[str, Any], data: Any
) -> None:
    text = (
        dump_yaml(document).replace("\n", "  # c\n")
        if data.draw(st.booleans())
        else dump_yaml(document)
    )
    try:
        is_same = config_id(parse_yaml(text, "x")) == config_id(document)
    except Exception:
        is_same = False
    if not is_same:  # a comment where none can stand
        text = dump_yaml(document)
    new = copy.deepcopy(document)
    node = new
    while True:
        name = data.draw(NAMES)
        if isinstance(node.get(name), dict) and data.draw(st.booleans()):
            node = node[name]
            continue
        node[name] = data.draw(LEAVES)
        break
    found = with_values(text, document, new)
    assert found is None or config_id(parse_yaml(found, "x")) == config_id(new)
    if found is not None:
        assert found.count("# c\n") >= text.count("# c\n") - 1
