"""The matrix, the tests and docs/supervision.md say the same."""

from __future__ import annotations

import ast
from pathlib import Path

from .matrix import MATRIX, tables

HERE = Path(__file__).parent


def functions_of(path: Path) -> list[str]:
    functions = (node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef))
    return [node.name for node in functions if node.name.startswith("test_")]


def test_every_fault_has_a_row_and_every_row_a_test() -> None:
    there = {path.name: functions_of(path) for path in HERE.glob("test_*.py") if path != Path(__file__)}
    assert {file: [row.test for row in rows] for file, rows in MATRIX.items()} == there


def test_the_documentation_has_the_matrix_as_it_is() -> None:
    assert tables() in (HERE.parents[1] / "docs" / "supervision.md").read_text()
