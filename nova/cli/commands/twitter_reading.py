"""nova platforms twitter: what others post, and how posts do, on X."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli import render
from nova.cli.commands.twitter_account import account
from nova.cli.output import Column, emit, facts, line, table
from nova.cli.params import AsJson, Limit
from nova.cli.terminal import note

if TYPE_CHECKING:
    from platforms.twitter_types import Post


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
    with account() as twitter:
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

    with account() as twitter:
        _say_posts(list(twitter.mentions(since_id=post_id(since) if since else None, most=most)), json)


def user(
    who: Annotated[list[str], typer.Argument(metavar="NAME...", help="One or more names, or one id.")],
    json: AsJson = False,
) -> None:
    """Show users of X and their figures.

    Example:
      nova platforms twitter user @XDevelopers
    """
    with account() as twitter:
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
    with account() as twitter:
        found = twitter.metrics(posts)
    if json:
        emit({"posts": [{"id": id, **_figures(one)} for id, one in found.items()]})
        return
    names = ("impressions", "likes", "replies", "retweets", "quotes", "bookmarks")
    columns = (Column("post", whole=True), *(Column(name, right=True) for name in names))
    table(columns, [[id, *(str(getattr(one, name)) for name in names)] for id, one in found.items()])


def limits(json: AsJson = False) -> None:
    """Show what X still lets the account do, as it told in two harmless calls.

    X limits each path by itself; agents wait by themselves where one is used up.

    Example:
      nova platforms twitter limits
    """
    from nova.errors import PlatformNotConfigured

    with account() as twitter:
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
