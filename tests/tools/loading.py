"""Programs of tools/ as modules, and what they answer to a command line."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

TOOLS = Path(__file__).parents[2] / "tools"


def tool(name: str) -> ModuleType:
    """The program tools/<name>.py as a module."""
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def exit_code(module: ModuleType, arguments: list[str]) -> int:
    """The exit code of a program, whether it returns it or leaves with it."""
    try:
        return int(module.main(arguments))
    except SystemExit as stop:
        return int(str(stop.code))
