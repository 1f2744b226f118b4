"""One shard of a list: who of it is due, brought into requests, sent, and remembered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nova.clock import to_us
from nova.errors import Unreachable, UsageProblem
from platforms.base import InDoubt, PlatformFailed, Stopped, nothing_done
from platforms.sendgrid_mail import Address, Mail, Recipient, checked_email
from workers.agents import templates
from workers.agents.email_plan import Plan, Progress
from workers.agents.email_recipients import Row, mark_of
from workers.agents.email_templates import Content, rendered
from workers.base_worker import RunResult

if TYPE_CHECKING:
    from workers.agents.email_agent import Mailing

_MINUTE_US = 60_000_000
_ASK_AGAIN_MIN = 10  # whether a person has decided what is in doubt
_MOST_TOLD = 20


class Enough(Exception):
    """Nothing more is to be sent in this run; says why."""


@dataclass(slots=True)
class Tally:
    """What a run did."""

    sent: int = 0
    skipped: int = 0
    doubtful: int = 0
    problems: list[str] = field(default_factory=list)

    def result(self, why: str | None) -> RunResult:
        told = [f"{self.sent} sent"]
        told += [f"{self.skipped} skipped"] if self.skipped else []
        told += [f"{self.doubtful} in doubt (see nova workers outbox)"] if self.doubtful else []
        told += [why] if why else []
        if self.problems:
            told.append(f"{len(self.problems)} problems, first: {self.problems[0]}")
        return RunResult(not self.problems, ", ".join(told))


@dataclass(frozen=True, slots=True)
class Group:
    """Those whose mails differ in nothing but what is put in for each: one request."""

    content: Content | None  # None: a template at SendGrid
    people: Mapping[str, Recipient]  # by mark


class Shard:
    """It is this run's alone for as long as it is used."""

    def __init__(self, mailing: Mailing, number: int, listed: Mapping[str, Row]) -> None:
        self._mailing = mailing
        self._config = mailing.config
        self._tally = mailing.tally
        self._key = f"{mailing.name}/{number}"
        self._listed = listed
        self._progress = Progress.of(mailing.state(f"shard {number}", {}))
        self._number = number
        self._wrong: set[str] = set()

    def idle(self) -> bool:
        """Nobody is due, and nothing was left open but what waits for a person."""
        if not all(map(self._waits, self._progress.open)) or next(self._due(), None) is not None:
            return False
        self._tally.doubtful += sum(len(plan.who) for plan in self._progress.open)
        return True

    def _waits(self, plan: Plan) -> bool:
        return self._now_min() - plan.asked < _ASK_AGAIN_MIN

    def _due(self) -> Iterator[tuple[int, list[str]]]:
        after_min = [int(step.after // 60) for step in self._config.series]
        return self._progress.due(self._listed, after_min, self._now_min())

    def go_on(self) -> None:
        """Raises Enough."""
        for plan in list(self._progress.open):
            if self._waits(plan):
                self._tally.doubtful += len(plan.who)
            else:
                self._settle(plan)
        for step, marks in self._due():
            for first in range(0, len(marks), self._config.batch_size):
                for group in self._groups(step, marks[first : first + self._config.batch_size]):
                    self._send_new(step, group)
        if self._wrong:
            self._progress.out |= self._wrong
            self._save()

    def _send_new(self, step: int, group: Group) -> None:
        granted = self._mailing.grant(len(group.people))
        some = dict(list(group.people.items())[:granted])
        plan = self._progress.begin(self._key, step, list(some))
        self._save()
        self._send(plan, Group(group.content, some), new=True)

    def _settle(self, plan: Plan) -> None:
        """A plan that an earlier run left open is sent where it was not, and stays open where nobody knows.

        What its people get now may differ from one to another; then the first kind is sent under its key, and the rest
        are due again.
        """
        declared = plan.step < len(self._config.series)
        marks = [mark for mark in plan.who if mark in self._listed] if declared else []
        group = next(self._groups(plan.step, marks), None)
        if group is not None:
            self._send(plan, group, new=False)
        elif not marks:  # nobody of it is on the list any more, or the step is no more
            self._progress.finish(plan, self._now_min())
            self._save()

    def _send(self, plan: Plan, group: Group, *, new: bool) -> None:
        people = list(group.people.values())
        try:
            sent = self._mailing.sendgrid.send(self._mail(plan.step, group), people, key=plan.key)
        except InDoubt:
            plan.asked = self._now_min()
            self._save()
            self._tally.doubtful += len(plan.who)
            return
        except Exception as problem:
            if nothing_done(problem):
                self._progress.drop(plan)
                self._save()
                self._mailing.give_back(len(plan.who))
            if isinstance(problem, Stopped):
                raise Enough("the run is to end") from None
            if not isinstance(problem, PlatformFailed | Unreachable):
                raise
            self._tally.doubtful += 0 if nothing_done(problem) else len(plan.who)
            self._tally.problems.append(problem.message)
            raise Enough("it ends here") from None
        out = {mark_of(one.email) for one in sent.skipped}
        self._progress.finish(plan, self._now_min(), out, had=None if sent.again else list(group.people))
        self._save()
        self._mailing.give_back(len(plan.who) - sent.accepted)
        self._tally.skipped += len(out)
        self._tally.sent += sent.accepted if new or not sent.again else 0

    def _groups(self, step: int, marks: Sequence[str]) -> Iterator[Group]:
        """In the order of their first members. Who cannot be written to is set aside."""
        found: dict[Content | None, dict[str, Recipient]] = {}
        for mark in marks:
            made = self._made(step, mark, self._listed[mark])
            if made is not None:
                content, recipient = made
                found.setdefault(content, {})[mark] = recipient
        return (Group(content, people) for content, people in found.items())

    def _made(self, step: int, mark: str, row: Row) -> tuple[Content | None, Recipient] | None:
        try:
            email = checked_email(row[self._config.email_field])
        except UsageProblem:
            self._wrong.add(mark)
            self._tally.skipped += 1
            return None
        try:
            return self._filled(step, mark, row, email)
        except UsageProblem as problem:
            if len(self._tally.problems) < _MOST_TOLD:
                self._tally.problems.append(problem.message)
            return None

    def _filled(self, step: int, mark: str, row: Row, email: str) -> tuple[Content | None, Recipient]:
        config = self._config
        given = {name: value for name, value in row.items() if value is not None}  # else a mail would say "None"
        values = {**given, "email": email, "campaign": config.campaign}
        own = config.unsubscribe_url
        way_out = self._mailing.way_out(email) if own is None else templates.rendered(own, values)
        values["unsubscribe_url"] = way_out or ""
        if config.series[step].template is not None:
            return None, Recipient(email, data=values, unsubscribe_url=way_out)
        values["link"] = lambda url: self._mailing.link(str(url), email, step)
        made = rendered(self._mailing.source(step, mark), values)
        return made.content, Recipient(email, substitutions=made.values, unsubscribe_url=way_out)

    def _mail(self, step: int, group: Group) -> Mail:
        config = self._config
        subject, text, page = group.content or ("", None, None)
        sender = self._mailing.sendgrid.sender
        if config.from_email is not None:
            sender = Address(config.from_email, config.from_name)
        return Mail(
            subject, text, page, config.series[step].template, sender,
            None if config.reply_to is None else Address(config.reply_to),
            categories=tuple(dict.fromkeys((self._mailing.ctx.worker, config.campaign))),
            args={"nova_campaign": config.campaign, "nova_step": str(step + 1)},
            unsubscribe_mailto=config.unsubscribe_mailto, group=config.group, sandbox=config.sandbox,
        )  # fmt: skip

    def _now_min(self) -> int:
        return to_us(self._mailing.ctx.now()) // _MINUTE_US

    def _save(self) -> None:
        self._mailing.put(f"shard {self._number}", self._progress.said())
