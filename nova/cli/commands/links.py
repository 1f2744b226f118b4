"""nova revenue links: tracked links and who followed them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nova.cli import render
from nova.cli.complete import worker_names
from nova.cli.output import Column, emit, table
from nova.cli.params import AsJson
from nova.cli.session import session
from nova.cli.terminal import note


def links(
    worker: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Of this deployment; of all if left out.", autocompletion=worker_names),
    ] = None,
    json: AsJson = False,
) -> None:
    """Show the tracked links and how often they were followed.

    Workers make them with ctx.link; `nova serve` leads on who follows them.

    Example:
      nova revenue links mailer
    """
    from nova.clock import iso

    with session() as nova:
        base = nova.settings.nova_public_url
        found = nova.ledger.links.all(worker)
    rows: list[dict[str, Any]] = [
        {
            "link": f"{base}/l/{one.link.slug}",
            "worker": one.link.worker,
            "url": one.link.url,
            "channel": one.link.channel,
            "campaign": one.link.campaign,
            "content": one.link.content,
            "at": iso(one.link.at),
            "clicks": one.clicks,
            "last_at": None if one.last_at is None else iso(one.last_at),
        }
        for one in found
    ]
    if json:
        emit({"links": rows})
        return
    if not rows:
        note("no link is tracked yet: a worker makes one with ctx.link(url)")
        return
    keys = ("link", "worker", "url", "channel", "campaign", "clicks")
    columns = (*(Column(key, right=key == "clicks") for key in keys), Column("last"))
    lasts = [render.when(one.last_at) for one in found]
    cells = [[str(render.NOTHING if row[key] is None else row[key]) for key in keys] for row in rows]
    table(columns, [[*row, last] for row, last in zip(cells, lasts, strict=True)])
