"""nova platforms gumroad subscribers|license|hooks: who subscribes, whose key is good, and who is told."""

from __future__ import annotations

from typing import Annotated

import typer

from nova.cli import render
from nova.cli.commands.gumroad_account import ProductId, account
from nova.cli.output import Column, emit, line, table
from nova.cli.params import AsJson, By
from nova.cli.session import noted


def subscribers(
    product: ProductId,
    email: Annotated[str | None, typer.Option("--email", metavar="ADDRESS", help="Only this person.")] = None,
    json: AsJson = False,
) -> None:
    """Show who subscribes to a product now.

    Example:
      nova platforms gumroad subscribers club
    """
    with account() as (_, gumroad):
        found = list(gumroad.subscribers(product, email=email))
    if json:
        emit({"subscribers": found})
        return
    columns = (
        Column("id", whole=True), Column("person", wrap=True), Column("status"), Column("paid"),
        Column("since"), Column("until", wrap=True),
    )  # fmt: skip
    rows = [
        (
            one.id, one.email or render.NOTHING, one.status, one.recurrence or render.NOTHING, render.when(one.since),
            render.NOTHING if one.cancelled is None else render.when(one.cancelled),
        )
        for one in found
    ]  # fmt: skip
    table(columns, rows, empty="nobody subscribes to it")


def license_key(
    product: ProductId,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The license key.")],
    count: Annotated[bool, typer.Option("--count", help="Count this as a use.")] = False,
    uncount: Annotated[bool, typer.Option("--uncount", help="Take a use back.")] = False,
    enable: Annotated[bool, typer.Option("--enable", help="Let it be good again.")] = False,
    disable: Annotated[bool, typer.Option("--disable", help="Let it be good no more.")] = False,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Verify a license key, without counting a use.

    The exit code is 0 for a key that is good, 3 for one that Gumroad does not know for the product or that is
    disabled, and 4 for one whose sale was given back or whose subscription has ended.

    Example:
      nova platforms gumroad license guide 83DB262A-C19D3B06-A5235A6B-8C079166
    """
    from nova.errors import UsageProblem

    if count + uncount + enable + disable > 1:
        raise UsageProblem("only one of --count, --uncount, --enable and --disable")
    with account() as (nova, gumroad):
        id = gumroad.product(product).id
        if disable:
            found = gumroad.disable_license(id, key)
        else:
            change = {(True, False): gumroad.uncount_license_use, (False, True): gumroad.enable_license}
            act = change.get((uncount, enable))
            found = act(id, key) if act is not None else gumroad.verify_license(id, key, count_use=count)
        if enable or disable:
            noted(nova, by, f"gumroad_license_{'enabled' if enable else 'disabled'}", id, {"sale": found.sale})
        good = found.good(nova.clock.now()) and not disable
    if json:
        emit({"good": good, **{name: getattr(found, name) for name in ("key", "product", "uses", "sale", "email")}})
    else:
        state = "disabled" if disable else "good" if good else "not good: refunded, disputed or ended"
        line(f"{state}; used {render.count(found.uses, 'time')}; sale {found.sale or render.NOTHING}")
    if not good and not disable:
        raise typer.Exit(4)


def hooks(
    add: Annotated[str | None, typer.Option("--add", metavar="URL", help="Let Gumroad post to this address.")] = None,
    on: Annotated[
        list[str] | None, typer.Option("--on", metavar="RESOURCE", help="When this happens; each that there is.")
    ] = None,
    remove: Annotated[str | None, typer.Option("--remove", metavar="ID", help="Post there no more.")] = None,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Show where Gumroad posts what happens, add an address or take one back.

    The address holds the secret of `nova serve`, as Gumroad signs nothing: see `nova webhooks list`.

    Example:
      nova platforms gumroad hooks --add https://nova.example/webhooks/gumroad/SECRET --on sale --on refund
    """
    from dataclasses import replace

    from nova.config import secret_values
    from nova.secrecy import Scrubber
    from platforms.gumroad_integration import RESOURCES

    with account() as (nova, gumroad):
        if remove is not None:
            gumroad.delete_hook(remove)
            noted(nova, by, "gumroad_hook_removed", remove, {})
        for resource in (on or RESOURCES) if add is not None else ():
            gumroad.create_hook(resource, str(add))
            noted(nova, by, "gumroad_hook_added", resource, {})
        hidden = Scrubber(secret_values(nova.settings))
        found = [replace(one, url=hidden.text(one.url)) for one in gumroad.hooks()]
    if json:
        emit({"hooks": found})
        return
    rows = [(one.id, one.resource, one.url) for one in found]
    columns = (Column("id", whole=True), Column("when"), Column("address", wrap=True))
    table(columns, rows, empty="Gumroad posts nowhere yet: nova platforms gumroad hooks --help")
