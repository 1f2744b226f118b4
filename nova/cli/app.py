"""The `nova` command: one group, and one place where errors become words and exit codes."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any, NoReturn

import typer

from nova.cli.catalog import COMMANDS
from nova.cli.groups import LazyGroup, as_flag

_HELP = "Supervise workers that earn money: run them, meter them, and scale, pause or kill them by ROI."
_CONTEXT = {"help_option_names": ["-h", "--help"]}
_EPILOG = "First steps: `nova demo --quick` shows the whole job, `nova deploy --help` puts your own script to work."


class _Root(LazyGroup):
    def __init__(self, **attrs: Any) -> None:
        super().__init__(entries=COMMANDS, **attrs)


def _print_version(wanted: bool) -> None:
    if wanted:
        from nova.cli.commands.version import version

        version()
        raise typer.Exit


def _global_options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Both act before a command is called: `--debug` is taken out of the arguments wherever it stands."""


def root() -> Any:
    """The command line, with nothing imported but its table of contents."""
    app = typer.Typer(
        name="nova", cls=_Root, rich_markup_mode=None, help=_HELP, epilog=_EPILOG, context_settings=_CONTEXT
    )
    app.callback(invoke_without_command=True)(_global_options)
    command = typer.main.get_command(app)
    for param in command.params:
        if param.name in ("install_completion", "show_completion"):
            as_flag(param)
    return command


def main() -> NoReturn:
    """The console script."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever called
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:  # what it does not take now it would not take at the interpreter's end either
        _quiet()
    sys.exit(code)


def run(args: list[str]) -> int:
    """Parses, calls, and returns the exit code; every error ends here."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name the terminal cannot show is no reason to fail
    args, debug = _without_debug(args)
    try:
        code = root().main(args, prog_name="nova", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        return _quiet()
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - the one place where every error becomes words
        return report(error, as_json=_wants_json(args), debug=debug)


def _without_debug(args: list[str]) -> tuple[list[str], bool]:
    end = args.index("--") if "--" in args else len(args)
    kept = [arg for arg in args[:end] if arg != "--debug"]
    return kept + args[end:], len(kept) < end


def _wants_json(args: list[str]) -> bool:
    return "--json" in (args[: args.index("--")] if "--" in args else args)


def _quiet() -> int:
    """Whoever read our output has gone, as `head` does: nothing more can be said."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def report(error: Exception, *, as_json: bool, debug: bool) -> int:
    """Says what went wrong on stderr, and as the one JSON document where that was asked for."""
    from nova.cli.problems import describe

    if debug:
        import traceback

        traceback.print_exception(error)
    problem = describe(error)
    try:
        if as_json:
            print(problem.document(), flush=True)
        print(problem.words(), file=sys.stderr)
    except BrokenPipeError:
        _quiet()
    except OSError:  # standard output takes nothing, as on a full disk: say it where that can be said
        _quiet()
        print(problem.words(), file=sys.stderr)
    return problem.code
