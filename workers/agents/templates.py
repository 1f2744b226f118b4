"""Templates that operators write: sandboxed, and an unknown name is an error instead of nothing."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from nova.errors import UsageProblem

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment


@cache
def templates(*, html: bool = False) -> ImmutableSandboxedEnvironment:
    """`html` escapes what is put in."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=html, keep_trailing_newline=True)


def rendered(text: str, values: dict[str, Any], *, html: bool = False) -> str:
    """Raises UsageProblem, saying what is wrong with the template or missing from the values."""
    from jinja2 import TemplateError

    try:
        return templates(html=html).from_string(text).render(values)
    except TemplateError as problem:
        raise UsageProblem(f"the template cannot be filled in: {problem.message}") from None
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as problem:
        raise UsageProblem(f"the template cannot be filled in: {type(problem).__name__}: {problem}") from None
