"""The agent `email_agent`: one mail, or a series of them, to everybody on a list, each step once to each person.

The list is divided by the hash of the address into shards. How far a shard's recipients have come is one value of the
state; whom a request goes to is written there before it is sent, under the key it is sent by (`email_plan.Plan`). So a
run that died in the middle is gone on with, and what may have been sent is not sent again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel

from nova.clock import iso, parse_time
from nova.config import load_settings
from nova.errors import UsageProblem
from nova.ledger.effects import EffectHeld
from platforms.exchange import is_local
from workers.agents import email_recipients
from workers.agents.email_config import EmailConfig
from workers.agents.email_plan import Quota, shards_for
from workers.agents.email_shard import Enough, Shard, Tally
from workers.agents.email_templates import Source, check, tracked
from workers.base_worker import BaseWorker, RunResult
from workers.context import RunContext

if TYPE_CHECKING:
    from platforms.sendgrid_integration import SendGrid

_SHARDS_A_RUN = 16
_EACH = 1_000  # recipients of a shard, when the list is first read
_SYNC_EVERY = timedelta(minutes=15)
_OVERLAP = timedelta(hours=1)
_WAIT_S = 20.0
_AT_ONCE = 1_000


class EmailAgent(BaseWorker):
    """Sends one mail, or a series of them, to everybody on a list: paced, once to each, and never to who left."""

    Config: ClassVar[type[BaseModel]] = EmailConfig
    secrets: ClassVar[tuple[str, ...]] = ("SENDGRID_API_KEY",)
    costs: ClassVar[str] = "each mail by NOVA_PLATFORM_PRICES (sendgrid/mail=0.0009 USD), asked of the budget before it"
    tunables: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "send_hour": (7, 9, 11, 14, 17),
        "subject_variant": (0, 1, 2),
        "batch_size": (100, 250, 500, 1000),
    }

    @classmethod
    def tunables_of(cls, config: EmailConfig) -> Mapping[str, Sequence[Any]]:
        """Subjects are tried where there are several, and then as many as there are."""
        subjects = max(len(step.subject) for step in config.series)
        others = {name: values for name, values in cls.tunables.items() if name != "subject_variant"}
        return {**others, "subject_variant": tuple(range(subjects))} if subjects > 1 else others

    def run(self, ctx: RunContext) -> RunResult:
        return Mailing(ctx).run()


class Mailing:
    """One run of it."""

    def __init__(self, ctx: RunContext) -> None:
        self.ctx = ctx
        self.config: EmailConfig = ctx.config
        self.sendgrid: SendGrid = ctx.platforms.sendgrid
        self._folder = load_settings().nova_home / "data"
        self.name = f"{'sandbox ' if self.config.sandbox else ''}{self.config.campaign}"
        self._sources: dict[tuple[int, int], Source] = {}
        self.tally = Tally()

    def run(self) -> RunResult:
        why: str | None = None
        try:
            self._check_hours()
            self._check_templates()
            path = self._list_file()
            self._sync_suppressions()
            self._go_round(path)
        except Enough as enough:
            why = str(enough)
        result = self.tally.result(why)
        self.ctx.log.info("%s", result.message)
        return result

    def _check_hours(self) -> None:
        local = self.ctx.now().astimezone(self.config.zone)
        if not self.config.hours.open(local):
            raise Enough(f"nothing is sent at {local:%H:%M} ({self.config.timezone})")

    def _check_templates(self) -> None:
        for step in range(len(self.config.series)):
            if self.config.series[step].template is None:
                check(self._source(step, 0))

    def _go_round(self, path: Path) -> None:
        """Some shards a run, going round; several replicas go at the same time, each shard being one's at a time."""
        count = self._shards(path)
        first = int(self.state("cursor", 0)) % count
        wanted = [(first + number) % count for number in range(min(_SHARDS_A_RUN, count))]
        self.put("cursor", (first + len(wanted)) % count)
        listed = email_recipients.of_shards(path, self.config.email_field, wanted, count)
        for shard in wanted:
            if self.ctx.stopping:
                raise Enough("the run is to end")
            if Shard(self, shard, listed[shard]).idle():
                continue
            with suppress(EffectHeld), self.ctx.turn(f"{self.name} {shard}"):
                Shard(self, shard, listed[shard]).go_on()  # read again: another replica may have been at it

    def _shards(self, path: Path) -> int:
        """Decided when the list is first read, and kept: it says where a recipient's progress stands."""
        known = self.state("shards", None)
        if known is None:
            known = shards_for(email_recipients.count(path, self.config.email_field), _EACH)
            self.put("shards", known)
        return int(known)

    def _list_file(self) -> Path:
        """The file of recipients; of a list at SendGrid it is fetched, which takes that some minutes."""
        if self.config.recipients is not None:
            return self._folder / Path(self.config.recipients).expanduser()
        path = self._folder / f"{self.ctx.worker}.recipients.jsonl"
        said = self.state("list", {})
        asked = parse_time(said["asked"]) if said else None
        old = asked is None or self.ctx.now() - asked >= timedelta(seconds=self.config.list_refresh)
        if said.get("name") != self.config.sendgrid_list or (old and said.get("export") is None):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.sendgrid.contacts.find_list(self.config.sendgrid_list or "")
            fresh = said.get("name") == self.config.sendgrid_list and path.exists()
            said = {
                "name": self.config.sendgrid_list,
                "export": self.sendgrid.contacts.export(found.id),
                "fresh": fresh,
            }
            said["asked"] = iso(self.ctx.now())
            self.put("list", said)
        if said["export"] is not None:
            export = self.sendgrid.contacts.exported(said["export"])
            if export.state == "ready":
                self.sendgrid.contacts.download(export, path)
            if export.state != "pending":
                said = {**said, "export": None, "fresh": said["fresh"] or export.state == "ready"}
                self.put("list", said)
        if not said["fresh"]:
            raise Enough(f"the list {self.config.sendgrid_list} is being exported by SendGrid")
        return path

    def _sync_suppressions(self) -> None:
        """Who left, bounced or complained at SendGrid since the last look is written to by no worker any more."""
        now, last = self.ctx.now(), self.ctx.state.get("suppressions")
        if last is not None and now - parse_time(last) < _SYNC_EVERY:
            return
        since = None if last is None else parse_time(last) - _OVERLAP
        for reason, some in groupby(self.sendgrid.suppressions.all(since), key=lambda one: one.reason):
            for part in _parts(one.email for one in some):
                self.ctx.suppress(part, reason)
        self.ctx.state["suppressions"] = iso(now)

    def source(self, step: int, mark: str) -> Source:
        """Of a step for somebody: variants of the subject are divided by the hash of the address."""
        chosen = self.config.subject_variant
        return self._source(step, int(mark[-6:], 16) if chosen is None else chosen)

    def _source(self, step: int, variant: int) -> Source:
        declared = self.config.series[step]
        key = (step, variant % max(1, len(declared.subject)))
        if key not in self._sources:
            try:
                source = declared.source(key[1], self._folder)
            except (OSError, UnicodeDecodeError) as error:
                raise UsageProblem(f"a template of step {step + 1} cannot be read: {error}") from None
            self._sources[key] = tracked(source) if self.config.track_links else source
        return self._sources[key]

    def link(self, url: str, email: str, step: int) -> str:
        """The address that counts; the plain one where readers could not reach it, nova having none of its own."""
        if not self.config.track_links:
            return url
        made = self.ctx.link(url, self.config.campaign, "email", f"step-{step + 1}", to=email)
        return made if self._reachable(made) else url

    def way_out(self, email: str) -> str | None:
        """Where the reader leaves, at nova's own address where it has one that readers reach."""
        made = self.ctx.unsubscribe_link(email)
        return made if self._reachable(made) else None

    def _reachable(self, made: str) -> bool:
        return not is_local(made) or is_local(self.sendgrid.api.base)

    def grant(self, wanted: int) -> int:
        """How many of them may be mailed now; they count as mailed. Raises Enough where none may."""
        self._check_hours()
        wanted = min(wanted, self.config.max_per_run - self.tally.sent)
        if wanted <= 0:
            raise Enough(f"a run sends at most {self.config.max_per_run}")
        today = self.ctx.now().astimezone(self.config.zone).date()
        with self.ctx.turn(self._quota, wait_s=_WAIT_S):
            quota = Quota.of(self.ctx.state.get(self._quota, {}))
            after, granted = quota.grant(today, wanted, self.config.warm_up, self.config.per_day)
            if not granted:
                raise Enough(f"the {quota.used} mails of today are sent")
            self.ctx.state[self._quota] = after.said()
        return granted

    def give_back(self, count: int) -> None:
        if count > 0:
            with self.ctx.turn(self._quota, wait_s=_WAIT_S):
                self.ctx.state[self._quota] = Quota.of(self.ctx.state.get(self._quota, {})).back(count).said()

    @property
    def _quota(self) -> str:
        """Of all campaigns together: the warm-up is the sender's."""
        return "sandbox quota" if self.config.sandbox else "quota"

    def state(self, name: str, default: Any) -> Any:
        return self.ctx.state.get(f"{self.name}.{name}", default)

    def put(self, name: str, value: Any) -> None:
        self.ctx.state[f"{self.name}.{name}"] = value


def _parts(emails: Iterable[str]) -> Iterator[list[str]]:
    every = iter(emails)
    while part := list(islice(every, _AT_ONCE)):
        yield part
