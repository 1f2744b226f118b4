"""Templates that operators write: sandboxed, and an unknown name is an error instead of nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from nova.errors import UsageProblem

if TYPE_CHECKING:
    from jinja2 import Template


@lru_cache(256)
def compiled(text: str, *, html: bool = False, finalize: Callable[..., Any] | None = None) -> Template:
    """`html` escapes what is put in. Raises UsageProblem for what is no template."""
    from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=html, keep_trailing_newline=True, finalize=finalize
    )
    try:
        return environment.from_string(text)
    except TemplateError as problem:
        where = f" in line {problem.lineno}" if isinstance(problem, TemplateSyntaxError) else ""
        raise UsageProblem(f"the template is wrong{where}: {problem.message}") from None


def rendered(text: str, values: Mapping[str, Any]) -> str:
    """Raises UsageProblem, saying what is wrong with the template or missing from the values."""
    with rendering():
        return compiled(text).render(values)


@contextmanager
def rendering() -> Iterator[None]:
    """What a template raises is its author's mistake."""
    from jinja2 import TemplateError

    try:
        yield
    except TemplateError as problem:
        raise UsageProblem(f"the template cannot be filled in: {problem.message}") from None
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as problem:
        raise UsageProblem(f"the template cannot be filled in: {type(problem).__name__}: {problem}") from None
