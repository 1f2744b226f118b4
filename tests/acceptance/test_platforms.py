"""What a person sees of the platforms: how they answer, and what nobody knows the end of."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from nova.clock import SystemClock
from nova.ledger.ledger import Ledger
from nova.ledger.limits import RunRef

from .conftest import Home

KEY = "github_pat_nevershown00"


def test_calls_of_commands_are_counted_and_one_that_fails_often_is_warned_of(nova: Home) -> None:
    nova.env |= {"GITHUB_TOKEN": KEY, "GITHUB_API_BASE": "http://127.0.0.1:9"}  # where nothing listens
    assert nova.json("platforms", "health")["platforms"] == []
    nova.run("platforms", "check", "github", code=69)
    (github,) = nova.json("platforms", "health")["platforms"]
    assert (github["platform"], github["calls"], github["errors"], github["error_rate"]) == ("github", 3, 3, 1.0)
    (hour,) = nova.json("platforms", "health", "github", "--hours", "2")["by_hour"]
    assert "cannot be reached" in hour["last_error"]
    listed = {row["name"]: row["last_24h"] for row in nova.json("platforms", "list")["platforms"]}
    assert (listed["github"]["calls"], listed["stripe"]) == (3, None)
    shown = [nova.run("platforms", *words).stdout for words in (["list"], ["health"], ["health", "github"])]
    assert all("3 (100%)" in text for text in shown)
    doctor = nova.run("doctor").stdout
    assert "3 failed" in doctor and "nova platforms health github" in doctor
    assert KEY not in "".join([*shown, doctor])
    nova.run("platforms", "health", "nosuch", code=3)


def test_a_person_settles_what_is_in_doubt(nova: Home) -> None:
    nova.deploy("poster", "true")
    ledger = Ledger.open(
        f"sqlite:///{nova.path / 'ledger.db'}", currency="USD", zone=ZoneInfo("UTC"), clock=SystemClock()
    )
    for key in ("cut", "died", "lost"):
        ledger.runs.started(RunRef(f"r-{key}", "poster", "poster#1", "research", "m"), SystemClock().now())
        taken = ledger.once.begin("poster", f"r-{key}", "twitter.post", key, {"text": "hello"})
        if key == "cut":
            ledger.once.doubt("poster", f"r-{key}", taken.topic, key, "no answer")
        ledger.runs.end(RunRef(f"r-{key}", "poster", "poster#1", "research", "m"), SystemClock().now(), "failed")
    ledger.close()
    table = nova.run("workers", "outbox", "poster").stdout
    assert "3 in doubt" in table and "no answer" in table and "platform:twitter.post" in table
    problems = nova.json("workers", "health", code=1)["problems"]
    assert "of 3 effects" in next(one["problem"] for one in problems if one["worker"] == "poster")
    nova.run("workers", "outbox", "poster", "--done", "cut", "--retry", "cut", code=2)
    (done,) = nova.json("workers", "outbox", "poster", "--done", "cut")["effects"]
    (again,) = nova.json("workers", "outbox", "poster", "--retry", "died")["effects"]
    assert (done["state"], again["state"]) == ("done", "pending")
    assert nova.json("workers", "outbox", "poster")["counts"]["doubtful"] == 1
    assert "in doubt" in nova.run("workers", "outbox", "poster", "--done", "died", code=4).stderr
    assert "effect_settled" in nova.run("audit", "log").stdout
