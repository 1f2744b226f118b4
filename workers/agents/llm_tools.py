"""What a language model may do besides answering: tools that ship, and functions of the operator's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nova.errors import NovaError, UsageProblem
from platforms.base import Stopped

if TYPE_CHECKING:
    from platforms.web_scraper import Page
    from workers.context import RunContext

SHIPPED = ("fetch_page", "remember", "recall")
_PAGE_CHARS = 20_000
_VALUE_CHARS = 10_000


def tools_of(names: Sequence[str], ctx: RunContext, home: Path) -> list[Callable[..., Any]]:
    """By name, or as `module:function` or `file.py:function` of NOVA_HOME/agents. Raises UsageProblem."""
    shipped = _shipped(ctx)
    return [shipped[name] if name in shipped else own_tool(name, home) for name in names]


def own_tool(target: str, home: Path) -> Callable[..., Any]:
    from workers.agents.python import load_module

    place, colon, name = target.rpartition(":")
    if not colon:
        known = ", ".join(SHIPPED)
        raise UsageProblem(f"there is no tool {target!r}", hint=f"take {known}, or module:function")
    found = getattr(load_module(place, home / "agents"), name, None)
    if not inspect.isfunction(found):
        raise UsageProblem(f"{place} has no function {name}")
    if not inspect.getdoc(found):
        raise UsageProblem(f"{target} has no docstring", hint="it is what tells the model when to use the tool")
    return found


def _shipped(ctx: RunContext) -> dict[str, Callable[..., Any]]:
    def fetch_page(url: str) -> str:
        """Fetch a web page and return its readable text.

        Args:
            url: The address, with http:// or https://.
        """
        from platforms.web_scraper import Manners

        try:
            with ctx.platforms.web(Manners(agent="nova-llm-agent")) as web:
                page = web.fetch(url)
            return "" if page is None else _text_of(page)
        except Stopped:
            raise
        except NovaError as problem:
            return f"The page cannot be read: {problem.message}"

    def remember(name: str, value: str) -> str:
        """Keep a note for later conversations, in place of an earlier one of that name.

        Args:
            name: What it is about.
            value: The note.
        """
        ctx.state[f"note.{name[:100]}"] = value[:_VALUE_CHARS]
        return "kept"

    def recall(name: str) -> str:
        """Read a note that was kept before.

        Args:
            name: What it is about.
        """
        return str(ctx.state.get(f"note.{name[:100]}", "there is no such note"))

    return {"fetch_page": fetch_page, "remember": remember, "recall": recall}


def _text_of(page: Page) -> str:
    """Scripts, styles and templates are no text to BeautifulSoup."""
    from platforms.web_extract import parse

    return parse(page.body, page.charset).get_text(" ", strip=True)[:_PAGE_CHARS]
