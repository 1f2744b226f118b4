from __future__ import annotations

import stat
from pathlib import Path

import pytest

from nova.errors import Refused, UsageProblem
from workers.agents.registry import describe, find
from workers.agents.scaffold import scaffold


@pytest.mark.parametrize("name", ["price_watch", "x", "base_worker", "field"])
def test_what_is_written_is_an_agent_that_loads(name: str, home: Path) -> None:
    path = scaffold(home, name)
    assert path == home / "agents" / f"{name}.py"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f"nova deploy DEPARTMENT {name}" in path.read_text()
    assert find(name, home).summary == "One line that says what it does."
    assert [field["name"] for field in describe(name, home)["config"]] == ["price", "cost"]


def test_it_never_overwrites(home: Path) -> None:
    path = scaffold(home, "mine")
    path.write_text("precious")
    with pytest.raises(Refused, match="there already"):
        scaffold(home, "mine")
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    "name", ["", "Mine", "price-watch", "../x", "a/b", "1st", "class", "shell", "scraper", "json", "ä"]
)
def test_a_name_that_cannot_be_one_is_refused(name: str, home: Path) -> None:
    with pytest.raises(UsageProblem):
        scaffold(home, name)
    assert not (home / "agents").exists()
