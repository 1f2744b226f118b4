"""Every model by cases computed by hand; every division adds up to the cent."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova.revenue.attribution.markov import effects_of, removal_effects, transitions
from nova.revenue.attribution.models import (
    DIVIDING,
    WHOLE,
    Part,
    Step,
    as_millionths,
    divided,
    divided_together,
    shares,
)

GOLDEN = Path(__file__).parents[2] / "data" / "markov_golden.json"
DAY = 86_400.0


def path(text: str) -> list[Step]:
    """`a3 b1`: a met three days before, b one."""
    return [Step(one[0], float(one[1:]) * DAY) for one in text.split()]


@pytest.mark.parametrize(
    ("model", "met", "expected"),
    [
        ("first_touch", "a3 b2 c1", {"a": WHOLE}),
        ("last_touch", "a3 b2 c1", {"c": WHOLE}),
        ("linear", "a3 b2 c1", {"a": 333_334, "b": 333_333, "c": 333_333}),
        ("linear", "a3 b2 a1 a0", {"a": 750_000, "b": 250_000}),
        ("position", "a9", {"a": WHOLE}),
        ("position", "a9 b1", {"a": 500_000, "b": 500_000}),
        ("position", "a9 b5 c1", {"a": 400_000, "b": 200_000, "c": 400_000}),
        ("position", "a9 b5 c3 d1", {"a": 400_000, "b": 100_000, "c": 100_000, "d": 400_000}),
        ("position", "a9 b5 a1", {"a": 800_000, "b": 200_000}),
        ("time_decay", "a7 b0", {"a": 333_333, "b": 666_667}),
        ("time_decay", "a14 b7 c0", {"a": 142_857, "b": 285_714, "c": 571_429}),
        ("time_decay", "a4000 b3993", {"a": 333_333, "b": 666_667}),
    ],
)
def test_a_model_divides_as_computed_by_hand(model: str, met: str, expected: dict[str, int]) -> None:
    assert shares(model, path(met)) == expected


def test_markov_divides_among_those_on_the_path_by_their_removal_effects() -> None:
    effects = {"a": 0.6, "b": 0.2, "c": 0.9}
    assert shares("markov", path("a3 b2 a1"), effects) == {"a": 750_000, "b": 250_000}
    assert shares("markov", path("x3 y2"), effects) == {"x": 500_000, "y": 500_000}


def test_removal_effects_as_computed_by_hand() -> None:
    """Two sales by a then b, one by b alone, one walk by a to nothing: P(sale) = 3/4 of the walks.

    Without a only the start to b is left: 1/4 of the walks sell. Without b nobody sells.
    """
    found = removal_effects([("a", "b"), ("a", "b"), ("b",)], [("a",)])
    assert found == pytest.approx({"a": 2 / 3, "b": 1.0}, abs=1e-12)
    assert removal_effects([("a", "a", "b", "b"), ("a", "b"), ("b",)], [("a", "a")]) == pytest.approx(found)
    assert removal_effects([], [("a",)]) == {} == removal_effects([])


def test_without_paths_to_nothing_an_effect_is_the_part_of_sales_that_met_the_worker() -> None:
    assert removal_effects([("a",), ("a",), ("b",), ("a", "b")]) == pytest.approx({"a": 0.75, "b": 0.5}, abs=1e-12)


def golden() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads(GOLDEN.read_text())["cases"]
    return cases


def counted(case: Mapping[str, Any], column: str) -> Counter[tuple[str, ...]]:
    found: Counter[tuple[str, ...]] = Counter()
    for row in case["paths"]:
        if row[column]:
            found[tuple(row["path"].split(" > "))] += row[column]
    return found


@pytest.mark.parametrize("case", golden(), ids=lambda case: case["name"])
def test_the_chain_is_the_one_that_channel_attribution_finds(case: dict[str, Any]) -> None:
    """Its transition probabilities are exact; its removal effects are simulated, and come as near as it simulates."""
    steps = transitions(counted(case, "sold"), counted(case, "unsold"))
    expected = {(before, after): chance for before, after, chance in case["transitions"]}
    assert steps == pytest.approx(expected, abs=1e-6)
    assert effects_of(steps) == pytest.approx(case["removal_effects"], abs=case["tolerance"])


@pytest.mark.parametrize("case", golden(), ids=lambda case: case["name"])
def test_the_effects_of_its_chain_are_those_of_walking_it(case: dict[str, Any]) -> None:
    """The same by another way, to a millionth: step by step through its own probabilities, a worker left out."""
    chain = {(before, after): chance for before, after, chance in case["transitions"]}
    names = {name for step in chain for name in step} - {"(start)", "(conversion)", "(null)"}
    whole = walked(chain, None)
    expected = {name: 1 - walked(chain, name) / whole for name in names}
    assert effects_of(chain) == pytest.approx(expected, abs=1e-6)


def walked(chain: Mapping[tuple[str, str], float], without: str | None) -> float:
    at, sold = {"(start)": 1.0}, 0.0
    while sum(at.values()) > 1e-12:
        then: dict[str, float] = {}
        for (before, after), chance in chain.items():
            if before in at and after != without:
                then[after] = then.get(after, 0.0) + at[before] * chance
        sold += then.pop("(conversion)", 0.0)
        then.pop("(null)", None)
        at = then
    return sold


def test_the_package_itself_says_the_same_where_it_is_installed() -> None:
    package = pytest.importorskip("ChannelAttribution")
    pandas = pytest.importorskip("pandas")
    for case in golden():
        frame = pandas.DataFrame(case["paths"])
        null = "unsold" if any(row["unsold"] for row in case["paths"]) else None
        found = package.markov_model(
            frame, "path", "sold", var_null=null, out_more=True, verbose=False, flg_pro=False, max_step=1_000_000
        )
        names = list(found["result"]["channel_name"])
        steps = {
            tuple(name if name.startswith("(") else names[int(name) - 1] for name in row[:2]): row[2]
            for row in found["transition_matrix"].itertuples(index=False)
        }
        assert transitions(counted(case, "sold"), counted(case, "unsold")) == pytest.approx(steps, abs=1e-6)


WORKERS = st.sampled_from(["mailer", "shop", "blog", "ads", "é"])
PATHS = st.lists(st.builds(Step, WORKERS, st.floats(0, 400 * DAY)), min_size=1, max_size=12)
WEIGHTS = st.dictionaries(WORKERS, st.integers(1, WHOLE), min_size=1)
AMOUNTS = st.integers(-(10**13), 10**13)


@given(PATHS, st.sampled_from(DIVIDING), st.dictionaries(WORKERS, st.floats(0, 1)))
def test_shares_are_a_whole_of_those_on_the_path(met: list[Step], model: str, effects: dict[str, float]) -> None:
    found = shares(model, met, effects)
    assert sum(found.values()) == WHOLE and all(part > 0 for part in found.values())
    assert set(found) <= {step.worker for step in met}


@given(AMOUNTS, WEIGHTS, st.sampled_from(["USD", "JPY", "KWD"]))
def test_parts_add_up_and_are_within_a_unit_of_exact(micros: int, weights: dict[str, int], currency: str) -> None:
    among = as_millionths(weights)
    unit = {"USD": 10_000, "JPY": 1_000_000, "KWD": 1_000}[currency]
    for amount, step in ((micros, 1), (micros * unit, unit)):
        parts = divided(amount, currency, among)
        assert sum(parts.values()) == amount
        assert all(part % step == 0 or amount % unit for part in parts.values())
        assert all(abs(parts[name] - Fraction(amount * among[name], WHOLE)) < unit for name in among)
        assert divided(-amount, currency, among) == {name: -part for name, part in parts.items()}


@given(st.lists(st.tuples(st.sampled_from(["money", "fees"]), st.integers(-99_999, 99_999)), max_size=12), WEIGHTS)
def test_a_payment_that_was_taken_back_leaves_nobody_with_a_cent(
    amounts: list[tuple[str, int]], weights: dict[str, int]
) -> None:
    among = as_millionths(weights)
    parts = [Part(stream, cents * 10_000, "USD") for stream, cents in amounts]
    for stream in ("money", "fees"):
        rest = -sum(part.micros for part in parts if part.stream == stream)
        parts += [Part(stream, rest // 2, "USD"), Part(stream, rest - rest // 2, "USD")]
    found = divided_together(parts, among)
    assert [sum(held.values()) for held in found] == [part.micros for part in parts]
    for worker in among:
        assert sum(held[worker] for held in found) == 0
