"""Errors as the operator reads them: a code, a message, and what to do about it."""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass

import typer
from typer.exceptions import Abort, TyperException

from nova.cli.terminal import paint, printable
from nova.errors import NovaError

_OS_HINTS = {
    errno.ENOSPC: "free some space and run it again; nothing that was recorded before is lost",
    errno.EDQUOT: "free some space and run it again; nothing that was recorded before is lost",
    errno.EROFS: "the file system is read-only: set NOVA_HOME to a folder that can be written",
    errno.EACCES: "run it as the user who owns NOVA_HOME, or set NOVA_HOME",
    errno.EPERM: "run it as the user who owns NOVA_HOME, or set NOVA_HOME",
}


@dataclass(frozen=True, slots=True)
class Problem:
    code: int
    message: str
    hint: str | None = None
    causes: tuple[str, ...] = ()

    def document(self) -> str:
        error = {"code": self.code, "message": self.message, "hint": self.hint}
        return json.dumps({"error": error}, ensure_ascii=False)

    def words(self) -> str:
        lines = [f"{paint('error:', 'red', err=True)} {_lines(self.message)}"]
        lines += [f"cause: {printable(cause)}" for cause in self.causes]
        if self.hint:
            lines.append(f"{paint('hint:', 'cyan', err=True)} {_lines(self.hint)}")
        return "\n".join(lines)


def _lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.splitlines())


def describe(error: BaseException) -> Problem:
    if isinstance(error, NovaError):
        return Problem(error.exit_code, error.message, error.hint, _causes(error))
    if isinstance(error, TyperException):
        return _usage(error)
    if isinstance(error, Abort):
        return Problem(130, "interrupted; nothing was changed")
    if isinstance(error, OSError):
        return Problem(1, _os_words(error), _OS_HINTS.get(error.errno or 0))
    words = str(error).strip().splitlines()
    message = f"unexpected {type(error).__name__}" + (f": {words[0]}" if words else "")
    return Problem(1, message, "run again with --debug to see where it happened")


def _usage(error: TyperException) -> Problem:
    context: typer.Context | None = getattr(error, "ctx", None)
    hint = f"{context.command_path} --help shows how it is used" if context is not None else None
    return Problem(error.exit_code, error.format_message().rstrip("."), hint)


def _os_words(error: OSError) -> str:
    words = error.strerror or str(error) or type(error).__name__
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return f"{' -> '.join(names)}: {words}" if names else words


def _causes(error: NovaError) -> tuple[str, ...]:
    """What nova and the operating system said; text of vendors' libraries may carry keys and is left to --debug."""
    said: list[str] = []
    cause = error.__cause__
    while cause is not None:
        text = cause.message if isinstance(cause, NovaError) else _os_words(cause) if isinstance(cause, OSError) else ""
        if text and text not in error.message:
            said.append(text)
        cause = cause.__cause__
    return tuple(said)
