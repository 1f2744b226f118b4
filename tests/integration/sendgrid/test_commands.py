"""What a person does with SendGrid from the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nova.cli import app
from tests.emulators.sendgrid import SendGridEmulator

Terminal = Any


@pytest.fixture
def nova(account: SendGridEmulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """Runs a command and returns its exit code, standard output and standard error."""
    monkeypatch.setenv("SENDGRID_API_KEY", account.key)
    monkeypatch.setenv("SENDGRID_API_BASE", account.url)
    monkeypatch.setenv("SENDGRID_FROM_EMAIL", "news@shop.example")
    monkeypatch.setenv("SENDGRID_FROM_NAME", "The Shop")

    def run(*words: str) -> tuple[int, str, str]:
        code = app.run(["platforms", "sendgrid", *words])
        told = capsys.readouterr()
        assert account.key not in told.out + told.err
        return code, told.out, told.err

    return run


def test_a_mail_is_sent_from_files_and_its_figures_are_shown(
    nova: Terminal, account: SendGridEmulator, tmp_path: Path
) -> None:
    (tmp_path / "hello.txt").write_text("Hi Ännchen")
    (tmp_path / "hello.html").write_text("<p>Hi</p>")
    words = ("send", "--to", "ann@example.com", "--subject", "Hello", "--text", "hello.txt", "--html", "hello.html")
    code, out, _ = nova(*words, "--category", "news")
    assert code == 0 and out.startswith("1 accepted, message ")
    assert (account.mails[0].text, account.mails[0].html) == ("Hi Ännchen", "<p>Hi</p>")
    code, out, _ = nova(*words, "--to", "ben@example.com", "--sandbox", "--json")
    assert json.loads(out) == {"message_id": None, "accepted": 2, "skipped": []} and len(account.mails) == 1
    code, out, _ = nova("stats", "--category", "news", "--since", "2026-11-01")
    assert code == 0 and "2026-11-21  news" in out and "1" in out.splitlines()[1]
    template = account.add_template("Welcome")
    assert nova("send", "--to", "ann@example.com", "--template", template, "--data", '{"name": "Ann"}')[0] == 0
    assert account.mails[-1].data == {"name": "Ann"} and template in nova("templates")[1]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("send", "--to", "ann@", "--subject", "x", "--text", "-"), 2, "is no email address"),
        (("send", "--to", "ann@example.com"), 2, "needs a subject"),
        (("send", "--to", "ann@example.com", "--text", "none.txt"), 2, "none.txt cannot be read"),
        (("send", "--to", "ann@example.com", "--template", "d-1", "--data", "[]"), 2, "no JSON object"),
        (("stats", "--by", "year"), 2, "by day, week or month"),
        (("lists", "--delete", "none"), 3, "has no list 'none'"),
        (("suppress", "ann@example.com", "--reason", "bored"), 2, "the reasons are unsubscribe"),
    ],
)
def test_what_is_wrong_is_told_in_words(
    words: tuple[str, ...], code: int, told: str, nova: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("text"))
    found, out, err = nova(*words)
    assert (found, out) == (code, "") and told in err


def test_lists_and_contacts_are_made_shown_and_deleted(
    nova: Terminal, account: SendGridEmulator, tmp_path: Path
) -> None:
    (tmp_path / "people.csv").write_text("email,first_name,e1\nann@example.com,Ann,gold\nben@example.com,,\n")
    assert "2 contacts are being added" in nova("contacts", "--add", "people.csv", "--list", "news")[1]
    assert json.loads(nova("lists", "--json")[1])["lists"][0]["contacts"] == 2
    assert account.contacts["ann@example.com"]["custom_fields"] == {"e1": "gold"}
    assert nova("contacts")[1] == "2 contacts\n"
    assert "ann@example.com  Ann" in nova("contacts", "ann@example.com")[1]
    assert nova("contacts", "--search", "email LIKE 'be%'", "--delete", "--yes")[0] == 0
    assert list(account.contacts) == ["ann@example.com"]
    assert nova("lists", "--delete", "news")[0] == 2 and account.lists  # nobody there to say yes
    assert nova("lists", "--delete", "news", "--yes")[0] == 0 and not account.lists


def test_an_address_is_suppressed_here_and_there_and_let_go_again(nova: Terminal, account: SendGridEmulator) -> None:
    assert nova("suppress", "Ann@Example.com", "--reason", "unsubscribe", "--by", "dana")[1] == (
        "Ann@example.com is suppressed: unsubscribe\n"
    )
    assert "ann@example.com" in account.suppressed["unsubscribe"]
    told = json.loads(nova("suppressions", "ann@example.com", "--json")[1])
    assert told["nova"] == [{"reason": "unsubscribe", "source": "dana"}] and told["sendgrid"] == "unsubscribe"
    code, _, err = nova("send", "--to", "ann@example.com", "--subject", "x", "--template", account.add_template("x"))
    assert code == 4 and "not to be written to: unsubscribe" in err and account.mails == []
    assert "1 unsubscribe, 0 spam" in nova("suppressions")[1]
    assert nova("unsuppress", "ann@example.com")[0] == 0 and account.suppressed["unsubscribe"] == {}
    assert "may be written to" in nova("suppressions", "ann@example.com")[1]
    assert nova("suppress", "ben@example.com", "--local")[0] == 0 and account.suppressed["unsubscribe"] == {}


def test_without_a_key_it_is_not_configured(
    nova: Terminal, monkeypatch: pytest.MonkeyPatch, account: SendGridEmulator
) -> None:
    monkeypatch.delenv("SENDGRID_API_KEY")
    code, out, err = nova("stats")
    assert (code, out) == (5, "") and "SENDGRID_API_KEY" in err
    monkeypatch.setenv("SENDGRID_API_KEY", "SG.wrong")
    code, out, err = nova("lists", "--json")
    assert code == 5 and json.loads(out)["error"]["code"] == 5 and "SG.wrong" not in err
