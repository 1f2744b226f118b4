from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from nova.clock import ManualClock
from nova.errors import BudgetExceeded, LedgerConflict, NotFound, Refused, UsageProblem
from nova.ledger.budgets import Budgets, Limit, LimitReached, RunRef, Usage
from nova.ledger.entries import Entries
from nova.ledger.rates import Rates
from nova.ledger.runs import Runs
from nova.ledger.schema import budget_usage, entries
from nova.ledger.store import Store
from nova.money import Money

SCOPES = ("fleet", "department:sales", "worker:mailer")


def usd(amount: str) -> Money:
    return Money.parse(amount, "USD")


def limit(scope: str, amount: str, per: str = "day") -> Limit:
    return Limit(scope, per, usd(amount))


@pytest.fixture
def budgets(store: Store) -> Budgets:
    return Budgets(store)


@pytest.fixture
def runs(store: Store) -> Runs:
    return Runs(store)


@pytest.fixture
def run(runs: Runs, clock: ManualClock) -> RunRef:
    ref = RunRef("r1", "mailer", "mailer#1", "sales", "m1")
    runs.started(ref, clock.now())
    return ref


def spent_entries(store: Store) -> list[tuple[str, int | None, str]]:
    with store.read() as conn:
        query = select(entries.c.id, entries.c.booked_micros, entries.c.note).order_by(entries.c.id)
        return [(row.id, row.booked_micros, row.note) for row in conn.execute(query)]


def test_everything_a_run_spends_counts_in_every_scope_limits_or_not(budgets: Budgets, run: RunRef) -> None:
    budgets.spend(run, usd("0.25"))
    key = budgets.reserve(run, usd("1"))
    for scope in SCOPES:
        for per in ("day", "month", "total"):
            assert budgets.usage(scope, per) == Usage(usd("0.25"), usd("1"))
    assert budgets.usage("run:r1", "run") == Usage(usd("0.25"), usd("1"))
    budgets.settle(key, usd("0.5"))
    assert budgets.usage("fleet", "day") == Usage(usd("0.75"), usd("0"))
    budgets.release(budgets.reserve(run, usd("3")))
    assert budgets.usage("run:r1", "run") == Usage(usd("0.75"), usd("0"))


@pytest.mark.parametrize(
    ("scope", "per"), [("run", "run"), *((scope, per) for scope in SCOPES for per in ("run", "day", "month", "total"))]
)
def test_a_limit_refuses_the_first_millionth_above_it(budgets: Budgets, run: RunRef, scope: str, per: str) -> None:
    limits = [limit("fleet", "1000"), limit(scope, "1.00", per)]
    budgets.spend(run, usd("0.4"), limits)
    budgets.reserve(run, usd("0.6"), limits)
    before = budgets.usage("fleet", "day")
    with pytest.raises(LimitReached):
        budgets.spend(run, usd("0.000001"), limits)
    with pytest.raises(BudgetExceeded):
        budgets.reserve(run, usd("0.000001"), limits)
    assert budgets.usage("fleet", "day") == before


def test_a_refusal_says_what_was_spent_of_what_and_until_when(budgets: Budgets, run: RunRef) -> None:
    limits = [limit("worker:mailer", "10.00"), limit("run", "20", "run")]
    budgets.spend(run, usd("9.98"), limits)
    with pytest.raises(LimitReached) as refusal:
        budgets.spend(run, usd("0.03"), limits)
    error = refusal.value
    assert error.message == "worker:mailer has spent $9.98 of $10.00 today; $0.03 more was asked"
    assert error.hint == "raise it with `nova budgets set worker:mailer AMOUNT/day`, or wait until 2026-11-22T00:00:00Z"
    assert (error.limit, error.spent, error.reserved, error.asked) == (limits[0], usd("9.98"), usd("0"), usd("0.03"))
    assert error.exit_code == 4


def test_of_several_limits_in_the_way_the_longest_lasting_is_named(budgets: Budgets, run: RunRef) -> None:
    limits = [limit("run", "1", "run"), limit("worker:mailer", "1"), limit("fleet", "1", "month")]
    budgets.reserve(run, usd("0.5"), limits)
    with pytest.raises(
        LimitReached, match=r"fleet has spent \$0\.00 and reserved \$0\.50 of \$1\.00 this month"
    ) as refusal:
        budgets.spend(run, usd("0.51"), limits)
    assert [breach.limit for breach in refusal.value.refused] == [limits[2], limits[1], limits[0]]
    assert refusal.value.breach.until == datetime(2026, 12, 1, tzinfo=UTC)


def test_a_total_never_turns_and_its_refusal_names_no_time(budgets: Budgets, run: RunRef, clock: ManualClock) -> None:
    limits = [limit("worker:mailer", "1", "total"), limit("worker:mailer", "0.8")]
    budgets.spend(run, usd("0.7"), limits)
    clock.advance(400 * 86_400)
    with pytest.raises(LimitReached) as refusal:
        budgets.spend(run, usd("0.4"), limits)
    assert refusal.value.message == "worker:mailer has spent $0.70 of $1.00 in total; $0.40 more was asked"
    assert refusal.value.hint == "raise it with `nova budgets set worker:mailer AMOUNT/total`"
    assert refusal.value.breach.until is None
    booked = budgets.spent(run, usd("0.4"), limits)
    assert [(breach.limit, breach.window, breach.until) for breach in booked.breaches] == [(limits[0], "total", None)]
    assert [breach.limit for breach in budgets.broken(limits)] == limits[:1]


def test_a_reservation_that_is_settled_too_high_after_its_day_still_tells_of_the_total(
    budgets: Budgets, run: RunRef, clock: ManualClock
) -> None:
    limits = [limit("fleet", "0.5"), limit("fleet", "5", "total")]
    key = budgets.reserve(run, usd("0.5"), limits)
    budgets.spent(run, usd("5"), limits)
    clock.advance(86_400)
    assert [breach.limit.per for breach in budgets.settle(key, usd("0.5"), limits).breaches] == ["total"]


def test_money_that_is_gone_is_booked_and_tells_what_it_broke(budgets: Budgets, run: RunRef) -> None:
    limits = [limit("worker:mailer", "1"), limit("fleet", "5")]
    assert budgets.spent(run, usd("1"), limits).breaches == ()
    booked = budgets.spent(run, usd("0.5"), limits)
    assert [(breach.limit, breach.spent) for breach in booked.breaches] == [(limits[0], usd("1.5"))]
    assert budgets.usage("worker:mailer", "day").spent == usd("1.5")
    assert [breach.limit for breach in budgets.broken(limits)] == [limits[0]]


def test_of_the_tiers_that_one_step_reaches_the_highest_is_told(budgets: Budgets, run: RunRef) -> None:
    warned = Limit("worker:mailer", "total", usd("1"), tiers=(50, 80, 95))
    steps = ("0.49", "0.01", "0.2", "0.26", "0.02")
    near = [budgets.spend(run, usd(amount), [warned]).near for amount in steps]
    assert [[breach.tier for breach in each] for each in near] == [[], [50], [], [95], []]


def test_crossing_four_fifths_is_told_once(budgets: Budgets, run: RunRef) -> None:
    limits = [limit("worker:mailer", "1")]
    crossed = [bool(budgets.spend(run, usd("0.2"), limits).near) for _ in range(3)]
    key = budgets.reserve(run, usd("0.4"), limits)
    crossed.append(bool(budgets.settle(key, usd("0.2"), limits).near))
    crossed.append(bool(budgets.spend(run, usd("0.2"), limits).near))
    assert crossed == [False, False, False, True, False]


def test_what_a_reservation_cost_above_its_ceiling_is_booked_in_full(budgets: Budgets, run: RunRef) -> None:
    limits = [limit("worker:mailer", "1")]
    key = budgets.reserve(run, usd("0.9"), limits)
    booked = budgets.settle(key, usd("1.3"), limits)
    assert [breach.spent for breach in booked.breaches] == [usd("1.3")]
    assert budgets.usage("worker:mailer", "month") == Usage(usd("1.3"), usd("0"))


def test_settling_again_charges_nothing_and_another_amount_is_refused(budgets: Budgets, run: RunRef) -> None:
    key = budgets.reserve(run, usd("1"))
    for _ in range(3):
        budgets.settle(key, usd("0.3"))
    with pytest.raises(LedgerConflict, match=r"was settled with 0\.30 USD before"):
        budgets.settle(key, usd("0.4"))
    with pytest.raises(LedgerConflict):
        budgets.release(key)
    assert budgets.usage("worker:mailer", "day") == Usage(usd("0.3"), usd("0"))


def test_a_release_repeats_without_effect(budgets: Budgets, run: RunRef) -> None:
    key = budgets.reserve(run, usd("1"))
    budgets.release(key)
    budgets.release(key)
    assert budgets.usage("fleet", "day") == Usage(usd("0"), usd("0"))


@pytest.mark.parametrize("amount", ["0", "-1"])
def test_a_reservation_is_more_than_nothing(budgets: Budgets, run: RunRef, amount: str) -> None:
    with pytest.raises(UsageProblem, match="more than nothing"):
        budgets.reserve(run, usd(amount))


def test_negative_spending_is_refused_and_nothing_spent_is_nothing(
    budgets: Budgets, runs: Runs, store: Store, run: RunRef, clock: ManualClock
) -> None:
    calls: list[Callable[[], object]] = [
        lambda: budgets.spend(run, usd("-1")),
        lambda: budgets.spent(run, usd("-1")),
        lambda: budgets.settle(budgets.reserve(run, usd("1")), usd("-1")),
    ]
    for call in calls:
        with pytest.raises(UsageProblem):
            call()
    budgets.spend(run, usd("0"))
    budgets.spent(run, usd("0"))
    assert budgets.usage("fleet", "day").spent == usd("0")


def test_a_reservation_over_midnight_is_spent_on_the_day_that_granted_it(
    store: Store, budgets: Budgets, runs: Runs, run: RunRef, clock: ManualClock
) -> None:
    limits = [limit("fleet", "10")]
    clock.set(datetime(2026, 11, 30, 23, 59, tzinfo=UTC))
    key = budgets.reserve(run, usd("4"), limits)
    clock.advance(120)
    budgets.reserve(run, usd("10"), limits)
    assert budgets.settle(key, usd("5"), limits).breaches == ()
    yesterday = clock.now() - timedelta(hours=1)
    for per in ("day", "month"):
        assert budgets.usage("fleet", per, yesterday) == Usage(usd("4"), usd("0"))
        assert budgets.usage("fleet", per) == Usage(usd("1"), usd("10"))
    runs.end(run, clock.now(), "succeeded")
    assert spent_entries(store) == [
        ("r1:2026-11-30", 4_000_000, None),
        ("r1:2026-12-01", 11_000_000, "reservation never settled"),
    ]


def test_a_clock_set_back_over_midnight_breaks_nothing(
    store: Store, budgets: Budgets, runs: Runs, run: RunRef, clock: ManualClock
) -> None:
    clock.set(datetime(2026, 11, 22, 0, 30, tzinfo=UTC))
    key = budgets.reserve(run, usd("2"))
    budgets.spend(run, usd("1"))
    clock.set(datetime(2026, 11, 21, 23, 30, tzinfo=UTC))
    budgets.spend(run, usd("1"))
    budgets.settle(key, usd("2"))
    assert runs.end(run, clock.now(), "succeeded")
    assert [row[:2] for row in spent_entries(store)] == [("r1:2026-11-21", 1_000_000), ("r1:2026-11-22", 3_000_000)]
    assert budgets.usage("fleet", "month") == Usage(usd("4"), usd("0"))


def test_another_currency_is_counted_by_the_operators_rate(
    store: Store, budgets: Budgets, runs: Runs, run: RunRef, clock: ManualClock
) -> None:
    Rates(store).set("EUR", Decimal("1.10"), "dana")
    limits = [Limit("worker:mailer", "day", Money.parse("1", "EUR"))]
    budgets.spend(run, Money.parse("0.5", "EUR"), limits, "model call")
    key = budgets.reserve(run, Money.parse("0.5", "EUR"), limits)
    assert budgets.usage("worker:mailer", "day") == Usage(usd("0.55"), usd("0.55"))
    with pytest.raises(LimitReached):
        budgets.spend(run, usd("0.000001"), limits)
    budgets.settle(key, Money.parse("0.2", "EUR"))
    budgets.settle(key, Money.parse("0.2", "EUR"))
    runs.end(run, clock.now(), "succeeded")
    assert spent_entries(store) == [("r1:2026-11-21", 770_000, "0.50 EUR model call; 0.20 EUR")]


def test_unknown_cost_is_never_spent_but_booked_when_it_is_gone(store: Store, budgets: Budgets, run: RunRef) -> None:
    yen = Money.parse("500", "JPY")
    for refused in (budgets.spend, budgets.reserve):
        with pytest.raises(Refused, match="500 JPY cannot be counted in USD") as problem:
            refused(run, yen)
        assert not isinstance(problem.value, BudgetExceeded)
    with pytest.raises(Refused, match="cannot be counted"):
        budgets.spend(run, usd("1"), [Limit("fleet", "day", yen)])
    budgets.spent(run, yen, [limit("fleet", "1")])
    key = budgets.reserve(run, usd("1"))
    for _ in range(2):
        budgets.settle(key, yen)
    assert budgets.usage("fleet", "day") == Usage(usd("0"), usd("0"))
    assert [row[1] for row in spent_entries(store)] == [None, None]
    Rates(store).set("JPY", Decimal("0.01"), "dana")
    assert budgets.usage("worker:mailer", "day").spent == usd("10")


def test_nothing_is_spent_in_the_name_of_an_ended_run(
    store: Store, budgets: Budgets, runs: Runs, run: RunRef, clock: ManualClock
) -> None:
    key = budgets.reserve(run, usd("1"))
    runs.end(run, clock.now(), "failed", "timed out")
    for late in (budgets.spend, budgets.reserve):
        with pytest.raises(Refused, match="the run r1 of mailer has ended"):
            late(run, usd("0.1"))
    with pytest.raises(NotFound):
        budgets.settle(key, usd("0.5"))
    assert budgets.usage("worker:mailer", "day") == Usage(usd("1"), usd("0"))


def test_money_gone_after_the_end_is_an_entry_of_its_own(
    store: Store, budgets: Budgets, runs: Runs, run: RunRef, clock: ManualClock
) -> None:
    runs.end(run, clock.now(), "succeeded")
    limits = [limit("worker:mailer", "1"), limit("run", "1", "run")]
    assert [breach.limit for breach in budgets.spent(run, usd("1.5"), limits, "late bill").breaches] == limits[:1]
    assert [row[1:] for row in spent_entries(store)] == [(1_500_000, "late bill")]
    assert budgets.usage("worker:mailer", "day") == Usage(usd("1.5"), usd("0"))
    with store.read() as conn:
        assert conn.execute(select(budget_usage).where(budget_usage.c.scope == "run:r1")).all() == []


def test_a_refusal_caught_inside_a_transaction_leaves_nothing_behind(store: Store, run: RunRef) -> None:
    from nova.ledger import budgets as module

    def work(conn: object) -> None:
        with pytest.raises(LimitReached):
            module.spend(conn, store, run, usd("2"), [limit("fleet", "1")])  # type: ignore[arg-type]

    store.apply(work)
    assert Budgets(store).usage("fleet", "day") == Usage(usd("0"), usd("0"))


def test_windows_follow_the_operators_zone(tmp_path: object, clock: ManualClock) -> None:
    from zoneinfo import ZoneInfo

    store = Store.open(f"sqlite:///{tmp_path}/east.db", currency="USD", zone=ZoneInfo("Asia/Tokyo"), clock=clock)
    clock.set(datetime(2026, 11, 30, 15, 30, tzinfo=UTC))
    budgets = Budgets(store)
    budgets.spend(RunRef("r1", "mailer", "mailer#1", "sales"), usd("1"))
    clock.set(datetime(2026, 11, 30, 14, 30, tzinfo=UTC))
    assert budgets.usage("fleet", "month").spent == usd("0")
    clock.set(datetime(2026, 12, 1, 14, 30, tzinfo=UTC))
    assert budgets.usage("fleet", "day").spent == usd("1")
    store.close()


def test_a_bill_booked_elsewhere_counts_too(store: Store, budgets: Budgets, run: RunRef, clock: ManualClock) -> None:
    from nova.ledger.entries import Entry

    Entries(store).record([Entry("b1", "manual", "cost", usd("0.9"), clock.now(), worker="mailer")])
    with pytest.raises(LimitReached, match=r"spent \$0\.90 of \$1\.00"):
        budgets.spend(run, usd("0.2"), [limit("worker:mailer", "1")])


def test_a_hostile_reason_is_kept_short_and_on_one_line(
    store: Store, budgets: Budgets, runs: Runs, run: RunRef, clock: ManualClock
) -> None:
    for reason in ("a\nb\x00\ud800" + "x" * 500, "again", "again", "", "  "):
        budgets.spend(run, usd("0.1"), (), reason)
    for number in range(100):
        budgets.spend(run, usd("0.1"), (), f"reason number {number} of very many")
    runs.end(run, clock.now(), "succeeded")
    [(_, micros, note)] = spent_entries(store)
    assert micros == 10_500_000 and note.startswith("a b  xxx") and note.count("again") == 1 and len(note) < 600
