"""nova platforms twitter: posting on X, by hand."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from nova.cli import render
from nova.cli.commands.twitter_account import PostArg, account
from nova.cli.output import Column, emit, line, table
from nova.cli.params import AsJson, Yes
from nova.cli.terminal import confirm, note

if TYPE_CHECKING:
    from platforms.twitter_integration import Twitter
    from platforms.twitter_types import Posted

ReplyTo = Annotated[str | None, typer.Option("--reply-to", metavar="POST", help="Answer this post.")]
Media = Annotated[
    list[str] | None, typer.Option("--media", metavar="FILE", help="A picture, GIF or video; up to four pictures.")
]
Alt = Annotated[
    list[str] | None, typer.Option("--alt", metavar="TEXT", help="Describes a picture; one for each, in order.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count the characters as X does, and send nothing.")]


def post(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="At most 280 characters, as X counts them; - reads it.")],
    reply_to: ReplyTo = None,
    quote: Annotated[str | None, typer.Option("--quote", metavar="POST", help="Quote this post.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--poll", metavar="OPTION", help="An option of a poll; 2 to 4 of them.")
    ] = None,
    minutes: Annotated[int, typer.Option("--poll-minutes", metavar="N", help="How long the poll is open.")] = 1440,
    media: Media = None,
    alt: Alt = None,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Post on X.

    It is posted at once, and its address is printed. When X's answer is lost, look at the account before you post it
    again.

    Example:
      nova platforms twitter post 'We are open: https://example.com' --dry-run
    """
    from platforms.twitter_rules import check_post
    from platforms.twitter_types import Poll

    text = _text(text)
    poll = Poll(tuple(option), minutes) if option else None
    length = check_post(text, poll=poll, media=media or (), quote=quote)
    if dry_run:
        _say_lengths([(text, length)], json)
        return
    with account() as twitter:
        ids = _uploaded(twitter, media, alt)
        posted = twitter.post(text, reply_to=reply_to, quote=quote, poll=poll, media=ids)
    _say_posted([posted], json)


def thread(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Posts parted by lines of ---; - reads it.")],
    reply_to: ReplyTo = None,
    media: Media = None,
    alt: Alt = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where it was cut: what is posted already is not posted again.")
    ] = False,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Post a thread on X, each part as an answer to the one before.

    All parts are checked before the first is sent. When it is cut in its middle, the same command with --resume looks
    at the account's latest posts and adds what is missing. Media go with the first part.

    Example:
      nova platforms twitter thread launch.txt --dry-run
    """
    from nova.errors import Unreachable
    from platforms.twitter_rules import check_post

    texts = _parts(file)
    lengths = [check_post(text, part=number) for number, text in enumerate(texts, 1)]
    if dry_run:
        _say_lengths(zip(texts, lengths, strict=True), json)
        return
    with account() as twitter:
        ids = _uploaded(twitter, media, alt)
        try:
            posted = twitter.thread(texts, reply_to=reply_to, media=ids, resume=resume)
        except Unreachable as problem:
            problem.hint = "what was posted stays: the same command with --resume goes on where it was cut"
            raise
    _say_posted(posted, json)


def delete(post: PostArg, yes: Yes = False, json: AsJson = False) -> None:
    """Delete a post of the account.

    Example:
      nova platforms twitter delete 1990000000000000001 --yes
    """
    from platforms.twitter_rules import post_id

    id = post_id(post)
    confirm(f"Delete the post {id} for good?", yes=yes)
    with account() as twitter:
        deleted = twitter.delete(id)
    if json:
        emit({"id": id, "deleted": deleted})
    else:
        line(f"{id} is deleted" if deleted else f"{id} was not there")


def like(post: PostArg, json: AsJson = False) -> None:
    """Like a post.

    Example:
      nova platforms twitter like 1990000000000000001
    """
    _act("like", post, "is liked", json)


def unlike(post: PostArg, json: AsJson = False) -> None:
    """Like a post no longer.

    Example:
      nova platforms twitter unlike 1990000000000000001
    """
    _act("unlike", post, "is not liked any more", json)


def retweet(post: PostArg, json: AsJson = False) -> None:
    """Repost a post.

    Example:
      nova platforms twitter retweet 1990000000000000001
    """
    _act("retweet", post, "is reposted", json)


def unretweet(post: PostArg, json: AsJson = False) -> None:
    """Take a repost back.

    Example:
      nova platforms twitter unretweet 1990000000000000001
    """
    _act("unretweet", post, "is not reposted any more", json)


def _act(what: str, post: str, done: str, json: bool) -> None:
    from platforms.twitter_rules import post_id

    id = post_id(post)
    with account() as twitter:
        getattr(twitter, what)(id)
    if json:
        emit({"id": id, "done": what})
    else:
        line(f"{id} {done}")


def _text(text: str) -> str:
    return sys.stdin.read().strip("\n") if text == "-" else text


def _parts(file: str) -> list[str]:
    from platforms.twitter_rules import parts_of

    if file == "-":
        return parts_of(sys.stdin.read())
    from pathlib import Path

    from nova.errors import UsageProblem

    try:
        return parts_of(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageProblem(f"{file} cannot be read: {why}") from None


def _uploaded(twitter: Twitter, media: list[str] | None, alt: list[str] | None) -> list[str]:
    from pathlib import Path

    from nova.errors import UsageProblem

    if len(alt or ()) > len(media or ()):
        raise UsageProblem("there are more descriptions than media", hint="give one --alt for each --media, in order")
    words: list[str | None] = [*(alt or ()), *[None] * len(media or ())]
    return [twitter.upload(Path(file), alt_text=words[number]).id for number, file in enumerate(media or ())]


def _say_lengths(parts: Iterable[tuple[str, int]], json: bool) -> None:
    from nova.config import load_settings
    from platforms.prices import price_of
    from platforms.twitter_text import LIMIT, links_in

    settings = load_settings()
    rows = [(text, length, links_in(text)) for text, length in parts]
    prices = [price_of(settings, "twitter", "post_with_link" if links else "post") for _, _, links in rows]
    if json:
        names = ("text", "characters", "links", "price")
        posts = [dict(zip(names, (*row, price), strict=True)) for row, price in zip(rows, prices, strict=True)]
        emit({"dry_run": True, "limit": LIMIT, "posts": posts})
        return
    heads = ("characters", "links", "price")
    columns = (*(Column(head, right=True) for head in heads), Column("text", wrap=True))
    shown = [render.NOTHING if price is None else render.money(price) for price in prices]
    cells = [(f"{row[1]} of {LIMIT}", str(len(row[2])), price, row[0]) for row, price in zip(rows, shown, strict=True)]
    table(columns, cells)
    note("nothing was sent")


def _say_posted(posted: Iterable[Posted], json: bool) -> None:
    if json:
        emit({"posts": [{"id": one.id, "url": one.url, "text": one.text} for one in posted]})
        return
    for one in posted:
        line(one.url)
