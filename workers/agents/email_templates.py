"""Mails rendered for each recipient, and those that differ only in what was put in brought into one request.

What a template puts in for somebody is replaced by tags, which SendGrid fills in again; that the result is what the
template says is checked for each recipient, and who would get anything else is sent a mail alone.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from nova.errors import UsageProblem
from workers.agents.templates import compiled, rendering

if TYPE_CHECKING:
    from jinja2 import Template

_TAG, _ANY_TAG = "[%nv{}%]", re.compile(r"\[%nv(\d+)%\]")
_MOST_BYTES = 9_000  # of tags and values, of the 10,000 that SendGrid takes
_HREF = re.compile(r"""(?i)(\bhref\s*=\s*)(["'])(https?://[^"'{}\\\s<>]+)\2""")
_BARE = re.compile(r"https?://[^\s{}\\<>\"'()\[\]]+")
_OUT = "_nova_out"

Content = tuple[str, str | None, str | None]  # subject, text, HTML


@dataclass(frozen=True, slots=True)
class Rendered:
    """`content` has tags in the place of `values`; whoever has the same content can be sent it in one request."""

    content: Content
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Source:
    """The templates of a mail."""

    subject: str
    text: str | None = None
    html: str | None = None


def tracked(source: Source) -> Source:
    """The addresses that stand in it lead through `link(…)`; those a template puts together do not."""

    def href(found: re.Match[str]) -> str:
        return f"{found[1]}{found[2]}{{{{ link({html.unescape(found[3])!r}) }}}}{found[2]}"

    def bare(found: re.Match[str]) -> str:
        address = found[0].rstrip(".,;:!?")
        put_together = found.string[found.end() : found.end() + 1] == "{"
        return found[0] if put_together else f"{{{{ link({address!r}) }}}}{found[0][len(address) :]}"

    text = source.text and _BARE.sub(bare, source.text)
    return Source(source.subject, text, source.html and _HREF.sub(href, source.html))


def check(source: Source) -> None:
    """Raises UsageProblem for what is no template."""
    for part, escaped in _parts(source):
        if part is not None:
            _compiled(part, escaped)


def rendered(source: Source, values: Mapping[str, Any]) -> Rendered:
    """Raises UsageProblem, saying what is wrong with the template or missing from the values."""
    plain = _fill(source, values, None)
    if "\n" in plain[0].strip():
        raise UsageProblem("the subject of a mail is one line")
    out: list[str] = []
    common = _fill(source, values, out)
    tags = {_TAG.format(number): value for number, value in enumerate(out)}
    whole = all(_expanded(mine, out) == right for mine, right in zip(common, plain, strict=True))
    size = sum(len(tag) + len(value.encode()) for tag, value in tags.items())
    if not whole or size > _MOST_BYTES or any("[%nv" in value for value in out):
        return Rendered(plain, {})
    return Rendered(common, tags)


def _fill(source: Source, values: Mapping[str, Any], out: list[str] | None) -> Content:
    given = values if out is None else {**values, _OUT: out}
    subject, text, page = (
        None if part is None else _rendered(part, given, escaped) for part, escaped in _parts(source)
    )
    return subject or "", text, page


def _parts(source: Source) -> tuple[tuple[str | None, bool], ...]:
    return (source.subject, False), (source.text, False), (source.html, True)


def _rendered(text: str, values: Mapping[str, Any], escaped: bool) -> str:
    with rendering():
        return _compiled(text, escaped).render(values)


def _compiled(text: str, escaped: bool) -> Template:
    return compiled(text, html=escaped, finalize=_tagging(escaped))


@cache
def _tagging(escaped: bool) -> Callable[[Any, Any], Any]:
    from jinja2 import pass_context
    from markupsafe import Markup, escape

    def tag(context: Any, value: Any) -> Any:
        out = context.get(_OUT)
        said = str(escape(value) if escaped else value)
        if out is None or "[%nv" in said:  # of a block whose parts are tags already
            return value
        out.append(said)
        return Markup(_TAG.format(len(out) - 1))  # noqa: S704 - it is made here

    return pass_context(tag)


def _expanded(text: str | None, out: list[str]) -> str | None:
    return text and _ANY_TAG.sub(lambda found: out[int(found[1])] if int(found[1]) < len(out) else found[0], text)
