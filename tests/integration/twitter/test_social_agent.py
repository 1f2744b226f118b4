"""The agent on X: its queue, its answers and its figures, each once, whatever cuts a run."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nova.cli import app
from nova.clock import parse_time
from nova.errors import UsageProblem
from platforms.twitter_integration import Twitter
from platforms.twitter_types import post_of
from tests.emulators.faults import FAULTS, LOST, Faulty
from tests.emulators.twitter import OWN_ID, OWN_NAME, SECRETS, TOKEN, TwitterEmulator
from tests.integration.twitter.conftest import SHORT, Remembering
from workers.agents.registry import describe, resolver
from workers.agents.social_agent import SocialAgent, tagged
from workers.agents.social_config import Rule
from workers.base_worker import RunResult

MONDAY = parse_time("2026-03-02T08:00:00Z")
RULES = [
    {"match": r"price of (\w+)", "reply": "@{{ author }} {{ found[1] }} is at https://example.com/price"},
    {"match": "thanks", "like": True},
]


class State(MutableMapping[str, Any]):
    """Keeps what JSON keeps."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def __getitem__(self, key: str) -> Any:
        return json.loads(self.kept[key])

    def __setitem__(self, key: str, value: Any) -> None:
        self.kept[key] = json.dumps(value)

    def __delitem__(self, key: str) -> None:
        del self.kept[key]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self.kept))

    def __len__(self) -> int:
        return len(self.kept)


class Deployed:
    """A deployment of the agent: each `run` is a new object and a new run, as after a restart."""

    def __init__(self, home: Path, client: Twitter) -> None:
        self.home, self.client, self.state, self.now, self.runs = home, client, State(), MONDAY, 0
        self.settings: dict[str, Any] = {"slot": "1h", "metrics_every": "0", "queue": "queue.jsonl"}
        self.redirector = "http://127.0.0.1:8811"
        (home / "data").mkdir()

    def queue(self, *rows: dict[str, Any], name: str = "queue.jsonl") -> None:
        (self.home / "data" / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def run(self, **settings: Any) -> RunResult:
        self.runs += 1
        worker, config = resolver(self.home)("social_agent", {**self.settings, **settings})
        context = SimpleNamespace(
            config=config, state=self.state, worker="social", run_id=f"run-{self.runs}", stopping=False,
            platforms=SimpleNamespace(twitter=self.client), now=lambda: self.now, log=logging.getLogger("test"),
            turn=lambda name: nullcontext(),
            link=lambda url, campaign, channel, content: f"{self.redirector}/l/{campaign}-{channel}-{content}",
        )  # fmt: skip
        return worker().run(context)  # type: ignore[arg-type,return-value]

    def later(self, **span: float) -> Deployed:
        self.now += timedelta(**span)
        return self


@pytest.fixture
def social(home: Path, client: Twitter) -> Deployed:
    return Deployed(home, client)


def test_one_post_a_slot_each_once_and_none_before_its_time(social: Deployed, x: TwitterEmulator) -> None:
    social.queue(
        {"text": "later", "not_before": "2026-03-02 12:00"}, {"text": "first"}, {"text": "second"},
        {"text": "missed", "not_after": "2026-03-02T07:00:00Z"},
    )  # fmt: skip
    assert social.run(zone="Europe/Vienna").message.startswith("posted")
    assert social.run().message == "2 waiting"
    assert social.later(hours=1).run().message.endswith("1 waiting")
    assert social.later(hours=1).run().message == "1 waiting"
    social.later(hours=2).run()
    assert x.texts() == ["first", "second", "later"]
    assert social.later(days=1).run() == RunResult(True, "nothing to do")


def test_hours_days_and_the_queue_in_the_state(social: Deployed, x: TwitterEmulator) -> None:
    social.queue(*({"text": f"number {number}"} for number in range(9)))
    social.state["queue"] = [{"text": "from the state", "not_before": "2026-03-01"}]
    limits = {"hours": "mon-fri 09:00-11:00; sat 10:00-10:30", "zone": "Europe/Vienna", "per_day": 2, "slot": "30m"}
    for _ in range(24):
        social.run(**limits)
        social.later(hours=1)
    assert x.texts() == ["number 0", "number 1"]
    social.now = parse_time("2026-03-07T09:05:00Z")  # a Saturday, 10:05 there
    social.run(**limits)
    assert x.texts()[2:] == ["number 2"]
    social.run(slot="1s", per_day=50)
    assert len(x.texts()) == 3, "what is before the slot waits"


def test_threads_pictures_and_links_with_tags(social: Deployed, x: TwitterEmulator) -> None:
    (social.home / "data" / "tea.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    social.queue(
        {"text": "one\n---\ntwo: {link}", "link": "https://example.com/?a=1&utm_source=own", "campaign": "spring",
         "media": "tea.png", "alt": "tea", "id": "launch"},
    )  # fmt: skip
    assert social.run().message.startswith("posted launch")
    first, second = x.own()
    assert second.reply_to == first.id and x.uploads[first.media[0]].alt == "tea"
    tags = "utm_medium=social&utm_campaign=spring"
    assert second.text == f"two: https://example.com/?a=1&utm_source=own&{tags}"
    assert social.state["posted.launch"]["ids"] == [first.id, second.id]
    social.redirector = "https://go.example.com"
    social.queue({"text": "tracked", "link": "https://example.com/", "id": "second"})
    social.later(hours=1).run()
    assert x.texts()[-1] == "tracked https://go.example.com/l/social-x-second"
    assert tagged("https://example.com", {}) == "https://example.com"


def test_what_cannot_be_posted_is_told_and_tried_again_when_it_was_mended(social: Deployed, x: TwitterEmulator) -> None:
    social.queue({"id": "long", "text": "x" * 300}, {"id": "twice", "text": "said"})
    x.says(OWN_NAME, "said")
    assert "300 characters long" in (social.run().message or "")
    assert social.later(hours=1).run().message == "twice was refused; 0 waiting"
    assert social.later(hours=1).run().message == "nothing to do"
    social.queue({"id": "long", "text": "short"}, {"id": "twice", "text": "said otherwise"})
    social.later(hours=1).run()
    social.later(hours=1).run()
    assert x.texts() == ["said", "short", "said otherwise"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("queue.jsonl", "{", "cannot be read"), ("queue.jsonl", "[1]", "row 1"),
        ("queue.csv", "txt\nx\n", "no field 'txt'"),
        ("queue.jsonl", '{"text": "x", "not_before": "soon"}', "not a time"), ("queue.jsonl", '{"link": "x"}', "empty"),
    ],
)  # fmt: skip
def test_a_queue_that_makes_no_sense_names_its_row(
    social: Deployed, x: TwitterEmulator, name: str, content: str, words: str
) -> None:
    (social.home / "data" / name).write_text(content)
    result = social.run(queue=name)
    assert not result.ok and words in (result.message or "")
    assert x.posts == {}


def test_mentions_are_answered_once_by_the_first_rule_that_fits(social: Deployed, x: TwitterEmulator) -> None:
    x.says("old", f"@{OWN_NAME} price of gold?")
    rules = {"replies": json.dumps(RULES), "queue": None}
    social.run(**rules)
    asked = x.says("ann", f"@{OWN_NAME} the Price of tea & cake?")
    x.says("bob", f"@{OWN_NAME} hello")
    thanked = x.says("cat", f"@{OWN_NAME} thanks!")
    x.says(OWN_NAME, f"@{OWN_NAME} price of talking to oneself")
    assert social.run(**rules).message == "2 answered"
    assert social.run(**rules).message == "nothing to do"
    answers = [post for post in x.own() if post.reply_to]
    assert [(one.reply_to, one.text) for one in answers] == [(asked, "@ann tea is at https://example.com/price")]
    assert x.posts[thanked].likes == {OWN_ID}


def test_answers_are_bounded_by_run_day_and_person(social: Deployed, x: TwitterEmulator) -> None:
    settings = {
        "replies": '[{"reply": "{{ text|length }} {{ author }}"}]', "replies_per_run": 2, "replies_per_author": 3,
        "replies_per_day": 5, "queue": None,
    }  # fmt: skip
    social.run(**settings)
    for number in range(6):
        x.says("loop", f"@{OWN_NAME} {'again' * number}")
    for number in range(4):
        x.says(f"user{number}", f"@{OWN_NAME} hi")
    assert [social.run(**settings).message for _ in range(5)] == [
        "2 answered",
        "2 answered",
        "1 answered",
        *["nothing to do"] * 2,
    ]
    assert sum("loop" in text for text in x.texts()) == 3
    social.later(days=1).run(**settings)
    assert len(x.texts()) == 7


def test_a_lost_answer_is_looked_for_before_anything_else(
    home: Path, x: TwitterEmulator, connect: Callable[..., Twitter], hands: Remembering
) -> None:
    with Faulty(x.url) as faulty:
        x.known_as.append(faulty.url)
        social = Deployed(home, connect(url=faulty.url, patience=SHORT))
        social.queue({"text": "one\n---\ntwo"})
        faulty.plan(LOST[0], method="POST")
        assert not social.run().ok
        assert len(x.own()) == 1 and "pending" in social.state
        social.queue({"text": "something else, put before it"}, {"text": "one\n---\ntwo"})
        hands.done.clear()
        hands.doubtful.clear()  # as by another instance, which knows nothing of the attempt
        assert social.run().ok
    assert x.texts() == ["one", "two"]
    assert social.later(hours=1).run().ok
    assert x.texts()[2:] == ["something else, put before it"]


def test_what_is_forbidden_again_and_again_does_not_hold_up_the_rest(
    home: Path, x: TwitterEmulator, connect: Callable[..., Twitter]
) -> None:
    with Faulty(x.url, lambda status: {"title": "Forbidden", "type": "about:blank", "detail": "No."}) as faulty:
        x.known_as.append(faulty.url)
        social = Deployed(home, connect(url=faulty.url, patience=SHORT))
        social.queue({"id": "first", "text": "first"}, {"id": "second", "text": "second", "not_before": "2026-03-03"})
        faulty.plan(next(fault for fault in FAULTS if fault.name == "403"), times=5, method="POST")
        assert [social.run().ok for _ in range(4)] == [False] * 4
        assert social.run().ok
        assert social.state["refused.first"]["why"].startswith("twitter does not let this key do that: No.")
        faulty.plan(next(fault for fault in FAULTS if fault.name == "503"), times=99)
        assert not social.later(days=2).run().ok
        assert not social.later(hours=23).run().ok
        assert social.later(hours=2).run() == RunResult(True, "nothing to do")
        assert "second" not in social.state.get("pending", {}).values() and "refused.second" in social.state
    assert x.own() == []


def test_figures_go_to_the_state(social: Deployed, x: TwitterEmulator) -> None:
    social.queue({"text": "look"})
    social.run(metrics_every="6h")
    post = x.own()[0]
    post.likes.add("7")
    post.impressions = 40
    assert social.later(hours=1).run(metrics_every="6h").message == "nothing to do"
    assert social.later(hours=6).run(metrics_every="6h").message == "figures of 1 post"
    assert social.state["metrics"]["posts"][post.id]["impressions"] == 40
    assert social.state["metrics"]["totals"] == {"likes": 1, "retweets": 0, "replies": 0, "impressions": 40}


def test_a_dry_run_posts_and_answers_nothing(
    social: Deployed, x: TwitterEmulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    social.state["since"] = "1"
    x.says("ann", f"@{OWN_NAME} price of tea")
    social.queue({"text": "hello"})
    for _ in range(2):
        social.run(replies=json.dumps(RULES), dry_run="true")
    assert x.own() == [] and caplog.text.count("would post") == caplog.text.count("would answer") == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"queue": "x.pdf"}, {"zone": "Mars"}, {"hours": "9-5"}, {"slot": "soon"}, {"replies": '[{"match": "("}]'},
        {"replies": '[{"reply": "{{ nobody }}"}]'}, {"replies": "[{]"}, {"unknown": 1}, {"per_day": -1},
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused_when_it_is_declared(social: Deployed, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageProblem):
        social.run(**wrong)


def test_it_says_of_itself_what_it_needs_and_costs(home: Path) -> None:
    told = describe("social_agent", home)
    assert told["secrets"] == list(SocialAgent.secrets) and "$0.20" in told["costs"] and not told["scalable"]
    assert Rule(match="x").answer(post_of({"id": "1", "text": "y"})) is None


def test_an_answer_repeats_neither_names_nor_links_of_others() -> None:
    rule = Rule(match="buy (.+)", reply="{{ text }} / {{ found[1] }}")
    told = rule.answer(post_of({"id": "1", "text": "@nova buy at evil.example.com now, says @everybody"}))
    assert told == "nova buy at … now, says everybody / at … now, says everybody"


def test_killed_between_the_post_and_its_mark_the_real_agent_posts_once(
    home: Path, x: TwitterEmulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its outbox, its budgets and its prices, in a process that is killed for real."""
    (home / "data").mkdir()
    (home / "data" / "queue.txt").write_text("hello from the queue\n===\nand more\n")
    with Faulty(x.url) as faulty:
        x.known_as.append(faulty.url)
        keys = {"ACCESS_TOKEN": TOKEN, "API_BASE": faulty.url, **{name.upper(): one for name, one in SECRETS.items()}}
        for name, value in keys.items():
            monkeypatch.setenv(f"TWITTER_{name}", value)
        assert app.run(["deploy", "marketing", "social_agent", "--name", "social", "--set", "queue=queue.txt"]) == 0
        faulty.plan(next(fault for fault in LOST if fault.act == "hang"), method="POST")
        process = _run_in_a_process()
        deadline = time.monotonic() + 30
        while not x.own() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        assert x.texts() == ["hello from the queue"]
        assert _run_in_a_process().wait(60) == 0
        assert x.texts() == ["hello from the queue"]
    capsys.readouterr()
    app.run(["costs", "report", "--json"])
    total = json.loads(capsys.readouterr().out)["total"]
    assert total == "0.017", "the post, looking for it, and the figures of what was found"


def _run_in_a_process() -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).with_name("nova")), "workers", "run", "social"]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
