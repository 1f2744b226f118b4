"""What a vendor publishes of its API, and what it finds wrong with an exchange that a client and an emulator had."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from openapi_schema_validator import OAS30Validator

DATA = Path(__file__).parent / "data"


class Exchange(Protocol):
    """One request and what was answered. `request` is without its ids: `GET /v1/charges/{id}`."""

    @property
    def request(self) -> str: ...
    @property
    def params(self) -> Any: ...
    @property
    def status(self) -> int: ...
    @property
    def body(self) -> Any: ...


class Document:
    """NAME_openapi_extract.json in tests/data: `requests` and `responses` by `METHOD /path/{id}`, and `components`.

    `forms`: parameters come as texts and are read as the document has them. `unpublished` are parts of requests that
    the document does not know yet. A vendor that refuses in another form names it as the schema `error`. `file` is
    another file than that.
    """

    def __init__(
        self, name: str, *, forms: bool = False, unpublished: tuple[str, ...] = (), file: str | None = None
    ) -> None:
        extract = DATA / (file or f"{name}_openapi_extract.json")
        self._document = _null_where_nullable(json.loads(extract.read_text()))
        self._forms = forms
        self._unpublished = unpublished
        self._keys = {_without_ids(key): key for key in self._document["requests"]}
        self.problems: list[str] = []
        self.checked = 0

    def names(self, request: str) -> set[str]:
        """The parameters it may have."""
        return set(self._document["requests"][self._keys[request]]["properties"])

    def requests(self) -> set[str]:
        return set(self._keys)

    def hear(self, exchange: Exchange) -> None:
        if any(part in exchange.request for part in self._unpublished):
            return
        self.checked += 1
        if exchange.status >= 400:
            self._check(exchange, {"$ref": "#/components/schemas/error"}, exchange.body, "answer")
            return
        key = self._keys.get(exchange.request)
        if key is None:
            self.problems.append(f"{exchange.request}: no such request is published")
            return
        asked = self._document["requests"][key]
        self._check(exchange, asked, _typed(asked, exchange.params) if self._forms else exchange.params, "request")
        self._check(exchange, self._document["responses"][key], exchange.body, "answer")

    def take_problems(self) -> str:
        """What was wrong since last asked; nothing: an empty text."""
        problems, self.problems = self.problems, []
        return "\n".join(list(dict.fromkeys(problems))[:12])

    def _check(self, exchange: Exchange, schema: dict[str, Any], body: object, part: str) -> None:
        whole = {**schema, "components": self._document["components"]}
        for error in OAS30Validator(whole).iter_errors(body):
            cause = _nearest(error)
            self.problems.append(f"{exchange.request} {part}: {cause.json_path}: {cause.message[:300]}")


def _null_where_nullable(schema: Any) -> Any:
    """OpenAPI 3.0 lets `nullable` act only beside `type`; vendors mean it beside `anyOf` and `enum` too."""
    if isinstance(schema, list):
        return [_null_where_nullable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    said = {key: _null_where_nullable(value) for key, value in schema.items()}
    if said.get("nullable") is True:
        if "enum" in said:
            said["enum"] = [*said["enum"], None]
        if "anyOf" in said:
            said["anyOf"] = [*said["anyOf"], {"enum": [None]}]
    return said


def _typed(schema: dict[str, Any], value: Any) -> Any:
    """Forms carry texts: numbers and booleans are read where the document has them."""
    if isinstance(value, dict):
        inner = schema.get("properties", {})
        return {key: _typed(inner.get(key, {}), item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(schema.get("items", {}), item) for item in value]
    if schema.get("type") in ("integer", "number") and isinstance(value, str):
        return int(value)
    if schema.get("type") == "boolean" and value in ("true", "false"):
        return value == "true"
    return value


def _nearest(error: Any) -> Any:
    """Of what fits none of several shapes: what is wrong with the shape that fits best."""
    while error.context:
        branches: dict[int, list[Any]] = {}
        for inner in error.context:
            branches.setdefault(inner.schema_path[0], []).append(inner)
        error = min(branches.values(), key=lambda wrong: (any("object" in e.absolute_path for e in wrong), len(wrong)))[
            0
        ]
    return error


def _without_ids(key: str) -> str:
    return "/".join("{id}" if part.startswith("{") else part for part in key.split("/"))
