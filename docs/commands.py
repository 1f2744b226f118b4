"""Writes commands.md from the commands' own help: `python docs/commands.py`. A test holds that it is up to date."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import typer

from nova.cli.catalog import COMMANDS, Entry, Group
from nova.cli.groups import load

_HEAD = """\
# Commands

What `nova COMMAND --help` says, on one page. Written by `python docs/commands.py`.

Every command that reads or acts takes `--json` and then prints exactly one JSON document; when it fails, that is
`{"error": {"code", "message", "hint"}}`. `--debug` shows the traceback of an error.

| exit code | means |
|---|---|
| 0 | done |
| 1 | it failed |
| 2 | wrong usage |
| 3 | the named thing does not exist |
| 4 | refused by policy, budget or approval |
| 5 | a platform is not configured or refused the key |
| 69 | a platform or database cannot be reached |
| 75 | another process holds the lock; try again |
| 78 | the configuration is invalid |
"""


def page() -> str:
    return "\n".join([_HEAD, *_sections(COMMANDS, ())])


def _sections(entries: Mapping[str, Entry], path: tuple[str, ...]) -> Iterator[str]:
    for name, entry in entries.items():
        here = (*path, name)
        title = f"{'#' * min(4, len(here) + 1)} nova {' '.join(here)}\n"
        if isinstance(entry, Group):
            yield f"{title}\n{entry.help}\n"
            yield from _sections(entry.commands, here)
        else:
            yield f"{title}\n```console\n$ nova {' '.join(here)} --help\n{_help(here, entry)}```\n"


def _help(path: tuple[str, ...], entry: Entry) -> str:
    command = load(path[-1], entry)
    context = typer.Context(command, info_name=f"nova {' '.join(path)}", terminal_width=100)
    return str(command.get_help(context)).rstrip() + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("commands.md").write_text(page(), encoding="utf-8")
