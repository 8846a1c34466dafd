"""Values of a YAML file changed where they stand, so that its comments, order and spelling stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from mei.data.config_id import config_id
from mei.model.errors import ConfigError
from mei.model.yaml12 import dump_yaml, parse_yaml


class _CannotError(Exception):
    """The text must be written anew."""


def with_values(text: str, old: Mapping[Any, Any], new: Mapping[Any, Any]) -> str | None:
    """`text`, whose parsed content is `old`, changed to have the content `new`; None where that cannot be done.

    Changed and new values, and new sections, are written where they belong; nothing can be left out. What is returned
    was parsed again and is `new`, to the type of each value.
    """
    try:
        edited = _Edits(text).made(old, new)
        return (
            edited if config_id(parse_yaml(edited, "the edited text")) == config_id(new) else None
        )
    except (_CannotError, ConfigError, yaml.YAMLError, RecursionError):
        return None


@dataclass(slots=True)
class _Edits:
    """Changes to a text: (start, end, what stands there instead), in the order in which they must be read."""

    text: str
    edits: list[tuple[int, int, str]] = field(default_factory=list)

    def made(self, old: Mapping[Any, Any], new: Mapping[Any, Any]) -> str:
        root = yaml.compose(self.text, Loader=yaml.SafeLoader)
        if not isinstance(root, yaml.MappingNode):
            raise _CannotError
        self._mapping(root, old, new)
        text = self.text
        in_order = sorted(enumerate(self.edits), key=lambda one: (one[1][0], one[0]))
        for _, (start, end, instead) in reversed(in_order):
            text = text[:start] + instead + text[end:]
        return text

    def _mapping(
        self, node: yaml.MappingNode, old: Mapping[Any, Any], new: Mapping[Any, Any]
    ) -> None:
        nodes = {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}
        added = {}
        for name, value in new.items():
            if name not in old:
                added[name] = value
            elif isinstance(value, Mapping):
                self._below(nodes.get(str(name)), old[name], value)
            elif not _is_same(old[name], value):
                self._scalar(nodes.get(str(name)), value)
        if added and node.flow_style:
            self._add_to_flow(node, added)
        elif added:
            self._add_to_block(node, added)

    def _below(self, node: yaml.Node | None, old: Any, new: Mapping[Any, Any]) -> None:
        if isinstance(node, yaml.MappingNode) and isinstance(old, Mapping):
            self._mapping(node, old, new)
        elif not (isinstance(old, Mapping) and config_id(old) == config_id(new)):
            raise _CannotError

    def _scalar(self, node: yaml.Node | None, value: Any) -> None:
        if not isinstance(node, yaml.ScalarNode) or node.style in ("|", ">"):
            raise _CannotError
        start, end = node.start_mark.index, node.end_mark.index
        self.edits.append((start, end, f"{'' if start < end else ' '}{_inline(value)}"))

    def _add_to_flow(self, node: yaml.MappingNode, added: Mapping[Any, Any]) -> None:
        pairs = ", ".join(f"{_inline(name)}: {_inline(value)}" for name, value in added.items())
        at = node.value[-1][1].end_mark.index if node.value else node.start_mark.index + 1
        self.edits.append((at, at, f", {pairs}" if node.value else pairs))

    def _add_to_block(self, node: yaml.MappingNode, added: Mapping[Any, Any]) -> None:
        last = _last(node)
        newline = "\r\n" if "\r\n" in self.text else "\n"
        indent = " " * node.value[0][0].start_mark.column
        lines = "".join(f"{indent}{line}{newline}" for line in dump_yaml(dict(added)).splitlines())
        line_end = self.text.find("\n", last)
        if line_end < 0:
            self.edits.append((len(self.text), len(self.text), f"{newline}{lines}"))
        else:
            self.edits.append((line_end + 1, line_end + 1, lines))


def _last(node: yaml.Node) -> int:
    """Where the last thing of a block ends; marks of blocks stand behind the comments that follow."""
    while isinstance(node, (yaml.MappingNode, yaml.SequenceNode)) and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        raise _CannotError
    end: int = node.end_mark.index
    return end


def _inline(value: Any) -> str:
    """A value in one line, as `dump_yaml` would write it."""
    if isinstance(value, Mapping):
        return (
            "{" + ", ".join(f"{_inline(name)}: {_inline(one)}" for name, one in value.items()) + "}"
        )
    text = dump_yaml({"x": value}).removeprefix("x:").strip()
    if "\n" in text:
        raise _CannotError
    return text


def _is_same(old: Any, new: Any) -> bool:
    return config_id({"x": old}) == config_id({"x": new})
