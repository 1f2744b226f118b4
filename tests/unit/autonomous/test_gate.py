from __future__ import annotations

from typing import Any

import pytest

from nova.autonomous.decision import Decision, Kind
from nova.autonomous.gate import ADVISED, DEFERRED, EXECUTE, HELD, PENDING, Situation, Standing, approvable, gate


def proposal(given: Any, worker: str, kind: Kind = Kind.SCALE_UP, impact: str = "10", to: int = 2) -> Decision:
    return Decision(worker, kind, kind.value, "because", 1, to, given.usd(impact), policy_version=1)


def situation(given: Any, **changes: Any) -> Situation:
    budgets = {"budget_left": {"fleet": given.usd("1000")}, "scopes": dict.fromkeys("abc", ("fleet",))}
    return Situation(**{"evaluated": 10, "added": given.usd("0"), **budgets, **changes})


def outcomes(given: Any, proposals: list[Decision], around: Situation, **policy: str) -> dict[str, str]:
    return {gated.decision.worker: gated.outcome for gated in gate(proposals, given.policy(**policy), around)}


def test_exactly_the_limit_passes_and_a_millionth_more_waits(given: Any) -> None:
    got = outcomes(given, [proposal(given, "a", impact="50")], situation(given))
    assert got == {"a": EXECUTE}
    got = outcomes(given, [proposal(given, "a", impact="50.000001")], situation(given))
    assert got == {"a": PENDING}


def test_small_steps_that_sum_up_over_the_fleet_wait(given: Any) -> None:
    steps = [proposal(given, name, impact="20") for name in "abc"]
    assert outcomes(given, steps, situation(given), max_actions_per_cycle="100%") == {
        "a": EXECUTE,
        "b": EXECUTE,
        "c": PENDING,
    }
    assert outcomes(given, steps[:1], situation(given, added=given.usd("30.01"))) == {"a": PENDING}


def test_reductions_give_no_credit(given: Any) -> None:
    got = outcomes(
        given,
        [proposal(given, "loser", Kind.KILL, "-500", 0), proposal(given, "big", impact="51")],
        situation(given),
        max_actions_per_cycle="100%",
    )
    assert got == {"loser": EXECUTE, "big": PENDING}


def test_what_stops_a_loss_comes_first_and_the_rest_is_deferred(given: Any) -> None:
    kinds = [Kind.SCALE_UP, Kind.RESUME, Kind.OPTIMIZE, Kind.SCALE_DOWN, Kind.PAUSE, Kind.KILL]
    proposals = [proposal(given, kind.value, kind, "1") for kind in kinds]

    got = gate(proposals, given.policy(max_actions_per_cycle="3"), situation(given))

    assert [gated.decision.worker for gated in got[:3]] == ["kill", "pause", "scale_down"]
    assert [gated.outcome for gated in got] == [EXECUTE] * 3 + [DEFERRED] * 3


def test_of_one_kind_what_spares_money_comes_first(given: Any) -> None:
    proposals = [proposal(given, name, Kind.BUDGET, impact) for name, impact in (("a", "20"), ("b", "-5"), ("c", "-9"))]
    assert outcomes(given, proposals, situation(given), max_actions_per_cycle="2") == {
        "c": EXECUTE,
        "b": EXECUTE,
        "a": DEFERRED,
    }


def test_at_least_one_action_is_allowed_in_a_small_fleet(given: Any) -> None:
    got = outcomes(given, [proposal(given, "a"), proposal(given, "b")], situation(given, evaluated=2))
    assert sorted(got.values()) == [DEFERRED, EXECUTE]


def test_advice_is_never_capped_and_says_what_would_need_a_person(given: Any) -> None:
    proposals = [proposal(given, name, impact="60") for name in "abcdef"]
    got = gate(proposals, given.policy(), situation(given, advise_only=True))
    assert {(gated.outcome, gated.requires_approval) for gated in got} == {(ADVISED, True)}


def test_the_protected_are_only_advised_on(given: Any) -> None:
    got = outcomes(given, [proposal(given, "a", Kind.KILL, "-1", 0)], situation(given), protected="a")
    assert got == {"a": ADVISED}


def test_a_rejected_proposal_is_silent(given: Any) -> None:
    again = proposal(given, "a", impact="61")
    silenced = frozenset({proposal(given, "a", impact="60").fingerprint})

    (gated,) = gate([again], given.policy(), situation(given, silenced=silenced))

    assert (gated.outcome, gated.decision.kind, gated.decision.rule) == (HELD, Kind.HOLD, "rejected_recently")
    assert outcomes(given, [proposal(given, "a", to=3)], situation(given, silenced=silenced)) == {"a": EXECUTE}


def test_a_standing_proposal_keeps_its_record_and_takes_no_place(given: Any) -> None:
    policy = given.policy()
    asked = proposal(given, "a", impact="60")
    standing = {"a": Standing("d1", asked.fingerprint, asked.daily_cost_impact)}
    around = situation(given, evaluated=1, standing=standing)

    got = gate([proposal(given, "a", impact="61"), proposal(given, "b", impact="9")], policy, around)

    assert [(gated.outcome, gated.keeps) for gated in got] == [(PENDING, "d1"), (EXECUTE, None)]


@pytest.mark.parametrize(("impact", "keeps"), [("51", "d1"), ("75", "d1"), ("75.01", None)])
def test_a_proposal_that_outgrew_by_a_quarter_what_was_first_asked_is_asked_anew(
    given: Any, impact: str, keeps: str | None
) -> None:
    asked = proposal(given, "a", impact="60")
    standing = {"a": Standing("d1", asked.fingerprint, asked.daily_cost_impact)}

    (gated,) = gate([proposal(given, "a", impact=impact)], given.policy(), situation(given, standing=standing))

    assert (gated.outcome, gated.keeps) == (PENDING, keeps)


def test_other_replicas_do_not_keep_the_record(given: Any) -> None:
    asked = proposal(given, "a", impact="60")
    standing = {"a": Standing("d1", asked.fingerprint, asked.daily_cost_impact)}
    (gated,) = gate([proposal(given, "a", impact="60", to=3)], given.policy(), situation(given, standing=standing))
    assert (gated.outcome, gated.keeps) == (PENDING, None)


def test_steps_of_one_cycle_share_what_the_day_leaves(given: Any) -> None:
    steps = [proposal(given, name, impact="10") for name in "ab"]
    around = situation(given, budget_left={"fleet": given.usd("19.99")})
    got = gate(steps, given.policy(max_actions_per_cycle="100%"), around)
    assert [gated.outcome for gated in got] == [EXECUTE, DEFERRED]
    assert "budget" in got[1].decision.reason


def test_steps_share_what_their_departments_day_leaves(given: Any) -> None:
    left = {"fleet": given.usd("1000"), "department:mail": given.usd("15")}
    scopes = {"a": ("fleet", "department:mail"), "b": ("fleet", "department:mail"), "c": ("fleet", "department:ads")}
    steps = [proposal(given, name, impact="10") for name in "abc"]

    got = gate(steps, given.policy(max_actions_per_cycle="100%"), situation(given, budget_left=left, scopes=scopes))

    assert [gated.outcome for gated in got] == [EXECUTE, DEFERRED, EXECUTE]
    assert "department:mail" in got[1].decision.reason


def test_the_hash_binds_the_amount_and_the_fingerprint_does_not(given: Any) -> None:
    one, other = proposal(given, "a", impact="60"), proposal(given, "a", impact="60.01")
    assert one.fingerprint == other.fingerprint
    assert one.hash != other.hash


@pytest.mark.parametrize(("impact", "amount"), [("100", "102.00"), ("-5", "-5.00")])
def test_an_approval_holds_up_to_a_little_more(given: Any, impact: str, amount: str) -> None:
    assert str(approvable(given.usd(impact), given.policy())) == amount
