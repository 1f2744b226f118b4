"""A sync of Gumroad books what its sales are now, once, whenever they changed and wherever it was cut."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from nova.bootstrap import Nova
from nova.clock import ManualClock
from nova.errors import NovaError, Unreachable
from nova.ledger import claims
from nova.revenue.booking import book
from nova.revenue.reconcile import reconcile
from nova.revenue.reports import report
from nova.revenue.sync import sync
from platforms.gumroad_integration import Gumroad
from platforms.line import Patience
from tests.emulators.gumroad import Gumroad as Emulator
from tests.emulators.gumroad_shop import Shop


@pytest.fixture
def fetch(nova: Nova, gumroad: Gumroad) -> Callable[..., dict[str, Any]]:
    def one(**options: Any) -> dict[str, Any]:
        (source,) = sync(nova, clients={"gumroad": gumroad}, **options)["sources"]
        return dict(source)

    return one


def entries(nova: Nova, sale: Any) -> list[tuple[str, str, str]]:
    stored = nova.ledger.entries.of_object("gumroad", sale.id)
    return [(one.entry.id.removeprefix(sale.id), one.entry.kind, str(one.effect)) for one in stored]


def agrees(nova: Nova, gumroad: Gumroad, **period: Any) -> bool:
    document = reconcile(nova, clients={"gumroad": gumroad}, **period)
    return bool(document["ok"]) and nova.ledger.verify().ok


def test_everything_a_sale_tells_is_counted(
    nova: Nova, shop: Shop, gumroad: Gumroad, clock: ManualClock, fetch: Callable[..., dict[str, Any]]
) -> None:
    guide, free = shop.product("Guide", 1000), shop.product("Free", 0)
    plain = shop.sell(guide)
    clock.advance(60)
    shop.refund(shop.sell(guide), 300)
    shop.refund(shop.sell(guide))
    lost, won = shop.sell(guide), shop.sell(guide)
    lost.chargedback = won.chargedback = won.won = True
    shop.sell(guide, affiliate={"email": "bob@example.com", "amount": "$2.50"})
    shop.sell(free)
    shop.sell(guide, state="test_successful")
    shop.sell(guide, state="failed")
    trial = shop.subscribe(shop.product("Club", 500, recurrence="monthly"), trial_days=7)
    shop.renew(trial)
    found = fetch()
    assert (found["fetched"], found["new"], found["skipped"]) == (9, 7, 2)
    fee = (1000 * 129 // 1000 + 80) / 100
    fees = 6 * fee + (round(500 * 0.129) + 80) / 100 + 2.50
    expected = {"gross": 65.0, "fees": round(fees, 2), "refunds": 13.0, "disputes": 10.0}
    assert {name: float(found[name]) for name in expected} == expected
    assert entries(nova, plain) == [("", "revenue", "10.00"), (":fee", "fee", "-2.09")]
    assert agrees(nova, gumroad)


def test_again_adds_nothing(shop: Shop, fetch: Callable[..., dict[str, Any]]) -> None:
    guide = shop.product()
    for n in range(25):
        sale = shop.sell(guide)
        if n % 5 == 0:
            shop.refund(sale, 100)
    assert fetch()["new"] == 25
    again = fetch()
    assert (again["fetched"], again["new"], again["duplicate"], again["net"]) == (25, 0, 25, "0.00")


def test_currencies_are_dollars_by_gumroads_own_rate(
    nova: Nova, shop: Shop, gumroad: Gumroad, fetch: Callable[..., dict[str, Any]]
) -> None:
    euro, yen = shop.sell(shop.product("E", 123450, "eur")), shop.sell(shop.product("Y", 3000, "jpy"))
    shop.refund(euro, 23450)
    shop.refund(yen, 1000)
    fetch()
    assert entries(nova, euro)[0] == ("", "revenue", "1371.67")
    assert entries(nova, euro)[2] == (":refund@26056", "refund", "-260.56")
    assert [entry[2] for entry in entries(nova, yen) if entry[1] != "fee"] == ["20.00", "-6.67"]
    (sale,) = [one for one in nova.ledger.entries.of_object("gumroad", euro.id) if one.entry.kind == "revenue"]
    assert sale.entry.note == "E, paid 1234.50 EUR at 1.111114"
    assert agrees(nova, gumroad)


def test_a_sale_that_changed_later_is_corrected_by_new_entries(
    nova: Nova, shop: Shop, gumroad: Gumroad, clock: ManualClock, fetch: Callable[..., dict[str, Any]]
) -> None:
    sale = shop.sell(shop.product())
    fetch()
    clock.advance(90 * 86400)  # far behind the overlap
    shop.refund(sale, 200)
    assert (fetch()["refunds"], fetch()["refunds"]) == ("2.00", "0.00")
    clock.advance(86400)
    shop.refund(sale, 300)
    assert fetch()["refunds"] == "3.00"
    clock.advance(86400)
    sale.refunds.pop()  # it failed
    assert fetch()["refunds"] == "-3.00"
    clock.advance(86400)
    sale.chargedback = True
    assert fetch()["disputes"] == "8.00"
    clock.advance(86400)
    sale.won = True
    assert fetch()["disputes"] == "-8.00"
    clock.advance(86400)
    shop.refund(sale)
    sale.fee = 150
    last = fetch()
    assert (last["refunds"], last["fees"], last["net"], last["conflicts"]) == ("8.00", "-0.59", "-7.41", [])
    assert agrees(nova, gumroad)
    assert {one.entry.at for one in nova.ledger.entries.of_object("gumroad", sale.id)} == {sale.at}


def test_within_a_day_only_the_overlap_is_read_again(
    shop: Shop, clock: ManualClock, server: Emulator, fetch: Callable[..., dict[str, Any]]
) -> None:
    guide = shop.product()
    for _ in range(40):
        shop.sell(guide)
        clock.advance(86400)
    assert fetch()["fetched"] == 40
    clock.advance(3600)
    assert fetch()["fetched"] == 3
    clock.advance(86400)
    assert fetch()["fetched"] == 40


def test_a_sync_that_was_cut_goes_on_behind_its_last_page(
    nova: Nova, shop: Shop, server: Emulator, connect: Callable[..., Gumroad], clock: ManualClock
) -> None:
    guide = shop.product()
    for _ in range(95):
        shop.sell(guide)
        clock.advance(86400)
    server.limit = 4
    hasty = connect(server, patience=Patience(attempts=1))
    for _ in range(2):
        with pytest.raises(NovaError):
            sync(nova, clients={"gumroad": hasty})
        shop.sell(guide)  # what comes meanwhile is read after
        server.limit = 4
    server.limit = None
    before = server.asked("GET /v2/sales")
    (last,) = sync(nova, clients={"gumroad": hasty})["sources"]
    assert server.asked("GET /v2/sales") - before <= 5
    assert float(report(nova)["total"]["revenue"]) == pytest.approx(97 * (10.00 - 2.09))
    assert last["conflicts"] == [] and agrees(nova, hasty)


def test_a_page_that_nobody_knows_any_more_begins_anew(
    nova: Nova, shop: Shop, server: Emulator, connect: Callable[..., Gumroad]
) -> None:
    for _ in range(15):
        shop.sell(shop.product())
    server.limit = 1
    with pytest.raises(NovaError):
        sync(nova, clients={"gumroad": connect(server, patience=Patience(attempts=1))})
    server.limit = None
    left = nova.ledger.cursors.get("gumroad").cursor
    assert left is not None
    broken = left.replace("000000-", "x-0")
    nova.ledger.apply(
        lambda conn: conn.exec_driver_sql("UPDATE cursors SET cursor = ? WHERE source = 'gumroad'", (broken,))
    )
    (found,) = sync(nova, clients={"gumroad": connect(server)})["sources"]
    assert float(report(nova)["total"]["revenue"]) == pytest.approx(15 * 7.91) and found["conflicts"] == []


def test_whose_a_sale_is_follows_tags_claims_and_mappings(
    nova: Nova, shop: Shop, gumroad: Gumroad, fetch: Callable[..., dict[str, Any]]
) -> None:
    guide, club = shop.product(), shop.product("Club", 500, recurrence="monthly")
    tagged = shop.sell(guide, url_params={"nova_worker": "mailer"})
    led = shop.sell(guide, referrer="https://blog.example/a?nova_worker=poster")
    coupon = shop.sell(guide, offer_code={"code": "TEN", "name": "TEN", "displayed_amount_off": "10%"})
    subscription = shop.subscribe(club)
    nova.ledger.apply(lambda conn: claims.claim(conn, nova.clock.now(), "gumroad", subscription.id, "letters"))
    shop.renew(subscription)
    events = {event.object: event for page in gumroad.reader().pages() for event in page.events}
    assert events[coupon.id].evidence == {"product": guide.id, "coupon": "TEN"}
    assert all("ada" not in name for name in events[coupon.id].subjects)
    fetch()
    rows = {row["key"]: float(row["revenue"]) for row in report(nova)["rows"]}
    assert rows == {"mailer": 7.91, "poster": 7.91, "letters": pytest.approx(2 * 3.56)}
    (stored, *_) = nova.ledger.entries.of_object("gumroad", tagged.id)
    assert stored.entry.evidence == "url_params.nova_worker" and led.id in events


def test_a_claim_on_an_order_moves_what_was_booked_before(
    nova: Nova, shop: Shop, clock: ManualClock, fetch: Callable[..., Any]
) -> None:
    sale = shop.sell(shop.product(), url_params={"nova_worker": "mailer"})
    fetch()
    clock.advance(60)
    nova.ledger.apply(lambda conn: claims.claim(conn, nova.clock.now(), "gumroad", str(sale.order), "shop"))
    clock.advance(20 * 86400)
    fetch()
    assert {row["key"]: float(row["revenue"]) for row in report(nova)["rows"] if float(row["revenue"])} == {
        "shop": 7.91
    }


def test_a_ping_is_believed_by_the_sale_alone(
    nova: Nova, shop: Shop, gumroad: Gumroad, fetch: Callable[..., Any]
) -> None:
    sale, test = shop.sell(shop.product()), shop.sell(shop.product(), state="test_successful")
    assert gumroad.sale_events(test.id) == []
    with pytest.raises(NovaError):
        gumroad.sale_events("nobody==")
    ping = {"sale_id": sale.id, "price": "999999", "url_params[nova_worker]": "mailer"}
    for _ in range(2):
        events = gumroad.sale_events(sale.id, ping)
        nova.ledger.apply(lambda conn: book(conn, nova.ledger.store, "gumroad", events, {}))  # noqa: B023
    assert entries(nova, sale) == [("", "revenue", "10.00"), (":fee", "fee", "-2.09")]
    assert {event.tag.worker for event in events if event.tag} == {"mailer"}
    assert fetch()["new"] == 0


def test_reconcile_names_what_differs(nova: Nova, shop: Shop, gumroad: Gumroad, clock: ManualClock, fetch: Any) -> None:
    guide = shop.product()
    kept, gone = shop.sell(guide), shop.sell(guide)
    fetch()
    clock.advance(86400)
    shop.sales.remove(gone)
    shop.refund(kept, 100)
    late = shop.sell(guide)
    document = reconcile(nova, clients={"gumroad": gumroad})
    (row,) = document["sources"]
    said = {(one["id"], one["problem"]) for one in row["differences"]}
    assert said == {
        (gone.id, "missing there"), (f"{gone.id}:fee", "missing there"), (f"{kept.id}:refund@100", "missing here"),
        (late.id, "missing here"), (f"{late.id}:fee", "missing here"),
    }  # fmt: skip
    assert row["balance"] is None
    assert not agrees(nova, gumroad)
    day = clock.now() - timedelta(hours=1)
    fetch()
    assert reconcile(nova, clients={"gumroad": gumroad}, since=day)["ok"]


def test_subscriptions_tell_what_they_bring_a_month(
    nova: Nova, shop: Shop, clock: ManualClock, gumroad: Gumroad, fetch: Callable[..., Any]
) -> None:
    monthly, yearly = shop.product("M", 1000, recurrence="monthly"), shop.product("Y", 12000, recurrence="yearly")
    one, two = shop.subscribe(monthly), shop.subscribe(yearly, email="bob@example.com")
    trial = shop.subscribe(monthly, trial_days=7, email="eve@example.com")
    fetch()
    clock.advance(30 * 86400)
    shop.renew(one, listed=1200)
    shop.renew(trial)
    two.asked = clock.now()
    two.cancelled = clock.now() + timedelta(days=300)
    fetch()
    clock.advance(20 * 86400)
    one.failed = clock.now()
    fetch()
    kept = {(one.id, one.kind, str(one.monthly)) for one in nova.ledger.subscriptions.all()}
    facts = sorted((fact.at, fact.id, fact.kind, str(fact.monthly)) for fact in gumroad.subscription_facts(None))
    told = {(id, kind, amount) for _, id, kind, amount in facts}
    assert told == {
        (one.id, "started", "10.00"), (one.id, "changed", "12.00"), (one.id, "ended", "0.00"),
        (two.id, "started", "10.00"), (two.id, "cancelled", "10.00"), (trial.id, "started", "10.00"),
    }  # fmt: skip
    assert kept == told
    assert next(at for at, id, *_ in facts if id == trial.id) == trial.trial_until


def test_a_ping_tells_of_a_subscription_that_no_sync_would_find(
    nova: Nova, shop: Shop, clock: ManualClock, gumroad: Gumroad, fetch: Callable[..., Any]
) -> None:
    yearly = shop.subscribe(shop.product("Y", 12000, recurrence="yearly"))
    fetch()
    clock.advance(200 * 86400)
    fetch()
    clock.advance(100 * 86400)
    yearly.asked = yearly.cancelled = clock.now()
    fetch()
    assert {one.kind for one in nova.ledger.subscriptions.all()} == {"started"}
    told = {fact.kind: str(fact.monthly) for fact in gumroad.facts_of_subscription(yearly.id)}
    assert told == {"started": "10.00", "cancelled": "10.00", "ended": "0.00"}


def test_an_outage_is_told_and_leaves_the_ledger_whole(nova: Nova, shop: Shop, connect: Callable[..., Gumroad]) -> None:
    class Gone:
        url, token = "http://127.0.0.1:9", "secret-token-never-shown"

    with pytest.raises(Unreachable) as caught:
        sync(nova, clients={"gumroad": connect(Gone())})
    assert "secret" not in str(caught.value) and nova.ledger.cursors.get("gumroad").error
