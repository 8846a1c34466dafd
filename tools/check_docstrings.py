"""Checks that every public function, class and module of src/mei says what a caller gets.

A docstring with a numpy-style `Parameters` section must name exactly the parameters of the signature.
Run as `python tools/check_docstrings.py [folder ...]`; prints `file:line: what is wrong`, exit code 1 if anything is.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def faults_of_file(path: Path) -> list[str]:
    """What is wrong in one source file, as `file:line: text`, in the order of lines."""
    module = ast.parse(path.read_bytes())
    return [f"{path}:{line}: {text}" for line, text in _faults(module)]


def _faults(module: ast.Module) -> Iterator[tuple[int, str]]:
    if not ast.get_docstring(module):
        yield 1, "the module has no docstring"
    for owner, node in _public(module, ""):
        docstring = ast.get_docstring(node)
        if not docstring:
            yield node.lineno, f"{owner}{node.name} has no docstring"
        elif isinstance(node, _FUNCTIONS):
            yield from _parameter_faults(f"{owner}{node.name}", node, docstring)


def _public(
    parent: ast.Module | ast.ClassDef, owner: str
) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in parent.body:
        if not isinstance(node, (*_FUNCTIONS, ast.ClassDef)) or node.name.startswith("_"):
            continue
        if _is_overload(node):
            continue
        yield owner, node
        if isinstance(node, ast.ClassDef):
            yield from _public(node, f"{owner}{node.name}.")


def _is_overload(node: ast.AST) -> bool:
    """A setter or an overload is documented where the property or the function is."""
    decorators = getattr(node, "decorator_list", [])
    names = {ast.unparse(decorator).rpartition(".")[2] for decorator in decorators}
    return bool(names & {"setter", "overload", "override"})


def _parameter_faults(
    name: str, node: ast.FunctionDef | ast.AsyncFunctionDef, docstring: str
) -> Iterator[tuple[int, str]]:
    documented = documented_parameters(docstring)
    if documented is None:
        return
    arguments = node.args
    signature = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    signature += [a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None]
    expected = [parameter for parameter in signature if parameter not in ("self", "cls")]
    if documented != expected:
        yield node.lineno, f"{name} documents {documented}, its parameters are {expected}"


def documented_parameters(docstring: str) -> list[str] | None:
    """Names in the numpy-style `Parameters` section; None where there is none."""
    section = re.search(
        r"^Parameters\n-{3,}\n(.*?)(?=^\w[^\n]*\n-{3,}\n|\Z)", docstring, re.M | re.S
    )
    if section is None:
        return None
    lines = re.findall(r"^(\S[^:\n]*?)\s*(?::.*)?$", section[1], re.M)
    return [name.strip().lstrip("*") for line in lines for name in line.split(",")]


def main(folders: list[str]) -> int:
    """Check every source file under `folders` (default: src/mei); the exit code."""
    roots = [Path(folder) for folder in folders or ["src/mei"]]
    paths = sorted(path for root in roots for path in root.rglob("*.py"))
    if not paths:
        print(
            f"error: {', '.join(map(str, roots))} must hold Python files, holds none",
            file=sys.stderr,
        )
        return 2
    faults = [fault for path in paths for fault in faults_of_file(path)]
    print("\n".join(faults) if faults else f"docstrings: {len(paths)} files, all documented")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
