"""The agent `scraper_agent`: a page, or a list of them, on a schedule; the new rows go to a CSV or JSONL file."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from nova.clock import iso
from nova.config import load_settings
from nova.errors import NovaError, UsageProblem
from platforms.web_extract import Selector, extract
from platforms.web_scraper import PROBLEMS, FetchStopped, Manners, Page, WebScraper, checked_url
from workers.agents.row_file import SUFFIXES
from workers.agents.row_keeper import RowKeeper, digest
from workers.base_worker import BaseWorker, RunResult
from workers.context import RunContext


def _split(separators: str) -> BeforeValidator:
    """A text is taken as a list, written as JSON or with separators."""

    def split(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.strip().startswith("["):
            return json.loads(value)
        for separator in separators:
            value = value.replace(separator, " ")
        return value.split()

    return BeforeValidator(split)


class ScraperConfig(BaseModel):
    """What to fetch, what of it to keep, and where."""

    model_config = ConfigDict(extra="forbid")

    url: str | None = Field(None, description="The page.")
    urls: Annotated[list[str], _split("\n")] = Field([], description="More pages, as a JSON list.")
    row: str | None = Field(None, description="CSS of what makes a row; without it a page is one row.")
    fields: dict[str, str] = Field(
        min_length=1, description='JSON, name to CSS: {"text": ".text", "link": "a@href"}; @ means an attribute.'
    )
    output: str | None = Field(
        None, description="A .csv or .jsonl file; relative to NOVA_HOME/data. Default: NAME.jsonl."
    )
    key: Annotated[list[str], _split(",")] = Field([], description="The fields that make two rows the same; else all.")
    time_field: str | None = Field(None, description="Adds a field with the time of the fetch.")
    cost_per_page: Decimal | None = Field(None, ge=0, description="Asked of the budget before each page.")
    delay_s: float = Field(
        1.0, ge=0, description="Seconds between two requests to a host; robots.txt may ask for more."
    )
    timeout_s: float = Field(20.0, gt=0, description="Seconds to wait for the server.")
    max_bytes: int = Field(10_000_000, gt=0, description="A larger page is refused.")
    user_agent: str = Field("nova-scraper", min_length=1, description="Tell who you are: name/version (+address).")
    allow_private: bool = Field(False, description="Also addresses of private networks.")

    @field_validator("fields")
    @classmethod
    def _selectors(cls, fields: dict[str, str]) -> dict[str, str]:
        for name, text in fields.items():
            _checked(Selector.parse, text, f"{name}: ")
        return fields

    @field_validator("row")
    @classmethod
    def _row(cls, row: str | None) -> str | None:
        if row is not None and _checked(Selector.parse, row).attribute is not None:
            raise ValueError("a row is an element and not an attribute")
        return row

    @field_validator("output")
    @classmethod
    def _suffix(cls, output: str | None) -> str | None:
        if output is not None and Path(output).suffix.lower() not in SUFFIXES:
            raise ValueError(f"its name must end in one of {', '.join(SUFFIXES)}")
        return output

    @model_validator(mode="after")
    def _whole(self) -> ScraperConfig:
        if not self.addresses:
            raise ValueError("url is missing")
        for address in self.addresses:
            _checked(checked_url, address)
        unknown = [name for name in self.key if name not in self.fields]
        if unknown:
            raise ValueError(f"key must name fields ({', '.join(self.fields)}), not {', '.join(unknown)}")
        if self.time_field in self.fields:
            raise ValueError(f"time_field must not be one of the fields: {self.time_field}")
        return self

    @property
    def addresses(self) -> list[str]:
        """Each once, in order."""
        return list(dict.fromkeys([*([self.url] if self.url else []), *self.urls]))

    @property
    def selectors(self) -> dict[str, Selector]:
        return {name: Selector.parse(text) for name, text in self.fields.items()}

    @property
    def manners(self) -> Manners:
        return Manners(
            agent=self.user_agent,
            delay_s=self.delay_s,
            timeout_s=self.timeout_s,
            max_bytes=self.max_bytes,
            allow_private=self.allow_private,
        )


def _checked(check: Any, text: str, prefix: str = "") -> Any:
    try:
        return check(text)
    except UsageProblem as problem:
        raise ValueError(f"{prefix}{problem.message}") from None


class ScraperAgent(BaseWorker):
    """Fetches pages on a schedule and appends their new rows to a CSV or JSONL file. Obeys robots.txt."""

    Config: ClassVar[type[BaseModel]] = ScraperConfig
    scalable: ClassVar[bool] = False

    def setup(self, ctx: RunContext) -> None:
        config: ScraperConfig = ctx.config
        self._selectors = config.selectors
        self._web = WebScraper(config.manners)

    def teardown(self) -> None:
        if hasattr(self, "_web"):
            self._web.close()

    def run(self, ctx: RunContext) -> RunResult:
        config: ScraperConfig = ctx.config
        self._web.sleep = ctx.sleep
        keeper = RowKeeper(
            ctx.state,
            output_path(config, ctx.worker),
            fields=tuple(config.fields),
            key=config.key,
            stamp=config.time_field,
            name=config.output or "",
        )
        keeper.recover()
        new, failed = 0, []
        for address in config.addresses:
            if ctx.stopping:
                break
            try:
                new += self._take(ctx, keeper, address)
            except FetchStopped:
                break
            except PROBLEMS as problem:
                ctx.log.warning("%s", _told(problem))
                failed.append(problem.message)
        pages = len(config.addresses)
        ctx.log.info("%d new rows from %d pages, %d failed", new, pages, len(failed))
        return RunResult(
            not failed, f"{len(failed)} of {pages} pages failed: {failed[0]}" if failed else f"{new} new rows"
        )

    def _take(self, ctx: RunContext, keeper: RowKeeper, address: str) -> int:
        """How many rows were new. The page counts as seen only when its rows are written."""
        config: ScraperConfig = ctx.config
        if config.cost_per_page:
            ctx.spend(config.cost_per_page, f"page {address}")
        mark = f"page.{digest(address)[:16]}"
        what = digest(
            keeper.name, config.row, config.time_field, *(f"{name}={css}" for name, css in config.fields.items())
        )
        before = ctx.state.get(mark, {})
        if before.get("what") != what:
            before = {}
        page = self._web.fetch(address, etag=before.get("etag"), last_modified=before.get("last_modified"))
        if page is None:
            ctx.log.info("%s has not changed", address)
            return 0
        new = keeper.add(self._rows(ctx, page), iso(ctx.now()))
        seen = {"what": what, "etag": page.etag, "last_modified": page.last_modified}
        if seen != before:
            ctx.state[mark] = seen
        return new

    def _rows(self, ctx: RunContext, page: Page) -> list[dict[str, str | None]]:
        config: ScraperConfig = ctx.config
        rows = extract(page.body, page.charset, page.url, config.row, self._selectors)
        if not rows:
            ctx.log.warning("nothing on %s is matched by the selectors", page.url)
        return rows


def output_path(config: ScraperConfig, worker: str) -> Path:
    """A relative one stands in NOVA_HOME/data."""
    return load_settings().nova_home / "data" / Path(config.output or f"{worker}.jsonl").expanduser()


def _told(problem: NovaError) -> str:
    return f"{problem.message} ({problem.hint})" if problem.hint else problem.message
