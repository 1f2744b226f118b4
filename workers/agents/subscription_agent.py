"""The agent `subscription_agent`: gets failed payments of subscriptions paid after all, and wins back who left.

How far it has come with an invoice or a customer stands in the state. A step is done under a key made of what it is
about, so that it is done once whatever dies in between, and is marked after.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from nova.clock import iso, parse_time
from nova.config import load_settings
from nova.errors import LedgerConflict
from nova.money import Money
from platforms.base import Declined, InDoubt, InvalidRequest, Missing, PlatformFailed
from workers.agents.email_config import Step as MailStep
from workers.agents.subscription_config import DunningStep, SubscriptionConfig
from workers.base_worker import BaseWorker, RunResult
from workers.context import RunContext

if TYPE_CHECKING:
    from platforms.sendgrid_integration import SendGrid
    from platforms.stripe_integration import Stripe
    from platforms.stripe_objects import Invoice, Subscription

_LATE = ("past_due", "unpaid")
_ALIVE = ("active", "trialing")
_DUN, _LEFT = "invoice.", "left."
_FIRST_LOOK = timedelta(days=29)  # Stripe tells what happened for 30 days
_OVERLAP = timedelta(hours=1)


class SubscriptionAgent(BaseWorker):
    """Gets failed payments of Stripe subscriptions paid after all (dunning), and wins back who left, by mail."""

    Config: ClassVar[type[BaseModel]] = SubscriptionConfig
    secrets: ClassVar[tuple[str, ...]] = ("STRIPE_API_KEY",)
    scalable: ClassVar[bool] = False
    costs: ClassVar[str] = "each mail by NOVA_PLATFORM_PRICES (sendgrid/mail), asked of the budget before it"
    tunables: ClassVar[Mapping[str, tuple[Any, ...]]] = {"retry_days": ("0,3,7", "1,4,8", "0,1,3,7", "3,6,9")}

    @classmethod
    def secrets_of(cls, config: SubscriptionConfig) -> Sequence[str]:
        return (*cls.secrets, "SENDGRID_API_KEY") if config.mails else cls.secrets

    @classmethod
    def tunables_of(cls, config: SubscriptionConfig) -> Mapping[str, Sequence[Any]]:
        """Steps that the operator declared are theirs."""
        return cls.tunables if config.dunning is None else {}

    def run(self, ctx: RunContext) -> RunResult:
        round = Round(ctx)
        round.dun()
        round.settle()
        if ctx.config.win_back:
            round.notice_who_left()
            round.win_back()
        ctx.log.info("%s", round.told())
        return RunResult(not round.problems, round.told())


@dataclass
class Round:
    """One run of it."""

    ctx: RunContext
    done: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    late: set[str] = field(default_factory=set)

    @cached_property
    def config(self) -> SubscriptionConfig:
        config: SubscriptionConfig = self.ctx.config
        return config

    @cached_property
    def stripe(self) -> Stripe:
        stripe: Stripe = self.ctx.platforms.stripe
        return stripe

    @cached_property
    def sendgrid(self) -> SendGrid:
        sendgrid: SendGrid = self.ctx.platforms.sendgrid
        return sendgrid

    def told(self) -> str:
        words = ", ".join(f"{count} {what}" for what, count in self.done.items()) or "nothing to do"
        return f"{words}; {len(self.problems)} problems, first: {self.problems[0]}" if self.problems else words

    def dun(self) -> None:
        """The step that is due for each open invoice of a subscription that is late."""
        for status in _LATE if self.config.steps else ():
            for subscription in self.stripe.subscriptions.list(status=status):
                if self._enough():
                    return
                if self._is_meant(subscription):
                    for invoice in self.stripe.invoices.list(subscription=subscription.id, status="open"):
                        self.late.add(invoice.id)
                        self._apart(invoice.id, lambda: self._dun(subscription, invoice))  # noqa: B023 - called at once

    def settle(self) -> None:
        """Of the invoices it went after: those that are not late any more were paid, or given up."""
        for name in [key for key in self.ctx.state if key.startswith(_DUN)]:
            if name.removeprefix(_DUN) in self.late or self.ctx.stopping:
                continue
            try:
                invoice = self.stripe.invoices.get(name.removeprefix(_DUN))
            except Missing:
                del self.ctx.state[name]
                continue
            if invoice.status == "paid":
                self._recovered(name, invoice)
            elif invoice.status != "open" or self._is_long_ago(self.ctx.state[name]):
                self._count("given up")
                del self.ctx.state[name]

    def notice_who_left(self) -> None:
        now = self.ctx.now()
        since = parse_time(self.ctx.state["seen"]) - _OVERLAP if "seen" in self.ctx.state else now - _FIRST_LOOK
        for fact in self.stripe.subscription_facts(max(since, now - _FIRST_LOOK)):
            name = f"{_LEFT}{fact.id}"
            if fact.kind == "ended" and fact.customer and name not in self.ctx.state and fact.at >= now - _FIRST_LOOK:
                self.ctx.state[name] = {"customer": fact.customer, "at": iso(fact.at), "step": 0}
        self.ctx.state["seen"] = iso(now)

    def win_back(self) -> None:
        for name in [key for key in self.ctx.state if key.startswith(_LEFT)]:
            if self._enough():
                return
            known = self.ctx.state[name]
            if known["step"] <= len(self.config.win_back) and "over" not in known:
                self._apart(known["customer"], lambda: self._win_back(name, known))  # noqa: B023 - called at once

    def _apart(self, about: str, action: Callable[[], None]) -> None:
        """What the platform does not accept of one customer does not hold up the others."""
        try:
            action()
        except PlatformFailed as problem:
            self.ctx.log.warning("%s: %s", about, problem.message)
            self.problems.append(f"{about}: {problem.message}")

    def _dun(self, subscription: Subscription, invoice: Invoice) -> None:
        name = f"{_DUN}{invoice.id}"
        known = self.ctx.state.get(name, {"step": 0})
        number = _due([step.after for step in self.config.steps], self.ctx.now() - invoice.at)
        if number <= known["step"]:
            return
        step = self.config.steps[number - 1]
        if step.mail is not None and not self._may_mail():
            return
        if self.config.dry_run:
            self._would(f"step {number} of {invoice.id}: {_words(step)}")
            return
        if self._go_on(step, subscription, invoice, number):
            self.ctx.state[name] = {"step": number, "done": iso(self.ctx.now())}

    def _go_on(self, step: DunningStep, subscription: Subscription, invoice: Invoice, number: int) -> bool:
        """Whether the step is done, as far as it can be."""
        if step.retry:
            name = f"{_DUN}{invoice.id}"
            tried = {**self.ctx.state.get(name, {"step": 0}), "done": iso(self.ctx.now())}
            self.ctx.state[name] = tried  # first: should its answer be lost, `settle` finds what came of it
            if self._paid(invoice, number):
                self.late.discard(invoice.id)
                return False
        if step.mail is not None and invoice.customer:
            amount = f"{invoice.due} {invoice.due.currency}"
            values = {"amount": amount, "pay_url": invoice.url or "", "number": invoice.number or ""}
            self._mail(step.mail, invoice.customer, values, f"{invoice.id}/{number}", "dunning")
        if step.cancel:
            self.stripe.subscriptions.cancel(subscription.id, at_period_end=False)
            self._count("cancelled")
        return True

    def _paid(self, invoice: Invoice, number: int) -> bool:
        try:
            self.stripe.invoices.pay(invoice.id, key=f"nova-dun-{invoice.id}-{number}")
        except Declined as refusal:
            self.ctx.log.info("%s is declined again: %s", invoice.id, refusal.message)
            self._count("declined")
            return False
        except InvalidRequest as refusal:  # such as of a customer without a card, or of what was just paid
            if self.stripe.invoices.get(invoice.id).status == "paid":
                return True
            self.ctx.log.warning("%s cannot be retried: %s", invoice.id, refusal.message)
            self._count("without a way to be paid")
            return False
        return True

    def _recovered(self, name: str, invoice: Invoice) -> None:
        if not self._is_long_ago(self.ctx.state[name]):
            self._credit("recovered", invoice)
        del self.ctx.state[name]

    def _win_back(self, name: str, known: Mapping[str, Any]) -> None:
        back = next(
            (one for one in self.stripe.subscriptions.list(customer=known["customer"]) if one.status in _ALIVE), None
        )
        if back is not None:
            self._came_back(name, known, back)
            return
        steps = self.config.win_back
        number = _due([step.after for step in steps], self.ctx.now() - parse_time(known["at"]))
        if number <= known["step"]:
            if known["step"] == len(steps) and self._is_long_ago(known):
                self.ctx.state[name] = {**known, "over": True}
            return
        if not self._may_mail():
            return
        if self.config.dry_run:
            self._would(f"win-back mail {number} to {known['customer']}")
            return
        key = f"{name.removeprefix(_LEFT)}/{number}"
        self._mail(steps[number - 1], known["customer"], {"offer": self.config.offer_url or ""}, key, "win-back")
        self.ctx.state[name] = {**known, "step": number, "done": iso(self.ctx.now())}

    def _came_back(self, name: str, known: Mapping[str, Any], back: Subscription) -> None:
        if known["step"] and back.at > parse_time(known["at"]) and not self._is_long_ago(known):
            for invoice in self.stripe.invoices.list(subscription=back.id, status="paid", most=1):
                self._credit("won back", invoice)
        self.ctx.state[name] = {**known, "over": True}

    def _is_long_ago(self, known: Mapping[str, Any]) -> bool:
        within = timedelta(seconds=self.config.credit_within)
        return "done" in known and self.ctx.now() - parse_time(known["done"]) > within

    def _credit(self, what: str, invoice: Invoice) -> None:
        self._count(what)
        sums = dict(self.ctx.state.get(what, {}))
        currency = invoice.paid.currency
        sums[currency] = str(Money.parse(sums.get(currency, "0"), currency) + invoice.paid)
        payments = self.stripe.invoices.payments(invoice.id) if self.config.claim else ()
        for payment in payments:
            try:
                self.ctx.claim("stripe", payment)
            except LedgerConflict as conflict:
                self.ctx.log.info("%s", conflict.message)
        self.ctx.state[what] = sums

    def _mail(self, step: MailStep, customer: str, values: Mapping[str, Any], about: str, campaign: str) -> None:
        """Who is not to be written to, or has no address, is left out."""
        from platforms.sendgrid_mail import Address, Mail, Recipient
        from workers.agents.email_templates import Rendered, rendered, tracked

        who = self.stripe.customers.get(customer)
        if not who.email or self.ctx.suppressed(who.email):
            self._count("not to be mailed")
            return
        source = tracked(step.source(0, load_settings().nova_home / "data"))
        email = who.email

        def link(url: str) -> str:
            return self.ctx.link(url, campaign, "mail", about, to=email)

        given = {**values, "name": who.name or "", "email": email, "link": link}
        filled = rendered(source, given) if step.template is None else Rendered(("", None, None), {})
        config = self.config
        sender = Address(config.from_email, config.from_name) if config.from_email else self.sendgrid.sender
        mail = Mail(
            *filled.content, step.template, sender, Address(config.reply_to) if config.reply_to else None,
            categories=(self.ctx.worker, campaign), args={"nova_campaign": campaign}, track_clicks=False,
        )  # fmt: skip
        person = Recipient(email, who.name, values, filled.values, unsubscribe_url=self.ctx.unsubscribe_link(email))
        try:
            self.sendgrid.send(mail, person, key=f"{self.ctx.worker}/{campaign}/{about}")
        except Declined as refusal:
            self.ctx.log.info("%s", refusal.message)
            self._count("not to be mailed")
        except InDoubt as doubt:
            self.problems.append(doubt.message)
        else:
            self._count("mailed")

    def _is_meant(self, subscription: Subscription) -> bool:
        return not self.config.prices or any(item.price.id in self.config.prices for item in subscription.items)

    def _may_mail(self) -> bool:
        return self.config.hours.open(self.ctx.now().astimezone(ZoneInfo(self.config.timezone)))

    def _enough(self) -> bool:
        return self.ctx.stopping or sum(self.done.values()) >= self.config.per_run

    def _would(self, what: str) -> None:
        self.ctx.log.info("dry run: %s", what)
        self._count("left undone (dry run)")

    def _count(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1


def _due(times_s: Sequence[float], age: timedelta) -> int:
    """How many of the steps are due by then."""
    return sum(1 for after_s in times_s if after_s <= age.total_seconds())


def _words(step: DunningStep) -> str:
    parts = ("retry" if step.retry else "", "mail" if step.mail else "", "cancel" if step.cancel else "")
    return " and ".join(part for part in parts if part)
