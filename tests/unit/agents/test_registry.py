from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from nova.errors import NotFound, UsageProblem
from workers.agents import registry
from workers.agents.registry import describe, describe_all, find, load, resolver
from workers.base_worker import BaseWorker

GOOD = '''
from pydantic import BaseModel
from workers import BaseWorker

class Mine(BaseWorker):
    """Does mine."""
    class Config(BaseModel):
        times: int = 1
    scalable = False
    tunables = {"times": (1, 2)}
'''


@pytest.fixture
def agents(home: Path) -> Path:
    folder = home / "agents"
    folder.mkdir()
    return folder


def listed(home: Path, name: str) -> dict[str, object]:
    return next(one for one in describe_all(home) if one["name"] == name)


@pytest.mark.parametrize("name", ["shell", "scraper_agent", "scraper"])
def test_what_ships_is_found_and_listed_with_a_summary(name: str, home: Path) -> None:
    found = find(name, home)
    assert issubclass(found.load(), BaseWorker)
    assert listed(home, found.name) == {"name": found.name, "source": "nova", "help": found.summary}
    assert found.summary


def test_a_file_is_an_agent_by_its_name(home: Path, agents: Path) -> None:
    (agents / "mine.py").write_text(GOOD)
    assert find("mine", home).load().__name__ == "Mine"
    assert listed(home, "mine")["help"] == "Does mine."
    shown = describe("mine", home)
    assert shown["scalable"] is False and shown["tunables"] == {"times": [1, 2]}
    assert shown["config"] == [{"name": "times", "type": "int", "required": False, "default": 1, "help": None}]


def test_listing_runs_nobodys_code(home: Path, agents: Path) -> None:
    (agents / "loud.py").write_text("raise RuntimeError\n" + GOOD)
    assert "error" not in listed(home, "loud")


def test_of_several_workers_in_a_file_the_one_named_as_it_is_meant(home: Path, agents: Path) -> None:
    (agents / "price_watch.py").write_text(GOOD + "class PriceWatch(Mine): pass\n")
    assert find("price_watch", home).load().__name__ == "PriceWatch"
    (agents / "two.py").write_text(GOOD + "class Other(Mine): pass\n")
    with pytest.raises(UsageProblem, match="several workers") as refused:
        find("two", home)
    assert refused.value.hint is not None and "two.py:Mine" in refused.value.hint
    assert find("two.py:Other", home).load().__name__ == "Other"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def broken(:\n", "line 1"),
        (GOOD + "\n\n1 / 0\n", r"ZeroDivisionError.*line 13"),
        (GOOD + "import no_such_module_at_all\n", r"no_such_module_at_all.*line 11"),
        (GOOD + "raise SystemExit(3)\n", "ends the process"),
        ("x = 1\n", "has no worker"),
    ],
)
def test_a_broken_file_is_one_clear_error(text: str, words: str, home: Path, agents: Path) -> None:
    (agents / "broken.py").write_text(text)
    with pytest.raises(UsageProblem, match=words) as refused:
        find("broken", home).load()
    assert str(agents / "broken.py") in refused.value.message


def test_a_file_that_cannot_be_read_is_listed_with_its_error(home: Path, agents: Path) -> None:
    (agents / "broken.py").write_text("def broken(:\n")
    assert "line 1" in str(listed(home, "broken")["error"])
    assert listed(home, "shell")


def test_an_entry_point_is_an_agent(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("handy", "workers.agents.shell:Shell", registry.GROUP)
    monkeypatch.setattr(registry, "_entries", lambda: [entry])
    assert find("handy", home).load().__name__ == "Shell"
    assert listed(home, "handy")["source"] == "package"
    broken = EntryPoint("worse", "workers.agents.shell:CommandFailed", registry.GROUP)
    monkeypatch.setattr(registry, "_entries", lambda: [broken])
    with pytest.raises(UsageProblem, match="not a worker"):
        find("worse", home).load()


def test_a_path_is_an_agent(home: Path) -> None:
    assert find("workers.agents.shell:Shell", home).load().__name__ == "Shell"
    with pytest.raises(UsageProblem, match="no module"):
        find("nowhere.at_all:X", home).load()


def test_an_unknown_name_is_not_found_and_guessed_at(home: Path) -> None:
    with pytest.raises(NotFound) as refused:
        find("shel", home)
    assert refused.value.hint == "did you mean shell?"


def test_the_python_agent_takes_a_target_and_the_settings_of_its_class(home: Path, agents: Path) -> None:
    (agents / "mine.py").write_text(GOOD)
    worker, config = resolver(home)("python", {"target": "mine:Mine", "times": "3"})
    assert worker.__name__ == "Mine" and config.times == 3
    with pytest.raises(UsageProblem, match="target"):
        load("python", {}, home)
    assert describe("python", home)["config"][0]["name"] == "target"


def test_listing_imports_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys, pathlib; from workers.agents.registry import describe_all; describe_all(pathlib.Path('nowhere'));"
        "print([name for name in ('sqlalchemy', 'httpx', 'bs4', 'pydantic', 'psutil') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("agent", ["email_agent", "social_agent", "subscription_agent", "llm_agent", "scraper_agent"])
def test_the_types_of_settings_are_told_in_short_names(home: Path, agent: str) -> None:
    types = {field["name"]: field["type"] for field in describe(agent, home)["config"]}
    assert all("." not in type and "None" not in type and "Annotated" not in type for type in types.values()), types
    expected = {"social_agent": ("replies", "list[Rule]"), "subscription_agent": ("dunning", "list[DunningStep]")}
    name, type = expected.get(agent, ("", ""))
    assert types.get(name, "") == type
