"""What cannot be read in an answer is its platform's problem, told as such, and no crash."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from platforms.base import BadAnswer

T = TypeVar("T")
P = ParamSpec("P")
_UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, OSError)


Read = Callable[Concatenate[Any, P], T]


def readable(platform: str) -> Callable[[Read[P, T]], Read[P, T]]:
    """Makes a BadAnswer, which names the object, of whatever a function meets that reads one in JSON."""

    def guarding(read: Read[P, T]) -> Read[P, T]:
        @wraps(read)
        def guarded(said: Any, /, *more: P.args, **named: P.kwargs) -> T:
            try:
                return read(said, *more, **named)
            except _UNREADABLE as problem:
                raise unreadable(platform, said) from problem

        return guarded

    return guarding


def unreadable(platform: str, said: Any) -> BadAnswer:
    id = said.get("id") if isinstance(said, Mapping) else None
    which = ascii(id)[1:61] if isinstance(id, str) and id else "something"
    return BadAnswer(f"{platform} answered with {which} in a form that nova cannot read", hint="try again later")
