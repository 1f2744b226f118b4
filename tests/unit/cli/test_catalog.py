"""The catalog is what `--help` lists; the commands behind it must say the same."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest

from nova.cli.catalog import COMMANDS, Command, Entry, Group
from nova.cli.groups import load


def _walk(entries: Mapping[str, Entry], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Command]]:
    for name, entry in entries.items():
        if isinstance(entry, Group):
            yield from _walk(entry.commands, (*path, name))
        else:
            yield (*path, name), entry


ALL = list(_walk(COMMANDS))


@pytest.mark.parametrize(("path", "entry"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_a_command_says_what_the_catalog_says_and_shows_an_example(path: tuple[str, ...], entry: Command) -> None:
    text = inspect.cleandoc(load(path[-1], entry).help)
    assert text.splitlines()[0] == entry.help
    example = text.partition("\nExample:\n")[2]
    assert f"nova {' '.join(path)}" in example


@pytest.mark.parametrize(("path", "entry"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_every_option_and_argument_is_explained(path: tuple[str, ...], entry: Command) -> None:
    command = load(path[-1], entry)
    assert [param.name for param in command.params if not param.help] == []


def test_help_imports_no_command() -> None:
    listed = "import sys; from nova.cli.app import run; run(['--help']); run(['workers']); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", listed], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1]
    for module in ("nova.cli.commands", "rich", "pydantic", "sqlalchemy", "nova.config", "nova.fleet"):
        assert f"'{module}'" not in loaded, module


HEAVY = [
    "stripe", "sendgrid", "tweepy", "httpx", "matplotlib", "statsmodels", "scipy", "numpy", "starlette",
    "uvicorn", "pydantic_ai", "jinja2", "openai", "bs4", "lxml", "textual", "apprise", "plotext",
]  # fmt: skip


@pytest.mark.parametrize("asked", ["--help", "version", "workers status", "platforms list", "revenue report"])
def test_what_is_asked_for_often_imports_no_vendors_library(asked: str) -> None:
    listed = f"import sys; from nova.cli.app import run; assert run({asked.split()}) == 0; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", listed], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1]
    assert [name for name in HEAVY if f"'{name}'" in loaded] == []
