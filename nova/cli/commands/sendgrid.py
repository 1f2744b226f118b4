"""nova platforms sendgrid …: mail, figures, lists, contacts and suppressions, by hand."""

from __future__ import annotations

import json as json_text
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli import render
from nova.cli.output import Column, emit, facts, line, table
from nova.cli.params import AsJson, By, Since, Until, Yes, instant, person
from nova.cli.session import noted, session
from nova.cli.terminal import confirm, note

if TYPE_CHECKING:
    from nova.bootstrap import Nova
    from platforms.sendgrid_contacts import Contact
    from platforms.sendgrid_integration import SendGrid, Sent

_DAYS = 7
_SHOWN = ("requests", "delivered", "unique_opens", "unique_clicks", "bounces", "spam_reports", "unsubscribes")
Address = Annotated[str, typer.Argument(metavar="ADDRESS", help="An email address.")]
Reason = Annotated[str, typer.Option("--reason", metavar="WHY", help="unsubscribe, bounce, spam, invalid or manual.")]


def send(
    to: Annotated[list[str], typer.Option("--to", metavar="ADDRESS", help="Who gets it; may be given again.")],
    subject: Annotated[str, typer.Option("--subject", metavar="TEXT", help="What stands above it.")] = "",
    text: Annotated[Path | None, typer.Option("--text", metavar="FILE", help="Its text; - reads stdin.")] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Its HTML.")] = None,
    template: Annotated[
        str | None, typer.Option("--template", metavar="ID", help="A dynamic template of SendGrid's.")
    ] = None,
    data: Annotated[str, typer.Option("--data", metavar="JSON", help="What the template is given.")] = "{}",
    category: Annotated[
        list[str] | None, typer.Option("--category", metavar="NAME", help="To find it in the figures; may be repeated.")
    ] = None,
    group: Annotated[
        int | None, typer.Option("--group", metavar="ID", help="An unsubscribe group of SendGrid's.")
    ] = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="SendGrid checks it and sends nothing.")] = False,
    json: AsJson = False,
) -> None:
    """Send a mail now, to each recipient alone.

    Who is suppressed, here or at SendGrid, is not written to. The sender is SENDGRID_FROM_EMAIL.

    Example:
      nova platforms sendgrid send --to ann@example.com --subject Hello --text hello.txt
    """
    from platforms.sendgrid_mail import Mail, Recipient

    values = _object(data)
    mail = Mail(
        subject, _content(text), _content(html), template, categories=category or (), group=group, sandbox=sandbox
    )
    with _account() as (_, sendgrid):
        people = [Recipient(one, data=values) for one in to]
        sent = sendgrid.send(mail, people if len(people) > 1 else people[0])
    if json:
        emit(_sent(sent))
        return
    checked = " in the sandbox: nothing was sent" if sandbox else ""
    line(f"{sent.accepted} accepted{checked}" + (f", message {sent.message_id}" if sent.message_id else ""))
    for one in sent.skipped:
        line(f"not to {one.email}: {one.reason}")


def stats(
    since: Since = None,
    until: Until = None,
    by: Annotated[str, typer.Option("--by", metavar="SPAN", help="day, week or month.")] = "day",
    category: Annotated[
        list[str] | None, typer.Option("--category", metavar="NAME", help="Of this category; may be repeated.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Show what became of the mails: delivered, opened, clicked, bounced.

    Example:
      nova platforms sendgrid stats --since 2026-11-01 --by week
    """
    from nova.errors import UsageProblem

    if by not in ("day", "week", "month"):
        raise UsageProblem(f"figures are by day, week or month, not by {by!r}")
    with _account() as (nova, sendgrid):
        first, last = instant(since), instant(until)
        begin = first.date() if first else (nova.clock.now() - timedelta(days=_DAYS)).date()
        found = sendgrid.stats(begin, last.date() if last else None, by=by, categories=category or ())
    if json:
        emit({"stats": [{"date": one.date, "category": one.name, **one.figures} for one in found]})
        return
    columns = (Column("from"), Column("category"), *(Column(name.replace("_", " "), right=True) for name in _SHOWN))
    rows = [
        (str(one.date), one.name or render.NOTHING, *(f"{one.figures[name]:,}" for name in _SHOWN)) for one in found
    ]
    table(columns, rows)


def templates(json: AsJson = False) -> None:
    """Show the dynamic templates.

    Example:
      nova platforms sendgrid templates
    """
    with _account() as (_, sendgrid):
        found = sendgrid.templates()
    if json:
        emit({"templates": found})
        return
    table(
        (Column("id", whole=True), Column("name"), Column("subject", wrap=True)),
        [(t.id, t.name, t.subject or "") for t in found],
    )


def lists(
    create: Annotated[str | None, typer.Option("--create", metavar="NAME", help="Make a list of this name.")] = None,
    delete: Annotated[
        str | None, typer.Option("--delete", metavar="LIST", help="Remove this one; its contacts stay.")
    ] = None,
    yes: Yes = False,
    json: AsJson = False,
) -> None:
    """Show the contact lists, make one or remove one.

    Example:
      nova platforms sendgrid lists --create newsletter
    """
    with _account() as (_, sendgrid):
        if create is not None:
            sendgrid.contacts.create_list(create)
        if delete is not None:
            found = sendgrid.contacts.find_list(delete)
            confirm(f"remove the list {found.name} with {found.contacts} contacts?", yes=yes)
            sendgrid.contacts.delete_list(found.id)
        known = sendgrid.contacts.lists()
    if json:
        emit({"lists": known})
        return
    columns = (Column("list", wrap=True), Column("contacts", right=True), Column("id", whole=True))
    table(columns, [(one.name, f"{one.contacts:,}", one.id) for one in known])


def contacts(
    emails: Annotated[list[str] | None, typer.Argument(metavar="[ADDRESS]…", help="Only these.")] = None,
    search: Annotated[
        str | None, typer.Option("--search", metavar="QUERY", help="As SendGrid has it: email LIKE 'ann%'.")
    ] = None,
    add: Annotated[
        Path | None,
        typer.Option("--add", metavar="FILE", help="Add those of a CSV file with a column email."),
    ] = None,
    to_list: Annotated[str | None, typer.Option("--list", metavar="LIST", help="With --add: put them on it.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete those named or found, from everywhere.")] = False,
    yes: Yes = False,
    json: AsJson = False,
) -> None:
    """Show, add or delete contacts.

    A change is a job at SendGrid, which takes it some moments. Columns first_name and last_name are known to it; others
    are its custom fields, by their ids.

    Example:
      nova platforms sendgrid contacts --add people.csv --list newsletter
    """
    with _account() as (_, sendgrid):
        if add is not None:
            _add(sendgrid, add, to_list, json)
            return
        found = _found(sendgrid, emails or [], search)
        count = sendgrid.contacts.count() if not emails and search is None else None
        if delete and found:
            confirm(f"delete {len(found)} contacts from SendGrid?", yes=yes)
            sendgrid.contacts.delete([one.id for one in found if one.id])
    if json:
        emit({"count": count, "contacts": found, "deleted": delete})
    elif count is not None:
        line(f"{count:,} contacts")
        note("name an address, or search: nova platforms sendgrid contacts --search \"email LIKE 'ann%'\"")
    else:
        columns = (Column("address"), Column("first name"), Column("last name"), Column("lists", right=True))
        table(columns, [(c.email, c.first_name or "", c.last_name or "", str(len(c.lists))) for c in found])
        if delete:
            note("they are being deleted")


def suppressions(
    address: Annotated[str | None, typer.Argument(metavar="[ADDRESS]", help="Why nobody writes to it.")] = None,
    since: Since = None,
    json: AsJson = False,
) -> None:
    """Show who is not written to: nova's own list, and SendGrid's.

    nova keeps hashes alone: it can say of an address whether it is there, and count. SendGrid's are those since a time,
    the last seven days if left out.

    Example:
      nova platforms sendgrid suppressions ann@example.com
    """
    from nova.people import subject_of_email

    with _account() as (nova, sendgrid):
        if address is not None:
            own = nova.ledger.suppressions.why(subject_of_email(address))
            _show_why(address, [(one.reason, one.source) for one in own], sendgrid.suppressions.of(address), json)
            return
        counts = nova.ledger.suppressions.counts()
        first = instant(since) or nova.clock.now() - timedelta(days=_DAYS)
        found = list(sendgrid.suppressions.all(first))
    if json:
        emit({"counts": counts, "sendgrid": found})
        return
    line(", ".join(f"{count:,} {reason}" for reason, count in counts.items()))
    columns = (Column("at SendGrid"), Column("why"), Column("since"), Column("note", wrap=True))
    table(columns, [(one.email, one.reason, f"{one.at:%Y-%m-%d}", one.note or "") for one in found])


def suppress(
    address: Address,
    reason: Reason = "manual",
    local: Annotated[bool, typer.Option("--local", help="In nova alone, not at SendGrid.")] = False,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Let nobody write to an address any more, here and at SendGrid.

    Example:
      nova platforms sendgrid suppress ann@example.com
    """
    from nova.people import subject_of_email
    from platforms.sendgrid_mail import checked_email

    email = checked_email(address)
    subject = subject_of_email(email)
    with session() as nova:
        new = nova.ledger.suppressions.add([subject], reason, person(by)) > 0
        noted(nova, by, "suppressed", subject, {"reason": reason})
        if not local:
            nova.platforms.sendgrid.suppressions.add([email])
    if json:
        emit({"address": email, "reason": reason, "new": new, "sendgrid": not local})
    else:
        line(f"{email} is {'' if new else 'already '}suppressed: {reason}")


def unsuppress(address: Address, by: By = None, json: AsJson = False) -> None:
    """Write to an address again, because its owner wishes so.

    Example:
      nova platforms sendgrid unsuppress ann@example.com
    """
    from contextlib import suppress as ignore

    from nova.people import subject_of_email
    from platforms.base import Missing
    from platforms.sendgrid_mail import checked_email

    email = checked_email(address)
    subject = subject_of_email(email)
    with _account() as (nova, sendgrid):
        with ignore(Missing):  # it is not on SendGrid's list
            sendgrid.suppressions.remove(email)
        reasons = nova.ledger.suppressions.remove(subject)
        noted(nova, by, "unsuppressed", subject, {"reasons": reasons})
        left = sendgrid.suppressions.of(email)
    if json:
        emit({"address": email, "removed": reasons, "sendgrid": left})
    else:
        line(f"{email} may be written to again")
        if left:
            note(f"SendGrid still keeps it as {left}: its own page can remove that")


@contextmanager
def _account() -> Iterator[tuple[Nova, SendGrid]]:
    with session() as nova:
        yield nova, nova.platforms.sendgrid


def _sent(sent: Sent) -> dict[str, Any]:
    return {"message_id": sent.message_id, "accepted": sent.accepted, "skipped": sent.skipped}


def _object(text: str) -> dict[str, Any]:
    from nova.errors import UsageProblem

    try:
        found = json_text.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UsageProblem("--data is no JSON object", hint="""--data '{"name": "Ann"}'""")
    return found


def _content(path: Path | None) -> str | None:
    import sys

    from nova.errors import UsageProblem

    if path is None:
        return None
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageProblem(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageProblem(f"{path} is not UTF-8 text") from None


def _found(sendgrid: SendGrid, emails: list[str], search: str | None) -> list[Contact]:
    found = list(sendgrid.contacts.find(emails).values()) if emails else []
    return [*found, *(sendgrid.contacts.search(search) if search is not None else ())]


def _add(sendgrid: SendGrid, path: Path, to_list: str | None, json: bool) -> None:
    from platforms.sendgrid_contacts import Contact
    from platforms.sendgrid_mail import checked_email
    from workers.agents.email_recipients import rows

    made = []
    for row in rows(path, "email"):
        more = {
            name: value for name, value in row.items() if name not in ("email", "first_name", "last_name") and value
        }
        made.append(Contact(checked_email(row["email"]), row.get("first_name"), row.get("last_name"), more))
    on = [sendgrid.contacts.create_list(to_list).id] if to_list is not None else []
    jobs = sendgrid.contacts.upsert(made, on)
    if json:
        emit({"contacts": len(made), "jobs": jobs})
    else:
        line(f"{len(made):,} contacts are being added or changed")


def _show_why(address: str, own: list[tuple[str, str]], theirs: str | None, json: bool) -> None:
    if json:
        told = [{"reason": reason, "source": source} for reason, source in own]
        emit({"address": address, "nova": told, "sendgrid": theirs})
        return
    here = ", ".join(f"{reason} (by {source})" for reason, source in own)
    facts([("address", address), ("nova", here or "may be written to"), ("SendGrid", theirs or "may be written to")])
