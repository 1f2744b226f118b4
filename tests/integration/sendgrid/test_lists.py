"""Contacts, lists, exports, figures and SendGrid's own suppressions through the client."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from platforms.base import Missing, PlatformFailed
from platforms.sendgrid_contacts import Contact
from platforms.sendgrid_integration import Mail, SendGrid
from tests.emulators.sendgrid import SendGridEmulator

ANN = Contact("ann@example.com", "Ann", "Smith", {"e1": "gold"})


def test_contacts_are_added_changed_found_and_deleted_by_jobs(sendgrid: SendGrid, account: SendGridEmulator) -> None:
    contacts = sendgrid.contacts
    (job,) = contacts.upsert([ANN, Contact("Ben@example.com")])
    assert contacts.job(job) == "completed" and contacts.count() == 2
    contacts.upsert([Contact("ann@example.com", "Anna")])
    found = contacts.find(["Ann@example.com", "nobody@example.com"])
    assert (found["ann@example.com"].first_name, found["ann@example.com"].fields) == ("Anna", {"e1": "gold"})
    assert contacts.find(["nobody@example.com"]) == {}
    assert [one.email for one in contacts.search("email LIKE 'be%'")] == ["ben@example.com"]
    assert contacts.delete([found["ann@example.com"].id or ""]) and list(account.contacts) == ["ben@example.com"]
    with pytest.raises(Missing):
        contacts.job("00000000-none")


def test_many_contacts_go_in_parts(sendgrid: SendGrid, account: SendGridEmulator) -> None:
    jobs = sendgrid.contacts.upsert([Contact(f"p{number}@example.com") for number in range(5001)])
    assert len(jobs) == 2 and len(account.contacts) == 5001


def test_lists_are_made_once_read_over_pages_and_emptied(sendgrid: SendGrid, account: SendGridEmulator) -> None:
    contacts = sendgrid.contacts
    made = [contacts.create_list(name) for name in ("a", "b", "c", "b")]
    assert made[1] == made[3] and [one.name for one in contacts.lists()] == ["a", "b", "c"]
    contacts.upsert([ANN, Contact("ben@example.com")], [made[0].id])
    assert contacts.find_list("a").contacts == 2 and contacts.find_list(made[0].id).name == "a"
    contacts.remove(made[0].id, [account.contacts["ann@example.com"]["id"]])
    assert contacts.find_list("a").contacts == 1 and contacts.count() == 2
    contacts.delete_list(made[2].id)
    with pytest.raises(Missing, match="no list 'c'"):
        contacts.find_list("c")


def test_a_list_is_exported_to_a_file_as_soon_as_it_is_ready(sendgrid: SendGrid, tmp_path: Path) -> None:
    contacts = sendgrid.contacts
    list_id = contacts.create_list("news").id
    contacts.upsert([ANN, Contact("ben@example.com")], [list_id])
    contacts.upsert([Contact("other@example.com")])
    id, path = contacts.export(list_id), tmp_path / "news.jsonl"
    with pytest.raises(PlatformFailed, match="pending"):
        contacts.download(contacts.exported(id), path)
    assert not path.exists() and contacts.download(contacts.exported(id), path) == 2
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows[0] == {"e1": "gold", "email": "ann@example.com", "first_name": "Ann", "last_name": "Smith"}
    assert rows[1]["email"] == "ben@example.com" and path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.glob("news*")) == [path]


def test_figures_are_read_by_day_and_by_category(sendgrid: SendGrid) -> None:
    sendgrid.send(Mail("Hello", text="Hi", categories=("news",)), "ann@example.com")
    (day,) = sendgrid.stats(date(2026, 11, 21), date(2026, 11, 21))
    assert (day.date, day.figures["delivered"], day.figures["bounces"]) == (date(2026, 11, 21), 1, 0)
    (news,) = sendgrid.stats(date(2026, 11, 1), by="month", categories=["news"])
    assert (news.name, news.figures["requests"]) == ("news", 1)


def test_sendgrids_suppressions_are_read_added_and_removed(sendgrid: SendGrid, account: SendGridEmulator) -> None:
    for number in range(501):
        account.suppress(f"p{number}@example.com", "bounce", at=1_790_000_000 + number)
    account.suppress("ann@example.com", "spam", at=1_790_000_400)
    suppressions = sendgrid.suppressions
    assert len(list(suppressions.all())) == 502
    late = list(suppressions.all(datetime.fromtimestamp(1_790_000_400, UTC)))
    assert len(late) == 102 and {one.reason for one in late} == {"bounce", "spam"}
    suppressions.add(["Ben@example.com"])
    assert suppressions.of("ben@example.com") == "unsubscribe" and suppressions.of("new@example.com") is None
    suppressions.remove("ben@example.com")
    assert suppressions.of("ben@example.com") is None
    suppressions.add(["ben@example.com"], group=1)
    assert [(one.id, one.unsubscribed) for one in suppressions.groups()] == [(1, 1)]
    assert suppressions.in_group(1, ["Ben@example.com", "ann@example.com"]) == {"ben@example.com"}
    suppressions.remove("ben@example.com", group=1)
    assert suppressions.in_group(1, ["ben@example.com"]) == set()


def test_the_key_is_checked_by_what_it_may_do(sendgrid: SendGrid) -> None:
    assert sendgrid.check() == "answers; the key may send mail"


def test_events_are_signed_as_sendgrid_signs_them(sendgrid: SendGrid, account: SendGridEmulator) -> None:
    from sendgrid.helpers.eventwebhook import EventWebhook

    from tests.emulators.sendgrid import Events, event_of

    sendgrid.send(Mail("Hello", text="Hi"), "ann@example.com")
    events = Events()
    body, headers = events.signed([event_of(account.mails[0], "delivered")], at=1_790_000_000)
    (said,) = json.loads(body)
    assert (said["email"], said["event"], said["nova_worker"]) == ("ann@example.com", "delivered", "w")
    signed, stamp = (headers[f"X-Twilio-Email-Event-Webhook-{name}"] for name in ("Signature", "Timestamp"))
    hook = EventWebhook(events.public_key)
    assert hook.verify_signature(body.decode(), signed, stamp) and stamp == "1790000000"
    assert not hook.verify_signature(body.decode().replace("ann", "ben"), signed, stamp)
