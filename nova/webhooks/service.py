"""What a person does with webhooks: declares senders, looks at what came, and has it looked into again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from nova.clock import iso
from nova.errors import NotFound, UsageProblem
from nova.fleet.webhooks import WebhookSender
from nova.ledger.deliveries import Delivery
from nova.webhooks.endpoints import GUMROAD, VENDORS

if TYPE_CHECKING:
    from nova.webhooks.office import Office

_STATES = ("waiting", "done", "dead")
_MOST_NAMED = 100


def add(nova: Office, sender: WebhookSender, by: str) -> bool:
    """Whether that changed anything. Raises UsageProblem."""
    changed = nova.fleet.add_webhook(sender)
    if changed:
        nova.ledger.audit.append(by, "webhook_added", sender.name, sender.to_document())
    return changed


def remove(nova: Office, name: str, by: str) -> None:
    """Raises NotFound."""
    nova.fleet.remove_webhook(name)
    nova.ledger.audit.append(by, "webhook_removed", name)


def listed(nova: Office, variables: Mapping[str, str]) -> list[dict[str, Any]]:
    """Every sender, those of the platforms first. `ready`: its variable is set."""
    base = nova.settings.nova_public_url
    known = [
        (name, f"{base}/webhooks/{name}" + ("/SECRET" if name == GUMROAD else ""), variable, name)
        for name, variable in VENDORS.items()
    ]
    senders = nova.fleet.snapshot().webhooks
    known += [(one.name, f"{base}/webhooks/{one.name}", one.secret, one.scheme) for one in senders]
    counts = {(one.endpoint, one.state): one for one in nova.ledger.deliveries.counts()}
    rows = []
    for name, address, variable, scheme in known:
        mine = [counts[name, state] for state in _STATES if (name, state) in counts]
        rows.append(
            {
                "name": name,
                "address": address,
                "scheme": scheme,
                "secret": variable,
                "ready": bool(variables.get(variable, "").strip()),
                **{state: counts[name, state].deliveries if (name, state) in counts else 0 for state in _STATES},
                "last_at": iso(max(one.last_at for one in mine)) if mine else None,
            }
        )
    return rows


def dead(nova: Office, endpoint: str | None = None, most: int | None = None) -> list[dict[str, Any]]:
    """Newest first, without what was sent."""
    return [_row(one) for one in nova.ledger.deliveries.in_state("dead", endpoint, most)]


def show(nova: Office, endpoint: str, id: str) -> dict[str, Any]:
    """With what was sent. Raises NotFound."""
    one = nova.ledger.deliveries.find(endpoint, id)
    return {**_row(one), "body": one.body.decode("utf-8", "backslashreplace")}


def replay(nova: Office, endpoint: str | None, ids: Sequence[str], by: str) -> list[dict[str, Any]]:
    """Those of the endpoint with these ids, or all that are dead, of it or of every one. Raises NotFound."""
    if ids and endpoint is None:
        raise UsageProblem("an id needs the name of its webhook")
    found = nova.ledger.deliveries
    if ids:
        chosen = [found.find(str(endpoint), id) for id in ids]
    else:
        chosen = found.in_state("dead", endpoint)
        if not chosen and endpoint is not None and endpoint not in _names(nova):
            raise NotFound(f"no webhook is called {endpoint!r}", hint="nova webhooks list shows them")
    found.replay(chosen)
    for name, several in groupby(sorted(chosen, key=lambda one: one.endpoint), lambda one: one.endpoint):
        replayed = [one.id for one in several]
        nova.ledger.audit.append(
            by, "webhook_replayed", name, {"deliveries": len(replayed), "ids": replayed[:_MOST_NAMED]}
        )
    return [_row(one) for one in chosen]


def _names(nova: Office) -> set[str]:
    return {*VENDORS, *(one.name for one in nova.fleet.snapshot().webhooks)}


def _row(one: Delivery) -> dict[str, Any]:
    return {
        "webhook": one.endpoint,
        "id": one.id,
        "kind": one.kind,
        "received_at": iso(one.received_at),
        "state": one.state,
        "attempts": one.attempts,
        "due_at": iso(one.due_at) if one.state == "waiting" else None,
        "done_at": None if one.done_at is None else iso(one.done_at),
        "error": one.error,
    }
