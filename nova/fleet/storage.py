"""TinyDB over the fleet's file. Only who changes the fleet imports it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from tinydb import TinyDB
from tinydb.storages import Storage
from tinydb.table import Document, Table

from nova.fleet.file import FleetFile, Tables


class FleetStorage(Storage):
    """TinyDB's storage. Whoever uses it holds the file's lock."""

    def __init__(self, file: FleetFile) -> None:
        self._file = file

    def read(self) -> Tables | None:
        return self._file.read()[1] or None

    def write(self, data: Tables) -> None:
        self._file.replace(data)


class Documents(Table):
    """A table whose documents are kept under their own names: no two processes can give out the same number."""

    document_id_class = cast(type[int], str)

    def find(self, name: str) -> Document | None:
        found = self.get(doc_id=cast(int, name))
        return found if isinstance(found, Document) else None

    def put(self, name: str, content: Mapping[str, Any], known: Collection[str] = ()) -> bool:
        """Whether it changed anything. What a newer nova keeps there besides stays; what is `known` and not in
        `content` goes.

        `revision` rises by itself where `content` has none.
        """
        found = self.find(name)
        before = dict(found) if found is not None else {}
        after = _merged(before, content, known)
        if found is not None and after == before:
            return False
        if "revision" not in content:
            after["revision"] = before.get("revision", 0) + 1

        def replace(table: dict[int, Mapping[str, Any]]) -> None:
            table[cast(int, name)] = after

        self._update_table(replace)
        return True

    def put_all(self, contents: Mapping[str, Mapping[str, Any]], known: Collection[str]) -> None:
        """Many in one write; each content has its `revision`."""

        def replace(table: dict[int, Mapping[str, Any]]) -> None:
            for name, content in contents.items():
                key = cast(int, name)
                table[key] = _merged(table.get(key, {}), content, known)

        if contents:
            self._update_table(replace)

    def drop(self, names: list[str]) -> None:
        self.remove(doc_ids=cast(list[int], names))

    def names(self) -> list[str]:
        return [str(one.doc_id) for one in self.all()]


def _merged(before: Mapping[str, Any], content: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    return {**{key: one for key, one in before.items() if key not in known}, **content}


class FleetDB(TinyDB):
    """One for each change: TinyDB remembers what another process may have outdated."""

    table_class = Documents

    def __init__(self, file: FleetFile) -> None:
        super().__init__(storage=lambda: FleetStorage(file))

    def documents(self, name: str) -> Documents:
        return cast(Documents, self.table(name))
