"""What the email agent takes: whom to write to, what, and when."""

from __future__ import annotations

from datetime import time
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from nova.clock import parse_duration
from nova.errors import NovaError
from workers.agents.email_plan import Hours
from workers.agents.email_recipients import SUFFIXES
from workers.agents.email_templates import Source

TEMPLATE_FILES = (".txt", ".html", ".j2", ".md")


def _split(value: Any) -> Any:
    return value.replace(",", " ").split() if isinstance(value, str) and not value.strip().startswith("[") else value


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) and not value.strip().startswith("[") else value


def span(value: Any) -> Any:
    try:
        return parse_duration(str(value))
    except NovaError as problem:
        raise ValueError(problem.message) from None


def zone_name(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"there is no zone {name!r}: write it as Europe/Vienna")
    return name


def span_of_day(text: str) -> str:
    try:
        begins, ends = (time.fromisoformat(part.strip().zfill(5)) for part in text.split("-"))
    except ValueError:
        raise ValueError("write it as 21:00-08:00") from None
    if begins == ends:
        raise ValueError("that leaves no hour to mail in")
    return f"{begins:%H:%M}-{ends:%H:%M}"


class Step(BaseModel):
    """One mail of a series."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[float, BeforeValidator(span)] = 0.0
    subject: Annotated[list[str], BeforeValidator(_one_or_many)] = []
    text: str | None = None
    html: str | None = None
    template: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> Step:
        if self.template is None and not (self.subject and (self.text or self.html)):
            raise ValueError("a step needs a subject and a text or html, or a template of SendGrid's")
        if self.template is not None and (self.text or self.html):
            raise ValueError("a step has a template of SendGrid's, or a text and html of its own")
        return self

    def source(self, variant: int, folder: Path) -> Source:
        """Raises OSError where a file of it is missing."""
        subject = self.subject[variant % len(self.subject)] if self.subject else ""
        return Source(subject, _read(self.text, folder), _read(self.html, folder))


class EmailConfig(BaseModel):
    """Whom to write to, what, and when."""

    model_config = ConfigDict(extra="forbid")

    recipients: str | None = Field(
        None, description="A .csv, .json or .jsonl file of recipients; relative to NOVA_HOME/data."
    )
    sendgrid_list: str | None = Field(
        None, description="Or a list at SendGrid, by name or id; fetched again every list_refresh."
    )
    list_refresh: Annotated[float, BeforeValidator(span)] = Field(86_400.0, description="As 6h or 1d.")
    email_field: str = Field("email", description="The column of the address; the others are the template's variables.")
    subject: Annotated[list[str], BeforeValidator(_one_or_many)] = Field(
        [], description="Of a single mail; a JSON list holds variants to try."
    )
    text: str | None = Field(None, description="Its text, or the name of a .txt or .j2 file in NOVA_HOME/data.")
    html: str | None = Field(None, description="Its HTML, or the name of an .html file in NOVA_HOME/data.")
    template: str | None = Field(None, description="Or a dynamic template at SendGrid: d-…")
    steps: Annotated[list[Step], Field()] = Field(
        [], description='Of a series, as JSON: [{"subject": …, "text": …}, {"after": "3d", "subject": …, "html": …}].'
    )
    campaign: str = Field(
        "main", pattern=r"^[\w.-]{1,60}$", description="Another name begins anew: everybody gets it once a campaign."
    )
    from_email: str | None = Field(None, description="Instead of SENDGRID_FROM_EMAIL.")
    from_name: str | None = Field(None, description="Instead of SENDGRID_FROM_NAME.")
    reply_to: str | None = Field(None, description="Where answers go.")
    timezone: Annotated[str, AfterValidator(zone_name)] = Field("UTC", description="Of the hours and days below.")
    quiet_hours: Annotated[str, AfterValidator(span_of_day)] | None = Field(
        None, description="When nothing is sent: 21:00-08:00."
    )
    send_hour: int | None = Field(None, ge=0, le=23, description="The hour before which nothing is sent on a day.")
    warm_up: Annotated[list[int], BeforeValidator(_split)] = Field(
        [], description="The most on each of the first days: 50,100,200,400."
    )
    per_day: int | None = Field(None, ge=1, description="The most on any day.")
    batch_size: int = Field(500, ge=1, le=1000, description="Recipients of one request, at most.")
    max_per_run: int = Field(10_000, ge=1, description="Mails of one run, at most.")
    subject_variant: int | None = Field(None, ge=0, description="Which subject; without it recipients are divided.")
    unsubscribe_url: str | None = Field(
        None, description="Takes a reader off by a POST; may hold {{ email | urlencode }}. Else `nova serve` does it."
    )
    unsubscribe_mailto: str | None = Field(None, description="An address that takes readers off.")
    group: int | None = Field(None, ge=1, description="An unsubscribe group at SendGrid.")
    track_links: bool = Field(True, description="Count who follows the links, where nova has an address for that.")
    sandbox: bool = Field(False, description="SendGrid checks the mails and sends none; progress is kept apart.")

    @model_validator(mode="after")
    def _whole(self) -> EmailConfig:
        if (self.recipients is None) == (self.sendgrid_list is None):
            raise ValueError("name either recipients, a file, or sendgrid_list")
        if self.recipients is not None and Path(self.recipients).suffix.lower() not in SUFFIXES:
            raise ValueError(f"the name of recipients must end in one of {', '.join(SUFFIXES)}")
        if bool(self.steps) == bool(self.subject or self.text or self.html or self.template):
            raise ValueError("give either steps, or a subject with a text or html, or a template")
        if any(cap < 1 for cap in self.warm_up):
            raise ValueError("the days of warm_up each have at least 1 mail")
        self.series  # noqa: B018 - it is checked by being made
        return self

    @property
    def series(self) -> tuple[Step, ...]:
        single = {"subject": self.subject, "text": self.text, "html": self.html, "template": self.template}
        return tuple(self.steps) or (Step(**single),)  # type: ignore[arg-type]

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def hours(self) -> Hours:
        quiet = None
        if self.quiet_hours is not None:
            begins, ends = (time.fromisoformat(part) for part in self.quiet_hours.split("-"))
            quiet = (begins, ends)
        return Hours(quiet, self.send_hour)


def _read(text: str | None, folder: Path) -> str | None:
    """Where it is the name of a template's file, what that holds."""
    if text is None or "\n" in text or " " in text or not text.lower().endswith(TEMPLATE_FILES):
        return text
    return (folder / Path(text).expanduser()).read_text(encoding="utf-8")
