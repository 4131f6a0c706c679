"""Reached: how much of a reader a bounded run of its fuzzer comes through, and the floors that it must not fall below."""

import ast
import importlib
import tomllib
from collections.abc import Iterable
from pathlib import Path

import coverage

from fuzz.attempt import attempt
from fuzz.targets import Target

FLOORS = Path(__file__).with_name("floors.toml")
INPUTS = 400
"""Of one target, in the run that the floors are of."""


def floors() -> dict[str, int]:
    """Return the percentage of each reader's statements that the bounded run has to come through."""
    found: dict[str, int] = tomllib.loads(FLOORS.read_text(encoding="utf-8"))
    return found


def reached(target: Target, inputs: Iterable[bytes]) -> float:
    """Feed a reader; return the percentage of the statements in functions of its modules that were executed."""
    files = [str(importlib.import_module(name).__file__) for name in target.modules]
    watched = coverage.Coverage(data_file=None, include=files, config_file=False, messages=False)
    watched.start()
    try:
        for data in inputs:
            attempt(target, data)
    finally:
        watched.stop()
    executed = total = 0
    for file in files:
        statements = _in_functions(Path(file)) & set(watched.analysis2(file)[1])
        total += len(statements)
        executed += len(statements - set(watched.analysis2(file)[3]))
    return 100 * executed / total if total else 100.0


def _in_functions(file: Path) -> set[int]:
    """Return the lines inside functions: the others are executed when a module is imported."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            lines.update(range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1))
    return lines
