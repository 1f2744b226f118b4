"""How long X finds a text: its published rules (twitter-text, configuration 3), under which a post has 280 at most."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

LIMIT = 280
URL_LENGTH = 23
_LONGEST_TEXT = 50_000  # with twelve links of the greatest length; in a longer one none is looked for
_MOST_TRIED = 200_000  # signs of what may be links; a text that fits has fewer
_LONGEST_URL = 4096
_LONGEST_SLUG = 40
_LIGHT = ((0, 4351), (8192, 8205), (8208, 8223), (8242, 8247))  # count 1, everything else 2

_INVALID = "\ufffe\ufeff\uffff"
_DIRECTION = "\u202a-\u202e\u061c\u200e\u200f\u2066-\u2069"
_PUNCTUATION = re.escape("!'#%&()*+,\\-./:;<=>?@[]^_{|}~$")
_SPACES = "\x09-\x0d\x20\x85\xa0\u1680\u180e\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_ACCENTS = (
    "\xc0-\xd6\xd8-\xf6\xf8-\xff\u0100-\u024f"
    "\u0253\u0254\u0256\u0257\u0259\u025b\u0263\u0268\u026f\u0272\u0289\u028b\u02bb\u0300-\u036f\u1e00-\u1eff"
)
_LETTER = f"[^{_PUNCTUATION}{_SPACES}{_INVALID}{_DIRECTION}]"
_CANDIDATE = re.compile(
    rf"(?:[^A-Za-z0-9@\uff20$#\uff03{_INVALID}]|[{_DIRECTION}]|^)"
    rf"(https?://)?((?:{_LETTER}(?:[_-]*{_LETTER})*\.)+{_LETTER}(?:-*{_LETTER})*)",
    re.IGNORECASE,
)
_FURTHER = re.compile(_CANDIDATE.pattern.replace("|^)", ")", 1), re.IGNORECASE)  # behind another one
_DOT = re.compile(r"\.")
_TLD_ENDS = re.compile(r"[^0-9a-zA-Z@+-]|$")
_CODED = re.compile(r"xn--[-0-9a-z]+", re.IGNORECASE)
_LATIN = re.compile(rf"(?:[-a-z0-9{_ACCENTS}]+\.)+[^.]+", re.IGNORECASE)
_GENERAL = rf"[a-z\u0400-\u04ff0-9!*';:=+,.$/%#\[\]\-\u2013_~@|&{_ACCENTS}]"
_PARENS = rf"\((?:{_GENERAL}+|{_GENERAL}*\({_GENERAL}+\){_GENERAL}*)\)"
_REST = re.compile(
    r"(?::[0-9]+)?"
    rf"(?P<path>/(?:(?:{_PARENS}|{_GENERAL})*(?:{_PARENS}|[+\-a-z\u0400-\u04ff0-9=_#/{_ACCENTS}]))?)?"
    r"(?:\?[a-z0-9!?*'@();:&=+$/%#\[\]\-_.,~|]*[a-z0-9\-_&=#/])?",
    re.IGNORECASE,
)
_SHORT = re.compile(
    r"https?://t\.co/([a-z0-9]+)(?:\?[a-z0-9!?*'@();:&=+$/%#\[\]\-_.,~|]*[a-z0-9\-_&=#/])?", re.IGNORECASE
)
_PICTURE = (
    "[\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf\u2934\u2935\u2b00-\u2bff\u3030\u303d\u3297"
    "\u3299\U0001f004\U0001f0cf\U0001f170-\U0001f19a\U0001f201-\U0001f251\U0001f300-\U0001f3fa\U0001f400-\U0001faff]"
)
_PERSON = (  # and the few animals and things that others are joined to
    "[\u26f9\u26d3\u2764\U0001f34b\U0001f344\U0001f3c3\U0001f3c4\U0001f3ca-\U0001f3cc\U0001f3f3\U0001f3f4\U0001f408"
    "\U0001f415\U0001f426\U0001f43b\U0001f441\U0001f466-\U0001f469\U0001f46e-\U0001f487\U0001f574\U0001f575\U0001f62e"
    "\U0001f635\U0001f636\U0001f642\U0001f645-\U0001f64e\U0001f6a3\U0001f6b4-\U0001f6b6\U0001f926-\U0001f93e"
    "\U0001f9b8\U0001f9b9\U0001f9cd-\U0001f9df\U0001faf1]"
)
_ONE = rf"{_PICTURE}(?:[\U0001f3fb-\U0001f3ff]|\ufe0f)?"
_EMOJI = re.compile(
    r"[#*0-9]\ufe0f?\u20e3|[\xa9\xae]\ufe0f|[\U0001f1e6-\U0001f1ff]{2}"
    rf"|{_PICTURE}[\U000e0020-\U000e007e]+\U000e007f|{_PERSON}(?:[\U0001f3fb-\U0001f3ff]|\ufe0f)?(?:\u200d{_ONE})+|{_ONE}"
)


def weighted_length(text: str) -> int:
    """As X counts it: a link 23, an emoji 2, Chinese, Japanese and Korean signs 2, what is usual in Europe 1."""
    text = unicodedata.normalize("NFC", text)
    total = at = 0
    for start, end in _links(text):
        total += _plain_length(text[at:start]) + URL_LENGTH
        at = end
    return total + _plain_length(text[at:])


def links_in(text: str) -> list[str]:
    """What X makes links of, also without http:// before it."""
    text = unicodedata.normalize("NFC", text)
    return [text[start:end] for start, end in _links(text)]


def _plain_length(text: str) -> int:
    total = at = 0
    for emoji in _EMOJI.finditer(text):
        total += _sum(text[at : emoji.start()]) + 2
        at = emoji.end()
    return total + _sum(text[at:])


def _sum(text: str) -> int:
    return sum(1 if any(first <= ord(sign) <= last for first, last in _LIGHT) else 2 for sign in text)


def _links(text: str) -> Iterator[tuple[int, int]]:
    at = 0
    if len(text) > _LONGEST_TEXT or "." not in text:
        return
    tried = 0
    while tried < _MOST_TRIED:
        found = _CANDIDATE.search(text, at) if at == 0 else _FURTHER.search(text, at)
        if found is None:
            return
        tried += found.end() - found.start()
        domain_end = _domain_end(text, *found.span(2))
        if domain_end is None:
            at = found.start() + 1
            continue
        rest = _REST.match(text, domain_end)
        assert rest is not None
        at = rest.end()
        if _short_enough(text[found.start(2) : domain_end], at - found.start(2)):
            yield from _spans(text, found, domain_end, rest)


def _spans(text: str, found: re.Match[str], domain_end: int, rest: re.Match[str]) -> Iterator[tuple[int, int]]:
    start, stop = found.start(2), rest.end()
    if found[1]:
        start = found.start(1)
        short = _SHORT.match(text[start:stop])
        if short is None or len(short[1]) <= _LONGEST_SLUG:
            yield start, stop if short is None else start + short.end()
    elif text[max(0, start - 1) : start] not in ("-", "_", ".", "/"):
        plain = list(_ascii_domains(text, start, domain_end))
        yield from plain[:-1]
        if plain:
            first, last = plain[-1]
            yield first, stop if rest["path"] else last


def _domain_end(text: str, start: int, end: int) -> int | None:
    """Of as much as ends with a top-level domain; None where nothing does."""
    dots = [dot.start() for dot in _DOT.finditer(text, start, end)]
    for number in range(len(dots) - 1, -1, -1):
        before = dots[number - 1] + 1 if number else start
        length = _tld_length(text, dots[number] + 1, dots[number + 1] if number + 1 < len(dots) else end)
        if length and "_" not in text[before : dots[number]]:
            return dots[number] + 1 + length
    return None


def _ascii_domains(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Without a protocol only what is written in Latin letters is a link."""
    at = start
    while found := _LATIN.search(text, at, end):
        stop = _domain_end(text, *found.span())
        if stop is not None:
            yield found.start(), stop
        at = text.index(".", found.start()) + 1 if stop is None else stop


def _tld_length(text: str, start: int, end: int) -> int:
    """Of the longest top-level domain that stands there and behind which a domain can end."""
    low, known = text[start : min(end, start + _longest_tld())].lower(), _tlds()
    if low.startswith("xn--") and (code := _CODED.match(text, start)):
        return code.end() - start
    for length in range(len(low), 0, -1):
        if low[:length] in known and _TLD_ENDS.match(text, start + length):
            return length
    return 0


def _short_enough(domain: str, length: int) -> bool:
    try:
        labels = [
            label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in domain.split(".")
        ]
    except UnicodeError:
        return False
    return all(len(label) <= 63 for label in labels) and length <= _LONGEST_URL


@cache
def _tlds() -> frozenset[str]:
    return frozenset(files("platforms").joinpath("twitter_tlds.txt").read_text(encoding="utf-8").split())


@cache
def _longest_tld() -> int:
    return max(map(len, _tlds()))
