"""Groups that know their commands by the catalog and import one only when it is called or asked for its help."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from nova.cli.catalog import Command, Entry, Group

_PACKAGE = "nova.cli.commands"
_NEGATIVE = re.compile(r"-\d+(\.\d+)?( [A-Za-z]{3})?", re.ASCII)


def _bold(text: str) -> str:
    plain = "NO_COLOR" in os.environ or not sys.stdout.isatty()
    return text if plain else typer.style(text, bold=True)


def _write_help(text: str, formatter: Any) -> None:
    """Paragraphs are wrapped; an indented or `Example:` paragraph is shown as it is written."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        formatter.write_paragraph()
        if paragraph.startswith(("Example:", " ")):
            head, *lines = paragraph.splitlines()
            shown = [part for line in lines for part in _folded(line, formatter.width)]
            formatter.write("\n".join([_bold(head), *shown]) + "\n")
        else:
            formatter.write_text(paragraph)


def _folded(line: str, width: int) -> list[str]:
    """A command that is too long goes on in the next line before an option, as a shell takes it."""
    if len(line) <= width:
        return [line]
    first, *options = line.split(" --")
    parts = [first]
    for option in options:
        if len(parts[-1]) + len(option) + 5 > width:  # the blank, two dashes, and the mark at the end
            parts.append(f"    --{option}")
        else:
            parts[-1] += f" --{option}"
    return [f"{part} \\" for part in parts[:-1]] + parts[-1:]


def as_flag(option: Any) -> Any:
    """Without a default of its own a flag's None is turned into a bool by pydantic, which takes long to import."""
    if option is not None:
        option.default = False
    return option


class PlainCommand(TyperCommand):
    """A command whose help is its docstring, ending with one worked example. `-2.50` is an amount and no option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.ignore_unknown_options = any(_NEGATIVE.fullmatch(arg) for arg in args)
        return super().parse_args(ctx, args)

    def get_help_option(self, ctx: Any) -> Any:
        return as_flag(super().get_help_option(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Arguments as their metavars say, without further braces and brackets."""
        options, *_ = super().collect_usage_pieces(ctx)
        return [options, *(str(param.metavar) for param in self.params if param.param_type_name == "argument")]

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        _write_help(self.help or "", formatter)


class LazyCommands(Mapping[str, Any]):
    """The commands of a group; looking one up imports it."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self.entries = entries
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = load(name, self.entries[name])
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def load(name: str, entry: Entry) -> Any:
    """The real command or group behind a catalog's entry."""
    if isinstance(entry, Group):
        return LazyGroup(entry.commands, name=name, help=entry.help)
    return _command(name, entry)


def _command(name: str, entry: Command) -> TyperCommand:
    module, _, function = entry.target.partition(":")
    callback = getattr(importlib.import_module(f"{_PACKAGE}.{module}"), function)
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name, cls=PlainCommand)(callback)
    command = typer.main.get_command(app)
    assert isinstance(command, TyperCommand)
    return command


class LazyGroup(TyperGroup):
    """Lists its commands from the catalog, by panel; without arguments it prints its help."""

    def __init__(self, entries: Mapping[str, Entry], **attrs: Any) -> None:
        super().__init__(**{**attrs, "rich_markup_mode": None, "invoke_without_command": True})
        self.entries = entries
        self.commands = LazyCommands(entries)  # type: ignore[assignment]

    def get_help_option(self, ctx: Any) -> Any:
        return as_flag(super().get_help_option(ctx))

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.entries)

    def invoke(self, ctx: Any) -> Any:
        if not ctx._protected_args:
            typer.echo(ctx.get_help())
            return None
        return super().invoke(ctx)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(len(name) for name in self.entries)
        for panel, listed in groupby(self.entries.items(), key=lambda item: item[1].panel):
            with formatter.section(_bold(panel)):
                formatter.write_dl([(name.ljust(width), entry.help) for name, entry in listed])

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        from typer._click.shell_completion import CompletionItem

        names = [name for name in self.entries if name.startswith(incomplete)]
        options = super(TyperGroup, self).shell_complete(ctx, incomplete)
        return [CompletionItem(name, help=self.entries[name].help) for name in names] + options
