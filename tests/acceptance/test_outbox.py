"""Effects that happen once, as docs/workers.md shows them, and what an operator sees of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .conftest import Home, until

DOCS = Path(__file__).parents[2] / "docs" / "workers.md"

# What the example takes for granted: orders, and a mailer that refuses one of them.
SHOP = """
from types import SimpleNamespace

def orders_after(last):
    return [SimpleNamespace(number=n, customer=f"c{n}@example.com") for n in range(last + 1, 4)]

def send(to, idempotency_key):
    if to.startswith("c2"):
        raise ValueError("no such mailbox")
    with open("sent", "a") as file:
        file.write(f"{to} {idempotency_key}\\n")
"""


def _outbox(nova: Home, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = nova.json("workers", "outbox", "confirmer", *options)
    return found


def test_the_example_works_as_printed_and_what_waits_is_shown(nova: Home) -> None:
    example = next(
        block for block in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S) if "Confirmer" in block
    )
    agents = nova.path / "agents"
    agents.mkdir()
    sent = nova.path / "sent"
    (agents / "confirmer.py").write_text(SHOP.replace('"sent"', repr(str(sent))) + example)
    nova.run("deploy", "sales", "confirmer", "--every", "1h", "--runtime", "process")
    assert _outbox(nova)["counts"] == {"pending": 0, "failed": 0, "doubtful": 0, "done": 0}
    nova.run("workers", "run", "confirmer", code=1)
    until("two mails are sent", lambda: sent.exists() and len(sent.read_text().splitlines()) == 2)
    waits = _outbox(nova)
    assert waits["counts"] == {"pending": 1, "failed": 0, "doubtful": 0, "done": 2}
    (effect,) = waits["effects"]
    assert (effect["topic"], effect["key"], effect["attempts"]) == ("mail", "order-2", 1)
    assert effect["error"] == "ValueError: no such mailbox"
    keys = {row["idempotency_key"] for row in _outbox(nova, "--all")["effects"]}
    assert {line.split()[1] for line in sent.read_text().splitlines()} < keys
    table = nova.run("workers", "outbox", "confirmer").stdout
    assert "order-2" in table and "no such mailbox" in table and "1 pending, 0 failed, 2 done" in table
    assert "was not given up" in nova.run("workers", "outbox", "confirmer", "--retry", "order-2", code=4).stderr
    nova.run("workers", "outbox", "confirmer", "--retry", "order-9", code=3)
    nova.run("workers", "outbox", "nobody", code=3)
    nova.run("workers", "outbox", "confirmer", "--topic", "mail", code=2)
    nova.run("workers", "run", "confirmer")
    assert len(sent.read_text().splitlines()) == 2, "nothing is sent again, and what failed waits for its time"
