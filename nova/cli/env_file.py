"""NOVA_HOME/.env, changed a line at a time: comments and what is not touched stay as they are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from nova.errors import ConfigInvalid, UsageProblem

_LINE = re.compile(r"\s*(?:export\s+)?#?\s*([A-Z][A-Z0-9_]*)\s*=")


def path() -> Path:
    """Where it is, also while the configuration in it is invalid."""
    from nova.config import home_folder

    return home_folder() / ".env"


def read(file: Path) -> dict[str, str]:
    """What is set; lines that make no sense are passed over."""
    import io

    from dotenv.parser import parse_stream

    found = {one.key: one.value for one in parse_stream(io.StringIO(_text(file))) if not one.error}
    return {name: value for name, value in found.items() if name and value}


def write(file: Path, values: Mapping[str, str]) -> None:
    """Sets variables. Raises UsageProblem for a name that nova does not know, ConfigInvalid for a senseless value.

    What else is wrong in the file stays for the next time.
    """
    _check(file, values)
    lines = _text(file).splitlines()
    left = dict(values)
    for number, line in enumerate(lines):
        found = _LINE.match(line)
        if found and found[1] in left:
            lines[number] = f"{found[1]}={_quoted(left.pop(found[1]))}"
    lines += [f"{name}={_quoted(value)}" for name, value in left.items()]
    _replace(file, "\n".join(lines) + "\n" if lines else "")


def _check(file: Path, values: Mapping[str, str]) -> None:
    from nova.config import VARIABLES, check_values

    for name, value in values.items():
        if name not in VARIABLES or name == "NOVA_HOME":
            raise UsageProblem(
                f"{name} is no variable that belongs into {file}", hint="see .env.example for all of them"
            )
        if any(c in value for c in "\n\r\0"):
            raise UsageProblem(f"the value of {name} has more than one line")
    check_values(values, file.parent)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig") if file.exists() else ""
    except UnicodeDecodeError:
        raise ConfigInvalid(f"{file} is not UTF-8 text", hint="write it anew, from .env.example") from None


def _quoted(value: str) -> str:
    if re.fullmatch(r"[\w.,:/@+%?&=-]*", value, re.ASCII):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _replace(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = file.with_name(".env.new")
    scratch.unlink(missing_ok=True)
    fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    scratch.replace(file)
