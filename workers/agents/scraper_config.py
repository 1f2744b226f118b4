"""What `scraper_agent` is told: which pages, what of them to keep, and where."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from nova.errors import UsageProblem
from platforms.web_extract import Selector
from platforms.web_scraper import Manners, checked_url
from workers.agents.feed import EXPORTS, FEEDS
from workers.agents.row_file import SUFFIXES

AUTO = "auto"
OPEN_GRAPH = ("og:", "product:", "article:")
_SUFFIXES = {"output": SUFFIXES, "export": EXPORTS, "feed": FEEDS}


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
    table: str | None = Field(None, description="CSS of a table instead: a row is one of its rows, a field a column.")
    json_ld: str | None = Field(None, description="A schema.org type instead, such as Product; a field is a path.")
    fields: dict[str, str] = Field(
        min_length=1,
        description='JSON, name to CSS: {"text": ".text", "link": "a@href"}; @ means an attribute, .tag[] a list. '
        'Or to a column of the table, a path such as offers.price, or "og:title".',
    )
    next: str | None = Field(None, description='CSS of the link to the next page, or auto: what says rel="next".')
    max_pages: int = Field(50, gt=0, le=10_000, description="Of one listing, where next is set.")
    concurrency: int = Field(4, gt=0, le=64, description="Pages fetched at once; of one host, one after the other.")
    output: str | None = Field(
        None, description="A .csv or .jsonl file; relative to NOVA_HOME/data. Default: NAME.jsonl."
    )
    key: Annotated[list[str], _split(",")] = Field([], description="The fields that make two rows the same; else all.")
    watch: bool = Field(False, description="Tells what is new, changed or gone; output then holds the changes.")
    export: str | None = Field(None, description="A .csv, .json or .jsonl file with all rows as they are now (watch).")
    feed: str | None = Field(None, description="An .xml (Atom) or .json feed of the latest changes (watch).")
    buyers: str | None = Field(
        None,
        description="Who may read the feed at `nova serve`, /feeds/NAME?key=…: gumroad:PRODUCT (whose licence keys), "
        "keys:FILE (a key a line), or public. Default: nobody.",
    )
    feed_title: str | None = Field(None, description="Default: the deployment's name.")
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
        if not all(fields) or not all(text.strip() for text in fields.values()):
            raise ValueError("a field has no name, or nothing to be found by")
        return fields

    @field_validator("row")
    @classmethod
    def _row(cls, row: str | None) -> str | None:
        if row is not None and _checked(Selector.parse, row).attribute is not None:
            raise ValueError("a row is an element and not an attribute")
        return row

    @field_validator("table", "next")
    @classmethod
    def _css(cls, css: str | None) -> str | None:
        if css is not None and css != AUTO:
            _checked(Selector.parse, css)
        return css

    @field_validator("buyers")
    @classmethod
    def _buyers(cls, buyers: str | None) -> str | None:
        kind, _, what = (buyers or "public").partition(":")
        if not (buyers in (None, "public") or (kind in ("gumroad", "keys") and what.strip())):
            raise ValueError("write gumroad:PRODUCT, keys:FILE or public")
        return buyers

    @field_validator("output", "export", "feed")
    @classmethod
    def _suffix(cls, name: str | None, info: ValidationInfo) -> str | None:
        allowed = _SUFFIXES[info.field_name or ""]
        if name is not None and Path(name).suffix.lower() not in allowed:
            raise ValueError(f"its name must end in one of {', '.join(allowed)}")
        return name

    @model_validator(mode="after")
    def _whole(self) -> ScraperConfig:
        if not self.addresses:
            raise ValueError("url is missing")
        for address in self.addresses:
            _checked(checked_url, address)
        if sum(chosen is not None for chosen in (self.row, self.table, self.json_ld)) > 1:
            raise ValueError("only one of row, table and json_ld can be set")
        if self.table is None and self.json_ld is None:
            for name, text in self.fields.items():
                if not text.startswith(OPEN_GRAPH):
                    _checked(Selector.parse, text, f"{name}: ")
        if self.watch and not self.key:
            raise ValueError("watch needs a key: the fields that make a row the same over time")
        if self.buyers is not None and self.feed is None:
            raise ValueError("buyers are of a feed: set feed too")
        if not self.watch and (self.export or self.feed):
            raise ValueError("export and feed are for a listing that is watched: set watch=true")
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
        return {name: Selector.parse(css) for name, css in self.fields.items() if not css.startswith(OPEN_GRAPH)}

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
