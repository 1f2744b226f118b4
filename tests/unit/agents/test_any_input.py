"""Whatever stands in a file that an agent is given: it is read, or refused in nova's own words."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nova.errors import NovaError
from workers.agents import email_recipients, llm_rows, social_queue

ZONE = ZoneInfo("America/New_York")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
FIELDS = ("text", "id", "reply_to", "not_before", "not_after", "link", "email")
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["2026-01-01", "0001-01-01T00:00+23:59", "9999-12-31T23:59:59", "\ud800", "@", "9" * 30]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


def posts(path: Path) -> None:
    for item in social_queue.items_of(social_queue.read_queue(path), ZONE):
        item.due(NOW)
        assert item.name and item.content and all(part.encode() for part in item.parts)


def questions(path: Path) -> None:
    for row in llm_rows.rows_of(path):
        assert llm_rows.name_of(row, ())
        json.dumps(dict(row), ensure_ascii=False).encode()


def readers(path: Path) -> None:
    email_recipients.of_shards(path, "email", {0, 1, 2, 3}, 4)


each = pytest.mark.parametrize("read", [posts, questions, readers])
bounded = settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)


def held(read: Callable[[Path], None], path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with contextlib.suppress(NovaError):
        read(path)


@each
@bounded
@given(st.lists(values, max_size=3))
def test_rows_of_any_form_are_read_or_refused(read: Callable[[Path], None], tmp_path: Path, rows: list[Any]) -> None:
    lines = "\n".join(map(json.dumps, rows))
    for suffix, text in ((".jsonl", lines), (".json", json.dumps(rows)), (".csv", f"text,id,email\n{lines}")):
        held(read, tmp_path / f"rows{suffix}", text.encode())


@each
@bounded
@given(st.binary(max_size=80))
@example(b"[" * 100_000)
@example(b'{"text":' * 100_000)
@example(b"1" * 5_000)
@example(b'text,email\n"' + b"x" * 200_000)
def test_any_bytes_are_read_or_refused(read: Callable[[Path], None], tmp_path: Path, content: bytes) -> None:
    for suffix in (".jsonl", ".json", ".csv"):
        held(read, tmp_path / f"bytes{suffix}", content)
        held(read, tmp_path / f"bytes{suffix}", b"email,text,id\n" + content)
