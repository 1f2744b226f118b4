"""Keeping secrets out of what is written and shown: by their names, their looks and their values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

HIDDEN = "***"
_NAME = re.compile(
    r"secret|token|passw|pwd|credential|authori[sz]ation|cookie|api_?key|(^|[-_. ])keys?($|[-_. ])", re.IGNORECASE
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_VALUE = re.compile(
    r"\b[srp]k_(?:live|test)_\w+|\bwhsec_\w+|\bSG\.[\w-]+\.[\w-]+|\bgh[a-z]_\w{20,}|\bgithub_pat_\w+|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
)
_MARKS = ("SG.", "://", "_live_", "_test_", "whsec_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_")
_SHORTEST = 8  # a shorter value may be a word of ordinary text


def scrub(value: Any) -> Any:
    """The same without what keys named like secrets hold, and without what looks like one of the platforms' keys."""
    if isinstance(value, Mapping):
        return {str(key): HIDDEN if _is_secret(str(key)) else scrub(inner) for key, inner in value.items()}
    if isinstance(value, str):
        return _VALUE.sub(HIDDEN, value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [scrub(inner) for inner in value]
    return value


def _is_secret(name: str) -> bool:
    return _NAME.search(_CAMEL.sub("_", name)) is not None


def _is_marked(text: str) -> bool:
    """Whether something may look like a secret. To find one character is much quicker than to find a word."""
    return any(mark in text for mark in (_MARKS if "_" in text else _MARKS[:2]))


class Scrubber:
    """Also knows the very values that are secret here. Text without any costs next to nothing, however much it is."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values: tuple[str, ...] = ()
        self.add(values)

    def __repr__(self) -> str:
        return f"Scrubber({len(self._values)} values)"

    def add(self, values: Iterable[str]) -> None:
        """Longer ones first, because one may be a part of another; of a key in several lines each for itself too."""
        parts = {part for value in values for part in (value, *value.splitlines())}
        known = {*self._values, *(part for part in parts if len(part) >= _SHORTEST)}
        self._values = tuple(sorted(known, key=lambda value: (-len(value), value)))

    def text(self, text: str) -> str:
        for value in self._values:
            if value in text:
                text = text.replace(value, HIDDEN)
        return _VALUE.sub(HIDDEN, text) if _is_marked(text) else text

    def fields(self, value: Any) -> Any:
        """As `scrub`, and what JSON lacks as text."""
        if isinstance(value, Mapping):
            named = ((str(key), inner) for key, inner in value.items())
            return {self.text(key): HIDDEN if _is_secret(key) else self.fields(inner) for key, inner in named}
        if isinstance(value, (list, tuple)):
            return [self.fields(inner) for inner in value]
        return value if value is None or isinstance(value, (bool, int, float)) else self.text(str(value))
