"""What the subscription agent takes: when it tries again, whom it writes to and what, and where it stops."""

from __future__ import annotations

from datetime import time
from itertools import pairwise
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from workers.agents.email_config import Step as MailStep
from workers.agents.email_config import span, span_of_day, zone_name
from workers.agents.email_plan import Hours

_DAY_S = 86_400.0


def _split(value: Any) -> Any:
    if isinstance(value, int | float):
        return [value]
    return value.replace(",", " ").split() if isinstance(value, str) and "[" not in value else value


class DunningStep(BaseModel):
    """What is done about an invoice that was not paid, so long after it was made."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[float, BeforeValidator(span)] = 0.0
    retry: bool = False
    mail: MailStep | None = None
    cancel: bool = False

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.retry or self.mail or self.cancel):
            raise ValueError("a step does nothing: give it retry, mail or cancel")
        return self


class SubscriptionConfig(BaseModel):
    """When it tries again, whom it writes to and what, and where it stops."""

    model_config = ConfigDict(extra="forbid")

    dunning: list[DunningStep] | None = Field(
        None,
        description='As JSON: [{"after": "3d", "retry": true, "mail": {"subject": …, "text": …}}, {"after": "21d", '
        '"cancel": true}]. An invoice that is late by several steps gets the last of them. [] leaves it to Stripe. '
        "Default: a retry on each of retry_days.",
    )
    retry_days: Annotated[list[Annotated[float, Field(ge=0, le=60)]], BeforeValidator(_split)] = Field(
        [0, 3, 7], description="Days after the invoice on which the payment is tried again, without dunning: 0,3,7."
    )
    win_back: list[MailStep] = Field(
        [], description='Mails to who left, as JSON: [{"after": "7d", "subject": …, "html": …}]. Empty: none.'
    )
    prices: Annotated[list[str], BeforeValidator(_split)] = Field(
        [], description="Only subscriptions with one of these prices (price_…); else all."
    )
    claim: bool = Field(
        True, description="Payments that came after a step of its own are this worker's revenue, whoever sold them."
    )
    credit_within: Annotated[float, BeforeValidator(span)] = Field(
        14 * _DAY_S, description="How long after its last step a payment counts as brought by it."
    )
    offer_url: str | None = Field(None, description="Where who comes back subscribes; {{ offer }} in win-back mails.")
    from_email: str | None = Field(None, description="Instead of SENDGRID_FROM_EMAIL.")
    from_name: str | None = Field(None, description="Instead of SENDGRID_FROM_NAME.")
    reply_to: str | None = Field(None, description="Where answers go.")
    timezone: Annotated[str, AfterValidator(zone_name)] = Field("UTC", description="Of quiet_hours.")
    quiet_hours: Annotated[str, AfterValidator(span_of_day)] | None = Field(
        None, description="When nothing is mailed: 21:00-08:00."
    )
    per_run: int = Field(200, ge=1, le=10_000, description="Invoices and customers looked after in one run, at most.")
    dry_run: bool = Field(False, description="Says in the log what it would do, and does nothing.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for times in ([step.after for step in self.steps], [step.after for step in self.win_back]):
            if any(one >= following for one, following in pairwise(times)):
                raise ValueError("the steps come in the order of their times, each later than the one before")
        if any(step.cancel for step in self.steps[:-1]):
            raise ValueError("only the last step can cancel")
        return self

    @property
    def steps(self) -> list[DunningStep]:
        """What is done about a late invoice, in the order of time."""
        if self.dunning is not None:
            return self.dunning
        return [DunningStep(after=days * _DAY_S, retry=True) for days in self.retry_days]

    @property
    def mails(self) -> bool:
        return bool(self.win_back) or any(step.mail for step in self.steps)

    @property
    def hours(self) -> Hours:
        if self.quiet_hours is None:
            return Hours()
        begins, ends = (time.fromisoformat(part) for part in self.quiet_hours.split("-"))
        return Hours((begins, ends))
