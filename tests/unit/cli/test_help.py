from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import typer

from nova.autonomous.policy import KEYS
from nova.cli import app
from nova.cli.catalog import COMMANDS, Command, Entry, Group
from nova.cli.commands.policy import MEANING
from nova.cli.groups import load


def _commands(entries: Mapping[str, Entry], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Command]]:
    for name, entry in entries.items():
        here = (*path, name)
        if isinstance(entry, Group):
            yield from _commands(entry.commands, here)
        else:
            yield " ".join(here), entry


ALL = dict(_commands(COMMANDS))


def _help(path: str) -> str:
    command: Any = load(path.split()[-1], ALL[path])
    return str(command.get_help(typer.Context(command, info_name=f"nova {path}", terminal_width=80)))


@pytest.mark.parametrize("path", ALL)
def test_a_help_fits_eighty_columns_and_reads_as_it_is_typed(path: str) -> None:
    text = _help(path)
    assert max(map(len, text.splitlines())) <= 80
    assert "{" not in text.splitlines()[0]
    assert "[[" not in text.splitlines()[0]
    assert "Example:" in text


def test_an_example_that_is_too_long_goes_on_as_a_shell_takes_it() -> None:
    lines = _help("deploy").splitlines()
    first = next(line for line in lines if line.startswith("  nova deploy"))
    assert first.endswith("--budget 5/day \\")
    assert lines[lines.index(first) + 1] == "    --set command='python3 ~/mailer.py'"


@pytest.mark.parametrize("args", [["-h"], ["workers", "-h"], ["workers", "scale", "-h"]])
def test_help_is_short_too(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(args) == 0
    assert capsys.readouterr().out.startswith("Usage: nova")


def test_every_command_speaks_json_but_the_play_and_the_screen() -> None:
    assert {path for path in ALL if "--json" not in _help(path)} == {"demo", "top"}


def test_every_key_of_the_policy_has_a_meaning() -> None:
    assert list(MEANING) == list(KEYS)
