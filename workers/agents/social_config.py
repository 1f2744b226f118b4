"""What an operator tells the agent `social_agent`: when to post, and how to answer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from nova.clock import parse_duration
from nova.errors import UsageProblem
from platforms.twitter_text import links_in
from workers.agents.templates import rendered
from workers.windows import Windows

if TYPE_CHECKING:
    from platforms.twitter_types import Post

SUFFIXES = (".csv", ".jsonl", ".txt", ".md")
_SAMPLE = {"author": "someone", "text": "a question", "found": ["a question"]}


def _list(value: Any) -> Any:
    if isinstance(value, str):
        return json.loads(value) if value.strip().startswith("[") else [part.strip() for part in value.split(";")]
    return value


def _seconds(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except UsageProblem as problem:
            raise ValueError(problem.message) from None
    return value


Span = Annotated[float, BeforeValidator(_seconds)]


class Rule(BaseModel):
    """How to answer a mention that `match` is found in."""

    model_config = ConfigDict(extra="forbid")

    match: str = ""
    reply: str | None = None
    like: bool = False

    @field_validator("match")
    @classmethod
    def _pattern(cls, text: str) -> str:
        try:
            re.compile(text)
        except re.error as problem:
            raise ValueError(f"no regular expression: {problem}") from None
        return text

    @field_validator("reply")
    @classmethod
    def _template(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                rendered(text, {**_SAMPLE, "found": [""] * 10})
            except UsageProblem as problem:
                raise ValueError(problem.message) from None
        return text

    def answer(self, mention: Post) -> str | None:
        """The text of the reply; None where the rule does not speak of it."""
        found = re.search(self.match, mention.plain, re.IGNORECASE)
        if found is None:
            return None
        groups = [harmless(group or "") for group in (found[0], *found.groups())]
        values = {"author": mention.author or "", "text": harmless(mention.plain), "found": groups}
        return rendered(self.reply or "", values).strip()


def harmless(text: str) -> str:
    """What somebody else wrote, as it may be repeated: it calls nobody, and leads nowhere."""
    for link in links_in(text):
        text = text.replace(link, "…")
    return text.replace("@", "").replace("\uff20", "")


class SocialConfig(BaseModel):
    """What to post, when, and how to answer."""

    model_config = ConfigDict(extra="forbid")

    queue: str | None = Field(
        None, description="A .csv, .jsonl, .txt or .md file of posts; relative to NOVA_HOME/data."
    )
    slot: Span = Field(3600.0, gt=0, description="One post of the queue in so long: 3600, 90m, 4h.")
    per_day: int = Field(10, ge=0, le=1000, description="Posts of the queue in a day.")
    hours: Annotated[list[str], BeforeValidator(_list)] = Field(
        [], description="When to post, such as 'mon-fri 09:00-18:00; sat 10:00-14:00'. Default: always."
    )
    zone: str = Field("UTC", description="The time zone of hours, days and the queue's times.")
    track: bool = Field(
        True, description="Lead links through nova's redirector, where NOVA_PUBLIC_URL says how it is reached."
    )
    utm_source: str = Field("x", description="Tag of links; empty for none.")
    replies: Annotated[list[Rule], BeforeValidator(_list)] = Field(
        [],
        description='JSON, the first that fits: [{"match": "price|cost", "reply": "Hi @{{ author }}", "like": true}].',
    )
    replies_per_run: int = Field(5, ge=0, le=100, description="Answers in one run.")
    replies_per_day: int = Field(50, ge=0, le=1000, description="Answers in a day.")
    replies_per_author: int = Field(3, ge=1, le=100, description="Answers to one person in a day.")
    mentions_per_run: int = Field(100, ge=1, le=800, description="How many mentions are read at most.")
    metrics_every: Span = Field(21600.0, ge=0, description="How often figures are read; 0: never.")
    metrics_posts: int = Field(20, ge=5, le=100, description="Of how many of the latest own posts.")
    dry_run: bool = Field(False, description="Say in the log what would be posted, and post nothing.")

    @field_validator("queue")
    @classmethod
    def _suffix(cls, queue: str | None) -> str | None:
        if queue is not None and Path(queue).suffix.lower() not in SUFFIXES:
            raise ValueError(f"its name must end in one of {', '.join(SUFFIXES)}")
        return queue

    @field_validator("zone")
    @classmethod
    def _zone(cls, zone: str) -> str:
        try:
            return ZoneInfo(zone).key
        except (ValueError, LookupError, OSError):
            raise ValueError("no time zone; write it as Europe/Vienna") from None

    @field_validator("hours")
    @classmethod
    def _hours(cls, hours: list[str]) -> list[str]:
        try:
            Windows.parse(hours, ZoneInfo("UTC"))
        except UsageProblem as problem:
            raise ValueError(f"{problem.message}; {problem.hint}") from None
        return hours

    @property
    def windows(self) -> Windows:
        return Windows.parse(self.hours, ZoneInfo(self.zone))
