"""nova webhooks list|add|remove|dead|show|replay: what platforms and shops send by themselves."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nova.cli import render
from nova.cli.output import Column, emit, facts, line, table
from nova.cli.params import AsJson, person
from nova.cli.session import session
from nova.cli.terminal import note, printable

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the webhook; `nova webhooks list` shows them.")]


def list_webhooks(json: AsJson = False) -> None:
    """Show the webhooks nova takes, and what has come.

    Example:
      nova webhooks list
    """
    from nova.config import variables
    from nova.webhooks.service import listed

    with session() as nova:
        rows = listed(nova, variables())
    if json:
        emit({"webhooks": rows})
        return
    heads = ("name", "address", "signed with", "waiting", "done", "dead", "last")
    columns = tuple(
        Column(head, right=head in ("waiting", "done", "dead"), wrap=head in ("address", "signed with"))
        for head in heads
    )
    table(columns, [_row(row) for row in rows])
    if any(row["dead"] for row in rows):
        note("some could not be used: nova webhooks dead")


def _row(row: dict[str, Any]) -> list[str]:
    secret = row["secret"] if row["ready"] else f"{row['secret']} is not set"
    counts = [f"{row[state]:,}" for state in ("waiting", "done", "dead")]
    return [row["name"], row["address"], secret, *counts, _time(row["last_at"])]


def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The last part of its address.")],
    secret_env: Annotated[
        str, typer.Option("--secret-env", metavar="VAR", help="The variable that holds the secret; never the secret.")
    ],
    scheme: Annotated[
        str, typer.Option("--scheme", metavar="S", help="standard (standardwebhooks.com) or hmac-sha256.")
    ] = "standard",
    header: Annotated[
        str, typer.Option("--header", metavar="H", help="hmac-sha256: the header with the signature.")
    ] = "X-Signature",
    timestamp_header: Annotated[
        str | None,
        typer.Option("--timestamp-header", metavar="H", help="hmac-sha256: TIMESTAMP.BODY is signed, not the body."),
    ] = None,
    id_path: Annotated[str, typer.Option("--id-path", metavar="P", help="Where the sale's own id stands.")] = "id",
    amount_path: Annotated[str, typer.Option("--amount-path", metavar="P", help="Where its amount stands.")] = "amount",
    minor: Annotated[bool, typer.Option("--minor", help="The amount is in cents, yen and the like.")] = False,
    currency_path: Annotated[
        str | None, typer.Option("--currency-path", metavar="P", help="Where its currency stands.")
    ] = None,
    currency: Annotated[
        str | None, typer.Option("--currency", metavar="C", help="The currency of every amount; NOVA_CURRENCY if not.")
    ] = None,
    at_path: Annotated[
        str | None, typer.Option("--at-path", metavar="P", help="Where its time stands; when it came if left out.")
    ] = None,
    worker_path: Annotated[
        str | None, typer.Option("--worker-path", metavar="P", help="Where the name of its worker stands.")
    ] = None,
    worker: Annotated[str | None, typer.Option("--worker", metavar="NAME", help="Whose every sale is.")] = None,
    kind_path: Annotated[
        str | None, typer.Option("--kind-path", metavar="P", help="Where it says what it is; else by the amount.")
    ] = None,
    email_path: Annotated[
        str | None, typer.Option("--email-path", metavar="P", help="Where the payer's address stands; kept as a hash.")
    ] = None,
    click_path: Annotated[
        str | None, typer.Option("--click-path", metavar="P", help="Where the nova_click of a tracked link stands.")
    ] = None,
    link_path: Annotated[
        str | None, typer.Option("--link-path", metavar="P", help="Where the nova_link of a tracked link stands.")
    ] = None,
    sale: Annotated[
        list[str] | None, typer.Option("--sale", metavar="KIND", help="What is a sale there; may be repeated.")
    ] = None,
    refund: Annotated[
        list[str] | None, typer.Option("--refund", metavar="KIND", help="What is a refund there; may be repeated.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Take signed webhooks of another sender, and book the sales in them.

    A path is keys joined by dots, such as data.order.id. Each id is booked once, under the source webhook:NAME. What
    is neither a sale nor a refund is kept and books nothing. The same name again takes the place of what it was.

    Example:
      nova webhooks add shop --secret-env SHOP_SECRET --amount-path data.total --currency-path data.currency
    """
    from nova.fleet.webhooks import REFUNDS, SALES, WebhookSender
    from nova.webhooks.service import add as declare

    sender = WebhookSender(
        name=name,
        secret=secret_env,
        scheme=scheme,
        header=header,
        timestamp_header=timestamp_header,
        id_path=id_path,
        amount_path=amount_path,
        currency_path=currency_path,
        currency=None if currency is None else currency.upper(),
        at_path=at_path,
        worker_path=worker_path,
        worker=worker,
        kind_path=kind_path,
        email_path=email_path,
        click_path=click_path,
        link_path=link_path,
        sales=tuple(sale or SALES),
        refunds=tuple(refund or REFUNDS),
        minor=minor,
    )
    from nova.cli.slips import tell_unknown_worker
    from nova.config import variables

    with session() as nova:
        declare(nova, sender, person(None))
        address = f"{nova.settings.nova_public_url}/webhooks/{name}"
        if worker is not None:
            tell_unknown_worker(nova, worker)
    if json:
        emit({"name": name, "address": address})
    else:
        line(f"{name}: nova serve takes it at {address}")
    if not variables().get(secret_env, "").strip():
        note(f"{secret_env} is not set yet: put it into the environment of nova serve, or into .env")


def remove(name: Name, json: AsJson = False) -> None:
    """Take a sender's webhooks no longer.

    What has come stays; what of it waits can no longer be used.

    Example:
      nova webhooks remove shop
    """
    from nova.webhooks.service import remove as drop

    with session() as nova:
        drop(nova, name, person(None))
    if json:
        emit({"name": name, "removed": True})
    else:
        line(f"{name} is taken no longer")


def dead(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Of one webhook; of all if left out.")] = None,
    json: AsJson = False,
) -> None:
    """Show the deliveries that could not be used, and why.

    Example:
      nova webhooks dead
    """
    from nova.webhooks.service import dead as gone

    with session() as nova:
        rows = gone(nova, name)
    if json:
        emit({"dead": rows})
        return
    if not rows:
        note("nothing is dead: all that came was used, or waits")
        return
    columns = tuple(Column(head, wrap=head == "why") for head in ("webhook", "id", "kind", "received", "why"))
    cells = ("webhook", "id", "kind", "received_at", "error")
    table(columns, [[_cell(row, cell) for cell in cells] for row in rows])


def _cell(row: dict[str, Any], name: str) -> str:
    return _time(row[name]) if name.endswith("_at") else str(row[name] or render.NOTHING)


def _time(told: str | None) -> str:
    from nova.clock import parse_time

    return render.NOTHING if told is None else render.when(parse_time(told))


def show(
    name: Name,
    id: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the beginning of it.")],
    json: AsJson = False,
) -> None:
    """Show one delivery, as it came.

    Example:
      nova webhooks show shop msg_2Lm9
    """
    from nova.secrecy import scrub
    from nova.webhooks.service import show as look

    with session() as nova:
        row = look(nova, name, id)
    row["body"] = scrub(row["body"])
    if json:
        emit(row)
        return
    facts((key.replace("_", " "), str(value)) for key, value in row.items() if key != "body" and value is not None)
    line()
    for text in row["body"].splitlines():
        line(printable(text))


def replay(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Of one webhook; of all if left out.")] = None,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="These, dead or done; all that are dead if left out.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Look into dead deliveries again.

    `nova serve` or the manager does so within a minute. What was booked from them before is not booked twice.

    Example:
      nova webhooks replay shop
    """
    from nova.webhooks.service import replay as again

    with session() as nova:
        rows = again(nova, name, ids or [], person(None))
    if json:
        emit({"replayed": rows})
    else:
        line(f"{render.count(len(rows), 'delivery', 'deliveries')} will be looked into again")
