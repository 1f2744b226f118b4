"""An agent's configuration as it is written on a command line: a file, and `--set KEY=VALUE` over it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nova.cli.params import pairs
from nova.errors import NotFound, UsageProblem


def read_config(file: Path | None, settings: Iterable[str]) -> dict[str, Any]:
    """`a.b=1` sets `b` inside `a`. A value that is a JSON object or list is taken as such, any other as text."""
    config = {} if file is None else _read(file)
    for key, text in pairs(settings).items():
        _put(config, key.split("."), _value(text))
    return config


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        raise NotFound(f"there is no file {file}")
    try:
        text = file.read_text(encoding="utf-8")
        body = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    except ValueError as problem:
        raise UsageProblem(
            f"{file} cannot be read: {problem}", hint="write it as JSON, or as TOML in a .toml file"
        ) from None
    if not isinstance(body, dict):
        raise UsageProblem(f"{file} must hold one object with the configuration's keys")
    return body


def _value(text: str) -> Any:
    if text[:1] + text[-1:] not in ("{}", "[]"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text  # a shell command may look like this


def _put(config: dict[str, Any], path: list[str], value: Any) -> None:
    for key in path[:-1]:
        inner = config.setdefault(key, {})
        if not isinstance(inner, dict):
            raise UsageProblem(f"{'.'.join(path)} cannot be set: {key} holds a value already")
        config = inner
    config[path[-1]] = value
