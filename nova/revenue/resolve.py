"""Whose a platform's payment is, and why. Pure.

A person's word comes first, then the claim of the worker that made the sale, then whose the payment is already, then
the tag the seller wrote on it, then what a person declared of its price, product, coupon or campaign, then the tracked
link it came through. What has none of these is nobody's, and shown as such.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nova.ledger.claims import Claim
from nova.ledger.mappings import KINDS
from nova.ledger.mappings import Mapping as Mapped
from platforms.events import Tag

CLAIM, MANUAL = "claim", "manual"  # the models of a firm word
MAPPING, LINK, FOLLOWS = "mapping", "link", "follows"
_NAME = re.compile(r"[^/\x00-\x1f\x7f-\x9f]{1,64}")


@dataclass(frozen=True, slots=True)
class Attribution:
    """`firm`: it holds also against whom the payment belonged to before."""

    worker: str | None = None
    model: str | None = None
    evidence: str | None = None
    run: str | None = None
    firm: bool = False


NOBODY = Attribution()


def resolve(claims: Iterable[Claim], owner: Attribution | None, tag: Tag | None) -> Attribution:
    """`owner` is whose the payment's entries in the ledger are."""
    said = min(claims, key=lambda one: (one.by == "claim", one.at, one.object), default=None)
    if said is not None and said.by == "claim":
        return Attribution(said.worker, CLAIM, f"claim of {said.object}", said.run, firm=True)
    if said is not None:
        return Attribution(said.worker, MANUAL, f"by {said.by}", firm=True)
    if owner is not None and owner.worker is not None:
        return owner
    name = None if tag is None else tag.worker.strip()
    if tag is None or name is None or not _NAME.fullmatch(name):
        return NOBODY
    return Attribution(name, "metadata", f"{tag.found}.nova_worker")


@dataclass(frozen=True, slots=True)
class Known:
    """What a person declared, by (source, kind, object), and whose each tracked link is, by its slug."""

    mappings: Mapping[tuple[str, str, str], Mapped]
    links: Mapping[str, str]


def by_declaration(source: str, evidence: Mapping[str, str], known: Known) -> Attribution:
    """By the mapping that says it most exactly, else by the link that the payment came through."""
    for kind in KINDS:
        found = known.mappings.get((source, kind, evidence.get(kind, "")))
        if found is not None:
            return Attribution(found.worker, MAPPING, f"{kind} {found.object}, mapped by {found.by}")
    slug = evidence.get("link", "")
    return Attribution(known.links[slug], LINK, f"link {slug}") if slug in known.links else NOBODY
