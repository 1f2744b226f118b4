"""A mailing by the real binary, killed for real between SendGrid's taking a request and its being told so."""

from __future__ import annotations

import threading
from pathlib import Path

from tests.emulators.sendgrid import SendGridEmulator

from .conftest import Home, until


def test_a_mailing_that_is_killed_in_the_middle_mails_nobody_twice_and_forgets_nobody(nova: Home) -> None:
    (nova.path / "data").mkdir()
    everyone = [f"p{number}@example.com" for number in range(60)]
    (nova.path / "data" / "people.csv").write_text("\n".join(["email", *everyone]))
    go_on = threading.Event()
    with SendGridEmulator() as account:
        account.before_answer = lambda: None if len(account.sends) < 4 else (go_on.wait(20), None)[1]
        nova.env |= {
            "SENDGRID_API_KEY": account.key,
            "SENDGRID_API_BASE": account.url,
            "SENDGRID_FROM_EMAIL": "news@shop.example",
        }
        settings = ("recipients=people.csv", "subject=Hello", "text=Hi {{ email }}")
        nova.run("deploy", "marketing", "email_agent", "--name", "news", *(w for s in settings for w in ("--set", s)))
        running = nova.start("workers", "run", "news")
        until("the fourth request is taken", lambda: len(account.sends) == 4)
        running.kill()
        running.communicate()
        go_on.set()
        before = len(account.mails)
        assert 0 < before < 60
        nova.run("workers", "run", "news")
        assert sorted(account.to()) == sorted(everyone)
        doubtful = nova.json("workers", "outbox", "news")["counts"]["doubtful"]
        assert doubtful == 1 and account.key not in _all_text(nova.path)


def _all_text(home: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in (home / "logs").rglob("*") if path.is_file())
