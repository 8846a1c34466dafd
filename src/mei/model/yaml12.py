"""YAML read the way people mean it (YAML 1.2 core): PyYAML alone follows 1.1.

There `1e-3` is text, `yes`, `no`, `on`, `off` are booleans, `010` is eight, `1_000` a thousand, `12:30` is 750, and of
two equal keys the second wins without a word. Here `1e-3` is a number, only `true` and `false` are booleans, the other
four are text, and a duplicate key is an error with its line. The merge key `<<` is a key like any other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Hashable
from pathlib import Path
from typing import Any, NoReturn

import yaml

from mei.model.errors import ConfigError

_TAG = "tag:yaml.org,2002:"
_MIN_INT, _MAX_INT = -(2**63), 2**64 - 1
_MAX_DIGITS = 40

_NULL = "~|null|Null|NULL|"
_BOOL = "true|True|TRUE|false|False|FALSE"
#: Digits alone with a leading zero are text: nobody can know whether 010 was meant as eight or as ten.
_INT = "[-+]?(?:0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+|0|[1-9][0-9]*)"
_REAL = (
    r"[-+]?(?:0[0-9]+(?=[.eE])|0(?=[.eE])|[1-9][0-9]*(?=[.eE])|(?=\.[0-9]))(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_INT_BASES = {"0x": 16, "0o": 8, "0b": 2}


class TaggedMapping(dict[Any, Any]):
    """A mapping that carries a tag of its own, such as `!mine {a: 1}`."""


def _fail(problem: str, node: yaml.Node) -> NoReturn:
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _to_float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


class _Loader(yaml.SafeLoader):
    """SafeLoader with the types of YAML 1.2 and unique keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A dict; a key that is there twice is an error."""
        if not isinstance(node, yaml.MappingNode):
            _fail("a mapping must stand here", node)
        mapping: dict[Hashable, Any] = {}
        seen: set[tuple[type, Hashable]] = set()
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                _fail("a key is a list or a mapping", key_node)
            if (type(key), key) in seen:
                _fail(f"the key {key!r} is there twice", key_node)
            seen.add((type(key), key))
            mapping[key] = self.construct_object(value_node, deep=deep)
        return mapping

    def construct_null(self, node: yaml.Node) -> None:
        """None."""
        self._text(node, _NULL, "null")

    def construct_truth(self, node: yaml.Node) -> bool:
        """True or False."""
        return self._text(node, _BOOL, "true or false").lower() == "true"

    def construct_whole(self, node: yaml.Node) -> int:
        """An integer of 64 bits, signed or not."""
        text = self._text(node, _INT, "a whole number")
        digits = text.lstrip("+-")
        base = _INT_BASES.get(digits[:2])
        # Python refuses to read thousands of decimal digits; so many are too large anyhow.
        whole = int(digits[:_MAX_DIGITS], 10) if base is None else int(digits[2:], base)
        whole = -whole if text.startswith("-") else whole
        if not _MIN_INT <= whole <= _MAX_INT:
            _fail(
                f"a whole number must be {_MIN_INT} to {_MAX_INT}, was {text[:_MAX_DIGITS]}", node
            )
        return whole

    def construct_real(self, node: yaml.Node) -> float | str:
        """A float; .inf and .nan in YAML's spelling. A number too large for one stays text."""
        text = self._text(node, f"{_REAL}|{_INT}", "a number")
        number = _to_float(text) if re.fullmatch(_REAL, text) else float(self.construct_whole(node))
        return text if math.isinf(number) and "inf" not in text.lower() else number

    def construct_unknown(self, node: yaml.Node) -> Any:
        """Never: a tag of the user's is an error."""
        _fail(f"the tag {node.tag} is not known; leave it out", node)

    def _text(self, node: yaml.Node, pattern: str, must: str) -> str:
        text = node.value
        if not isinstance(text, str) or not re.fullmatch(pattern, text):
            _fail(f"{node.tag.replace(_TAG, '!!')} must be {must}, was {text!r}", node)
        return text


class _LenientLoader(_Loader):
    """Tags of the user's are passed over, but a mapping that has one can be told."""

    def construct_unknown(self, node: yaml.Node) -> Any:
        """The value without its tag."""
        if isinstance(node, yaml.MappingNode):
            return TaggedMapping(self.construct_mapping(node, deep=True))
        if isinstance(node, yaml.SequenceNode):
            return self.construct_sequence(node, deep=True)
        return self.construct_object(self._without_tag(node))

    def _without_tag(self, node: Any) -> yaml.ScalarNode:
        tag = self.resolve(yaml.ScalarNode, node.value, (node.style is None, False))  # type: ignore[no-untyped-call]
        return yaml.ScalarNode(tag, node.value, node.start_mark, node.end_mark, node.style)


# Dicts of their own: the inherited ones hold the types of YAML 1.1.
_Loader.yaml_implicit_resolvers = {}
_Loader.yaml_constructors = {
    f"{_TAG}null": _Loader.construct_null,
    f"{_TAG}bool": _Loader.construct_truth,
    f"{_TAG}int": _Loader.construct_whole,
    f"{_TAG}float": _Loader.construct_real,
    f"{_TAG}str": _Loader.construct_yaml_str,
    f"{_TAG}seq": _Loader.construct_yaml_seq,
    f"{_TAG}map": _Loader.construct_yaml_map,
    None: _Loader.construct_unknown,
}
_LenientLoader.yaml_constructors = {
    **_Loader.yaml_constructors,
    None: _LenientLoader.construct_unknown,
}
for _kind, _pattern, _first in (
    ("null", _NULL, ["~", "n", "N", ""]),
    ("bool", _BOOL, list("tTfF")),
    ("int", _INT, list("-+0123456789")),
    ("float", _REAL, list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(f"(?:{_pattern})\\Z"), _first)


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes what either YAML 1.1 or 1.2 would not read as text."""

    def ignore_aliases(self, data: Any) -> bool:
        """Always: a value that stands at two places is written twice."""
        return True


_Dumper.yaml_implicit_resolvers = {
    first: [
        *yaml.SafeDumper.yaml_implicit_resolvers.get(first, []),
        *_Loader.yaml_implicit_resolvers.get(first, []),
    ]
    for first in {**yaml.SafeDumper.yaml_implicit_resolvers, **_Loader.yaml_implicit_resolvers}
}


def dump_yaml(document: Any) -> str:
    """The text of a document, keys in their order, which `parse_yaml` reads back as it is.

    document: mappings, lists, texts, finite or other numbers, booleans and None.
    """
    text: str = yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False
    )
    return text


def load_yaml(path: Path) -> Any:
    """The content of one YAML document; ConfigError names file, line and what is wrong."""
    return parse_yaml(read_text(path), str(path))


def read_text(path: Path) -> str:
    """A file's text without byte order mark. Raises ConfigError if it cannot be read or is not UTF-8."""
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} must be a readable file in UTF-8: {error}") from error


def parse_yaml(text: str, source: str, *, only: Collection[str] | None = None) -> Any:
    """The content of one YAML document, None for an empty one.

    source: stands before the line in messages. only: of a mapping at the root take these keys; whatever else is there
    must only be well-formed, and tags of the user's are passed over (TaggedMapping). Raises ConfigError.
    """
    try:
        loader = (_Loader if only is None else _LenientLoader)(text)
        root = loader.get_single_node()
        if root is None:
            return None
        _refuse_loops(root, set(), set())
        if only is not None and isinstance(root, yaml.MappingNode):
            root.value = [pair for pair in root.value if _scalar(pair[0]) in only]
        return loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{source}{line}: {_problem(error)}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ConfigError(f"{source}: lists and mappings must not be nested so deeply") from error


def _problem(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or "the text must be YAML, is not"
    return f"{error.context} {problem}" if problem.startswith("but ") else problem


def _scalar(node: yaml.Node) -> str | None:
    return node.value if isinstance(node, yaml.ScalarNode) else None


def _refuse_loops(node: yaml.Node, above: set[int], done: set[int]) -> None:
    """An alias must not stand inside of what it names."""
    if isinstance(node, yaml.ScalarNode) or id(node) in done:
        return
    if id(node) in above:
        _fail("an alias stands inside of what it names", node)
    above.add(id(node))
    for child in node.value:
        for one in child if isinstance(child, tuple) else (child,):
            _refuse_loops(one, above, done)
    above.remove(id(node))
    done.add(id(node))
