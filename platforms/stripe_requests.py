"""Requests of Stripe's API as plain JSON, by the SDK's own way to make them: keys, versions and errors are its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import quote

from nova.errors import UsageProblem
from nova.money import Money
from platforms.base import BadAnswer, Conflicting, Missing
from platforms.hands import Hands
from platforms.line import Line
from platforms.stripe_mapping import RUN, TAG, Json

T = TypeVar("T")
Params = dict[str, Any]
_PAGE = 100
_KNOWN_S = 23 * 3600.0  # Stripe knows a key for 24 hours at least
_SHOWN = ("amount", "currency", "customer", "payment_intent", "charge")  # to who decides what is in doubt


class Requests:
    """`send` makes one request: method, path, parameters (with `idempotency_key` among them)."""

    def __init__(self, line: Line, send: Callable[..., Any]) -> None:
        self._line = line
        self._send = send

    @property
    def hands(self) -> Hands:
        return self._line.hands

    def get(self, path: str, params: Params | None = None, what: str = "read") -> Any:
        return self._line.call(what, lambda: self._plain("get", path, params or {}))

    def page(self, path: str, params: Params, what: str) -> dict[str, Any]:
        """Of a list: `data` and `has_more`."""
        return self._line.call(what, lambda: _page(self._plain("get", path, params)))

    def post(self, what: str, path: str, params: Params, key: str | None = None) -> Any:
        """Under the `key`, else under one that a repeated run finds again: it is never carried out twice.

        Stripe forgets keys after a day, and so what a run asked for is remembered here too; what came of it is then
        read again, as it is by now. What ended without an answer is asked for again within that day, and then in doubt.
        """
        given = {name: value for name, value in params.items() if value is not None and value != {}}
        content = f"{path} {json.dumps(given, sort_keys=True)}"
        under = key or self.hands.key(f"stripe {what}", content)
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        said: list[Json] = []

        def ask(key: str) -> Json:
            sent = {**given, "idempotency_key": key}
            said.append(self._line.call(what, lambda: self._plain("post", path, sent), key=key))
            return {"id": said[0].get("id"), "content": digest}

        about = {"request": path} | {name: given[name] for name in _SHOWN if name in given}
        done = self.hands.once(f"stripe {what}", under, about, ask, known_s=_KNOWN_S)
        return said[0] if said else self._again(what, path, digest, done)

    def _again(self, what: str, path: str, digest: str, done: Json | None) -> Any:
        """What a run asked for before, as it is now."""
        if done is None:
            raise Missing(f"somebody saw that this {what} was done: which one it is, nova does not know")
        if done["content"] != digest:
            raise Conflicting(f"this {what} has the key of another one", hint="give each its own key")
        id = quote(str(done["id"]), safe="")
        found = self.get(f"{path.partition(f'/{id}')[0]}/{id}", what=what)
        if found.get("deleted"):
            raise Missing(f"what this {what} made is deleted: {done['id']}")
        return found

    def delete(self, what: str, path: str) -> Any:
        return self._line.call(what, lambda: self._plain("delete", path, {}))

    def rows(self, path: str, params: Params, most: int | None = None) -> Iterator[Json]:
        """Newest first, page by page as they are wanted."""
        return islice(self._rows(path, params, _PAGE if most is None else min(most, _PAGE)), most)

    def found(self, path: str, query: str, most: int | None = None) -> Iterator[Json]:
        """By Stripe's own search, which knows what is new after a minute."""
        return islice(self._found(path, query), most)

    def _rows(self, path: str, params: Params, limit: int) -> Iterator[Json]:
        after: str | None = None
        while True:
            page = self.page(path, {**_given(params), "limit": limit, **_given({"starting_after": after})}, "list")
            yield from page["data"]
            if not page["has_more"] or not page["data"] or page["data"][-1]["id"] == after:
                return
            after = page["data"][-1]["id"]

    def _found(self, path: str, query: str) -> Iterator[Json]:
        params: Params = {"query": query, "limit": _PAGE}
        while True:
            page = self.page(f"{path}/search", params, "search")
            yield from page["data"]
            if not page["has_more"] or not page.get("next_page"):
                return
            params = {**params, "page": page["next_page"]}

    def _plain(self, method: str, path: str, params: Params) -> Any:
        data = self._send(method, path, **params).data
        if not isinstance(data, dict):
            raise BadAnswer("stripe answered with something that is no answer", hint="try again later")
        return data


def _page(said: dict[str, Any]) -> dict[str, Any]:
    rows = said.get("data")
    if not isinstance(rows, list) or not isinstance(said.get("has_more"), bool):
        raise BadAnswer("stripe answered with something that is no list", hint="try again later")
    if not all(isinstance(row, dict) and isinstance(row.get("id"), str) for row in rows):
        raise BadAnswer("stripe answered with a list of things without an id", hint="try again later")
    return said


def at(collection: str, id: str, action: str = "") -> str:
    """The path of one object. Raises UsageProblem for what is no id."""
    if not id.strip() or len(id) > 255:
        raise UsageProblem("an id of stripe is missing", hint="such as pi_…, sub_… or price_…")
    return f"/v1/{collection}/{quote(id, safe='')}" + (f"/{action}" if action else "")


def tags(hands: Hands, worker: str | None, metadata: Mapping[str, str] | None) -> dict[str, str]:
    """The `metadata` with whose it is: this worker, else the one that works.

    The run is the first of those that repeat one another: Stripe refuses other content under the same key.
    """
    said = dict(metadata or {})
    whose = worker or said.get(TAG) or hands.labels().get(TAG)
    if whose is not None:
        run = hands.lineage()
        said |= {TAG: whose, **({} if run is None else {RUN: run})}
    return said


def in_currency_of(asked: Money, held: Money, what: str) -> None:
    """Stripe takes such amounts without a currency."""
    if asked.currency != held.currency:
        raise UsageProblem(f"{what} is in {held.currency}, not in {asked.currency}")


def _given(params: Params) -> Params:
    return {name: value for name, value in params.items() if value is not None}
