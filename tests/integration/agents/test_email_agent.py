"""Mailings over days: the agent with a run's own desk, a ledger, a clock that is moved, and the emulated SendGrid."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest

from nova.clock import ManualClock
from nova.config import load_settings
from nova.errors import UsageProblem
from nova.ledger.ledger import Ledger
from nova.ledger.limits import RunRef
from nova.money import Money
from platforms.base import PlatformRefused
from platforms.exchange import Exchange
from platforms.sendgrid_contacts import Contact
from platforms.sendgrid_integration import SendGrid
from tests.emulators.faults import Fault, Faulty
from tests.emulators.sendgrid import SendGridEmulator
from tests.integration.workers.conftest import Agents, Rig, booked
from workers.agents.email_agent import EmailAgent
from workers.agents.registry import describe, resolver
from workers.base_worker import BaseWorker, RunResult
from workers.context import RunContext
from workers.gate import LateRun
from workers.hosts.local_desk import LocalDesk
from workers.links import TrackedLinks

MORNING = datetime(2026, 5, 4, 8, tzinfo=UTC)
DAY = 86_400.0
ONE = {"subject": "Hello {{ name }}", "text": "Dear {{ name }}, see https://shop.example/x", "track_links": "false"}


class Died(BaseException):
    """The process ends in the middle."""


class Deployment:
    """Of an agent: each `run` is one of its runs, on a real desk. `settings` are those of the manager."""

    agent: ClassVar[type[BaseWorker]] = EmailAgent
    name: ClassVar[str] = "email_agent"

    def __init__(self, home: Path, account: SendGridEmulator) -> None:
        self.home, self.account = home, account
        self.clock = ManualClock(MORNING)
        self.url = account.url
        self.ledger = Ledger.open(
            f"sqlite:///{home}/ledger.db", currency="USD", zone=ZoneInfo("UTC"), clock=self.clock
        )  # fmt: skip
        self.config: dict[str, Any] = {"recipients": "list.csv", **ONE}
        self.prices = ""
        self.settings: dict[str, str] = {}
        self.spent: list[Money] = []
        self._runs = 0
        (home / "data").mkdir()

    def list(self, *rows: str, name: str = "list.csv") -> None:
        (self.home / "data" / name).write_text("\n".join(["email,name", *rows]) + "\n")

    def people(self, count: int) -> None:
        self.list(*(f"p{number}@example.com,P{number}" for number in range(count)))

    def context(self, index: int = 1, **config: Any) -> tuple[RunContext, RunRef]:
        self._runs += 1
        ref = RunRef(f"r{self._runs}", "mail", f"mail#{index}", "marketing", "m-1")
        self.ledger.runs.started(ref, self.clock.now())
        _, checked = resolver(self.home)(self.name, {**self.config, **config})
        return RunContext(LocalDesk(self._run(ref, index)), checked), ref  # type: ignore[arg-type]

    def run(self, index: int = 1, **config: Any) -> RunResult:
        context, ref = self.context(index, **config)
        try:
            result = self.agent().run(context)
        except Exception:
            self.ledger.runs.ended(ref, self.clock.now(), "failed")
            raise
        self.ledger.runs.ended(ref, self.clock.now(), "succeeded")
        assert result is not None
        return result

    def message(self, index: int = 1, **config: Any) -> str:
        return self.run(index, **config).message or ""

    def _run(self, ref: RunRef, index: int) -> Any:
        settings = {"NOVA_HOME": str(self.home), "SENDGRID_API_KEY": self.account.key, "SENDGRID_API_BASE": self.url}
        settings |= {"SENDGRID_FROM_EMAIL": "news@shop.example", "NOVA_PLATFORM_PRICES": self.prices, **self.settings}
        links = TrackedLinks(self.ledger, "https://go.example", self.home)
        services = SimpleNamespace(
            ledger=self.ledger, clock=self.clock, manager="m-1", links=links,
            exchange=Exchange(load_settings(settings, self.home), self.clock.now), variables=dict,
            logs=SimpleNamespace(scrubber=SimpleNamespace(text=lambda text: text)),
        )  # fmt: skip
        spec = SimpleNamespace(worker="mail", instance=ref.instance, index=index, replicas=2, limits=())
        return SimpleNamespace(
            services=services, spec=spec, id=ref.run, ref=ref, stopping=threading.Event(), progressed=False,
            passing=nullcontext, reaching_the_ledger=nullcontext, beat=lambda for_s=0.0: None,
            log=lambda *_: None, weigh=lambda _: None, booked=self.spent.append,
        )  # fmt: skip


@pytest.fixture
def account() -> Iterator[SendGridEmulator]:
    with SendGridEmulator() as opened:
        yield opened


@pytest.fixture
def mail(home: Path, account: SendGridEmulator) -> Iterator[Deployment]:
    deployment = Deployment(home, account)
    yield deployment
    deployment.ledger.close()


def test_everybody_gets_one_mail_of_their_own_and_only_once(mail: Deployment, account: SendGridEmulator) -> None:
    mail.list("ann@example.com,Ann", "Ben@example.com,Ben", "nobody,No", "ANN@example.com,Anna")
    assert mail.message() == "2 sent, 1 skipped"
    assert sorted((one.to, one.subject) for one in account.mails) == [
        ("ANN@example.com", "Hello Anna"),
        ("Ben@example.com", "Hello Ben"),
    ]
    args = account.mails[0].args
    assert (args["nova_worker"], args["nova_campaign"], args["nova_step"]) == ("mail", "main", "1")
    assert (
        account.mails[0].categories == ("mail", "main")
        and len({one.args["nova_message"] for one in account.mails}) == 2
    )
    assert mail.message() == "0 sent"
    mail.list("ann@example.com,Ann", "cid@example.com,Cid")
    assert mail.message() == "1 sent" and account.mails[-1].to == "cid@example.com"
    assert mail.message(campaign="may") == "2 sent"


def test_a_series_is_sent_over_days_each_step_after_the_one_before(mail: Deployment, account: SendGridEmulator) -> None:
    (mail.home / "data" / "second.html").write_text("<p>Second, {{ name }}</p>")
    mail.config = {
        "recipients": "list.csv",
        "steps": json.dumps(
            [
                {"subject": "one", "text": "First, {{ name }}"},
                {"subject": "two", "html": "second.html", "after": "2d"},
                {"subject": "three", "text": "Third", "after": "1d"},
            ]
        ),
    }
    mail.people(20)
    got: list[list[str]] = []
    for day in range(6):
        if day == 1:
            mail.people(21)
        before = len(account.mails)
        mail.run()
        got.append(sorted(f"{one.to.partition('@')[0]} {one.subject}" for one in account.mails[before:]))
        mail.clock.advance(DAY)
    first = [f"p{number}" for number in range(20)]
    assert got[0] == sorted(f"{one} one" for one in first) and got[1] == ["p20 one"]
    assert got[2] == sorted(f"{one} two" for one in first)
    assert got[3] == sorted([*(f"{one} three" for one in first), "p20 two"])
    assert got[4] == ["p20 three"] and got[5] == []
    assert next(one.html for one in account.mails if one.html) == f"<p>Second, {account.mails[21].to[:-12].upper()}</p>"


def test_who_leaves_in_between_gets_no_further_step(mail: Deployment, account: SendGridEmulator) -> None:
    mail.config["steps"] = json.dumps([{"subject": "1", "text": "a"}, {"subject": "2", "text": "b", "after": "1d"}])
    for name in ("subject", "text"):
        del mail.config[name]
    mail.people(5)
    account.suppress("p0@example.com", "bounce", at=int(MORNING.timestamp()) - 99_999)
    assert mail.message() == "4 sent, 1 skipped"
    mail.clock.advance(DAY)
    context, _ = mail.context()
    assert context.suppressed("p0@example.com") == "bounce"
    context.suppress("P1@example.com", "unsubscribe")
    account.suppress("p2@example.com", "spam", at=int(mail.clock.now().timestamp()) - 60)
    assert mail.message() == "2 sent, 2 skipped" and account.dropped == []
    assert sorted(one.to for one in account.mails if one.subject == "2") == ["p3@example.com", "p4@example.com"]


def test_the_warm_up_and_the_cap_of_a_day_hold_over_replicas(mail: Deployment, account: SendGridEmulator) -> None:
    mail.people(100)
    sent = []
    for _ in range(4):
        for index in (1, 2, 1):
            mail.run(index, warm_up="10,20", per_day=40)
        sent.append(len(account.mails))
        mail.clock.advance(DAY)
    assert sent == [10, 30, 70, 100]
    mail.clock.set(MORNING + timedelta(days=1))  # another campaign is of the same sender: its warm-up goes on
    assert mail.message(campaign="two", warm_up="10,20") == "20 sent, the 20 mails of today are sent"
    assert len(set(account.to()[:100])) == 100


def test_nothing_is_sent_in_quiet_hours_whatever_the_clocks_do(mail: Deployment, account: SendGridEmulator) -> None:
    mail.config |= {"timezone": "Europe/Vienna", "quiet_hours": "21:00-8:00", "send_hour": 9}
    mail.people(1)
    for utc, told in (
        ("2026-03-28T07:59", "0 sent, nothing is sent at 08:59 (Europe/Vienna)"),
        ("2026-03-28T20:00", "0 sent, nothing is sent at 21:00 (Europe/Vienna)"),
        ("2026-03-29T06:59", "0 sent, nothing is sent at 08:59 (Europe/Vienna)"),  # the clocks went forward
        ("2026-03-29T07:00", "1 sent"),
    ):
        mail.clock.set(datetime.fromisoformat(utc).replace(tzinfo=UTC))
        assert mail.message() == told
    assert len(account.mails) == 1


def test_mails_are_brought_into_few_requests(mail: Deployment, account: SendGridEmulator) -> None:
    mail.people(1000)
    assert mail.message() == "1000 sent" and len(account.sends) == 16
    assert {one.text for one in account.mails} == {f"Dear P{n}, see https://shop.example/x" for n in range(1000)}


def test_links_lead_through_nova_with_the_reader_as_who_is_touched(mail: Deployment, account: SendGridEmulator) -> None:
    mail.list("ann@example.com,Ann", "ben@example.com,Ben")
    page = '<a href="https://shop.example/?a=1&amp;b=2">{{ name }}</a>'
    mail.run(track_links="true", html=page)
    texts = [one.text or "" for one in account.mails]
    assert all(text.startswith("Dear ") and "https://go.example/l/" in text for text in texts)
    assert texts[0].rpartition("?s=")[2] != texts[1].rpartition("?s=")[2]
    (shop, other) = sorted(one.link.url for one in mail.ledger.links.all("mail"))
    assert (shop, other) == ("https://shop.example/?a=1&b=2", "https://shop.example/x")
    assert 'href="https://go.example/l/' in (account.mails[0].html or "")
    out = [one.headers["List-Unsubscribe"] for one in account.mails]
    assert all(one.startswith("<https://go.example/u/") for one in out) and out[0] != out[1]
    assert account.mails[0].headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_a_death_between_taking_and_marking_mails_nobody_twice(
    mail: Deployment, account: SendGridEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail.people(60)
    real, taken = SendGrid._post, []

    def die(self: SendGrid, *arguments: Any) -> Any:
        answer = real(self, *arguments)
        taken.append(answer)
        if len(taken) == 3:
            raise Died
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(SendGrid, "_post", die)
        monkeypatch.setattr("workers.hands.RunHands._doubt", lambda *_: None)  # nothing more is written either
        context, ref = mail.context()
        with pytest.raises(Died):
            EmailAgent().run(context)
    mail.ledger.runs.ended(ref, mail.clock.now(), "interrupted")
    before = len(account.mails)
    result = mail.run()
    assert "in doubt" in (result.message or "") and before < len(account.mails)
    assert sorted(account.to()) == sorted({*account.to()}) and len(account.mails) == 60
    (doubtful,) = mail.ledger.outbox.of("mail", ["doubtful"])
    assert doubtful.key.startswith("main/")
    assert mail.message().startswith("0 sent, ")  # they stay in doubt until a person decides
    assert [one.attempts for one in mail.ledger.outbox.of("mail", ["doubtful"])] == [doubtful.attempts]
    mail.ledger.outbox.retry("mail", doubtful.key, by="dana")
    mail.clock.advance(700)
    count = len(mail.ledger.outbox.of("mail", ["done"]))
    assert mail.run().ok and len(mail.ledger.outbox.of("mail", ["done"])) == count + 1
    assert len(account.mails) > 60 == len(set(account.to()))  # dana has said that they did not get it
    assert mail.message() == "0 sent"


def test_a_death_before_sending_loses_nobody(
    mail: Deployment, account: SendGridEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail.people(40)

    def die(*_: object, **__: object) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(SendGrid, "send", die)
        context, ref = mail.context()
        with pytest.raises(Died):
            EmailAgent().run(context)
    mail.ledger.runs.ended(ref, mail.clock.now(), "interrupted")
    (mail.home / "data" / "list.csv").write_text((mail.home / "data" / "list.csv").read_text())
    assert mail.run(subject="{% if name < 'P2' %}Low{% else %}High{% endif %}").ok
    mail.run()
    assert sorted(account.to()) == sorted(f"p{number}@example.com" for number in range(40))


def test_a_series_that_was_cut_short_goes_on_without_its_last_steps(
    mail: Deployment, account: SendGridEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise Died

    mail.people(20)
    steps = [{"subject": "1", "text": "a"}, {"subject": "2", "text": "b", "after": "1d"}]
    mail.config = {"recipients": "list.csv", "steps": json.dumps(steps)}
    mail.run()
    mail.clock.advance(DAY)
    with monkeypatch.context() as patched:
        patched.setattr(SendGrid, "send", die)
        context, ref = mail.context()
        with pytest.raises(Died):
            EmailAgent().run(context)
    mail.ledger.runs.ended(ref, mail.clock.now(), "interrupted")
    assert mail.message(steps=json.dumps(steps[:1])) == "0 sent"
    assert len(account.mails) == 20


def test_a_failure_that_passes_ends_the_run_and_the_next_goes_on(mail: Deployment, account: SendGridEmulator) -> None:
    mail.people(200)
    mail.ledger.state.set("mail", "suppressions", "2026-05-04T08:00:00Z")
    with Faulty(account.url) as faulty:
        mail.url = faulty.url
        faulty.plan(Fault("400", UsageProblem, status=400))  # type: ignore[arg-type]
        result = mail.run()
        assert not result.ok and "0 sent" in (result.message or "")
        assert mail.message() == "200 sent"
        faulty.plan(Fault("401", PlatformRefused, status=401), times=9)
        mail.list("new@example.com,New")
        with pytest.raises(PlatformRefused):
            mail.run()
        faulty.clear()
        assert mail.message() == "1 sent"
    assert len(set(account.to())) == len(account.to()) == 201


def test_two_replicas_at_once_share_the_list(mail: Deployment, account: SendGridEmulator) -> None:
    mail.people(400)
    contexts = [mail.context(index) for index in (1, 2)]
    results: list[RunResult] = []
    threads = [
        threading.Thread(target=lambda one=one: results.append(EmailAgent().run(one[0]))) for one in contexts
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for _, ref in contexts:
        mail.ledger.runs.ended(ref, mail.clock.now(), "succeeded")
    mail.run()
    assert sorted(account.to()) == sorted(f"p{number}@example.com" for number in range(400))
    assert len(results) == 2 and all(one.ok for one in results)


def test_a_run_that_was_ended_sends_and_writes_nothing_more(
    mail: Deployment, account: SendGridEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail.people(40)
    context, _ = mail.context()

    def ended() -> Any:
        raise LateRun("this run was ended")

    monkeypatch.setattr(context._desk._run, "passing", ended)  # type: ignore[attr-defined]
    with pytest.raises(LateRun):
        EmailAgent().run(context)
    assert account.mails == []


def test_the_sandbox_keeps_its_progress_apart(mail: Deployment, account: SendGridEmulator) -> None:
    mail.people(3)
    assert mail.message(sandbox="true") == "3 sent" and account.mails == []
    assert mail.message(sandbox="true") == "0 sent"
    assert mail.message() == "3 sent" and len(account.mails) == 3


def test_a_list_at_sendgrid_is_fetched_and_fetched_again(mail: Deployment, account: SendGridEmulator) -> None:
    del mail.config["recipients"]
    mail.config |= {"sendgrid_list": "news", "text": "Dear {{ first_name | default('reader') }}", "subject": "Hi"}
    client = SendGrid(account.key, account.url)
    made = client.contacts.create_list("news")
    client.contacts.upsert([Contact("ann@example.com", "Ann"), Contact("ben@example.com")], [made.id])
    assert mail.message() == "0 sent, the list news is being exported by SendGrid"
    assert mail.message() == "2 sent" and {one.text for one in account.mails} == {"Dear Ann", "Dear reader"}
    client.contacts.upsert([Contact("cid@example.com")], [made.id])
    mail.clock.advance(3600)
    assert mail.message() == "0 sent"
    mail.clock.advance(DAY)
    assert [mail.message(), mail.message()] == ["0 sent", "1 sent"]


def test_a_template_at_sendgrid_is_given_what_the_list_says(mail: Deployment, account: SendGridEmulator) -> None:
    mail.config = {"recipients": "list.json", "template": account.add_template("Welcome")}
    rows = [{"email": "ann@example.com", "name": "Ann", "wares": ["a", "b"]}]
    (mail.home / "data" / "list.json").write_text(json.dumps(rows))
    url = "https://shop.example/out?e={{ email | urlencode }}"
    assert mail.message(unsubscribe_url=url) == "1 sent"
    (got,) = account.mails
    assert got.data["wares"] == ["a", "b"] and got.subject == "Welcome"
    assert got.headers["List-Unsubscribe"] == "<https://shop.example/out?e=ann%40example.com>"
    assert got.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_subjects_are_divided_or_one_is_chosen(mail: Deployment, account: SendGridEmulator) -> None:
    mail.people(60)
    subjects = json.dumps(["A", "B"])
    mail.run(subject=subjects)
    assert 10 < sum(one.subject == "A" for one in account.mails) < 50
    mail.run(subject=subjects, subject_variant=1, campaign="two")
    assert {one.subject for one in account.mails[60:]} == {"B"}


def test_each_mail_is_paid_for(mail: Deployment, account: SendGridEmulator) -> None:
    mail.people(50)
    mail.prices = "sendgrid/mail=0.0009 USD"
    mail.run()
    assert booked(mail.ledger, "mail", "cost") == Money.parse("0.045", "USD")


def test_a_row_that_lacks_a_variable_stops_nobody_else(mail: Deployment, account: SendGridEmulator) -> None:
    rows = ({"email": "a@example.com", "name": None}, {"email": "b@example.com", "name": "B"})
    (mail.home / "data" / "list.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    result = mail.run(recipients="list.jsonl")
    assert not result.ok and (result.message or "").startswith("1 sent, 1 problems, first: the template cannot be")
    assert account.to() == ["b@example.com"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"recipients": None}, "name either recipients"),
        ({"recipients": "list.txt"}, "must end in one of"),
        ({"subject": None, "text": None}, "give either steps"),
        ({"quiet_hours": "9-9"}, "write it as 21:00-08:00"),
        ({"timezone": "Mars/Olympus"}, "no zone"),
        ({"warm_up": "10,0"}, "at least 1 mail"),
        ({"batch_size": 1001}, "less than or equal to 1000"),
        ({"steps": '[{"subject": "x"}]', "subject": None, "text": None}, "a text or html"),
    ],
)
def test_a_wrong_setting_is_told_when_it_is_deployed(config: dict[str, Any], words: str, mail: Deployment) -> None:
    given = {name: value for name, value in {**mail.config, **config}.items() if value is not None}
    with pytest.raises(UsageProblem, match=words):
        resolver(mail.home)("email_agent", given)


def test_a_list_or_template_that_is_missing_or_wrong_is_told(mail: Deployment) -> None:
    with pytest.raises(UsageProblem, match=r"list\.csv cannot be read"):
        mail.run()
    (mail.home / "data" / "list.csv").write_text("mail\nx@example.com\n")
    with pytest.raises(UsageProblem, match="no column 'email'"):
        mail.run()
    with pytest.raises(UsageProblem, match="a template of step 1 cannot be read"):
        mail.run(text="missing.txt")
    with pytest.raises(UsageProblem, match="the template is wrong"):
        mail.run(text="{% if %}")


def test_what_it_takes_costs_and_may_be_tuned_is_shown(home: Path) -> None:
    told = describe("email_agent", home)
    assert told["secrets"] == ["SENDGRID_API_KEY"] and "sendgrid/mail" in told["costs"]
    assert set(told["tunables"]) == {"send_hour", "subject_variant", "batch_size"}
    assert all(field["help"] for field in told["config"])
    _, config = resolver(home)("email_agent", {"recipients": "a.csv", **ONE, "subject": '["a", "b"]'})
    assert EmailAgent.tunables_of(config)["subject_variant"] == (0, 1)
    _, config = resolver(home)("email_agent", {"recipients": "a.csv", **ONE})
    assert "subject_variant" not in EmailAgent.tunables_of(config)


def test_a_run_in_a_process_of_its_own_mails_as_well(
    rig: Rig, agents: Agents, home: Path, account: SendGridEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "data").mkdir()
    (home / "data" / "list.csv").write_text("email,name\nann@example.com,Ann\nben@example.com,Ben\n")
    monkeypatch.setenv("SENDGRID_API_KEY", account.key)
    monkeypatch.setenv("SENDGRID_API_BASE", account.url)
    monkeypatch.setenv("SENDGRID_FROM_EMAIL", "news@shop.example")
    config = {"recipients": "list.csv", **ONE}
    spec = rig.spec(agent="email_agent", config=config, secrets=("SENDGRID_API_KEY",), runtime="process")
    rig.sync(spec)
    run = rig.ended("w")
    assert (run.status, run.error) == ("succeeded", None)
    assert sorted((one.to, one.args["nova_worker"]) for one in account.mails) == [
        ("ann@example.com", "w"),
        ("ben@example.com", "w"),
    ]
