"""What the client tells of an account whose every cent is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from nova.clock import ManualClock
from nova.demo.storefront import Fault, Storefront
from nova.errors import PlatformRefused, Unreachable, UsageProblem
from nova.money import Money
from platforms.base import Declined, RateLimited
from platforms.events import PlatformEvent
from platforms.line import Patience
from platforms.stripe_integration import Stripe
from tests.hands import QuickHands

ONCE = Patience(attempts=1)


def usd(amount: str) -> Money:
    return Money.parse(amount, "USD")


def figures(events: Iterable[PlatformEvent]) -> dict[str, Money]:
    sums = {name: Money.zero("USD") for name in ("gross", "refunds", "disputes", "fees")}
    for event in events:
        sums[event.figure] += event.effect if event.figure == "gross" else -event.effect
    return sums


def available(stripe: Stripe) -> Money:
    return Money.total([*stripe.balance().available, *stripe.balance().pending], "USD")


def busy(store: Storefront, clock: ManualClock) -> None:
    for n in range(30):
        sale = store.sell(f"{10 + n}.00", worker=("mailer", "shop", None)[n % 3])
        clock.advance(3600)
        if n % 5 == 0:
            store.refund(sale, "3.00", return_fee=n % 10 == 0)
        if n % 7 == 0:
            dispute = store.dispute(sale)
            clock.advance(3600)
            store.account.close_dispute(dispute, won=n % 14 == 0)
        if n % 11 == 0:
            store.account.fail_refund(store.refund(sale, "1.00"))
    store.subscribe("49.00", worker="letters")
    store.account.charge_fee(500, "Radar")
    store.account.payout(2500, "usd")


def test_gross_less_fees_refunds_and_disputes_is_the_balance(
    store: Storefront, stripe: Stripe, clock: ManualClock
) -> None:
    busy(store, clock)
    pages = list(stripe.reader().pages())
    events = [event for page in pages for event in page.events]
    sums = figures(events)
    paid_out = Money.total([one.amount for page in pages for one in page.moved], "USD")
    assert paid_out == usd("-25.00")
    assert sums["gross"] == usd(str(sum(10 + n for n in range(30)) + 49))
    assert sums["gross"] - sums["fees"] - sums["refunds"] - sums["disputes"] + paid_out == available(stripe)
    assert Counter(event.kind for event in events)["adjustment"] > 0
    assert len({event.id for event in events}) == len(events)


def test_a_sale_its_fee_its_refund_and_its_dispute_share_their_object(store: Storefront, stripe: Stripe) -> None:
    sale = store.sell("20.00", worker="mailer")
    store.refund(sale, "5.00")
    store.account.close_dispute(store.dispute(sale), won=True)
    events = {event.id: event for event in stripe.balance_events()}
    assert {event.object for event in events.values()} == {sale.intent}
    assert all({sale.intent, sale.charge} <= set(event.objects) for event in events.values())
    assert events[sale.transaction].amount == usd("20.00")
    assert events[f"{sale.transaction}:fee"].amount == usd("0.88")
    assert sorted(event.kind for event in events.values()) == [
        "adjustment", "adjustment", "dispute", "fee", "fee", "refund", "revenue",
    ]  # fmt: skip


def test_a_won_dispute_corrects_the_dispute_and_its_fee(store: Storefront, stripe: Stripe, clock: ManualClock) -> None:
    dispute = store.dispute(store.sell("20.00"))
    taken_at = clock.now()
    clock.advance(86400)
    store.account.close_dispute(dispute, won=True)
    taken, given = (row["id"] for row in dispute["balance_transactions"])
    events = {event.id: event for event in stripe.balance_events()}
    assert (events[given].kind, events[given].corrects, events[given].amount) == ("adjustment", taken, usd("20.00"))
    assert (events[f"{given}:fee"].corrects, events[f"{given}:fee"].amount) == (f"{taken}:fee", usd("15.00"))
    assert events[given].corrects_at == taken_at


def test_money_that_was_converted_is_told_as_it_was_settled(
    storefront: Callable[..., Storefront], connect: Callable[..., Stripe]
) -> None:
    store = storefront(rates={"eur": Decimal("1.0837")})
    store.sell("10.00", currency="eur")
    sale = next(event for event in connect(store).balance_events() if event.kind == "revenue")
    assert (sale.amount, sale.presented, sale.rate) == (usd("10.84"), Money.parse("10.00", "EUR"), Decimal("1.0837"))
    assert sale.note == "paid 10.00 EUR at 1.0837"


def test_since_leaves_out_what_is_older(store: Storefront, stripe: Stripe, clock: ManualClock) -> None:
    store.sell("1.00")
    clock.advance(3600)
    since = clock.now()
    late = store.sell("2.00")
    assert {event.transaction for event in stripe.balance_events(since)} == {late.transaction}
    assert store.exchanges[-1].params["created"] == {"gte": int(since.timestamp())}


def test_a_reading_goes_on_behind_a_page(store: Storefront, stripe: Stripe, clock: ManualClock) -> None:
    for _ in range(250):
        store.sell("1.00")
    first, *rest = stripe.reader().pages()
    later = list(stripe.reader().pages(after=first.after))
    assert [page.transactions for page in (first, *rest)] == [100, 100, 50]
    assert [page.events for page in later] == [page.events for page in rest]
    assert rest[-1].after is None


def test_an_object_that_a_page_repeats_is_told_once(store: Storefront, stripe: Stripe) -> None:
    for _ in range(150):
        store.sell("1.00")
    store.fail(Fault("slow"))
    store.fail(Fault("repeat", "/v1/balance_transactions"))
    ids = [event.id for event in stripe.balance_events()]
    assert len(ids) == len(set(ids)) == 300


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("version", ["2022-11-15", None])
def test_the_worker_is_found_wherever_it_is_written(
    storefront: Callable[..., Storefront],
    connect: Callable[..., Stripe],
    deep: bool,
    version: str | None,
    clock: ManualClock,
) -> None:
    store = storefront(deep=deep, version=version)
    account = store.account
    on_charge = store.sell("1.00", worker="charged")
    on_intent = store.sell("2.00")
    account.get(on_intent.intent)["metadata"]["nova_worker"] = "intended"
    store.subscribe("3.00", worker="subscribed")
    on_subscription = account.newest_first("charge")[0]["payment_intent"]
    store.subscribe("4.00", worker="other")
    on_invoice = account.newest_first("charge")[0]["payment_intent"]
    account.newest_first("invoice")[0]["metadata"]["nova_worker"] = "billed"
    nowhere = store.sell("5.00")
    store.refund(on_intent)
    found = {}
    reader = connect(store).reader()
    for page in reader.pages():
        for event in page.events:
            found.setdefault(event.object, set()).add(reader.tag(event))
    told = {key: {(tag.worker, tag.found) if tag else None for tag in tags} for key, tags in found.items()}
    assert told == {
        on_charge.intent: {("charged", "charge.metadata")},
        on_intent.intent: {("intended", "payment_intent.metadata")},
        on_subscription: {("subscribed", "subscription.metadata")},
        on_invoice: {("billed", "invoice.metadata")},
        nowhere.intent: {None},
    }


def test_what_is_behind_a_charge_is_looked_up_once(store: Storefront, stripe: Stripe) -> None:
    store.subscribe("3.00", worker="subscribed")
    reader = stripe.reader()
    for page in reader.pages():
        tags = [reader.tag(event) for event in page.events]
    assert [tag.worker for tag in tags if tag] == ["subscribed", "subscribed"]
    asked = Counter(exchange.request for exchange in store.exchanges)
    assert asked == {"GET /v1/balance_transactions": 1, "GET /v1/invoice_payments": 1, "GET /v1/invoices/{id}": 1}


def test_the_payment_of_a_guest_is_not_looked_for_among_invoices(store: Storefront, stripe: Stripe) -> None:
    store.sell("3.00")
    reader = stripe.reader()
    assert [reader.tag(event) for page in reader.pages() for event in page.events] == [None, None]
    assert not [exchange.request for exchange in store.exchanges if "invoice" in exchange.request]


def test_a_rate_limit_is_waited_out_as_asked(store: Storefront, stripe: Stripe, hands: QuickHands) -> None:
    store.sell("1.00")
    store.fail(Fault("rate_limit", times=2, retry_after="7"))
    assert len(list(stripe.balance_events())) == 2
    assert len(hands.slept) == 2 and all(7.0 <= wait_s <= 8.0 for wait_s in hands.slept)


def test_a_rate_limit_without_a_time_is_waited_out_longer_and_longer(
    store: Storefront, stripe: Stripe, hands: QuickHands
) -> None:
    store.fail(Fault("rate_limit", times=3))
    stripe.balance()
    assert [bound / 2 <= wait_s <= bound for wait_s, bound in zip(hands.slept, (0.5, 1.0, 2.0), strict=True)] == [
        True
    ] * 3


def test_patience_with_a_rate_limit_ends(store: Storefront, connect: Callable[..., Stripe], hands: QuickHands) -> None:
    store.fail(Fault("rate_limit", times=9))
    with pytest.raises(RateLimited):
        connect(store, patience=Patience(attempts=3)).balance()
    assert len(hands.slept) == 2


def test_a_wait_longer_than_patience_is_not_begun(store: Storefront, stripe: Stripe, hands: QuickHands) -> None:
    store.fail(Fault("rate_limit", retry_after="3600"))
    with pytest.raises(RateLimited) as caught:
        stripe.balance()
    assert (hands.slept, caught.value.exit_code, caught.value.retry_after_s) == ([], 69, 3600)


def test_an_error_of_the_server_is_tried_again(store: Storefront, stripe: Stripe) -> None:
    store.fail(Fault("error", times=2))
    assert stripe.check() == "answers; balance in USD"


def test_a_server_that_keeps_failing_is_unreachable(store: Storefront, connect: Callable[..., Stripe]) -> None:
    store.fail(Fault("error", times=9))
    with pytest.raises(Unreachable) as caught:
        connect(store, patience=ONCE).balance()
    assert caught.value.exit_code == 69 and caught.value.hint


def test_a_server_that_is_gone_or_slow_is_unreachable(store: Storefront, connect: Callable[..., Stripe]) -> None:
    with pytest.raises(Unreachable):
        Stripe(store.key, "http://127.0.0.1:9", patience=ONCE).balance()
    store.fail(Fault("slow", seconds=1.0))
    with pytest.raises(Unreachable):
        connect(store, patience=ONCE, timeout_s=(1.0, 0.2)).balance()


def test_a_wrong_key_is_refused_and_never_shown(store: Storefront, connect: Callable[..., Stripe]) -> None:
    key = "sk_test_verysecretverysecret"
    with pytest.raises(PlatformRefused) as caught:
        connect(store, key=key).check()
    problem: BaseException | None = caught.value
    assert caught.value.exit_code == 5
    while problem is not None:
        assert key not in f"{problem} {problem!r}" and "0000" not in str(problem)
        problem = problem.__cause__


def test_an_answer_that_got_lost_is_one_payment(store: Storefront, stripe: Stripe) -> None:
    store.fail(Fault("lost", "/v1/payment_intents"))
    first, again = (
        stripe.payments.create(usd("9.00"), worker="mailer", payment_method="pm_card_visa", confirm=True, key="run-1")
        for _ in range(2)
    )
    assert first == again and first.paid and first.worker == "mailer"
    assert len(store.account.newest_first("charge")) == 1


def test_a_payment_must_be_whole_cents(stripe: Stripe) -> None:
    with pytest.raises(UsageProblem):
        stripe.payments.create(usd("0.001"))
    with pytest.raises(Declined, match="declined"):
        stripe.payments.create(usd("9.00"), payment_method="pm_card_visa_chargeDeclined", confirm=True)


def test_events_carry_the_time_of_the_transaction(store: Storefront, stripe: Stripe) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    store.sell("1.00", at=at)
    assert {event.at for event in stripe.balance_events(at - timedelta(days=1))} == {at}
