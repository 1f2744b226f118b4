"""One run over pages: several fetched at once, listings followed from page to page, each page paid before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nova.errors import NovaError
from platforms.line import Stopped
from platforms.web_data import next_page
from platforms.web_extract import Row, parse
from platforms.web_rows import Source
from platforms.web_scraper import PROBLEMS, Page, WebScraper
from workers.agents.row_keeper import digest
from workers.agents.scraper_config import AUTO, ScraperConfig

if TYPE_CHECKING:
    from workers.context import RunContext


@dataclass(frozen=True, slots=True)
class Step:
    """A page of a listing: the `number`-th from its beginning. `before` is what is remembered of it."""

    url: str
    number: int = 1
    trail: frozenset[str] = frozenset()
    before: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """A page that was fetched. `remember` is called when its rows are safe: only then it need not be fetched again."""

    rows: list[Row]
    ctx: RunContext
    mark: str
    known: dict[str, Any]
    before: dict[str, Any]

    def remember(self) -> None:
        if self.known != self.before:
            self.ctx.state[self.mark] = self.known


class Scrape:
    """`failed` says what went wrong with which page; `complete`: every page of every listing was read."""

    def __init__(self, ctx: RunContext, web: WebScraper, source: Source) -> None:
        self._ctx = ctx
        self._config: ScraperConfig = ctx.config
        self._web = web
        self._source = source
        self.pages = 0
        self.failed: list[str] = []
        self.complete = True
        self.single = len(self._config.addresses) == 1 and self._config.next is None

    def pages_seen(self, kept_as: str, *, again: bool = False) -> Iterator[Seen]:
        """Those that changed since they were kept under that name; with `again` all of them."""
        config = self._config
        what = digest(
            kept_as, config.row, config.time_field, *(f"{name}={css}" for name, css in config.fields.items()),
            *((config.table, config.json_ld) if config.table or config.json_ld else ()),
        )  # fmt: skip
        todo = deque(Step(address) for address in config.addresses)
        running: dict[Future[Page | None], Step] = {}
        with ThreadPoolExecutor(config.concurrency, thread_name_prefix="fetch") as pool:
            while todo or running:
                while todo and len(running) < config.concurrency and not self._ctx.stopping:
                    step = self._prepared(todo.popleft(), what, again=again)
                    running[pool.submit(self._fetch, step)] = step
                if not running:
                    self.complete = False
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    step = running.pop(future)
                    seen, following = self._taken(step, future, what)
                    if following is not None:
                        todo.appendleft(following)
                    if seen is not None:
                        yield seen

    def _prepared(self, step: Step, what: str, *, again: bool) -> Step:
        self.pages += 1
        if self._config.cost_per_page:
            self._ctx.spend(self._config.cost_per_page, f"page {step.url}")
        known = {} if again else self._ctx.state.get(_mark(step.url), {})
        return replace(step, before=known if known.get("what") == what else {})

    def _fetch(self, step: Step) -> Page | None:
        return self._web.fetch(step.url, etag=step.before.get("etag"), last_modified=step.before.get("last_modified"))

    def _taken(self, step: Step, future: Future[Page | None], what: str) -> tuple[Seen | None, Step | None]:
        try:
            page = future.result()
            parsed = None if page is None else parse(page.body, page.charset)
        except Stopped:
            self.complete = False
            return None, None
        except PROBLEMS as problem:
            where = "" if step.url in problem.message else f"{step.url}: "
            self._ctx.log.warning("%s%s", where, _told(problem))
            self.failed.append(where + problem.message)
            self.complete = False
            return None, None
        if page is None or parsed is None:
            self._ctx.log.info("%s has not changed", step.url)
            return None, self._following(step, step.before.get("next"))
        rows = self._source.rows(parsed, page.url)
        if not rows:
            self._ctx.log.warning("nothing on %s is matched by the selectors", page.url)
        known: dict[str, Any] = {"what": what, "etag": page.etag, "last_modified": page.last_modified}
        css = self._config.next
        if css is not None:
            known["next"] = next_page(parsed, page.url, None if css == AUTO else css)
        return Seen(rows, self._ctx, _mark(step.url), known, step.before), self._following(step, known.get("next"))

    def _following(self, step: Step, url: str | None) -> Step | None:
        """A listing that leads back to where it was has ended; one that is longer than allowed is not complete."""
        trail = step.trail | {step.url}
        if url is None or url in trail:
            return None
        if step.number >= self._config.max_pages:
            self._ctx.log.warning("%s has more than %d pages", step.url, self._config.max_pages)
            self.complete = False
            return None
        return Step(url, step.number + 1, trail)


def _mark(url: str) -> str:
    return f"page.{digest(url)[:16]}"


def _told(problem: NovaError) -> str:
    return f"{problem.message} ({problem.hint})" if problem.hint else problem.message
