"""nova init: the keys, asked for and kept where only their owner reads them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from nova.cli.output import emit, line
from nova.cli.params import AsJson, pairs
from nova.cli.terminal import is_terminal, note

if TYPE_CHECKING:
    from pathlib import Path

_ASKED = (
    "STRIPE_API_KEY",
    "GUMROAD_ACCESS_TOKEN",
    "SENDGRID_API_KEY",
    "TWITTER_BEARER_TOKEN",
    "GITHUB_TOKEN",
    "NOVA_ALERT_URLS",
)


def init(
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="VARIABLE=VALUE", help="Write this instead of asking; may be given several times."
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Ask for the keys and write NOVA_HOME/.env.

    What is typed is not shown, and an empty answer leaves a key as it is. The file is readable by you only. Without a
    terminal give --set, or edit the file.

    Example:
      nova init
    """
    from nova.cli import env_file

    path = env_file.path()
    given = pairs(settings or [])
    if not given:
        given = _ask(path)
    env_file.write(path, given)
    if json:
        emit({"path": path, "set": sorted(given)})
    else:
        words = f"{', '.join(sorted(given))} written to {path}" if given else f"nothing changed in {path}"
        line(words)
        _say_what_is_wrong()
        note("nova platforms check shows whether the keys work; nova doctor checks the rest")


def _say_what_is_wrong() -> None:
    from nova.config import load_settings
    from nova.errors import ConfigInvalid

    try:
        load_settings()
    except ConfigInvalid as problem:
        note(problem.message)


def _ask(path: Path) -> dict[str, str]:
    from nova.cli import env_file
    from nova.errors import UsageProblem

    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        raise UsageProblem(
            "nova init asks for keys, and there is no terminal to ask on",
            hint=f"pass --set VARIABLE=VALUE, or edit {path}",
        )
    known = env_file.read(path)
    note("What you type is not shown. Enter alone leaves a key as it is; Ctrl-C changes nothing.")
    answers = {}
    for name in _ASKED:
        kept = " (set; empty keeps it)" if known.get(name) else " (empty for none)"
        answer = typer.prompt(f"{name}{kept}", default="", hide_input=True, show_default=False, err=True)
        if answer.strip():
            answers[name] = answer.strip()
    return answers
