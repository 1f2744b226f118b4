"""A payment goes to whom it belongs by all that is known of it, whatever came first; nobody gains or loses a cent."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from nova.bootstrap import Nova
from nova.clock import ManualClock
from nova.errors import NotFound, UsageProblem
from nova.ledger import credits
from nova.ledger.touches import Touch
from nova.money import Money
from nova.people import subject_of_email
from nova.revenue.attribution import settle
from nova.revenue.attribution.explain import path_of
from nova.revenue.attribution.hand import attribute, declare, declared, end, take_back
from nova.revenue.attribution.settle import settle_again, settle_due
from nova.revenue.reports import report
from nova.revenue.sync import sync
from platforms.events import Balance, EventPage, EventReader, PlatformEvent, Tag

ANN = subject_of_email("ann@example.com")
Figures = Callable[[Nova], dict[str, Any]]


class Told:
    """A platform that tells these events, in pages of any size."""

    name = "stripe"

    def __init__(self, events: list[PlatformEvent], size: int = 100) -> None:
        self.events, self.size = events, size

    def reader(self) -> EventReader:
        return self

    def pages(self, since: datetime | None = None, *, after: str | None = None) -> Iterator[EventPage]:
        for start in range(0, len(self.events), self.size):
            part = tuple(self.events[start : start + self.size])
            last = start + self.size >= len(self.events)
            yield EventPage(part, len(part), 0, (), None if last else "more")

    def tag(self, event: PlatformEvent) -> Tag | None:
        return event.tag

    def payment_of(self, object: str) -> str | None:
        return object

    def balance(self) -> Balance:
        raise NotImplementedError

    def check(self) -> str:
        return "answers"

    def close(self) -> None:
        """Nothing is open."""


class Shop:
    """What was sold, by whom it was bought, and what happened since."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.told = clock, 0

    def event(self, kind: str, object: str, amount: str, **more: Any) -> PlatformEvent:
        self.told += 1
        figure = {"revenue": "gross", "fee": "fees", "refund": "refunds"}[kind]
        id = f"txn_{self.told}"
        fields = {"at": self.clock.now(), "object": object, "objects": (object,), "transaction": id, **more}
        return PlatformEvent("stripe", id, kind, figure, Money.parse(amount, "USD"), **fields)  # type: ignore[arg-type]

    def sale(
        self, object: str = "pi_1", amount: str = "100.00", subject: str | None = ANN, **evidence: str
    ) -> list[PlatformEvent]:
        subjects = () if subject is None else (subject,)
        tag = Tag(evidence.pop("tag"), "charge.metadata") if "tag" in evidence else None
        sold = self.event("revenue", object, amount, subjects=subjects, evidence=evidence, tag=tag)
        return [sold, self.event("fee", object, "3.20", tag=tag)]


@pytest.fixture
def shop(clock: ManualClock) -> Shop:
    return Shop(clock)


@pytest.fixture
def bring(nova: Nova) -> Callable[..., dict[str, Any]]:
    return lambda *events: sync(nova, clients={"stripe": Told([*events])})


def touch(nova: Nova, id: str, worker: str, days: float, subject: str = ANN, **more: Any) -> Touch:
    return Touch(id, subject, worker, more.pop("kind", "click"), nova.clock.now() - timedelta(days), **more)


def use(nova: Nova, model: str) -> None:
    nova.fleet.set_policy({"attribution_model": model})


def by_worker(nova: Nova) -> dict[str, str]:
    found = report(nova)
    rows = {row["key"]: row["revenue"] for row in found["rows"] if Decimal(row["revenue"])}
    rest = found["unattributed"]["revenue"]
    return {**rows, **({"": rest} if Decimal(rest) else {})}


def test_by_default_direct_evidence_decides_and_touches_do_not(nova: Nova, shop: Shop, bring: Any) -> None:
    nova.ledger.touches.add(touch(nova, "t1", "blog", 1))
    bring(*shop.sale("pi_1", tag="mailer"), *shop.sale("pi_2"))
    assert by_worker(nova) == {"mailer": "96.80", "": "96.80"}
    assert nova.ledger.credits.stale_count() == 0


def test_a_payment_of_which_nothing_is_known_has_no_row(nova: Nova, shop: Shop, bring: Any) -> None:
    bring(*shop.sale("pi_1", subject=None, tag="mailer"), *shop.sale("pi_2", product="prod_1"))
    assert nova.ledger.credits.get("stripe", "pi_1") is None
    found = nova.ledger.credits.get("stripe", "pi_2")
    assert found is not None and found.evidence == {"product": "prod_1"} and found.subject == ANN


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("first_touch", {"blog": "96.80"}),
        ("last_touch", {"mailer": "96.80"}),
        ("linear", {"ads": "32.27", "blog": "32.26", "mailer": "32.27"}),
        ("position", {"ads": "19.36", "blog": "38.72", "mailer": "38.72"}),
        ("time_decay", {"ads": "28.67", "blog": "4.82", "mailer": "63.31"}),
        ("markov", {"ads": "32.27", "blog": "32.26", "mailer": "32.27"}),
    ],
)
def test_each_model_divides_the_payment_with_its_fees(
    nova: Nova, shop: Shop, bring: Any, model: str, expected: Mapping[str, str]
) -> None:
    use(nova, model)
    nova.ledger.touches.add(
        touch(nova, "t1", "blog", 26),
        touch(nova, "t2", "ads", 8),
        touch(nova, "old", "forgotten", 31),
        touch(nova, "open", "opener", 1, kind="mail_open"),
    )
    bring(*shop.sale(tag="mailer"))
    assert by_worker(nova) == expected
    assert nova.ledger.verify().ok and settle_again(nova).changed == 0


@pytest.mark.parametrize("pieces", [("100.00",), ("33.33", "33.33", "33.34"), ("0.01", "99.99")])
def test_a_full_refund_leaves_nobody_with_a_cent(
    nova: Nova, shop: Shop, clock: ManualClock, bring: Any, pieces: tuple[str, ...]
) -> None:
    use(nova, "linear")
    nova.ledger.touches.add(*(touch(nova, f"t{n}", f"w{n}", n + 1) for n in range(7)))
    sold = shop.event("revenue", "pi_1", "100.00", subjects=(ANN,))
    bring(sold)
    assert len(by_worker(nova)) == 7
    for piece in pieces:
        clock.advance(3600)
        bring(shop.event("refund", "pi_1", piece))
    assert by_worker(nova) == {} and report(nova)["total"]["revenue"] == "0.00"
    assert nova.ledger.verify().ok


def test_a_model_changed_back_and_forth_ends_where_it_began(
    nova: Nova, shop: Shop, bring: Any, figures: Figures
) -> None:
    nova.ledger.touches.add(touch(nova, "t1", "blog", 2), touch(nova, "t2", "ads", 1))
    bring(*shop.sale("pi_1", tag="mailer"), *shop.sale("pi_2"))

    def money() -> dict[str, Any]:
        found = figures(nova)
        return {by: {row["key"]: row["revenue"] for row in found[by]["rows"]} for by in ("worker", "day")}

    before = by_worker(nova)
    days = money()["day"]
    for model in ("linear", "position", "first_touch", "markov"):
        use(nova, model)
        assert settle_due(nova).payments == 2
        assert "blog" in by_worker(nova) and money()["day"] == days
    use(nova, "direct")
    settle_due(nova)
    assert by_worker(nova) == before and money()["day"] == days
    assert settle_due(nova).payments == 0 and nova.ledger.verify().ok


def test_firm_words_stay_whole(nova: Nova, shop: Shop, bring: Any) -> None:
    use(nova, "linear")
    nova.ledger.touches.add(touch(nova, "t1", "blog", 2))
    nova.ledger.claims.claim("stripe", "pi_1", "claimer", "run-1")
    bring(*shop.sale("pi_1", tag="mailer"), *shop.sale("pi_2", tag="mailer"))
    assert by_worker(nova) == {"claimer": "96.80", "mailer": "48.40", "blog": "48.40"}
    attribute(nova, "stripe/txn_3", "chosen", by="dana")
    settle_again(nova)
    assert by_worker(nova) == {"claimer": "96.80", "chosen": "96.80"}
    assert path_of(nova, "stripe/txn_1")["direct"]["firm"]


def test_a_claim_made_after_a_division_gathers_it(nova: Nova, shop: Shop, clock: ManualClock, bring: Any) -> None:
    use(nova, "linear")
    nova.ledger.touches.add(touch(nova, "t1", "blog", 2), touch(nova, "t2", "claimer", 1))
    bring(*shop.sale(tag="mailer"))
    clock.advance(60)
    nova.ledger.claims.claim("stripe", "pi_1", "claimer")
    bring()
    assert by_worker(nova) == {"claimer": "96.80"} and nova.ledger.verify().ok


def test_what_a_person_said_can_be_taken_back(nova: Nova, shop: Shop, bring: Any) -> None:
    nova.ledger.claims.claim("stripe", "pi_3", "claimer")
    bring(*shop.sale("pi_1", tag="mailer"), *shop.sale("pi_2"), *shop.sale("pi_3"))
    before = by_worker(nova)
    for n in (1, 3, 5):
        attribute(nova, f"stripe/txn_{n}", "chosen", by="dana")
    bring(shop.event("refund", "pi_1", "10.00"))
    assert by_worker(nova) == {"chosen": "280.40"}
    assert take_back(nova, "stripe/txn_1", by="dana") == {"entry": "stripe/txn_1", "worker": "mailer", "moved": 3}
    assert take_back(nova, "stripe/txn_3", by="dana")["worker"] is None
    assert take_back(nova, "stripe/txn_5", by="dana")["worker"] == "claimer"
    assert by_worker(nova) == {**before, "mailer": "86.80"}
    with pytest.raises(NotFound):
        take_back(nova, "stripe/txn_1", by="dana")
    bring(shop.event("refund", "pi_1", "86.80"))
    assert by_worker(nova) == {"": "96.80", "claimer": "96.80"}
    assert nova.ledger.verify().ok and nova.ledger.audit.verify().ok


def test_a_sale_booked_by_hand_goes_back_to_whom_it_was_booked_for(nova: Nova) -> None:
    from nova.revenue.record import record_revenue

    record_revenue(nova, "mailer", "19.90", id="o1", source="manual", by="dana")
    attribute(nova, "manual/o1", "shop", by="dana")
    assert take_back(nova, "manual/o1", by="dana") == {"entry": "manual/o1", "worker": "mailer", "moved": 1}
    assert by_worker(nova) == {"mailer": "19.90"}


def test_a_mapping_gives_past_and_future_sales_and_takes_them_back(nova: Nova, shop: Shop, bring: Any) -> None:
    bring(*shop.sale("pi_1", product="prod_1"), *shop.sale("pi_2", product="prod_1", tag="tagged"))
    told = declare(nova, "product", "prod_1", "course", source="stripe", by="dana")
    assert (told["new"], told["known"], told["payments"], told["moved"]) == (True, 2, 1, 2)
    bring(*shop.sale("pi_3", product="prod_1"), *shop.sale("pi_4", product="prod_1", price="price_9"))
    assert by_worker(nova) == {"course": "290.40", "tagged": "96.80"}
    assert declare(nova, "price", "price_9", "dear", source="stripe", by="dana")["payments"] == 1
    assert declare(nova, "product", "prod_1", "other", source="stripe", by="dana")["payments"] == 2
    assert by_worker(nova) == {"dear": "96.80", "other": "193.60", "tagged": "96.80"}
    assert [row["worker"] for row in declared(nova)["mappings"]] == ["dear", "other"]
    assert end(nova, "price", "price_9", source="stripe", by="dana")["payments"] == 1
    assert end(nova, "product", "prod_1", source="stripe", by="dana")["payments"] == 3
    assert by_worker(nova) == {"": "290.40", "tagged": "96.80"}
    assert nova.ledger.verify().ok


def test_a_link_on_the_payment_is_evidence_and_its_click_counts_once(nova: Nova, shop: Shop, bring: Any) -> None:
    from sqlalchemy import insert

    from nova.ledger.schema_revenue import links

    row = {"slug": "abc", "worker": "blog", "url": "https://example.com", "at_us": 0}
    nova.ledger.apply(lambda conn: conn.execute(insert(links), row))
    bring(*shop.sale("pi_1", link="abc"))
    assert by_worker(nova) == {"blog": "96.80"}
    use(nova, "linear")
    nova.ledger.touches.add(touch(nova, "t1", "ads", 2), touch(nova, "t2", "blog", 1, link="abc"))
    settle_due(nova)
    assert by_worker(nova) == {"ads": "48.40", "blog": "48.40"}
    assert path_of(nova, "stripe/txn_1")["path"] == ["ads", "blog"]


def test_whatever_comes_first_the_end_is_the_same(
    open_nova: Callable[..., Nova], shop: Shop, clock: ManualClock
) -> None:
    at = clock.now()
    first, second = shop.sale("pi_1", "99.99", "cus:1", product="prod_1"), shop.sale("pi_2", "10.01", ANN, tag="mailer")
    later = [shop.event("refund", "pi_1", "33.33"), shop.event("refund", "pi_2", "10.01")]
    later = [replace(event, at=at + timedelta(days=1)) for event in later]
    ends = []
    for seed in range(6):
        nova, order = open_nova(f"order{seed}"), random.Random(seed)
        met = [touch(nova, f"t{n}", worker, n + 1) for n, worker in enumerate(["a", "b", "c", "a", "d"])]
        deeds: list[Callable[[], Any]] = [
            *(lambda nova=nova, one=one: nova.ledger.touches.add(one) for one in met),
            *(lambda nova=nova, one=one: sync(nova, clients={"stripe": Told([one])}) for one in (*first, *second)),
            *(lambda nova=nova, one=one: sync(nova, clients={"stripe": Told([one, *first])}) for one in later),
            lambda nova=nova: nova.ledger.subjects.same("cus:1", ANN),
            lambda nova=nova: declare(nova, "product", "prod_1", "course", source="stripe", by="dana"),
            lambda nova=nova: use(nova, "position"),
        ]
        order.shuffle(deeds)
        for deed in deeds + order.sample(deeds, 4):
            deed()
        settle_due(nova)
        ends.append(by_worker(nova))
        assert nova.ledger.verify().ok
        assert nova.ledger.credits.stale_count() == 0
    assert all(one == ends[0] for one in ends) and len(ends[0]) > 3


def test_a_foreign_payment_adds_up_in_both_currencies(nova: Nova, shop: Shop, bring: Any) -> None:
    use(nova, "linear")
    nova.ledger.rates.set("EUR", Decimal("1.0837"), "dana")
    nova.ledger.touches.add(*(touch(nova, f"t{n}", f"w{n}", n + 1) for n in range(3)))
    sold, fee = shop.sale()
    bring(replace(sold, amount=Money.parse("100.00", "EUR")), replace(fee, amount=Money.parse("3.20", "EUR")))
    shares = {row["worker"]: row["amount"] for row in path_of(nova, "stripe/txn_1")["booked"]}
    assert shares == {"w0": "32.27", "w1": "32.26", "w2": "32.27"}
    assert Decimal(report(nova)["total"]["revenue"]) == Decimal("96.80") * Decimal("1.0837")
    assert sum(map(Decimal, by_worker(nova).values())) == Decimal("96.80") * Decimal("1.0837")
    bring(replace(shop.event("refund", "pi_1", "100.00"), amount=Money.parse("100.00", "EUR")))
    assert {abs(Decimal(amount)) < Decimal("1.20") for amount in by_worker(nova).values()} == {True}
    assert nova.ledger.verify().ok


def test_two_processes_that_divide_at_once_divide_once(
    open_nova: Callable[..., Nova], shop: Shop, clock: ManualClock
) -> None:
    nova = open_nova("home")
    nova.ledger.touches.add(*(touch(nova, f"t{n}", f"w{n % 5}", n % 9 + 1, f"cus:{n % 40}") for n in range(160)))
    events = [event for n in range(120) for event in shop.sale(f"pi_{n}", f"{n + 1}.01", f"cus:{n % 40}")]
    sync(nova, clients={"stripe": Told(events)})
    total = report(nova)["total"]["revenue"]
    use(nova, "linear")
    program = (
        "from nova.bootstrap import build; from nova.config import load_settings\n"
        "from nova.revenue.attribution.settle import settle_again\n"
        "nova = build(load_settings()); settle_again(nova); nova.close()"
    )
    environ = {"NOVA_HOME": str(nova.settings.nova_home), "PATH": "", "PYTHONPATH": ":".join(filter(None, sys.path))}
    running = [subprocess.Popen([sys.executable, "-c", program], env=environ) for _ in range(2)]
    settle_again(nova)
    assert [one.wait(60) for one in running] == [0, 0]
    assert settle_again(nova).changed == 0
    found = by_worker(nova)
    assert set(found) == {f"w{n}" for n in range(5)} and sum(map(Decimal, found.values())) == Decimal(total)
    assert nova.ledger.verify().ok and nova.ledger.audit.verify().ok


def test_a_division_that_is_cut_is_done_again_and_one_that_fails_holds_up_no_other(
    nova: Nova, shop: Shop, bring: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    nova.ledger.touches.add(touch(nova, "t1", "blog", 2))
    bring(*shop.sale("pi_1", tag="a"), *shop.sale("pi_2", tag="b"), *shop.sale("pi_3", tag="c"))
    use(nova, "linear")
    real, calls = credits.divided, []

    def cut(conn: Any, done: list[credits.Credit]) -> None:
        calls.append(len(done))
        if len(calls) == 1:
            raise KeyboardInterrupt
        if any(one.object == "pi_2" for one in done):
            raise UsageProblem("no")
        real(conn, done)

    before = by_worker(nova)
    monkeypatch.setattr(settle.credits, "divided", cut)
    with pytest.raises(KeyboardInterrupt):
        settle_due(nova)
    assert by_worker(nova) == before
    settle_due(nova)
    assert by_worker(nova) == {"a": "48.40", "b": "96.80", "blog": "96.80", "c": "48.40"}
    monkeypatch.undo()
    settle_again(nova)
    assert by_worker(nova) == {"a": "48.40", "b": "48.40", "blog": "145.20", "c": "48.40"}


def test_a_month_is_divided_by_all_of_its_paths_once_it_is_over(
    nova: Nova, shop: Shop, clock: ManualClock, bring: Any
) -> None:
    use(nova, "markov")
    nova.ledger.touches.add(touch(nova, "t1", "blog", 2), touch(nova, "t2", "ads", 1))
    bring(*shop.sale("pi_1", "103.20"))
    assert by_worker(nova) == {"ads": "50.00", "blog": "50.00"}
    clock.advance(86400)
    nova.ledger.touches.add(*(touch(nova, f"u{n}", "ads", 1, f"cus:{n}") for n in range(3)))
    bring(*(event for n in range(3) for event in shop.sale(f"pi_x{n}", "103.20", f"cus:{n}")))
    assert by_worker(nova) == {"ads": "350.00", "blog": "50.00"}
    clock.advance(40 * 86400)
    settle_due(nova)
    # without blog a quarter of the sales are gone, without ads all of them: 1 : 4
    assert by_worker(nova) == {"ads": "380.00", "blog": "20.00"}
    assert settle_due(nova).payments == 0


def test_models_are_compared_without_booking(nova: Nova, shop: Shop, bring: Any) -> None:
    nova.ledger.touches.add(touch(nova, "t1", "blog", 2), touch(nova, "t2", "ads", 1))
    bring(*shop.sale("pi_1", tag="mailer"), *shop.sale("pi_2"), *shop.sale("pi_3", subject=None, tag="mailer"))
    before = nova.ledger.verify()
    found = report(nova, model="all")
    assert found["models"] == ["direct", "first_touch", "last_touch", "linear", "time_decay", "position", "markov"]
    compared: dict[str, dict[str, str]] = {}
    for model in found["models"]:
        rows = {row["key"]: row["models"][model]["revenue"] for row in found["rows"]}
        rest = found["unattributed"]["models"][model]["revenue"]
        assert sum(map(Decimal, rows.values())) + Decimal(rest) == Decimal(found["total"]["revenue"])
        compared[model] = {key: value for key, value in {**rows, "": rest}.items() if Decimal(value)}
    assert compared["direct"] == by_worker(nova) and nova.ledger.verify() == before
    for model in ("linear", "time_decay", "markov", "last_touch"):
        use(nova, model)
        settle_due(nova)
        assert by_worker(nova) == compared[model]
        again = report(nova, model="direct")
        assert {row["key"]: row["models"]["direct"]["revenue"] for row in again["rows"]}["mailer"] == "193.60"
    with pytest.raises(UsageProblem):
        report(nova, model="magic")
    with pytest.raises(UsageProblem):
        report(nova, by="day", model="linear")


def test_a_path_explains_itself(nova: Nova, shop: Shop, bring: Any) -> None:
    use(nova, "position")
    nova.ledger.touches.add(touch(nova, "t1", "blog", 2, channel="web", campaign="spring"), touch(nova, "t2", "ads", 1))
    bring(*shop.sale(tag="mailer", product="prod_1"))
    found = path_of(nova, "txn_2")
    assert (found["payment"], found["model"], found["divided_by"]) == ("pi_1", "position", "position")
    assert [one["worker"] for one in found["touches"]] == ["blog", "ads"] and found["path"][-1] == "mailer"
    assert {row["worker"]: row["share"] for row in found["shares"]} == {"ads": "0.2", "blog": "0.4", "mailer": "0.4"}
    assert found["evidence"] == {"product": "prod_1", "tag": "mailer", "tag_found": "charge.metadata"}
    assert found["direct"]["model"] == "metadata" and found["up_to_date"] and found["customer_known"]


def test_who_holds_of_a_divided_entry_counts_it_once(nova: Nova, shop: Shop, bring: Any) -> None:
    nova.ledger.touches.add(touch(nova, "t1", "blog", 2), touch(nova, "t2", "ads", 1))
    bring(shop.event("revenue", "pi_1", "100.00", subjects=(ANN,), tag=Tag("mailer", "charge.metadata")))
    counts = {
        "linear": {"mailer": 1, "blog": 1, "ads": 1},
        "first_touch": {"blog": 1},
        "position": {"mailer": 1, "blog": 1, "ads": 1},
        "direct": {"mailer": 1},
    }
    for model, expected in counts.items():
        use(nova, model)
        settle_due(nova)
        assert {row["key"]: row["entries"] for row in report(nova)["rows"] if row["entries"]} == expected
        assert nova.ledger.verify().ok


def test_a_persons_commands(nova: Nova, shop: Shop, bring: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from nova.cli.app import run

    def said(*words: str) -> dict[str, Any]:
        import json

        assert run(["revenue", *words, "--json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    bring(*shop.sale("pi_1", product="prod_1"))
    assert said("map", "product", "prod_1", "course")["payments"] == 1
    assert said("mappings")["mappings"][0]["worker"] == "course"
    assert said("attribute", "stripe/txn_1", "boss")["moved"] == 2
    assert said("attribute", "stripe/txn_1", "--undo")["worker"] == "course"
    assert said("path", "stripe/txn_1")["direct"]["model"] == "mapping"
    assert said("attribute", "--again") == {"payments": 1, "changed": 0, "moved": 0}
    assert said("unmap", "product", "prod_1")["moved"] == 2
    assert said("report", "--model", "linear")["models"] == ["linear"]


def test_a_word_that_was_taken_back_holds_up_nothing_though_it_agreed(nova: Nova, shop: Shop, bring: Any) -> None:
    """Nor does an adjustment by hand: what comes later is divided as if nobody had said anything."""
    bring(*shop.sale(product="prod_1"))
    declare(nova, "product", "prod_1", "mailer", source="stripe", by="dana")
    attribute(nova, "stripe/txn_1", "mailer", by="dana")
    bring(shop.event("refund", "pi_1", "10.00"))  # booked by the person's word
    assert take_back(nova, "stripe/txn_1", by="dana") == {"entry": "stripe/txn_1", "worker": "mailer", "moved": 0}
    nova.ledger.entries.adjust("stripe/txn_1", Money.parse("-5.00", "USD"), "chargeback", by="dana")
    end(nova, "product", "prod_1", source="stripe", by="dana")
    assert by_worker(nova) == {"": "81.80"}
    use(nova, "linear")
    nova.ledger.touches.add(touch(nova, "t1", "blog", 2), touch(nova, "t2", "ads", 1))
    bring(shop.event("refund", "pi_1", "80.00"))
    assert by_worker(nova) == {"ads": "0.90", "blog": "0.90"}
    bring(shop.event("refund", "pi_1", "5.00"))  # after a division of what was booked by that word
    assert by_worker(nova) == {"ads": "-1.60", "blog": "-1.60"} and nova.ledger.verify().ok


def test_what_another_home_divided_leaves_nobody_a_cent_here(
    nova: Nova, shop: Shop, bring: Any, open_nova: Callable[..., Nova]
) -> None:
    """An export has the divisions, but neither the touches they came from nor the model."""
    use(nova, "linear")
    nova.ledger.touches.add(touch(nova, "t1", "blog", 2), touch(nova, "t2", "ads", 1))
    told = shop.sale(tag="mailer")
    bring(*told)
    out, other = io.StringIO(), open_nova("other")
    nova.ledger.transfer.export(out)
    assert not other.ledger.transfer.import_lines(out.getvalue().splitlines()).rejections
    sync(other, clients={"stripe": Told(told)})
    assert by_worker(other) == by_worker(nova) and len(by_worker(nova)) == 3
    sync(other, clients={"stripe": Told([shop.event("refund", "pi_1", "96.80"), *told])})
    assert by_worker(other) == {} and other.ledger.verify().ok


def test_what_follows_a_payment_too_small_to_divide_is_divided(nova: Nova, shop: Shop, bring: Any) -> None:
    use(nova, "linear")
    nova.ledger.touches.add(touch(nova, "t1", "ads", 2))
    bring(shop.event("revenue", "pi_1", "0.01", subjects=(ANN,), tag=Tag("mailer", "charge.metadata")))
    bring(shop.event("fee", "pi_1", "15.00"))
    assert by_worker(nova) == {"ads": "-7.49", "mailer": "-7.50"}


def test_a_word_that_came_with_an_export_can_be_taken_back_from_what_followed_it(
    nova: Nova, shop: Shop, bring: Any, open_nova: Callable[..., Nova]
) -> None:
    told = shop.sale()
    bring(*told)
    attribute(nova, "stripe/txn_1", "chosen", by="dana")
    out, other = io.StringIO(), open_nova("other")
    nova.ledger.transfer.export(out)
    other.ledger.transfer.import_lines(out.getvalue().splitlines())
    sync(other, clients={"stripe": Told([shop.event("refund", "pi_1", "10.00"), *told])})
    assert by_worker(other) == {"chosen": "86.80"}
    assert take_back(other, "stripe/txn_1", by="dana") == {"entry": "stripe/txn_1", "worker": None, "moved": 3}
    assert by_worker(other) == {"": "86.80"} and other.ledger.verify().ok
