"""nova revenue attribute|map|unmap|mappings|path: whose a payment is, said by hand, and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nova.cli import render
from nova.cli.output import Column, emit, line, table
from nova.cli.params import AsJson, By, SomeWorker, Worker, person
from nova.cli.session import session
from nova.cli.slips import tell_unknown_worker
from nova.cli.terminal import note as say

_ENTRY = "SOURCE/ID, or an ID that only one source has."
Kind = Annotated[str, typer.Argument(metavar="KIND", help="product, price, coupon or campaign.")]
Object = Annotated[str, typer.Argument(metavar="ID", help="Its id or code on the platform.")]
Source = Annotated[str, typer.Option("--source", metavar="S", help="The platform that sells it.")]


def attribute(
    entry: Annotated[str | None, typer.Argument(metavar="[ENTRY]", help=_ENTRY)] = None,
    worker: SomeWorker = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take back what was said of ENTRY by hand.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Divide every payment again, by the model in force.")] = False,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Say by hand which worker an entry belongs to.

    Everything that the platform reported of the same payment goes with it. Nothing is changed or removed: every word,
    and its undoing, is a new entry.

    Example:
      nova revenue attribute stripe/txn_1 mailer
    """
    from nova.errors import UsageProblem

    if again:
        if entry or worker or undo:
            raise UsageProblem("--again goes by itself", hint="it looks at every payment")
        _again(json)
    elif entry is None or (worker is None) != undo:
        raise UsageProblem(
            "name the entry, and the worker or --undo", hint="such as: nova revenue attribute stripe/txn_1 mailer"
        )
    elif worker is None:
        _undo(entry, by, json)
    else:
        _assign(entry, worker, by, json)


def _assign(entry: str, worker: str, by: str | None, json: bool) -> None:
    from nova.revenue.attribution.hand import attribute as assign

    with session() as nova:
        document = assign(nova, entry, worker, by=person(by))
        tell_unknown_worker(nova, worker)
    if json:
        emit(document)
    else:
        line(f"{_entries(document)} given to {worker}" if document["moved"] else f"{entry} was {worker}'s already")


def _undo(entry: str, by: str | None, json: bool) -> None:
    from nova.revenue.attribution.hand import take_back

    with session() as nova:
        document = take_back(nova, entry, by=person(by))
    if json:
        emit(document)
    elif document["worker"] is not None:
        line(f"taken back: {_entries(document)} given to {document['worker']}")
    else:
        line(f"taken back: {_entries(document)} divided, or nobody's; see: nova revenue path {entry}")


def _again(json: bool) -> None:
    from nova.cli.progress import spinner
    from nova.revenue.attribution.settle import settle_again

    with session() as nova, spinner("dividing"):
        done = settle_again(nova)
    if json:
        emit(done.to_json())
    else:
        line(f"{render.count(done.payments, 'payment')} looked at, {done.changed:,} changed hands")


def _entries(document: dict[str, Any]) -> str:
    return render.count(document["moved"], "entry", "entries")


def map_object(
    kind: Kind,
    object: Object,
    worker: Worker,
    source: Source = "stripe",
    by: By = None,
    json: AsJson = False,
) -> None:
    """Give all sales of a product, price, coupon or campaign to a worker.

    Those of the past, too, unless their metadata, a claim or a person says otherwise. A price comes before its product,
    a product before a coupon, a coupon before a campaign.

    Example:
      nova revenue map product prod_Q1 course-shop
    """
    from nova.revenue.attribution.hand import declare

    with session() as nova:
        document = declare(nova, kind, object, worker, source=source, by=person(by))
        tell_unknown_worker(nova, worker)
    if json:
        emit(document)
        return
    known = f"is {worker}'s" if document["new"] else f"was {worker}'s already"
    line(f"{kind} {object} of {source} {known}")
    _say_followed(document)


def unmap(kind: Kind, object: Object, source: Source = "stripe", by: By = None, json: AsJson = False) -> None:
    """Take a mapping back; what it gave goes back by new entries.

    Example:
      nova revenue unmap product prod_Q1
    """
    from nova.revenue.attribution.hand import end

    with session() as nova:
        document = end(nova, kind, object, source=source, by=person(by))
    if json:
        emit(document)
        return
    line(f"{kind} {object} of {source} is {document['worker']}'s no longer")
    _say_followed(document)


def _say_followed(document: dict[str, Any]) -> None:
    known = render.count(document["known"], "past payment")
    say(f"{known} known of it, {document['payments']:,} of them changed hands")


def mappings(
    ended: Annotated[bool, typer.Option("--ended", help="Also those that were taken back.")] = False,
    json: AsJson = False,
) -> None:
    """Show what is mapped to whom.

    Example:
      nova revenue mappings
    """
    from nova.revenue.attribution.hand import declared

    with session() as nova:
        document = declared(nova, ended=ended)
    if json:
        emit(document)
    elif document["mappings"]:
        names = ("source", "kind", "object", "worker", "by", "at", *(["until"] if ended else []))
        rows = [[row[name] or "" for name in names] for row in document["mappings"]]
        table([Column(name) for name in names], rows)
    else:
        say("nothing is mapped: nova revenue map --help")


def path(entry: Annotated[str, typer.Argument(metavar="ENTRY", help=_ENTRY)], json: AsJson = False) -> None:
    """Explain whose a payment is: evidence, touches, model and shares.

    Example:
      nova revenue path stripe/txn_1
    """
    from nova.revenue.attribution.explain import path_of

    with session() as nova:
        document = path_of(nova, entry)
    if json:
        emit(document)
    else:
        _show_path(document)


def _show_path(document: dict[str, Any]) -> None:
    direct = document["direct"]
    line(f"{document['entry']}: payment {document['payment']} of {document['at']}")
    whose = f"{direct['worker']}'s, by {direct['model']} ({direct['evidence']})" if direct["worker"] else "nobody's"
    line(f"direct evidence: {whose}{'; that holds against every model' if direct['firm'] else ''}")
    known = [f"{name} {value}" for name, value in document["evidence"].items() if name != "tag_found"]
    if known:
        line(f"known of it: {', '.join(known)}")
    if not document["customer_known"]:
        line("who paid is not known, so that no touch can be")
    if document["touches"]:
        names = ("at", "worker", "kind", "channel", "campaign", "link")
        table([Column(name) for name in names], [[row[name] or "" for name in names] for row in document["touches"]])
    elif document["customer_known"]:
        line(f"no touch in the {render.duration(document['window'])} before it")
    whole = document["model"] != "direct" and not document["divided_by"]
    line(f"model: {document['model']}{', but it goes by direct evidence' if whole else ''}")
    shares = [f"{row['worker'] or 'nobody'} {float(row['share']):.2%}" for row in document["shares"]]
    line(f"shares: {', '.join(shares)}")
    booked = [f"{row['worker'] or 'nobody'} {_amount(row)}" for row in document["booked"]]
    line(f"booked: {', '.join(booked)}{'' if document['up_to_date'] else '; it will be looked at again soon'}")


def _amount(row: dict[str, Any]) -> str:
    return render.money_text(row["amount"], row["currency"])
