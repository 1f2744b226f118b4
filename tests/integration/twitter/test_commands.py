"""`nova platforms twitter …` as a person types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nova.cli import app
from tests.emulators.faults import FAULTS, Faulty
from tests.emulators.twitter import BEARER, OWN_NAME, SECRETS, TOKEN, TwitterEmulator

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def nova(x: TwitterEmulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    keys = {"BEARER_TOKEN": BEARER, "ACCESS_TOKEN": TOKEN, "API_BASE": x.url}
    for name, value in {**keys, **{name.upper(): value for name, value in SECRETS.items()}}.items():
        monkeypatch.setenv(f"TWITTER_{name}", value)

    def run(*args: str) -> tuple[int, str, str]:
        code = app.run(["platforms", "twitter", *args])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_a_post_prints_its_address_and_a_dry_run_its_length(nova: Run, x: TwitterEmulator, tmp_path: Path) -> None:
    picture = tmp_path / "tea.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert nova("post", "日本 https://example.com/long", "--dry-run")[1].splitlines()[1].split()[:4] == [
        "28",
        "of",
        "280",
        "1",
    ]
    assert x.requests == []
    code, out, _ = nova("post", "Grüße", "--media", str(picture), "--alt", "tea")
    assert (code, out) == (0, f"https://x.com/i/status/{x.own()[0].id}\n")
    assert x.uploads[x.own()[0].media[0]].alt == "tea"
    code, _, err = nova("post", "Grüße" * 80)
    assert code == 1 and "400 characters long" in err
    code, _, err = nova("post", "one --alt too many", "--alt", "x")
    assert code == 2 and "more descriptions than media" in err


def test_a_thread_that_was_cut_goes_on(nova: Run, x: TwitterEmulator, tmp_path: Path, monkeypatch: Any) -> None:
    file = tmp_path / "thread.txt"
    file.write_text("first\nwith two lines\n---\nsecond\n\n---\n---\nthird\n", encoding="utf-8")
    listed = json.loads(nova("thread", str(file), "--dry-run", "--json")[1])
    assert [post["characters"] for post in listed["posts"]] == [20, 6, 5]
    with Faulty(x.url) as faulty:
        x.known_as.append(faulty.url)
        nova("post", "first\nwith two lines")  # as if it had been cut behind its first part
        monkeypatch.setenv("TWITTER_API_BASE", faulty.url)
        faulty.plan(next(fault for fault in FAULTS if fault.name == "503"), method="POST")
        code, _, err = nova("thread", str(file), "--resume")
        assert code == 69 and "--resume" in err
        code, out, _ = nova("thread", str(file), "--resume")
    assert code == 0 and len(out.splitlines()) == 3
    assert x.texts() == ["first\nwith two lines", "second", "third"]


def test_reading_in_tables_and_as_json(nova: Run, x: TwitterEmulator) -> None:
    first = x.says("ann", f"@{OWN_NAME} tea\x1b[31m & more")
    x.posts[first].likes.add("1")
    for args in (("search", "tea"), ("mentions",)):
        table = nova(*args)[1]
        assert "@ann" in table and "\x1b" not in table
        (post,) = json.loads(nova(*args, "--json")[1])["posts"]
        assert (post["id"], post["author"], post["metrics"]["likes"]) == (first, "ann", 1)
    assert nova("mentions", "--since", first)[1] == ""
    assert json.loads(nova("user", "@ann", "--json")[1])["users"][0]["followers"] == 7
    assert "@ann" in nova("user", "ann", OWN_NAME)[1]
    assert json.loads(nova("metrics", first, "12", "--json")[1])["posts"] == [
        {"id": first, "likes": 1, "retweets": 0, "replies": 0, "quotes": 0, "bookmarks": 0, "impressions": 0}
    ]
    limits = json.loads(nova("limits", "--json")[1])
    assert limits["usage"]["used"] == 17
    assert {one["endpoint"] for one in limits["limits"]} == {"GET /2/usage/tweets", "GET /2/users/me"}
    assert "GET /2/users/me" in nova("limits")[1]


def test_acting_on_posts(nova: Run, x: TwitterEmulator) -> None:
    hers = x.says("ann", "hers")
    for args in (("like", hers), ("retweet", f"https://x.com/ann/status/{hers}")):
        assert nova(*args)[0] == 0
    assert (len(x.posts[hers].likes), len(x.posts[hers].retweets)) == (1, 1)
    assert nova("unlike", hers)[0] == nova("unretweet", hers)[0] == 0
    nova("post", "mine")
    mine = x.own()[0].id
    code, _, err = nova("delete", mine)
    assert code == 2 and "--yes" in err
    assert nova("delete", mine, "--yes")[1] == f"{mine} is deleted\n"
    assert json.loads(nova("delete", mine, "--yes", "--json")[1]) == {"id": mine, "deleted": False}


def test_it_says_what_is_missing(nova: Run, x: TwitterEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TWITTER_ACCESS_SECRET")
    code, _, err = nova("post", "x")
    assert code == 5 and "set TWITTER_ACCESS_SECRET" in err
    monkeypatch.delenv("TWITTER_BEARER_TOKEN")
    code, _, err = nova("search", "x")
    assert code == 5 and "TWITTER_BEARER_TOKEN to read" in err
    assert x.requests == []
    monkeypatch.setenv("TWITTER_BEARER_TOKEN", "wrong-one")
    code, out, err = nova("search", "x", "--json")
    assert code == 5 and json.loads(out)["error"]["code"] == 5 and "wrong-one" not in out + err
