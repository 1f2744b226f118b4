"""Mail through the client: whom it reaches, what it bears, and that nobody gets it twice."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from nova.errors import UsageProblem
from nova.money import Money
from platforms.base import Declined, InDoubt, InvalidRequest, PlatformRefused, RateLimited, Unreachable
from platforms.sendgrid_integration import Address, Mail, PartlySent, Recipient, SendGrid, Sent, Skipped
from platforms.sendgrid_mail import Attachment
from tests.emulators.faults import Fault, Faulty, each_fault, each_lost_answer, hold_effect, hold_reading, seconds_for
from tests.emulators.sendgrid import SendGridEmulator
from tests.hands import Settled

from .conftest import RunHands

HELLO = Mail("Hello", text="Hi -name-", html="<p>Hi -name-</p>")


def people(count: int) -> list[Recipient]:
    return [Recipient(f"p{number}@example.com", substitutions={"-name-": f"P{number}"}) for number in range(count)]


class Died(BaseException):
    """The process ends in the middle."""


def test_a_mail_to_one_bears_who_it_is_from_and_whose_work_it_is(sendgrid: SendGrid, account: SendGridEmulator) -> None:
    mail = Mail(
        "Your order", text="Thanks", html="<p>Thanks</p>", reply_to=Address("help@shop.example"),
        categories=("orders", "orders"), args={"order": "17"}, headers={"X-Shop": "1"},
        attachments=(Attachment("bill.txt", b"9.00"),), track_clicks=False, track_opens=True,
        send_at=datetime(2026, 11, 22, tzinfo=UTC),
    )  # fmt: skip
    sent = sendgrid.send(mail, Recipient("Ann@EXAMPLE.com", "Ann"))
    (got,) = account.mails
    assert (sent.message_id, sent.accepted, sent.skipped) == (got.message_id, 1, ())
    assert (got.to, got.subject, got.sender) == ("Ann@example.com", "Your order", "news@shop.example")
    assert got.categories == ("orders",) and got.headers == {"X-Shop": "1"}
    assert (got.args["nova_worker"], got.args["nova_run"], got.args["order"]) == ("w", "r1", "17")
    assert got.args["nova_message"].endswith(".0")
    (asked,) = account.sends
    assert asked["attachments"][0]["filename"] == "bill.txt" and asked["send_at"] == 1795305600
    assert asked["tracking_settings"] == {"click_tracking": {"enable": False}, "open_tracking": {"enable": True}}


def test_a_template_is_given_the_data_of_each_recipient(sendgrid: SendGrid, account: SendGridEmulator) -> None:
    mail = Mail(template=account.add_template("Welcome"), categories=("welcome",))
    sendgrid.send(mail, [Recipient("ann@example.com", data={"name": "Ann"}), Recipient("ben@example.com")])
    assert [(one.to, one.data, one.subject) for one in account.mails] == [
        ("ann@example.com", {"name": "Ann"}, "Welcome"),
        ("ben@example.com", {}, "Welcome"),
    ]
    assert [(one.name, one.subject) for one in sendgrid.templates()] == [("about Welcome", "Welcome")]
    with pytest.raises(InvalidRequest, match="template_id"):
        sendgrid.send(Mail(template="d-none"), "ann@example.com")


def test_many_get_it_in_batches_of_a_thousand_each_alone_and_in_order(
    sendgrid: SendGrid, account: SendGridEmulator
) -> None:
    everyone = people(2100)
    sent = sendgrid.send_bulk(HELLO, [*everyone, everyone[0], Recipient("P1@example.com"), Recipient("no address")])
    assert [len(asked["personalizations"]) for asked in account.sends] == [1000, 1000, 100]
    assert account.to() == [one.email for one in everyone]
    assert (account.mails[7].text, account.mails[7].html) == ("Hi P7", "<p>Hi P7</p>")
    assert all(len(one["to"]) == 1 for one in account.sends[0]["personalizations"])
    assert sent.accepted == 2100 and sent.skipped == (Skipped("no address", "invalid"),)


def test_who_is_suppressed_is_not_written_to(sendgrid: SendGrid, account: SendGridEmulator, hands: RunHands) -> None:
    hands.blocked["p1@example.com"] = "unsubscribe"
    account.groups[1].add("p2@example.com")
    for number, reason in enumerate(("bounce", "spam", "invalid", "unsubscribe"), 3):
        account.suppress(f"p{number}@example.com", reason)
    sent = sendgrid.send(Mail("Hello", text="Hi", group=1), people(8))
    assert account.to() == ["p0@example.com", "p7@example.com"] and account.dropped == []
    assert [one.reason for one in sent.skipped] == ["unsubscribe", "group", "bounce", "spam", "invalid", "unsubscribe"]
    with pytest.raises(Declined, match=r"P1@example\.com is not to be written to: unsubscribe"):
        sendgrid.send(HELLO, "P1@example.com")
    assert len(account.mails) == 2


def test_one_click_takes_a_reader_off_the_list(sendgrid: SendGrid, account: SendGridEmulator) -> None:
    mail = Mail("Hello", text="Hi", unsubscribe_url="https://shop.example/out", unsubscribe_mailto="out@shop.example")
    sendgrid.send(mail, [Recipient("a@example.com"), Recipient("b@example.com", unsubscribe_url="https://s.example/b")])
    assert [one.headers for one in account.mails] == [
        {
            "List-Unsubscribe": f"<{url}>, <mailto:out@shop.example>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }
        for url in ("https://shop.example/out", "https://s.example/b")
    ]
    sendgrid.send(Mail("Hello", text="Hi", unsubscribe_mailto="out@shop.example"), "c@example.com")
    assert account.mails[-1].headers == {"List-Unsubscribe": "<mailto:out@shop.example>"}


def test_the_sandbox_checks_and_sends_nothing(sendgrid: SendGrid, account: SendGridEmulator) -> None:
    sent = sendgrid.send(Mail("Hello", text="Hi", sandbox=True), "ann@example.com")
    assert (sent.message_id, sent.accepted, account.mails) == (None, 1, [])
    assert len(account.checked_only) == 1


@pytest.mark.parametrize(
    ("mail", "to", "words"),
    [
        (HELLO, "ann@", "'ann@' is no email address"),
        (HELLO, "ann@bücher example", "is no email address"),
        (Mail("Hello"), "ann@example.com", "needs a subject and a text or HTML"),
        (Mail("Hel\nlo", text="Hi"), "ann@example.com", "is one line"),
        (Mail("Hello", text="Hi", unsubscribe_url="ftp://x"), "ann@example.com", "begins with https"),
        (Mail("Hello", text="Hi", categories=["c"] * 11), "ann@example.com", "at most 10 categories"),
    ],
)
def test_what_sendgrid_would_refuse_is_told_before(
    mail: Mail, to: str, words: str, sendgrid: SendGrid, account: SendGridEmulator
) -> None:
    with pytest.raises(UsageProblem, match=words):
        sendgrid.send(mail, to)
    assert account.exchanges == []


def test_without_a_sender_nothing_is_sent(account: SendGridEmulator, connect: Callable[..., SendGrid]) -> None:
    with pytest.raises(UsageProblem, match="sender"):
        connect(account.url, sender=None).send(HELLO, "ann@example.com")


def test_an_address_that_only_sendgrid_finds_wrong_stops_nobody_else(
    sendgrid: SendGrid, account: SendGridEmulator
) -> None:
    account.wrong = {"p3@example.com", "p5@example.com"}
    sent = sendgrid.send_bulk(HELLO, people(20))
    assert sent.accepted == 18 and {one.email for one in sent.skipped} == account.wrong
    assert all(one.reason == "refused" for one in sent.skipped) and len(account.mails) == 18
    with pytest.raises(InvalidRequest, match="Does not contain a valid address"):
        sendgrid.send(HELLO, "p3@example.com")


def test_a_run_that_is_made_again_mails_nobody_twice(
    sendgrid: SendGrid, account: SendGridEmulator, hands: RunHands
) -> None:
    for _ in range(2):
        sendgrid.send(HELLO, "ann@example.com")
    assert len(account.mails) == 2  # asked for twice in one run
    hands.again()
    hands.blocked["ann@example.com"] = "unsubscribe"  # in between
    assert [sendgrid.send(HELLO, "ann@example.com").accepted for _ in range(2)] == [1, 1]
    assert len(account.mails) == 2
    sendgrid.send(HELLO, "ben@example.com", key="welcome ben")
    assert sendgrid.send(Mail("Other words", text="x"), "ben@example.com", key="welcome ben").accepted == 1
    assert account.to()[2:] == ["ben@example.com"]


def test_killed_between_taking_and_marking_it_is_in_doubt_and_not_mailed_again(
    sendgrid: SendGrid, account: SendGridEmulator, hands: RunHands, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr("platforms.sendgrid_wire.json_of", die)
        with pytest.raises(Died):
            sendgrid.send_bulk(HELLO, people(30))
    hands.again()
    with pytest.raises(InDoubt):
        sendgrid.send_bulk(HELLO, people(30))
    assert len(account.mails) == 30


def test_a_batch_that_fails_stops_no_other_and_only_it_is_sent_again(
    account: SendGridEmulator, connect: Callable[..., SendGrid], hands: RunHands
) -> None:
    with Faulty(account.url) as faulty:
        client = connect(faulty.url, key=account.key)
        faulty.plan(Fault("429", Unreachable, status=429), times=2)
        with pytest.raises(PartlySent, match="1 of 3 batches were not sent: sendgrid asks to be called less") as caught:
            client.send_bulk(HELLO, people(2500))
        assert [batch and batch.accepted for batch in caught.value.sent.batches] == [None, 1000, 500]
        hands.again()
        assert client.send_bulk(HELLO, people(2500)).accepted == 2500
    assert sorted(account.to()) == sorted(one.email for one in people(2500))


def test_a_wrong_key_ends_a_mailing_at_once(account: SendGridEmulator, connect: Callable[..., SendGrid]) -> None:
    with pytest.raises(PlatformRefused, match="refused the key") as caught:
        connect(account.url, key="SG.wrong").send_bulk(HELLO, people(1500))
    assert "SG.wrong" not in f"{caught.value!r}{caught.value.hint}" and len(account.exchanges) == 1


def test_each_mail_has_its_price(account: SendGridEmulator, connect: Callable[..., SendGrid], hands: RunHands) -> None:
    client = connect(account.url, key=account.key, prices={"mail": Money.parse("0.0009", "USD")})
    client.send_bulk(HELLO, people(1200))
    assert sum(money.micros for money in hands.bill.settled) == 1200 * 900
    client.send(Mail("Hello", text="Hi", sandbox=True), "ann@example.com")
    assert len(hands.bill.settled) == 2


def test_neither_the_key_nor_a_mail_is_ever_logged(
    sendgrid: SendGrid, account: SendGridEmulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("python_http_client.client").setLevel(logging.DEBUG)
    sendgrid.send(Mail("Hello", text="a private word"), "ann@example.com")
    assert account.key not in caplog.text and "private" not in caplog.text and "ann@" not in caplog.text


@each_fault
def test_what_goes_wrong_with_a_reading(
    fault: Fault, account: SendGridEmulator, connect: Callable[..., SendGrid], hands: RunHands
) -> None:
    with Faulty(account.url, said=lambda status: {"errors": [{"message": f"no: {status}"}]}) as faulty:
        timeout_s, total_s = seconds_for(fault)
        client = connect(faulty.url, key=account.key, timeout_s=timeout_s, total_s=total_s)
        hold_reading(fault, faulty, hands, client.check)


@each_lost_answer
def test_a_mail_whose_answer_was_lost_is_not_sent_again(
    fault: Fault, account: SendGridEmulator, connect: Callable[..., SendGrid], hands: RunHands
) -> None:
    with Faulty(account.url) as faulty:
        timeout_s, total_s = seconds_for(fault)
        client = connect(faulty.url, key=account.key, timeout_s=timeout_s, total_s=total_s)

        def act() -> None:
            hands.again()
            client.send(HELLO, [*people(1), *people(12)[1:]])

        hold_effect(fault, faulty, act, lambda: len(account.sends))
    assert len(account.sends) == 1


def test_a_limit_is_waited_out_until_it_begins_anew(
    account: SendGridEmulator, connect: Callable[..., SendGrid], hands: RunHands
) -> None:
    reset = str(int(time.time()) + 20)
    with Faulty(account.url) as faulty:
        faulty.plan(Fault("429", RateLimited, status=429, headers=(("X-RateLimit-Reset", reset),)))
        assert connect(faulty.url, key=account.key).send_bulk(HELLO, people(11)).accepted == 11
    assert len(hands.slept) == 1 and 15 < hands.slept[0] < 22


@each_fault
def test_whatever_comes_back_a_mail_is_sent_once_at_most(
    fault: Fault, account: SendGridEmulator, connect: Callable[..., SendGrid], hands: RunHands
) -> None:
    with Faulty(account.url) as faulty:
        timeout_s, total_s = seconds_for(fault)
        client = connect(faulty.url, key=account.key, timeout_s=timeout_s, total_s=total_s)

        def act() -> None:
            hands.again()
            client.send(HELLO, [*people(1), *people(12)[1:]])

        hold_effect(fault, faulty, act, lambda: len(account.sends))


def test_where_no_connection_comes_about_a_mail_is_tried_again(
    connect: Callable[..., SendGrid], hands: RunHands
) -> None:
    client = connect("http://127.0.0.1:9", timeout_s=0.2)
    with pytest.raises(Unreachable, match=r"cannot be reached at http://127\.0\.0\.1:9"):
        client.send_bulk(HELLO, people(11))
    assert len(hands.slept) == 1 and hands.begun == set()


def test_a_redirect_is_not_followed_with_the_key(account: SendGridEmulator, connect: Callable[..., SendGrid]) -> None:
    away = Fault("302", InvalidRequest, status=302, headers=(("Location", f"{account.url}/v3/scopes"),))
    with Faulty(account.url) as faulty:
        faulty.plan(away)
        with pytest.raises(InvalidRequest, match="302"):
            connect(faulty.url, key=account.key).check()
    assert account.exchanges == []


def test_what_a_person_saw_sent_is_not_sent_again(account: SendGridEmulator) -> None:
    sendgrid = SendGrid(account.key, account.url, hands=Settled(), sender=Address("news@shop.example"))
    assert sendgrid.send(HELLO, people(3), key="news") == Sent(None, 3, again=True)
    assert not account.sends
