"""Makes an extract of a vendor's published OpenAPI document, small enough to keep and to validate with.

    python tests/published_extract.py WHOLE.json OUT.json --note "…" --request "GET /v1/charges" … --leave-out REGEX …

A reference to a schema whose name matches `--leave-out` is dropped: as one of several shapes, or with its property.
Parameters named by `--without` are dropped too, so that a client which sends them is found out.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_KEPT = {
    "$ref", "additionalProperties", "allOf", "anyOf", "enum", "exclusiveMaximum", "exclusiveMinimum", "format",
    "items", "maxItems", "maxLength", "maximum", "minItems", "minLength", "minimum", "multipleOf", "not", "nullable",
    "oneOf", "pattern", "properties", "required", "type", "uniqueItems",
}  # fmt: skip
_SHAPES = ("anyOf", "oneOf", "allOf")


class Extract:
    """What is said of some requests, with every schema they need."""

    def __init__(self, whole: dict[str, Any], leave_out: str | None, without: frozenset[str] = frozenset()) -> None:
        self._whole = whole
        self._without = without
        self._leave_out = re.compile(leave_out) if leave_out else None
        self._requests: dict[str, Any] = {}
        self._responses: dict[str, Any] = {}
        self._schemas: dict[str, Any] = {}

    def add(self, request: str) -> None:
        method, path = request.split(" ", 1)
        item = self._whole["paths"][path]
        said = item[method.lower()]
        self._requests[request] = self._asked([*item.get("parameters", ()), *said.get("parameters", ())], said)
        answer = next(said["responses"][code] for code in sorted(said["responses"]) if code.startswith("2"))
        self._responses[request] = self._follow(_schema_of(self._resolved(answer)) or {})

    def add_schema(self, name: str) -> None:
        self._follow({"$ref": f"#/components/schemas/{name}"})

    def document(self, note: str) -> dict[str, Any]:
        return {
            "note": note,
            "version": self._whole["info"].get("version"),
            "requests": dict(sorted(self._requests.items())),
            "responses": dict(sorted(self._responses.items())),
            "components": {"schemas": dict(sorted(self._schemas.items()))},
        }

    def _asked(self, parameters: list[Any], said: Any) -> Any:
        """Parameters of the query and of the body as one object; those of the path stand in the request's name."""
        body = _schema_of(self._resolved(said.get("requestBody") or {})) or {}
        if "$ref" in body:
            body = self._resolved(body)
        asked = {"type": "object", "properties": {}, "required": [], **body}
        for one in map(self._resolved, parameters):
            if one["in"] == "query":
                asked["properties"] = {**asked["properties"], one["name"]: one["schema"]}
                asked["required"] = [*asked["required"], *([one["name"]] if one.get("required") else ())]
        asked["properties"] = {name: one for name, one in asked["properties"].items() if name not in self._without}
        if not asked["required"]:
            del asked["required"]
        return self._follow(asked)

    def _follow(self, schema: Any) -> Any:
        small = self._small(schema)
        for name in _references(small):
            if name not in self._schemas:
                self._schemas[name] = {}
                self._schemas[name] = self._follow(self._whole["components"]["schemas"][name])
        return small

    def _small(self, schema: Any) -> Any:
        if isinstance(schema, bool):
            return schema
        small: dict[str, Any] = {}
        for key, value in schema.items():
            if key not in _KEPT or (key == "nullable" and value is False):
                continue
            if key == "properties":
                small[key] = {name: self._small(one) for name, one in value.items() if not self._left_out(one)}
            elif key in _SHAPES:
                small[key] = [self._small(one) for one in value if not self._left_out(one)]
            elif key in ("items", "additionalProperties", "not") and isinstance(value, dict):
                small[key] = self._small(value)
            else:
                small[key] = value
        if "required" in small and "properties" in small:
            small["required"] = [name for name in small["required"] if name in small["properties"]]
        return {key: value for key, value in small.items() if key not in ("required", *_SHAPES) or value}

    def _left_out(self, schema: Any) -> bool:
        """Also what can only be one of several shapes that are all left out."""
        if self._leave_out is None or not isinstance(schema, dict):
            return False
        if "$ref" in schema:
            return self._leave_out.fullmatch(schema["$ref"].rsplit("/", 1)[1]) is not None
        shapes = schema.get("anyOf") or schema.get("oneOf") or []
        return bool(shapes) and all(self._left_out(one) for one in shapes)

    def _resolved(self, part: Any) -> Any:
        found = part
        while "$ref" in found:
            target = self._whole
            for key in found["$ref"].removeprefix("#/").split("/"):
                target = target[key]
            found = target
        return found


def _schema_of(part: Any) -> Any:
    content = part.get("content") or {}
    for kind in ("application/json", "application/x-www-form-urlencoded", "multipart/form-data"):
        if kind in content:
            return content[kind].get("schema")
    return next((one.get("schema") for one in content.values()), None)


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].rsplit("/", 1)[1]
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("whole", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--note", required=True)
    parser.add_argument("--request", action="append", required=True)
    parser.add_argument("--schema", action="append", default=[], help="kept too, such as that of errors")
    parser.add_argument("--leave-out")
    parser.add_argument("--without", action="append", default=[])
    given = parser.parse_args()
    extract = Extract(json.loads(given.whole.read_text()), given.leave_out, frozenset(given.without))
    for request in given.request:
        extract.add(request)
    for name in given.schema:
        extract.add_schema(name)
    given.out.write_text(json.dumps(extract.document(given.note), sort_keys=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
