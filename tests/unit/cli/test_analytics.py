"""The analytics commands on a terminal, in a pipe and into files."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nova.bootstrap import build
from nova.cli import app, charts
from nova.cli.charts import Band, Chart, Panel, Series
from nova.config import load_settings
from nova.errors import UsageProblem
from nova.ledger.entries import Entry
from nova.ledger.subscriptions import SubscriptionEvent
from nova.money import Money

CHART = Chart(
    "What $x$ and 名前 bring",
    [f"2026-04-{day:02}" for day in range(1, 11)],
    "day",
    (
        Panel(
            "USD",
            [Series("_so far_ $a$", [1.0, 2.0, None, *[4.0] * 7])],
            band=Band("bounds", [0.0] * 10, [5.0] * 10),
        ),
        Panel("USD", bars=[Series("in", [1.0] * 10), Series("out", [-2.0] * 10)]),
    ),
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NOVA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def busy(home: Path) -> Path:
    """Forty days with a sale and a cost each, and a subscription."""
    nova = build(load_settings())
    now = datetime.now(UTC)
    entries = []
    for day in range(1, 41):
        for kind, amount in (("revenue", f"{20 + day % 4}"), ("cost", "30")):
            at = now - timedelta(days=day)
            entries.append(Entry(f"{kind}{day}", "shop", kind, Money.parse(amount, "USD"), at, "mailer"))
    nova.ledger.entries.record(entries)
    begun = SubscriptionEvent("stripe", "sub_1", now - timedelta(days=70), "started", Money.parse("10", "USD"))
    nova.ledger.subscriptions.put([begun])
    nova.close()
    return home


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("cashflow", "nothing is booked yet"), ("runway", "nothing is booked yet"), ("mrr", "no subscription is known"),
        ("refunds", "nothing was sold"), ("cohorts", "no subscription is known"), ("target list", "target set 5000/"),
    ],
)  # fmt: skip
def test_an_empty_ledger_is_told_what_to_do(
    home: Path, capsys: pytest.CaptureFixture[str], command: str, says: str
) -> None:
    assert app.run(["revenue", *command.split()]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert says in shown.err
    assert app.run(["revenue", *command.split(), "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict)


@pytest.mark.parametrize("command", ["forecast", "mrr"])
def test_a_worker_that_is_not_there_is_told_of(home: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    app.run(["revenue", command, "--worker", "mailre"])
    assert "nothing is deployed as mailre" in capsys.readouterr().err


def test_a_forecast_of_too_little_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["revenue", "forecast"]) == 4
    assert "at least 14 whole days of history; there are 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("cashflow --opening 2000", r"total +\$1,\d\d\d\.\d\d"), ("runway", r"runway +\d+ days?, until 20"),
        ("mrr", r"MRR +\$10\.00, \$120\.00 a year"), ("cohorts", r"1 +100% +100%"),
        ("refunds --by source", r"shop +\d+ +\$[\d.]+ +0 +\$0\.00 +0%"), ("forecast --days 40", r"until 20\d\d-"),
    ],
)  # fmt: skip
def test_what_is_booked_is_shown(busy: Path, capsys: pytest.CaptureFixture[str], command: str, says: str) -> None:
    app.run(["revenue", "cashflow", "--opening", "2000"])
    capsys.readouterr()
    assert app.run(["revenue", *command.split()]) == 0
    assert re.search(says, capsys.readouterr().out)


def test_recurring_revenue_fits_eighty_columns_and_leaves_out_what_never_moved(
    busy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["revenue", "mrr"]) == 0
    heads = [text for text in capsys.readouterr().out.splitlines() if text.startswith("month")]
    assert [head.split() for head in heads] == [
        ["month", "start", "new", "end"],
        ["month", "customers", "came", "lost", "gross", "churn", "net", "churn", "logo", "churn"],
    ]
    assert max(map(len, heads)) <= 80


def test_money_on_an_axis_is_written_out(busy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app.run(["revenue", "cashflow", "--opening", "200000"])
    assert app.run(["revenue", "cashflow", "--plot"]) == 0
    assert re.search(r"\d{3},\d{3}┤", capsys.readouterr().out)


@pytest.mark.parametrize("command", ["cashflow", "mrr", "cohorts", "forecast", "timeline"])
def test_it_draws_in_the_terminal(busy: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert app.run(["revenue", command, "--plot"]) == 0
    assert "┤" in capsys.readouterr().out


def test_a_target_is_set_shown_and_removed(busy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["revenue", "target", "set", "5000/month"]) == 0
    assert app.run(["revenue", "target", "list"]) == 0
    assert re.search(r"fleet +\$5,000\.00/month .* <1%", capsys.readouterr().out)
    assert app.run(["revenue", "target", "remove", "month"]) == 0
    assert app.run(["revenue", "target", "remove", "month"]) == 3
    assert app.run(["revenue", "target", "set", "5000"]) == 2
    assert app.run(["revenue", "target", "set", "1/day", "--worker", "a", "--department", "b"]) == 2


@pytest.mark.parametrize(
    "command",
    ["cashflow --since 0001-01-01", "refunds --now 0001-01-01", "mrr --now 9999-12-30", "reinvest --now 0001-01-01"],
)
def test_an_instant_that_no_ledger_holds_is_refused(
    home: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert app.run(["revenue", *command.split()]) == 2


@pytest.mark.parametrize(("kind", "head"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_the_same_figures_give_the_same_file(tmp_path: Path, kind: str, head: bytes) -> None:
    first, second = tmp_path / f"a.{kind}", tmp_path / f"b.{kind}"
    charts.save(CHART, first)
    charts.save(CHART, second)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(head)
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.name, second.name]


def test_a_picture_names_its_axes_and_takes_no_text_for_a_formula(tmp_path: Path) -> None:
    charts.save(CHART, tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    for words in ("What $x$ and", "day", "USD", "bounds", "2026-04-01"):
        assert f"<!-- {words}" in text


@pytest.mark.parametrize("file", ["a.pdf", "a", "missing/a.png"])
def test_a_strange_file_is_refused_before_anything_is_read(busy: Path, file: str) -> None:
    assert app.run(["revenue", "cashflow", "--chart", file]) == 2


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(UsageProblem):
        charts.save(CHART, tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_chart_goes_beside_the_table(busy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["revenue", "mrr", "--chart", "mrr.png"]) == 0
    shown = capsys.readouterr()
    assert "MRR" in shown.out
    assert "drawn into mrr.png" in shown.err
    assert (busy / "mrr.png").stat().st_size > 5000
