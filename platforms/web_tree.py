"""How a page becomes a tree: BeautifulSoup's, by lxml, bounded so that no page takes unbounded time or memory."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import Any

from bs4 import UnicodeDammit
from bs4.builder._lxml import LXMLTreeBuilder

from platforms.base import PlatformFailed

_NO_CHARSETS = (
    "idna",
    "punycode",
    "raw_unicode_escape",
    "raw-unicode-escape",
    "unicode_escape",
    "unicode-escape",
    "utf-7",
)
MOST_ELEMENTS = 300_000  # some four seconds, and 300 MB
MOST_DEEP = 256  # as libxml2 has it by itself


class PageTooLarge(PlatformFailed):
    """The page has too many elements."""


class Decoded(UnicodeDammit):
    """A page's text. What Python calls an encoding and no browser does is none: some take a time that grows with the
    square of the page.
    """

    def find_codec(self, charset: str) -> str | None:
        found = super().find_codec(charset)
        try:
            return None if found is None or codecs.lookup(found).name in _NO_CHARSETS else found
        except (LookupError, ValueError):
            return None


class TreeBuilder(LXMLTreeBuilder):
    """A line break is a text, and comments are left out, since nobody looks for them. Elements that are nested too deep
    are left out as well; their texts are those of what they stand in.
    """

    soup: Any
    _left = MOST_ELEMENTS
    _depth = 0

    def start(self, tag: Any, attrib: Any, nsmap: Mapping[Any, Any] | None = None) -> None:
        """Without what BeautifulSoup does for the namespaces of XML, which takes a third of its time."""
        self._left -= 1
        if self._left < 0:
            raise PageTooLarge(f"the page has more than {MOST_ELEMENTS:,} elements")
        if tag == "br":
            self.soup.handle_data("\n")
            return
        self._depth += 1
        if self._depth <= MOST_DEEP:
            self.soup.handle_starttag(tag, None, None, self.attribute_dict_class(attrib))

    def end(self, tag: Any) -> None:
        if tag == "br":
            return
        if self._depth <= MOST_DEEP:
            self.soup.endData()
            self.soup.handle_endtag(tag)
        self._depth -= 1

    def comment(self, text: Any) -> None:
        return

    def pi(self, target: str, data: str) -> None:
        return
