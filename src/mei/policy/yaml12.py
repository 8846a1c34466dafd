"""YAML read the way people mean it (YAML 1.2 core): PyYAML alone follows 1.1.

There `1e-3` is text, `yes`, `no`, `on`, `off` are booleans, `010` is eight, `12:30` is 750, and of two equal
keys the second wins without a word. Here `1e-3` is a number, only `true` and `false` are booleans,
`010` is ten, and a duplicate key is an error with its line.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from mei.model.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """SafeLoader with the types of YAML 1.2 and unique keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A dict; a key that is there twice is an error."""
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.MarkedYAMLError(
                    problem="a key is a list or a mapping", problem_mark=key_node.start_mark
                )
            if key in seen:
                problem = f"the key {key!r} is there twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_decimal(self, node: yaml.ScalarNode) -> int:
        """Digits are decimal, leading zeros or not."""
        return int(
            node.value, 16 if node.value[:2] == "0x" else 8 if node.value[:2] == "0o" else 10
        )

    def construct_real(self, node: yaml.ScalarNode) -> float:
        """A float; .inf and .nan in YAML's spelling."""
        return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))


# A dict of its own: the inherited one holds the types of YAML 1.1.
_Loader.yaml_implicit_resolvers = {}


def _resolve(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first)
    )


_resolve("null", r"~|null|Null|NULL|", "~nN\0")
_Loader.yaml_implicit_resolvers.setdefault("", []).append(
    ("tag:yaml.org,2002:null", re.compile("^$"))
)
_resolve("bool", r"true|True|TRUE|false|False|FALSE", "tTfF")
_resolve("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789")
_resolve(
    "float",
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    "-+.0123456789",
)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_decimal)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_real)


def load_yaml(path: Path) -> Any:
    """The content of one YAML document; ConfigError names file, line and what is wrong."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} must be a readable file in UTF-8: {error}") from error
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path}{line}: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error
