"""What a strategy file is known by, whatever its comments, order and white space (specification part 3, section 1)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def config_id(document: Mapping[Any, Any]) -> str:
    """SHA-256, in hex, of the canonical JSON of a parsed strategy file. 1 and 1.0 differ."""
    canonical = json.dumps(
        _plain(document), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


def _plain(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_plain(value) for value in node]
    return node if node is None or isinstance(node, (bool, int, float, str)) else str(node)
