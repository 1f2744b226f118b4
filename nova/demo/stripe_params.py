"""Form and query parameters as Stripe takes them: decoded from bracketed names, known by name, typed, or refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_MOST_EXPANDED = 4

LIST = {"created": "range", "ending_before": "text", "expand": "list", "limit": "int", "starting_after": "text"}
ONE = {"expand": "list"}
# Accepted parameters by request; the same names, with more besides, stand in Stripe's published document.
ACCEPTED: dict[str, dict[str, str]] = {
    "GET /v1/balance": ONE,
    "GET /v1/balance_transactions": {**LIST, "currency": "text", "payout": "text", "source": "text", "type": "text"},
    "GET /v1/charges": {**LIST, "customer": "text", "payment_intent": "text"},
    "GET /v1/payment_intents": {**LIST, "customer": "text"},
    "GET /v1/refunds": {**LIST, "charge": "text", "payment_intent": "text"},
    "GET /v1/disputes": {**LIST, "charge": "text", "payment_intent": "text"},
    "GET /v1/invoices": {**LIST, "customer": "text", "subscription": "text"},
    "GET /v1/invoice_payments": {**LIST, "invoice": "text", "payment": "map", "status": "text"},
    "GET /v1/subscriptions": {**LIST, "customer": "text", "status": "text"},
    "GET /v1/events": {**LIST, "type": "text", "types": "list"},
    "GET /v1/customers": {**LIST, "email": "text"},
    "GET /v1/payouts": LIST,
    "POST /v1/payment_intents": {
        **ONE, "amount": "int!", "automatic_payment_methods": "map", "confirm": "bool", "currency": "text!",
        "customer": "text",
        "description": "text", "metadata": "map", "off_session": "bool", "payment_method": "text",
        "payment_method_types": "list",
        "receipt_email": "text", "return_url": "text",
    },
    "POST /v1/payment_intents/{id}": {**ONE, "description": "text", "metadata": "map"},
    "POST /v1/payment_intents/{id}/confirm": {**ONE, "payment_method": "text", "off_session": "bool",
    "return_url": "text"},
    "POST /v1/charges/{id}": {**ONE, "description": "text", "metadata": "map"},
    "POST /v1/refunds": {**ONE, "amount": "int", "charge": "text", "metadata": "map", "payment_intent": "text",
    "reason": "text"},
    "POST /v1/customers": {**ONE, "description": "text", "email": "text", "metadata": "map", "name": "text",
    "phone": "text"},
    "POST /v1/subscriptions": {**ONE, "customer": "text!", "description": "text", "items": "list!", "metadata": "map"},
    "POST /v1/subscriptions/{id}": {**ONE, "description": "text", "metadata": "map"},
    "POST /v1/disputes/{id}": {**ONE, "evidence": "map", "metadata": "map", "submit": "bool"},
    "POST /v1/disputes/{id}/close": ONE,
    "POST /v1/payouts": {**ONE, "amount": "int!", "currency": "text!", "description": "text", "metadata": "map"},
}  # fmt: skip


class BadParameter(Exception):
    """A request that Stripe answers with 400."""

    def __init__(self, message: str, param: str, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


def decoded(text: str) -> dict[str, Any]:
    """`a[b]=1&c[0]=2&d[]=3` as nested mappings and lists of texts."""
    tree: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        head = name.split("[", 1)[0]
        path = [head, *_BRACKETS.findall(name[len(head) :])]
        _place(tree, path, value)
    return {key: _listed(value) for key, value in tree.items()}


def accepted(request: str, given: dict[str, Any], table: Mapping[str, dict[str, str]] = ACCEPTED) -> dict[str, Any]:
    """The parameters with their types. Raises BadParameter for what is unknown, missing or no value of its type."""
    known = table.get(request, ONE)
    for name in given:
        if name not in known:
            raise BadParameter(f"Received unknown parameter: {name}", name, "parameter_unknown")
    for name, kind in known.items():
        if kind.endswith("!") and name not in given:
            raise BadParameter(f"Missing required param: {name}.", name, "parameter_missing")
    typed = {name: _typed(name, known[name].rstrip("!"), value) for name, value in given.items()}
    for path in typed.get("expand", ()):
        if path.count(".") + 1 > _MOST_EXPANDED:
            raise BadParameter("You cannot expand more than 4 levels of a property.", "expand")
    return typed


def _typed(name: str, kind: str, value: Any) -> Any:
    if kind == "range":
        return (
            {key: _int(f"{name}[{key}]", text) for key, text in value.items()}
            if isinstance(value, dict)
            else _int(name, value)
        )
    if kind == "list":
        if not isinstance(value, list):
            raise BadParameter(f"Invalid array: {name}", name)
        return value
    if kind == "map":
        if not isinstance(value, dict) and value != "":
            raise BadParameter(f"Invalid object: {name}", name)
        return value or {}
    if not isinstance(value, str):
        raise BadParameter(f"Invalid string: {name}", name)
    if kind == "int":
        return _int(name, value)
    if kind == "bool":
        if value not in ("true", "false"):
            raise BadParameter(f"Invalid boolean: {value}", name)
        return value == "true"
    return value


def _int(name: str, value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise BadParameter(f"Invalid integer: {value}", name, "parameter_invalid_integer") from None


def _place(tree: dict[str, Any], path: list[str], value: str) -> None:
    for at, key in enumerate(path[:-1]):
        following = tree.setdefault(key or str(len(tree)), {})
        if not isinstance(following, dict):
            raise BadParameter(f"Invalid parameter: {'.'.join(path[: at + 1])}", path[0])
        tree = following
    tree[path[-1] or str(len(tree))] = value


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {key: _listed(item) for key, item in value.items()}
    return [inner[key] for key in sorted(inner, key=int)] if inner and all(key.isdecimal() for key in inner) else inner
