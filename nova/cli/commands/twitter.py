"""nova platforms twitter: posts, search and figures on X, by hand."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli import render
from nova.cli.output import Column, emit, facts, line, table
from nova.cli.params import AsJson, Limit, Yes
from nova.cli.session import session
from nova.cli.terminal import confirm, note

if TYPE_CHECKING:
    from platforms.twitter_integration import Twitter
    from platforms.twitter_types import Post, Posted

PostArg = Annotated[str, typer.Argument(metavar="POST", help="Its id or its address.")]
ReplyTo = Annotated[str | None, typer.Option("--reply-to", metavar="POST", help="Answer this post.")]
Media = Annotated[
    list[str] | None, typer.Option("--media", metavar="FILE", help="A picture, GIF or video; up to four pictures.")
]
Alt = Annotated[
    list[str] | None, typer.Option("--alt", metavar="TEXT", help="Describes a picture; one for each, in order.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count the characters as X does, and send nothing.")]


@contextmanager
def _twitter() -> Iterator[Twitter]:
    with session() as nova:
        client: Twitter = nova.platforms.twitter
        try:
            yield client
        finally:
            client.close()


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
    with _twitter() as twitter:
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
    with _twitter() as twitter:
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
    with _twitter() as twitter:
        deleted = twitter.delete(id)
    if json:
        emit({"id": id, "deleted": deleted})
    else:
        line(f"{id} is deleted" if deleted else f"{id} was not there")


def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="As X's search takes it: words, from:NAME, #tag.")],
    most: Limit = 20,
    json: AsJson = False,
) -> None:
    """Search the posts of the last seven days, newest first.

    X charges by the post.

    Example:
      nova platforms twitter search 'tea from:example -is:retweet' -n 50
    """
    with _twitter() as twitter:
        _say_posts(list(twitter.search(query, most=most)), json)


def mentions(
    since: Annotated[str | None, typer.Option("--since", metavar="POST", help="Only what came after this one.")] = None,
    most: Limit = 20,
    json: AsJson = False,
) -> None:
    """Show the posts that mention the account, newest first.

    Example:
      nova platforms twitter mentions -n 5
    """
    from platforms.twitter_rules import post_id

    with _twitter() as twitter:
        _say_posts(list(twitter.mentions(since_id=post_id(since) if since else None, most=most)), json)


def user(
    who: Annotated[list[str], typer.Argument(metavar="NAME...", help="One or more names, or one id.")],
    json: AsJson = False,
) -> None:
    """Show users of X and their figures.

    Example:
      nova platforms twitter user @XDevelopers
    """
    with _twitter() as twitter:
        found = [twitter.user(who[0])] if len(who) == 1 else list(twitter.users(who))
    if json:
        emit({"users": found})
        return
    columns = (
        Column("name"),
        Column("id", whole=True),
        Column("followers", right=True),
        Column("following", right=True),
        Column("posts", right=True),
        Column("since"),
        Column("about", wrap=True),
    )
    rows = [
        [
            f"@{one.username}",
            one.id,
            str(one.followers),
            str(one.following),
            str(one.posts),
            _day(one.at),
            one.description,
        ]
        for one in found
    ]
    table(columns, rows)


def metrics(
    posts: Annotated[list[str], typer.Argument(metavar="POST...", help="Ids or addresses of posts.")],
    json: AsJson = False,
) -> None:
    """Show how often posts were seen, liked, answered and passed on.

    A post that is gone is left out.

    Example:
      nova platforms twitter metrics 1990000000000000001
    """
    with _twitter() as twitter:
        found = twitter.metrics(posts)
    if json:
        emit({"posts": [{"id": id, **_figures(one)} for id, one in found.items()]})
        return
    names = ("impressions", "likes", "replies", "retweets", "quotes", "bookmarks")
    columns = (Column("post", whole=True), *(Column(name, right=True) for name in names))
    table(columns, [[id, *(str(getattr(one, name)) for name in names)] for id, one in found.items()])


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


def limits(json: AsJson = False) -> None:
    """Show what X still lets the account do, as it told in two harmless calls.

    X limits each path by itself; agents wait by themselves where one is used up.

    Example:
      nova platforms twitter limits
    """
    from nova.errors import PlatformNotConfigured

    with _twitter() as twitter:
        usage = None
        try:
            usage = twitter.usage()
        except PlatformNotConfigured:
            note("how much was read this month is told to the bearer token only: TWITTER_BEARER_TOKEN")
        try:
            twitter.me()
        except PlatformNotConfigured as problem:
            note(f"the account's own limits are not shown: {problem.hint}")
        found = twitter.limits()
    if json:
        emit({"usage": usage, "limits": found})
        return
    if usage is not None:
        cap = render.NOTHING if usage.cap is None else str(usage.cap)
        facts([("posts read", f"{usage.used} of {cap}"), ("anew on day", str(usage.reset_day or render.NOTHING))])
        line()
    columns = (
        Column("path"),
        Column("per"),
        Column("limit", right=True),
        Column("left", right=True),
        Column("anew at"),
    )
    rows = [[one.endpoint, one.window, str(one.limit), str(one.remaining), render.when(one.reset_at)] for one in found]
    table(columns, rows)


def _act(what: str, post: str, done: str, json: bool) -> None:
    from platforms.twitter_rules import post_id

    id = post_id(post)
    with _twitter() as twitter:
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


def _say_posts(posts: list[Post], json: bool) -> None:
    if json:
        emit({"posts": [_document(one) for one in posts]})
        return
    if not posts:
        note("nothing was found")
        return
    columns = (
        Column("at"),
        Column("by"),
        Column("post", whole=True),
        Column("likes", right=True),
        Column("text", wrap=True),
    )
    table(columns, [[_day(one.at), f"@{one.author}", one.id, str(one.metrics.likes), one.plain] for one in posts])


def _document(post: Post) -> dict[str, Any]:
    told = {"id": post.id, "url": post.url, "at": post.at, "author": post.author, "author_id": post.author_id}
    refers = {"reply_to": post.replied_to, "quote": post.quoted, "conversation": post.conversation_id}
    return {**told, "text": post.plain, "links": post.links, **refers, "metrics": _figures(post.metrics)}


def _figures(metrics: object) -> dict[str, int]:
    from dataclasses import asdict

    return asdict(metrics)  # type: ignore[call-overload,no-any-return]


def _day(at: Any) -> str:
    return render.NOTHING if at is None else render.when(at)
