from __future__ import annotations

import contextlib
import io
import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova.clock import ManualClock
from nova.errors import UsageProblem
from nova.ledger import transfer
from nova.ledger.entries import Entry
from nova.ledger.facts import Fact, admit
from nova.ledger.ledger import Ledger
from nova.ledger.lines import read_line
from nova.ledger.run_records import RunRecord
from nova.ledger.store import Store
from nova.money import Money

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LINE = {
    "type": "entry",
    "id": "txn_1",
    "source": "stripe",
    "kind": "revenue",
    "worker": "mailer",
    "run": None,
    "amount": "12.34",
    "currency": "USD",
    "rate": None,
    "at": "2026-01-02T03:04:05Z",
    "attribution": {"model": "metadata", "evidence": "nova_worker"},
    "corrects": None,
    "note": None,
}
RUN = {
    "type": "run",
    "id": "run-1",
    "worker": "mailer",
    "instance": "mailer#1",
    "started_at": "2026-01-02T03:04:05Z",
    "ended_at": "2026-01-02T03:04:06.5Z",
    "status": "failed",
    "error": "boom",
}


def opened(path: Path) -> Ledger:
    url = f"sqlite:///{path}"
    return Ledger.open(url, currency="USD", zone=ZoneInfo("UTC"), clock=ManualClock(NOW))


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


def exported(ledger: Ledger) -> str:
    out = io.StringIO()
    ledger.transfer.export(out)
    return out.getvalue()


def fill(ledger: Ledger) -> None:
    sale = Entry("a", "stripe", "revenue", Money.parse("10", "USD"), NOW, "mailer", "run-0", object="pi_1", note="ä\n")
    ledger.entries.record(
        [
            replace(sale, id="late", kind="adjustment", amount=Money(-1, "USD"), corrects="never/came"),
            sale,
            replace(sale, id="fee", kind="fee", amount=Money(300_000, "USD"), worker=None, model="metadata"),
            replace(sale, id="euro", amount=Money(1, "EUR"), rate=Decimal("1.5")),
            replace(sale, id="yen", amount=Money(412, "JPY"), at=NOW + timedelta(microseconds=1)),
        ]
    )
    ledger.entries.reattribute([ledger.entries.find("fee")], "mailer", model="manual", evidence=None, by="ann")
    ledger.transfer.import_lines([json.dumps(RUN), json.dumps({**RUN, "id": "run-2", "crash": True})])


def test_an_entry_is_written_as_the_interface_shows_it(ledger: Ledger) -> None:
    imported = ledger.transfer.import_lines([json.dumps(LINE) + "\n", json.dumps(RUN)])
    assert (imported.lines, imported.entries, imported.runs, imported.new, imported.rejected) == (2, 1, 1, 2, ())
    first, second = (json.loads(line) for line in exported(ledger).splitlines())
    assert (first, list(first)) == (LINE, list(LINE))
    assert second == {**RUN, "ended_at": "2026-01-02T03:04:06.500000Z"}


def test_an_export_fills_another_ledger_with_the_same(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger)
    text = exported(ledger)
    other = opened(tmp_path / "other.db")
    for new in (9, 0):
        imported = other.transfer.import_lines(io.BytesIO(text.encode()))
        assert (imported.new, imported.duplicate, imported.rejections) == (new, 9 - new, 0)
    assert exported(other) == text
    assert other.reports.report() == ledger.reports.report()
    assert other.runs.totals() == ledger.runs.totals()
    assert other.verify().ok and other.verify().entries == 7 and other.verify().runs == 2
    other.close()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.floats(0, 1))
def test_shuffled_cut_and_resumed_imports_end_in_the_same_report(
    tmp_path_factory: pytest.TempPathFactory, seed: int, cut: float
) -> None:
    folder = tmp_path_factory.mktemp("transfer")
    ledger, other = opened(folder / "one.db"), opened(folder / "other.db")
    fill(ledger)
    text = exported(ledger)
    other.transfer.import_lines(io.StringIO(text[: int(len(text) * cut)]))
    lines = text.splitlines()
    random.Random(seed).shuffle(lines)
    assert other.transfer.import_lines(lines).rejections == 0
    assert other.reports.report() == ledger.reports.report()
    assert other.reports.totals() == ledger.reports.totals()
    assert other.verify().first_bad is None
    ledger.close()
    other.close()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"type": "note"}, "type"),
        ({"amount": 12.34}, "amount must be text"),
        ({"amount": "12.3456789"}, "not an amount"),
        ({"amount": "1e3"}, "not an amount"),
        ({"amount": "-1"}, "more than zero"),
        ({"amount": "١٢"}, "not an amount"),
        ({"amount": None}, "amount is missing"),
        ({"currency": None}, "currency"),
        ({"currency": "dollars"}, "currency"),
        ({"rate": "zero"}, "exchange rate"),
        ({"rate": 1.5}, "rate must be text"),
        ({"at": "yesterday"}, "not a time"),
        ({"at": 5}, "at must be text"),
        ({"id": 7}, "id must be text"),
        ({"id": None}, "id is missing"),
        ({"source": ["stripe"]}, "source must be text"),
        ({"worker": {"name": "x"}}, "worker must be text"),
        ({"worker": "a/b"}, "worker must not hold"),
        ({"kind": "tip"}, "kind must be one of"),
        ({"kind": []}, "kind must be one of"),
        ({"kind": "adjustment"}, "must name the entry"),
        ({"note": 5}, "note must be text"),
        ({"attribution": "metadata"}, "attribution"),
        ({"attribution": {"model": 5}}, "model must be text"),
    ],
)
def test_a_bad_line_is_rejected_by_number_and_the_others_land(
    ledger: Ledger, changes: dict[str, object], reason: str
) -> None:
    good = [json.dumps({**LINE, "id": f"good-{number}"}) for number in range(2)]
    imported = ledger.transfer.import_lines([good[0], "", json.dumps({**LINE, **changes}), good[1]])
    [(line, why)] = imported.rejected
    assert (line, imported.new, imported.entries) == (3, 2, 2)
    assert reason in why


@pytest.mark.parametrize(
    "text", ["{", "[]", "5", '{"a":1} {"b":2}', "NaN", "[" * 100_000, '{"amount":1e999999}', b"\xff\xfe"]
)
def test_what_is_no_json_object_is_rejected(ledger: Ledger, text: str | bytes) -> None:
    assert ledger.transfer.import_lines([text]).rejections == 1


def test_a_cut_last_line_is_rejected(ledger: Ledger) -> None:
    text = json.dumps(LINE) + "\n" + json.dumps({**LINE, "id": "second"})[:-9]
    imported = ledger.transfer.import_lines(io.StringIO(text))
    assert (imported.new, [line for line, _ in imported.rejected]) == (1, [2])


def test_another_content_under_a_known_key_is_rejected_by_line(ledger: Ledger) -> None:
    other = [{**LINE, "amount": "1"}, LINE, {**RUN, "status": "succeeded"}, RUN]
    ledger.transfer.import_lines([json.dumps(LINE), json.dumps(RUN)])
    imported = ledger.transfer.import_lines(json.dumps(line) for line in other)
    assert ([line for line, _ in imported.rejected], imported.duplicate, imported.new) == ([1, 3], 2, 0)


def test_an_amount_too_large_only_here_does_not_stop_the_others(ledger: Ledger) -> None:
    ledger.rates.set("KWD", Decimal(1000), "ann")
    lines = [{**LINE, "id": "a"}, {**LINE, "id": "b", "currency": "KWD", "amount": "99000000000"}, {**LINE, "id": "c"}]
    imported = ledger.transfer.import_lines(json.dumps(line) for line in [*lines, RUN])
    assert (imported.new, imported.entries, [line for line, _ in imported.rejected]) == (3, 2, [2])


def test_progress_is_told_in_bytes_and_reasons_are_bounded(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "LINES_A_TRANSACTION", 10)
    monkeypatch.setattr(transfer, "MOST_REASONS", 5)
    text = "".join(f"bad {number}\n" for number in range(35)).encode()
    told: list[int] = []
    imported = ledger.transfer.import_lines(io.BytesIO(text), told.append)
    assert (imported.rejections, len(imported.rejected), sum(told), len(told)) == (35, 5, len(text), 4)


def test_the_size_of_an_export_is_known_before(ledger: Ledger) -> None:
    fill(ledger)
    told: list[int] = []
    ledger.transfer.export(io.StringIO(), told.append)
    assert ledger.transfer.size() == sum(told) == 9


TEXT = st.text(min_size=1, max_size=20)


@given(
    document=st.dictionaries(
        st.sampled_from([*LINE, *RUN, "object"]),
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT, st.lists(TEXT), st.just("adjustment")),
    ),
    base=st.sampled_from([LINE, RUN]),
)
def test_no_line_does_more_than_be_read_or_refused(document: dict[str, object], base: dict[str, object]) -> None:
    with contextlib.suppress(UsageProblem):
        assert isinstance(read_line(json.dumps({**base, **document}), "USD"), (Fact, RunRecord))


@given(
    texts=st.lists(st.one_of(st.none(), st.text(alphabet="a1:-é", max_size=4)), min_size=3, max_size=3),
    others=st.lists(st.one_of(st.none(), st.text(alphabet="a1:-é", max_size=4)), min_size=3, max_size=3),
)
def test_two_contents_never_share_a_digest(texts: list[str | None], others: list[str | None]) -> None:
    entry = Entry("a", "shop", "revenue", Money(1, "USD"), NOW)
    one, other = (admit(replace(entry, model=a, evidence=b, note=c), "USD") for a, b, c in (texts, others))
    assert (one.digest == other.digest) == (texts == others)
