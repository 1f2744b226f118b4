"""The agent `scraper_agent`: pages on a schedule; their new rows, or what changed in them, go to files and feeds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel

from nova.clock import iso
from nova.config import load_settings
from nova.words import count
from platforms.web_extract import Selector
from platforms.web_rows import Elements, Source, Tables, Things
from workers.agents.feed import Item, export, write_feed
from workers.agents.row_keeper import Row, RowKeeper
from workers.agents.row_watch import GONE, RowWatcher
from workers.agents.scrape import Scrape
from workers.agents.scraper_config import OPEN_GRAPH, ScraperConfig
from workers.base_worker import BaseWorker, RunResult
from workers.context import RunContext

_FEED_ITEMS = 100
_ROW_CHARS = 50_000  # of what is watched


class ScraperAgent(BaseWorker):
    """Fetches pages on a schedule and keeps their new rows, or watches them for changes. Obeys robots.txt."""

    Config: ClassVar[type[BaseModel]] = ScraperConfig
    scalable: ClassVar[bool] = False
    costs: ClassVar[str] = "cost_per_page, asked of the budget before each page"
    tunables: ClassVar[Mapping[str, Sequence[Any]]] = {"concurrency": (1, 2, 4, 8, 16)}

    def setup(self, ctx: RunContext) -> None:
        self._source = source_of(ctx.config)

    def run(self, ctx: RunContext) -> RunResult:
        with ctx.platforms.web(ctx.config.manners) as web:
            scrape = Scrape(ctx, web, self._source)
            told = _watched(ctx, scrape) if ctx.config.watch else _collected(ctx, scrape)
        ctx.log.info("%s from %d pages, %d failed", told, scrape.pages, len(scrape.failed))
        if scrape.failed:
            return RunResult(False, f"{len(scrape.failed)} of {scrape.pages} pages failed: {scrape.failed[0]}")
        return RunResult(message=told)


def source_of(config: ScraperConfig) -> Source:
    if config.table is not None:
        return Tables(config.table, config.fields)
    if config.json_ld is not None:
        return Things(config.json_ld, config.fields)
    graph = {name: key for name, key in config.fields.items() if key.startswith(OPEN_GRAPH)}
    return Elements(
        config.row, {name: Selector.parse(css) for name, css in config.fields.items() if name not in graph}, graph
    )


def data_path(name: str) -> Path:
    """A relative one stands in NOVA_HOME/data."""
    return load_settings().nova_home / "data" / Path(name).expanduser()


def _collected(ctx: RunContext, scrape: Scrape) -> str:
    """Appends the rows that were never seen. A page counts as seen only when its rows are written."""
    config: ScraperConfig = ctx.config
    keeper = RowKeeper(
        ctx.state,
        data_path(config.output or f"{ctx.worker}.jsonl"),
        fields=tuple(config.fields),
        key=config.key,
        stamp=config.time_field,
        name=config.output or "",
    )
    keeper.recover()
    new = 0
    for seen in scrape.pages_seen(keeper.name):
        new += keeper.add(seen.rows, iso(ctx.now()))
        seen.remember()
    return f"{new} new rows"


def _watched(ctx: RunContext, scrape: Scrape) -> str:
    config: ScraperConfig = ctx.config
    path = data_path(config.output or f"{ctx.worker}.changes.jsonl")
    watcher = RowWatcher(ctx.state, path, name=f"{ctx.worker} {path.name}", key=config.key)
    watcher.recover()
    seen = list(scrape.pages_seen(path.name, again=not scrape.single))
    if scrape.single and not seen and scrape.complete:
        return "no change"
    rows = [row for page in seen for row in page.rows if not _too_long(ctx, row)]
    at = iso(ctx.now())
    complete = scrape.complete and bool(rows)  # a page without any row was rebuilt rather than emptied
    changes = watcher.look(rows, at, complete=complete)
    _publish(ctx, watcher, at)
    for page in seen:
        page.remember()
    return f"{count(len(changes), 'change')} in {count(len(rows), 'row')}"


def _too_long(ctx: RunContext, row: Row) -> bool:
    """A row that is not of a listing's kind is left out, rather than that it fills the state."""
    length = sum(len(str(value)) for value in row.values())
    if length > _ROW_CHARS:
        ctx.log.warning("a row of %d characters is left out: %.80s", length, next(iter(row.values())))
    return length > _ROW_CHARS


def _publish(ctx: RunContext, watcher: RowWatcher, at: str) -> None:
    """The export and the feed are written where they are older than the changes."""
    config: ScraperConfig = ctx.config
    if config.export and watcher.newer_than(data_path(config.export)):
        export(data_path(config.export), watcher.rows(), tuple(config.fields))
    if config.feed and watcher.newer_than(data_path(config.feed)):
        items = [_item(change, config) for change in watcher.latest(_FEED_ITEMS)]
        write_feed(data_path(config.feed), config.feed_title or ctx.worker, config.addresses[0], items, at)


def _item(change: Mapping[str, Any], config: ScraperConfig) -> Item:
    before, after = (json.loads(change[side]) if change[side] else {} for side in ("before", "after"))
    row: Row = before if change["change"] == GONE else after
    name = ", ".join(str(row.get(field)) for field in config.key)
    fields = [field for field in change["fields"].split(",") if field] or list(row)
    lines = [f"{field}: {before[field]} → {after.get(field)}" for field in fields if field in before and after]
    lines = lines or [f"{field}: {value}" for field, value in row.items() if value is not None]
    url = next((value for value in row.values() if isinstance(value, str) and value.startswith("http")), None)
    return Item(change["id"], f"{change['change']}: {name}", change["at"], url, "\n".join(lines), row)
