"""A CSV file is booked once, row by row, and what is wrong in it is named by its line."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from nova.bootstrap import Nova
from nova.errors import NotFound, UsageProblem
from nova.revenue.importer import import_csv
from nova.revenue.reports import report

OPTIONS: dict[str, Any] = {"source": "shop", "at_column": "day", "amount_column": "paid"}
WITH_IDS: dict[str, Any] = {**OPTIONS, "id_column": "id", "worker_column": "who"}


def write(path: Path, rows: list[str], head: str = "id,day,paid,who") -> Path:
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def sales(count: int) -> list[str]:
    return [f"{n},2026-03-{n % 28 + 1:02d},{n}.10,worker-{n % 7}" for n in range(1, count + 1)]


def total(nova: Nova) -> Decimal:
    return Decimal(report(nova)["total"]["revenue"])


def test_good_rows_land_and_the_wrong_one_on_line_40000_is_named(nova: Nova, tmp_path: Path) -> None:
    rows = sales(70_000)
    rows[40_000 - 2] = "39999,2026-03-01,12;34,worker-1"
    file = write(tmp_path / "sales.csv", rows)
    document = import_csv(nova, file, **WITH_IDS)
    assert (document["rows"], document["new"], document["duplicate"]) == (70_000, 69_999, 0)
    assert document["rejected"] == [{"line": 40_000, "reason": "not an amount of money: '12;34'"}]
    expected = sum(Decimal(f"{n}.10") for n in range(1, 70_001) if n != 39_999)
    assert Decimal(document["gross"]) == total(nova) == expected
    again = import_csv(nova, file, **WITH_IDS)
    assert (again["new"], again["duplicate"], len(again["rejected"])) == (0, 69_999, 1)
    assert total(nova) == expected and nova.ledger.verify().ok


def test_strict_books_all_or_nothing(nova: Nova, tmp_path: Path) -> None:
    rows = sales(12_000)
    rows[11_000] = "x,2026-03-01,oops,mail"
    bad = import_csv(nova, write(tmp_path / "bad.csv", rows), **WITH_IDS, strict=True)
    assert (bad["rows"], bad["new"], bad["booked"], bad["rejected"][0]["line"]) == (12_000, 0, False, 11_002)
    assert total(nova) == 0
    good = import_csv(nova, write(tmp_path / "good.csv", sales(12_000)), **WITH_IDS, strict=True)
    assert (good["new"], good["booked"]) == (12_000, True)


def test_strict_counts_what_the_ledger_refuses(nova: Nova, tmp_path: Path) -> None:
    import_csv(nova, write(tmp_path / "first.csv", ["7,2026-03-01,1.00,mail"]), **WITH_IDS)
    changed = write(tmp_path / "changed.csv", ["6,2026-03-01,5.00,mail", "7,2026-03-01,2.00,mail"])
    document = import_csv(nova, changed, **WITH_IDS, strict=True)
    assert (document["new"], document["booked"]) == (0, False)
    assert "another content" in document["rejected"][0]["reason"] and document["rejected"][0]["line"] == 3
    assert total(nova) == 1


def test_rows_without_an_id_are_booked_once_though_equal(nova: Nova, tmp_path: Path) -> None:
    rows = ["2026-03-01,5.00", "2026-03-01,5.00", "2026-03-01,6.00"]
    file = write(tmp_path / "sales.csv", rows, "day,paid")
    assert import_csv(nova, file, **OPTIONS, worker="mail")["new"] == 3
    assert import_csv(nova, file, **OPTIONS, worker="mail")["duplicate"] == 3
    longer = write(tmp_path / "sales.csv", [rows[2], rows[0], rows[1], "2026-03-01,5.00"], "day,paid")
    assert import_csv(nova, longer, **OPTIONS, worker="mail")["new"] == 1
    assert total(nova) == 21


@pytest.mark.parametrize("seed", range(3))
def test_files_in_any_order_and_cut_give_the_same_report(
    open_nova: Callable[..., Nova], tmp_path: Path, figures: Callable[[Nova], Any], seed: int
) -> None:
    rows, draw = sales(2_000), random.Random(seed)
    straight, shuffled = open_nova("straight"), open_nova("shuffled")
    import_csv(straight, write(tmp_path / "all.csv", rows), **WITH_IDS)
    draw.shuffle(rows)
    for cut in (700, 1_500, 2_000):
        import_csv(shuffled, write(tmp_path / "part.csv", rows[:cut]), **WITH_IDS)
    assert figures(shuffled) == figures(straight)


def test_negative_amounts_are_refunds(nova: Nova, tmp_path: Path) -> None:
    rows = ["1,2026-03-01,20.00,mail", "2,2026-03-02,-5.00,mail"]
    document = import_csv(nova, write(tmp_path / "sales.csv", rows), **WITH_IDS)
    assert document["gross"] == "20.00" and total(nova) == 15
    assert nova.ledger.entries.find("shop/2").entry.kind == "refund"


def test_rows_of_nobody_are_unattributed(nova: Nova, tmp_path: Path) -> None:
    rows = ["1,2026-03-01,20.00,", "2,2026-03-02,5.00,mail"]
    import_csv(nova, write(tmp_path / "sales.csv", rows), **WITH_IDS)
    document = report(nova)
    assert document["unattributed"] == {"revenue": "20.00", "entries": 1}
    assert [(row["key"], row["revenue"]) for row in document["rows"]] == [("mail", "5.00")]


def test_a_worker_that_can_be_none_is_refused_by_line(nova: Nova, tmp_path: Path) -> None:
    document = import_csv(nova, write(tmp_path / "sales.csv", ["1,2026-03-01,20.00,a/b"]), **WITH_IDS)
    assert document["rejected"][0]["line"] == 2 and "worker" in document["rejected"][0]["reason"]


def test_other_currencies_are_converted_or_wait(nova: Nova, tmp_path: Path) -> None:
    nova.ledger.rates.set("EUR", Decimal("1.10"), "dana")
    rows = ["1,2026-03-01,20.00 EUR,mail", "2,2026-03-02,5.00 GBP,mail", "3,2026-03-02,1.00,mail"]
    document = import_csv(nova, write(tmp_path / "sales.csv", rows), **WITH_IDS)
    assert (document["gross"], document["unconverted"]) == ("23.00", [{"currency": "GBP", "amount": "5.00"}])
    assert total(nova) == 23


@pytest.mark.parametrize("strict", [False, True])
def test_a_row_too_large_at_its_rate_is_refused_by_line(nova: Nova, tmp_path: Path, strict: bool) -> None:
    nova.ledger.rates.set("IDR", Decimal("1000"), "dana")
    rows = ["1,2026-03-01,1.00,mail", "2,2026-03-02,999999999 IDR,mail", "3,2026-03-02,2.00,mail"]
    document = import_csv(nova, write(tmp_path / "sales.csv", rows), **WITH_IDS, strict=strict)
    ((line, reason),) = [(one["line"], one["reason"]) for one in document["rejected"]]
    assert line == 3 and "larger than nova keeps" in reason
    assert total(nova) == (0 if strict else 3)


def test_gross_is_what_the_ledger_booked_to_the_millionth(nova: Nova, tmp_path: Path) -> None:
    nova.ledger.rates.set("EUR", Decimal("1.0000005"), "dana")
    rows = [f"{n},2026-03-01,1.00 EUR,mail" for n in range(1, 9)]
    document = import_csv(nova, write(tmp_path / "sales.csv", rows), **WITH_IDS)
    assert Decimal(document["gross"]) == total(nova)


def test_progress_is_told_in_bytes(nova: Nova, tmp_path: Path) -> None:
    file = write(tmp_path / "sales.csv", sales(25_000))
    told: list[int] = []
    import_csv(nova, file, **WITH_IDS, progress=told.append)
    assert told == sorted(told) and len(told) == 3 and told[-1] == file.stat().st_size


def test_a_long_file_needs_no_more_memory_than_a_short_one(
    nova: Nova, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nova.revenue.importer.ROWS_A_TRANSACTION", 500)
    import_csv(nova, write(tmp_path / "warm.csv", sales(10)), **WITH_IDS)
    peaks = []
    for count in (2_000, 8_000):
        file = write(tmp_path / f"{count}.csv", sales(count))
        tracemalloc.start()
        import_csv(nova, file, **WITH_IDS)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_a_file_that_is_not_there_is_not_found(nova: Nova, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        import_csv(nova, tmp_path / "none.csv", **OPTIONS)
    with pytest.raises(UsageProblem, match="directory"):
        import_csv(nova, tmp_path, **OPTIONS)
