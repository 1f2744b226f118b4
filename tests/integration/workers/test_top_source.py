"""What `nova top` gathers and does, over a real fleet and ledger."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from nova.bootstrap import Nova, build
from nova.cli.top.source import Acts, Source
from nova.cli.top.texts import details
from nova.config import load_settings
from nova.errors import NotFound, NovaError, Refused
from nova.money import Money
from nova.revenue.record import record_cost, record_revenue
from workers.deployments import declare

USD = "USD"


@pytest.fixture
def nova(home: Path) -> Iterator[Nova]:
    found = build(load_settings())
    config = {"command": "true", "env": {"API_TOKEN": "tok-secret"}}
    declare(found, department="sales", agent="shell", name="mailer", budget=["5/day"], config=config, by="dana")
    declare(found, department="ops", agent="shell", name="quiet", config={"command": "true"}, by="dana")
    found.fleet.set_budget("department:sales", "day", Money.of(Decimal(20), USD))
    yield found
    found.close()


def test_a_look_has_the_fleet_its_money_and_its_budgets(nova: Nova) -> None:
    record_cost(nova, "mailer", "1.50")
    record_revenue(nova, "mailer", "9.00")
    found = Source(nova).look()
    assert [row["name"] for row in found.document["workers"]] == ["mailer", "quiet"]
    assert str(found.spent["mailer"]) == "1.50"
    assert found.counts()["mailer"].earned == 9_000_000
    assert (str(found.spent_today), str(found.earned_today)) == ("1.50", "9.00")
    assert [(one.scope, one.per) for one in found.budgets] == [("fleet", "day"), ("department:sales", "day")]
    assert found.budgets[1].used == pytest.approx(0.075)
    assert list(found.waiting) == []
    assert not found.autonomous


def test_details_say_all_but_secrets(nova: Nova) -> None:
    source = Source(nova)
    look = source.look()
    worker = look.document["workers"][0]
    lines = ["".join(text for text, _ in line) for line in
             details(source.details("mailer"), worker, look.at, ZoneInfo("UTC"), 80)]  # fmt: skip
    page = "\n".join(lines)
    assert "mailer  shell in sales, thread" in page
    assert "every 1m" in page
    assert "of $5.00" in page
    assert "tok-secret" not in page
    with pytest.raises(NotFound):
        source.details("nobody")


def test_acts_are_those_of_the_commands_in_the_persons_name(nova: Nova) -> None:
    acts = Acts(nova, "dana")
    assert acts.pause("mailer") == "mailer: paused (operator)"
    assert acts.resume("mailer") == "mailer: active"
    assert acts.scale("mailer", 1) == "mailer: 2 replicas of at most 10"
    assert acts.scale("mailer", -1) == "mailer: 1 replica of at most 10"
    with pytest.raises(NovaError):
        acts.scale("mailer", -1)
    with pytest.raises(NotFound):
        acts.approve("d-nothing")
    nova.fleet.kill("quiet")
    with pytest.raises(Refused):
        acts.pause("quiet")
    rows = nova.ledger.audit.log(limit=4)
    assert [(row.actor, row.action) for row in rows] == [
        ("dana", "paused"),
        ("dana", "resumed"),
        ("dana", "scaled"),
        ("dana", "scaled"),
    ]
