"""The worked example of docs/attribution.md, as it is printed there."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from nova.bootstrap import Nova
from nova.ledger.touches import Touch
from nova.money import Money
from nova.people import subject_of_email
from nova.revenue.attribution.hand import declare
from nova.revenue.attribution.settle import settle_due
from nova.revenue.booking import book
from nova.revenue.reports import report
from platforms.events import Figure, Kind, PlatformEvent

PAGE = Path(__file__).parents[3] / "docs" / "attribution.md"
WORKERS = ("blog", "mailer", "shop")


def printed() -> dict[str, list[str]]:
    text = PAGE.read_text().partition("## A worked example")[2]
    rows = re.findall(r"^\| `(\w+)` \| ([-\d.]+) \| ([-\d.]+) \| ([-\d.]+) \| ([-\d.]+) \|$", text, re.MULTILINE)
    return {model: amounts for model, *amounts in rows}


def booked(nova: Nova) -> list[str]:
    rows = {row["key"]: row["revenue"] for row in report(nova)["rows"]}
    return [rows.get(worker, "0.00") for worker in WORKERS]


def bring(nova: Nova, id: str, kind: Kind, figure: Figure, amount: str) -> None:
    event = PlatformEvent(
        "stripe", id, kind, figure, Money.parse(amount, "USD"), nova.clock.now(), id, "pi_1",
        evidence={"product": "prod_1"}, subjects=(subject_of_email("ann@example.com"),),
    )  # fmt: skip
    nova.ledger.apply(lambda conn: book(conn, nova.ledger.store, "stripe", [event], {}))


def test_the_worked_example_is_as_printed(nova: Nova) -> None:
    ann, now = subject_of_email("ann@example.com"), nova.clock.now()
    nova.ledger.touches.add(
        Touch("t1", ann, "blog", "click", now - timedelta(days=9)),
        Touch("t2", ann, "mailer", "mail_click", now - timedelta(days=2)),
    )
    declare(nova, "product", "prod_1", "shop", source="stripe", by="dana")
    bring(nova, "txn_1", "revenue", "gross", "50.00")
    bring(nova, "txn_2", "fee", "fees", "1.75")
    found = {}
    for model in printed():
        nova.fleet.set_policy({"attribution_model": model})
        settle_due(nova)
        amounts = booked(nova)
        found[model] = [*amounts, str(sum(map(Decimal, amounts)))]
    assert found == printed() and len(found) == 7
    nova.fleet.set_policy({"attribution_model": "position"})
    bring(nova, "txn_3", "refund", "refunds", "50.00")
    settle_due(nova)
    assert booked(nova) == ["-0.70", "-0.35", "-0.70"] and "−0.70, −0.35 and −0.70" in PAGE.read_text()
