"""A listing for others to read: a file of all rows, or a feed of its latest changes. Files are replaced as a whole."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from workers.agents.row_file import RowFileProblem, cell

EXPORTS = (".csv", ".json", ".jsonl")
FEEDS = (".xml", ".json")
_UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")
_ATOM = "http://www.w3.org/2005/Atom"


@dataclass(frozen=True, slots=True)
class Item:
    """`at` is ISO 8601. `values` stand in JSON feeds as they are."""

    id: str
    title: str
    at: str
    url: str | None
    text: str
    values: Mapping[str, Any]


def export(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """As CSV, JSON or JSONL, by the name's end. Raises RowFileProblem."""
    if path.suffix.lower() == ".csv":
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([cell(row.get(name)) for name in columns] for row in rows)
        text = out.getvalue()
    elif path.suffix.lower() == ".json":
        text = json.dumps(list(rows), ensure_ascii=False, indent=1) + "\n"
    else:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    replace_file(path, text)


def write_feed(path: Path, title: str, home: str, items: Sequence[Item], updated: str) -> None:
    """An Atom feed (RFC 4287) or a JSON Feed 1.1, by the name's end. Raises RowFileProblem."""
    replace_file(path, (_json_feed if path.suffix.lower() == ".json" else _atom)(title, home, items, updated))


def replace_file(path: Path, text: str) -> None:
    """Readers see the old file or the new one, never a half. Raises RowFileProblem."""
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with part.open("w", encoding="utf-8", errors="replace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as problem:
        raise RowFileProblem(f"{path} cannot be written: {problem.strerror or problem}") from problem


def _atom(title: str, home: str, items: Sequence[Item], updated: str) -> str:
    feed = ElementTree.Element("feed", xmlns=_ATOM)
    _add(feed, "title", title)
    _add(feed, "id", home)
    ElementTree.SubElement(feed, "link", href=home)
    _add(feed, "updated", updated)
    _add(ElementTree.SubElement(feed, "author"), "name", "nova")
    for item in items:
        entry = ElementTree.SubElement(feed, "entry")
        _add(entry, "title", item.title)
        _add(entry, "id", f"urn:nova:{item.id}")
        _add(entry, "updated", item.at)
        if item.url:
            ElementTree.SubElement(entry, "link", href=_clean(item.url))
        _add(entry, "content", item.text)
    ElementTree.indent(feed)
    return ElementTree.tostring(feed, encoding="unicode", xml_declaration=True) + "\n"


def _json_feed(title: str, home: str, items: Sequence[Item], updated: str) -> str:
    told = [
        {
            "id": item.id, "title": item.title, "content_text": item.text, "date_modified": item.at,
            **({"url": item.url} if item.url else {}), "_values": dict(item.values),
        }
        for item in items
    ]  # fmt: skip
    feed = {"version": "https://jsonfeed.org/version/1.1", "title": title, "home_page_url": home, "items": told}
    return json.dumps(feed, ensure_ascii=False, indent=1) + "\n"


def _add(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = _clean(text)


def _clean(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return _UNWRITABLE.sub(" ", text)
