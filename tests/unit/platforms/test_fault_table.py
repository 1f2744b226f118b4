"""The table of faults, the tests of the clients and docs/platforms.md say the same."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.emulators.faults import CLIENTS, table

ROOT = Path(__file__).parents[3]
HOLDING = {"hold_reading", "hold_effect"}


def test_every_client_is_held_to_every_fault() -> None:
    for held in CLIENTS:
        found = {
            node.name: ast.unparse(node)
            for node in ast.parse((ROOT / "tests" / "integration" / held.file).read_text()).body
            if isinstance(node, ast.FunctionDef)
        }
        for name in filter(None, (held.reading, held.effect)):
            assert "each_fault" in found[name] or "FAULTS" in found[name], name
            assert any(one in found[name] for one in HOLDING), name


def test_the_documentation_has_the_table_as_it_is() -> None:
    assert table() in (ROOT / "docs" / "platforms.md").read_text()
