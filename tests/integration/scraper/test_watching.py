"""A listing watched over time: what is new, changed or gone, told once each, exported, and sold as a feed."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from nova.errors import BudgetExceeded, UsageProblem
from tests.integration.scraper.test_scraper_agent import Context, Deployed, Died, Dying, deployed, ledger

__all__ = ["deployed", "ledger"]

ATOM = "{http://www.w3.org/2005/Atom}"
WATCH = {
    "row": ".item", "fields": '{"name": ".name", "price": ".price", "link": "a@href"}', "key": "name", "watch": "true",
}  # fmt: skip


def listing(next_page: str = "", **prices: str) -> dict[str, Any]:
    items = "".join(
        f'<p class=item><a href="/p/{name}"><i class=name>{name}</i></a> <b class=price>{price}</b></p>'
        for name, price in prices.items()
    )
    return {"body": f"<html>{items}{next_page}</html>"}


def changes(deployed: Deployed) -> list[tuple[str, ...]]:
    """Each with its row's name and the prices before and after."""
    told = []
    for row in deployed.rows("quotes.changes.jsonl"):
        before, after = json.loads(row["before"] or "{}"), json.loads(row["after"] or "{}")
        told.append((row["change"], (before or after)["name"], before.get("price", ""), after.get("price", "")))
    return told


def test_what_is_new_changed_or_gone_is_told_once(deployed: Deployed) -> None:
    pages = deployed.site.pages
    for shown in (listing(pen="1", ink="2"), listing(pen="1", ink="2"), listing(pen="3", nib="4"), listing(pen="1")):
        pages["/quotes"] = shown
        assert deployed.run(**WATCH).ok
    assert sorted(changes(deployed)) == sorted([
        ("new", "pen", "", "1"), ("new", "ink", "", "2"),
        ("changed", "pen", "1", "3"), ("new", "nib", "", "4"), ("gone", "ink", "2", ""),
        ("changed", "pen", "3", "1"), ("gone", "nib", "4", ""),
    ])  # fmt: skip


def test_what_comes_back_is_new_again(deployed: Deployed) -> None:
    for shown in (listing(pen="1", ink="2"), listing(ink="2"), listing(pen="1", ink="2")):
        deployed.site.pages["/quotes"] = shown
        deployed.run(**WATCH)
    assert [change[:2] for change in changes(deployed) if change[1] == "pen"] == [
        ("new", "pen"), ("gone", "pen"), ("new", "pen"),
    ]  # fmt: skip


@pytest.mark.parametrize("broken", [{"body": "", "status": 404}, {"body": "<html>under construction</html>"}])
def test_a_page_that_fails_or_was_rebuilt_does_not_make_everything_gone(deployed: Deployed, broken: Any) -> None:
    deployed.site.pages["/quotes"] = listing(pen="1")
    deployed.run(**WATCH)
    deployed.site.pages["/quotes"] = broken
    deployed.run(**WATCH)
    assert changes(deployed) == [("new", "pen", "", "1")]


def test_a_listing_is_read_from_page_to_page_and_ends_where_it_leads_back(deployed: Deployed) -> None:
    pages = deployed.site.pages
    pages["/quotes"] = listing('<a rel="next" href="/2">more</a>', pen="1")
    pages["/2"] = listing('<a rel="next" href="/3">more</a>', ink="2")
    pages["/3"] = listing('<a rel="next" href="/quotes">more</a>', nib="3")
    assert deployed.run(**WATCH, next="auto").ok
    assert sorted(change[1] for change in changes(deployed)) == ["ink", "nib", "pen"]
    pages["/2"] = {"body": "", "status": 404}
    deployed.run(**WATCH, next="auto")
    assert len(changes(deployed)) == 3, "an incomplete listing tells nothing of what is gone"


def test_a_listing_longer_than_allowed_is_not_complete(deployed: Deployed) -> None:
    deployed.site.pages["/quotes"] = listing('<a class=more href="/2">more</a>', pen="1")
    deployed.site.pages["/2"] = listing(ink="2")
    deployed.run(**WATCH, next=".more", max_pages="1")
    deployed.site.pages["/quotes"] = listing('<a class=more href="/2">more</a>', nib="1")
    deployed.run(**WATCH, next=".more", max_pages="1")
    assert {change[0] for change in changes(deployed)} == {"new"}


def test_an_unchanged_first_page_still_leads_to_the_next(deployed: Deployed) -> None:
    first = {**listing('<a rel=next href="/2">more</a>', pen="1"), "headers": {"ETag": '"1"'}}
    deployed.site.pages["/quotes"] = lambda headers: (
        {"body": "", "status": 304} if headers.get("if-none-match") == '"1"' else first
    )
    deployed.site.pages["/2"] = listing(ink="2")
    plain = {key: value for key, value in WATCH.items() if key != "watch"}
    deployed.run(**plain, next="auto")
    deployed.site.pages["/2"] = listing(ink="2", nib="3")
    deployed.run(**plain, next="auto")
    assert [row["name"] for row in deployed.rows()] == ["pen", "ink", "nib"]


def test_the_listing_is_exported_as_it_is_now(deployed: Deployed, home: Path) -> None:
    for shown in (listing(pen="1", ink="2"), listing(pen="3")):
        deployed.site.pages["/quotes"] = shown
        deployed.run(**WATCH, export="now.csv")
    with (home / "data" / "now.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["name", "price", "link"], ["pen", "3", deployed.site.url("/p/pen")]]


def test_the_latest_changes_are_an_atom_feed(deployed: Deployed, home: Path) -> None:
    for shown in (listing(pen="1"), listing(pen="3")):
        deployed.site.pages["/quotes"] = shown
        deployed.run(**WATCH, feed="feed.xml", feed_title="Pens & more")
    feed = ElementTree.parse(home / "data" / "feed.xml").getroot()
    assert feed.findtext(f"{ATOM}title") == "Pens & more"
    assert [entry.findtext(f"{ATOM}title") for entry in feed.iter(f"{ATOM}entry")] == ["changed: pen", "new: pen"]
    newest = next(feed.iter(f"{ATOM}entry"))
    assert newest.findtext(f"{ATOM}content") == "price: 1 → 3"
    assert newest.find(f"{ATOM}link").get("href") == deployed.site.url("/p/pen")  # type: ignore[union-attr]
    assert len({entry.findtext(f"{ATOM}id") for entry in feed.iter(f"{ATOM}entry")}) == 2


def test_the_latest_changes_are_a_json_feed(deployed: Deployed, home: Path) -> None:
    deployed.site.pages["/quotes"] = listing(pen="1")
    deployed.run(**WATCH, feed="feed.json", output="seen.csv")
    feed = json.loads((home / "data" / "feed.json").read_text())
    assert feed["version"] == "https://jsonfeed.org/version/1.1"
    assert [(item["title"], item["_values"]["price"]) for item in feed["items"]] == [("new: pen", "1")]


def test_a_death_at_any_write_of_the_state_loses_and_doubles_no_change(deployed: Deployed) -> None:
    for step in range(1, 40):
        deployed.site.pages["/quotes"] = listing(pen=str(step), **{f"ink{step}": "2"})
        context = deployed.context(**WATCH)
        context.state = Dying(deployed.state, step)
        try:
            deployed.run(context)
            break
        except Died:
            deployed.run(**WATCH)
    assert step > 5
    told = changes(deployed)
    assert len(told) == len(set(told)) == 3 * step - 1
    assert [after for _, name, _, after in told if name == "pen"] == [str(number) for number in range(1, step + 1)]


def test_rows_of_a_table_and_of_things_and_lists(deployed: Deployed) -> None:
    deployed.site.pages["/quotes"] = {
        "body": "<table id=t><tr><th>Name<th>Price<tr><td>Pen<td>2</table>"
        '<script type="application/ld+json">{"@type": "Product", "name": "Lamp", "offers": {"price": "9"}}</script>'
        '<meta property="og:title" content="Shop"><p class=q><i>a</i><i>b</i></p>'
    }
    del deployed.settings["row"], deployed.settings["key"]
    deployed.run(table="#t", fields='{"name": "Name", "price": "Price"}', output="t.jsonl")
    deployed.run(json_ld="Product", fields='{"name": "name", "price": "offers.price"}', output="l.jsonl")
    deployed.run(row=".q", fields='{"all": "i[]", "shop": "og:title"}', output="q.csv")
    assert deployed.rows("t.jsonl") == [{"name": "Pen", "price": "2"}]
    assert deployed.rows("l.jsonl") == [{"name": "Lamp", "price": "9"}]
    assert (deployed.home / "data" / "q.csv").read_text() == "all,shop\na; b,Shop\n"


def test_a_row_too_long_to_be_kept_does_not_stop_the_others(deployed: Deployed) -> None:
    deployed.site.pages["/quotes"] = listing(pen="1", book="x" * 2_000_000)
    assert deployed.run(**WATCH).message == "1 change in 1 row"
    assert changes(deployed) == [("new", "pen", "", "1")]


def test_several_pages_are_fetched_at_once_and_the_order_does_not_matter(deployed: Deployed) -> None:
    deployed.site.pages |= {f"/{n}": listing(**{f"n{n}": str(n)}) for n in range(10)}
    urls = json.dumps([deployed.site.url(f"/{n}") for n in range(10)])
    plain = {key: value for key, value in WATCH.items() if key != "watch"}
    result = deployed.run(**plain, urls=urls, concurrency="5")
    assert (result.ok, result.message) == (True, "10 new rows")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"watch": "true", "key": ""}, "watch needs a key"),
        ({"export": "a.csv"}, "watch=true"),
        ({"table": "table"}, "only one of"),
        ({"watch": "true", "feed": "a.csv"}, "must end in"),
        ({"next": "a["}, "selector"),
    ],
)
def test_settings_that_contradict_are_refused(deployed: Deployed, settings: dict[str, str], says: str) -> None:
    with pytest.raises(UsageProblem, match=says):
        deployed.context(**settings)


def test_a_refused_payment_ends_the_run(deployed: Deployed) -> None:
    deployed.site.pages["/quotes"] = listing(pen="1")
    context: Context = deployed.context(**WATCH, cost_per_page="0.10")
    context.limit *= 0
    with pytest.raises(BudgetExceeded):
        deployed.run(context)
    assert deployed.site.asked == []
