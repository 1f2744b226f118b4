"""A sync books every cent once, for whom it belongs to, however it is repeated, shuffled or cut."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from nova.bootstrap import Nova
from nova.clock import ManualClock
from nova.demo.storefront import Fault, Storefront
from nova.errors import LockHeld, NotFound, PlatformNotConfigured, PlatformRefused, Unreachable
from nova.ledger import claims
from nova.revenue.attribution.hand import attribute
from nova.revenue.reports import report
from nova.revenue.sync import one_at_a_time, sync, sync_all
from platforms.events import Balance, EventPage, EventReader, PlatformEvent, Tag
from platforms.stripe_integration import Stripe

WORKERS = ("mailer", "shop", None)


def busy(store: Storefront, clock: ManualClock, sales: int = 60) -> None:
    for n in range(sales):
        sale = store.sell(f"{10 + n}.{n % 100:02d}", worker=WORKERS[n % 3])
        clock.advance(1800)
        if n % 4 == 0:
            store.refund(sale, "3.00", return_fee=n % 8 == 0)
        if n % 7 == 0:
            dispute = store.dispute(sale)
            clock.advance(60)
            store.account.close_dispute(dispute, won=n % 14 == 0)
        if n % 11 == 0:
            store.account.fail_refund(store.refund(sale, "1.00"))
    store.subscribe("49.00", worker="letters")
    store.account.charge_fee(500, "Radar")
    store.account.payout(2500, "usd")


def first(document: dict[str, Any]) -> dict[str, Any]:
    (source,) = document["sources"]
    return dict(source)


def by_worker(nova: Nova) -> dict[str, str]:
    return {row["key"]: row["revenue"] for row in report(nova)["rows"]}


class Shuffled:
    """A platform that tells the same events in any order and in pages of any size, some twice."""

    name = "stripe"

    def __init__(self, events: list[PlatformEvent], tags: dict[str, Tag], seed: int) -> None:
        self.events, self.tags, self.random = events, tags, random.Random(seed)

    def reader(self) -> EventReader:
        return self

    def pages(self, since: datetime | None = None, *, after: str | None = None) -> Iterator[EventPage]:
        left = self.events + self.random.sample(self.events, len(self.events) // 3)
        self.random.shuffle(left)
        while left:
            size = self.random.randint(1, 12)
            part, left = left[:size], left[size:]
            yield EventPage(
                tuple({event.id: event for event in part}.values()), len(part), 0, (), "more" if left else None
            )

    def tag(self, event: PlatformEvent) -> Tag | None:
        return self.tags.get(event.id)

    def payment_of(self, object: str) -> str | None:
        return object

    def balance(self) -> Balance:
        raise NotImplementedError

    def check(self) -> str:
        return "answers"

    def close(self) -> None:
        """Nothing is open."""


def test_a_sync_is_counted_to_the_cent(nova: Nova, store: Storefront, clock: ManualClock) -> None:
    busy(store, clock)
    found = first(sync(nova))
    (held,) = store.account.balance()["available"]
    assert Decimal(found["net"]) == (Decimal(held["amount"]) + 2500) / 100
    parts = [Decimal(found[name]) for name in ("gross", "fees", "refunds", "disputes")]
    assert parts[0] - sum(parts[1:]) == Decimal(found["net"])
    assert found["fetched"] == found["new"] + found["duplicate"] + found["skipped"]
    assert (found["skipped"], found["duplicate"], found["conflicts"]) == (1, 0, [])
    assert found["attributed"] + found["unattributed"] == found["new"]
    assert nova.ledger.verify().ok


def test_attributed_and_unattributed_are_the_total(nova: Nova, store: Storefront, clock: ManualClock) -> None:
    busy(store, clock)
    net = first(sync(nova))["net"]
    document = report(nova)
    rows = [Decimal(row["revenue"]) for row in document["rows"]]
    assert (
        sum(rows) + Decimal(document["unattributed"]["revenue"])
        == Decimal(document["total"]["revenue"])
        == Decimal(net)
    )
    assert {row["key"] for row in document["rows"]} == {"mailer", "shop", "letters"}


def test_the_same_sync_again_adds_nothing(
    nova: Nova, store: Storefront, clock: ManualClock, figures: Callable[[Nova], Any]
) -> None:
    busy(store, clock)
    before, seen = first(sync(nova)), figures(nova)
    again = first(sync(nova, ["stripe"]))
    assert again["new"] == 0 and again["duplicate"] + again["skipped"] == again["fetched"] == before["fetched"]
    assert again["net"] == "0.00"
    assert figures(nova) == seen


def test_only_the_overlap_is_fetched_again(nova: Nova, store: Storefront, clock: ManualClock) -> None:
    store.sell("1.00", worker="mailer")
    clock.advance(10 * 86400)
    store.sell("2.00", worker="mailer")
    assert first(sync(nova))["fetched"] == 2
    assert first(sync(nova))["fetched"] == 1


def test_any_order_of_any_pages_gives_the_same_report(
    open_nova: Callable[..., Nova], store: Storefront, clock: ManualClock, figures: Callable[[Nova], Any]
) -> None:
    busy(store, clock)
    straight = open_nova("straight")
    sync(straight)
    reader = Stripe(store.key, store.url).reader()
    events, tags = [], {}
    for page in reader.pages():
        events += page.events
        tags |= {event.id: tag for event in page.events if (tag := reader.tag(event))}
    for seed in range(5):
        shuffled = open_nova(f"shuffled{seed}")
        sync(shuffled, clients={"stripe": Shuffled(events, tags, seed)})
        assert figures(shuffled) == figures(straight)
        assert shuffled.ledger.verify().ok


@pytest.mark.parametrize("cut_after", [1, 2, 3])
def test_a_sync_that_is_cut_goes_on_behind_its_last_page(
    open_nova: Callable[..., Nova],
    store: Storefront,
    clock: ManualClock,
    figures: Callable[[Nova], Any],
    cut_after: int,
) -> None:
    busy(store, clock, sales=250)
    whole = open_nova("whole")
    pages = first(sync(whole))["fetched"] // 100
    cut = open_nova("cut")
    path = "/v1/balance_transactions"
    for _ in range(cut_after):
        store.fail(Fault("slow", path))
    store.fail(Fault("error", path, times=6))
    with pytest.raises(Unreachable):
        sync(cut)
    cursor = cut.ledger.cursors.get("stripe")
    assert cursor.covered_at is None and cursor.succeeded_at is None and cursor.error
    store.sell("7.77", worker="mailer")
    before = len(store.exchanges)
    found = first(sync(cut))
    fetched = [one for one in store.exchanges[before:] if one.request == f"GET {path}"]
    assert "starting_after" in fetched[0].params and pages >= 3
    sync(whole)
    assert figures(cut) == figures(whole)
    assert found["conflicts"] == [] and cut.ledger.cursors.get("stripe").error is None
    assert cut.ledger.verify().ok


def test_a_place_that_the_platform_forgot_is_read_from_the_beginning(
    nova: Nova, store: Storefront, clock: ManualClock
) -> None:
    store.sell("5.00", worker="mailer")
    place = '{"after":"txn_gone","since":null,"started":1777636800000000}'
    nova.ledger.apply(lambda conn: _reach(conn, place))
    assert first(sync(nova))["new"] == 1


def _reach(conn: Any, place: str) -> None:
    from datetime import UTC

    from nova.ledger import cursors

    cursors.reached(conn, "stripe", place, datetime(2026, 5, 1, tzinfo=UTC))


def test_a_failure_is_recorded_and_success_forgets_it(nova: Nova, store: Storefront) -> None:
    store.fail(Fault("error", times=6))
    with pytest.raises(Unreachable):
        sync(nova)
    assert "error" in (nova.ledger.cursors.get("stripe").error or "").lower()
    sync(nova)
    cursor = nova.ledger.cursors.get("stripe")
    assert (cursor.error, cursor.covered_at, cursor.succeeded_at) == (None, nova.clock.now(), nova.clock.now())


def test_a_wrong_key_is_refused_and_recorded(open_nova: Callable[..., Nova]) -> None:
    nova = open_nova(STRIPE_API_KEY="sk_test_wrong")
    with pytest.raises(PlatformRefused):
        sync(nova)
    assert nova.ledger.cursors.get("stripe").error == "stripe refused the key"


def test_without_a_key_nothing_is_synced(open_nova: Callable[..., Nova]) -> None:
    nova = open_nova(STRIPE_API_KEY="")
    assert sync(nova)["sources"] == []
    with pytest.raises(PlatformNotConfigured):
        sync(nova, ["stripe"])
    with pytest.raises(PlatformNotConfigured):
        sync(nova, ["gumroad"])
    with pytest.raises(NotFound):
        sync(nova, ["myspace"])
    assert nova.ledger.cursors.all() == {}


def test_a_sync_waits_for_who_fetches_a_single_sale(nova: Nova, store: Storefront) -> None:
    store.sell("20.00")
    begun = threading.Event()

    def ping() -> None:
        with one_at_a_time(nova.settings.run_dir, "stripe"):
            begun.set()
            assert not threading.Event().wait(0.1)

    single = threading.Thread(target=ping)
    single.start()
    begun.wait(5)
    assert sync(nova)["sources"][0]["new"] > 0
    single.join()


def test_two_syncs_at_once_are_one(nova: Nova, store: Storefront, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nova.revenue.sync.PING_S", 0.0)
    store.fail(Fault("slow", seconds=1.0))
    slow = threading.Thread(target=sync, args=(nova,))
    slow.start()
    deadline = threading.Event()
    while not (nova.settings.run_dir / "sync-stripe.lock").exists():
        assert not deadline.wait(0.01)
    with pytest.raises(LockHeld):
        sync(nova)
    assert sync_all(nova).sources == ()
    slow.join()


def test_a_claimed_sale_is_booked_once_for_its_worker(nova: Nova, store: Storefront) -> None:
    sale = store.sell("20.00", worker="tagged")
    nova.ledger.claims.claim("stripe", sale.charge, "claimer", "run-1")
    sync(nova)
    assert by_worker(nova) == {"claimer": "19.12"}
    stored = nova.ledger.entries.find(f"stripe/{sale.transaction}").entry
    assert (stored.model, stored.evidence, stored.run) == ("claim", f"claim of {sale.charge}", "run-1")


@pytest.mark.parametrize("by", ["intent", "charge", "transaction"])
def test_a_claim_that_comes_after_the_sync_moves_what_was_booked(
    nova: Nova, store: Storefront, clock: ManualClock, by: str
) -> None:
    sale = store.sell("20.00")
    store.refund(sale, "5.00")
    sync(nova)
    assert by_worker(nova) == {}
    clock.advance(60)
    nova.ledger.claims.claim("stripe", getattr(sale, by), "claimer")
    assert first(sync(nova))["reattributed"] == 3
    assert first(sync(nova))["reattributed"] == 0
    assert by_worker(nova) == {"claimer": "14.12"}
    assert report(nova)["unattributed"]["revenue"] == "0.00"
    assert nova.ledger.verify().ok


@pytest.mark.parametrize("by", ["intent", "charge"])
def test_a_late_claim_of_what_is_older_than_the_overlap_moves_it_too(
    nova: Nova, store: Storefront, clock: ManualClock, by: str
) -> None:
    sale = store.sell("20.00")
    sync(nova)
    clock.advance(30 * 86400)
    sync(nova)
    nova.ledger.claims.claim("stripe", getattr(sale, by), "claimer")
    assert first(sync(nova))["reattributed"] == 2
    assert by_worker(nova) == {"claimer": "19.12"}


@pytest.mark.parametrize(("first_by", "then_by"), [("intent", "charge"), ("charge", "intent")])
def test_a_later_claim_on_another_id_of_the_payment_takes_it_from_nobody(
    nova: Nova, store: Storefront, clock: ManualClock, first_by: str, then_by: str
) -> None:
    sale = store.sell("20.00")
    nova.ledger.claims.claim("stripe", getattr(sale, first_by), "first")
    sync(nova)
    clock.advance(30 * 86400)
    sync(nova)
    nova.ledger.claims.claim("stripe", getattr(sale, then_by), "second")
    assert first(sync(nova))["reattributed"] == 0
    assert by_worker(nova) == {"first": "19.12"}


def test_a_late_claim_does_not_hold_against_a_persons_word(nova: Nova, store: Storefront, clock: ManualClock) -> None:
    sale = store.sell("20.00")
    sync(nova)
    attribute(nova, sale.transaction, "chosen", by="dana")
    clock.advance(30 * 86400)
    sync(nova)
    nova.ledger.claims.claim("stripe", sale.charge, "other")
    sync(nova)
    assert by_worker(nova) == {"chosen": "19.12"}


def test_what_follows_a_sale_belongs_to_its_worker(nova: Nova, store: Storefront, clock: ManualClock) -> None:
    sale = store.sell("20.00", worker="mailer")
    sync(nova)
    clock.advance(40 * 86400)
    for holder in (sale.intent, sale.charge):
        store.account.get(holder)["metadata"].clear()
    store.refund(sale, "5.00")
    store.dispute(sale)
    sync(nova)
    assert by_worker(nova) == {"mailer": "-20.88"}
    assert report(nova)["unattributed"]["entries"] == 0


def test_a_tag_written_later_brings_the_sale_with_it(nova: Nova, store: Storefront, clock: ManualClock) -> None:
    sale = store.sell("20.00")
    sync(nova)
    clock.advance(40 * 86400)
    store.account.get(sale.charge)["metadata"]["nova_worker"] = "mailer"
    store.refund(sale, "5.00")
    found = first(sync(nova))
    assert (found["attributed"], found["reattributed"]) == (1, 2)
    assert by_worker(nova) == {"mailer": "14.12"}


def test_a_persons_word_holds_against_claims_tags_and_syncs(nova: Nova, store: Storefront, clock: ManualClock) -> None:
    sale = store.sell("20.00", worker="tagged")
    sync(nova)
    told = attribute(nova, f"stripe/{sale.transaction}", "chosen", by="dana")
    assert told == {"entry": f"stripe/{sale.transaction}", "worker": "chosen", "moved": 2}
    assert attribute(nova, sale.transaction, "chosen", by="dana")["moved"] == 0
    store.refund(sale, "5.00")
    clock.advance(60)
    sync(nova)
    assert by_worker(nova) == {"tagged": "0.00", "chosen": "14.12"}
    assert nova.ledger.verify().ok and nova.ledger.audit.verify().ok


def test_a_later_beginning_leaves_no_gap_behind(nova: Nova, store: Storefront, clock: ManualClock) -> None:
    sync(nova)
    covered = nova.ledger.cursors.get("stripe").covered_at
    clock.advance(20 * 86400)
    store.sell("1.00", worker="mailer")
    clock.advance(20 * 86400)
    sync(nova, since=clock.now() - timedelta(days=1))
    assert nova.ledger.cursors.get("stripe").covered_at == covered
    assert by_worker(nova) == {}
    sync(nova)
    assert by_worker(nova) == {"mailer": "0.67"}
    assert nova.ledger.cursors.get("stripe").covered_at == clock.now()


def test_a_sync_while_the_clock_was_ahead_leaves_no_gap(nova: Nova, store: Storefront, clock: ManualClock) -> None:
    clock.advance(60 * 86400)
    sync(nova)
    clock.advance(-60 * 86400)
    sync(nova)
    assert nova.ledger.cursors.get("stripe").covered_at == clock.now()
    clock.advance(10 * 86400)
    store.sell("20.00", worker="mailer")
    clock.advance(10 * 86400)
    sync(nova)
    assert by_worker(nova) == {"mailer": "19.12"}


def test_what_takes_back_something_older_than_the_beginning_still_counts(
    nova: Nova, store: Storefront, clock: ManualClock
) -> None:
    dispute = store.dispute(store.sell("20.00", worker="mailer"))
    clock.advance(30 * 86400)
    store.account.close_dispute(dispute, won=True)
    found = first(sync(nova, since=clock.now() - timedelta(days=1)))
    assert (found["net"], found["gross"], found["disputes"], found["fees"]) == ("35.00", "0.00", "-20.00", "-15.00")
    assert by_worker(nova) == {"mailer": "35.00"}
    sync(nova, since=clock.now() - timedelta(days=60))
    assert by_worker(nova) == {"mailer": "19.12"}
    assert nova.ledger.verify().ok


def test_a_description_that_never_ends_stops_no_sync(nova: Nova, store: Storefront) -> None:
    store.account.charge_fee(500, "x" * 5000)
    assert first(sync(nova))["fees"] == "5.00"


def test_a_foreign_balance_waits_for_its_rate(nova: Nova, store: Storefront) -> None:
    store.sell("10.00", worker="mailer", currency="eur")
    found = first(sync(nova))
    assert (found["gross"], found["unconverted"], found["attributed"]) == ("0.00", 2, 1)
    assert report(nova)["unconverted"] == [{"currency": "EUR", "amount": "9.41", "entries": 2}]
    nova.ledger.rates.set("EUR", Decimal("1.10"), "dana")
    assert by_worker(nova) == {"mailer": "10.351"}


def test_progress_is_told_in_records(nova: Nova, store: Storefront) -> None:
    for _ in range(250):
        store.sell("1.00")
    told: list[int] = []
    sync(nova, progress=told.append)
    assert told == [100, 200, 250]


def test_a_claim_of_another_source_is_no_claim(nova: Nova, store: Storefront) -> None:
    sale = store.sell("20.00", worker="tagged")
    nova.ledger.apply(lambda conn: claims.claim(conn, nova.clock.now(), "gumroad", sale.intent, "other"))
    sync(nova)
    assert by_worker(nova) == {"tagged": "19.12"}
