"""The ledger's tables around revenue: what webhooks brought, who came from where, who subscribes, how platforms answer.

Names of people never stand here: a person is a hash of what others call them (`subject`, `nova.people`).
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Float, Index, Integer, LargeBinary, PrimaryKeyConstraint, Table, Text

from nova.ledger.schema import column, metadata

# What a platform or shop sent, as it came: verified, and kept before anybody looks into it.
deliveries = Table(
    "deliveries",
    metadata,
    column("endpoint", Text),  # stripe, gumroad, sendgrid, or the name of a declared one
    column("id", Text),  # the sender's own, else the hash of the body: what comes twice is one
    column("received_us", BigInteger),
    column("kind", Text, null=True),  # what it says to be, such as charge.refunded
    column("body", LargeBinary),
    column("state", Text),  # waiting, done, dead
    column("attempts", Integer),
    column("due_us", BigInteger),
    column("error", Text, null=True),
    column("done_us", BigInteger, null=True),
    PrimaryKeyConstraint("endpoint", "id"),
    sqlite_with_rowid=False,
)
Index("deliveries_undone", deliveries.c.endpoint, deliveries.c.due_us, sqlite_where=deliveries.c.state == "waiting")
Index("deliveries_dead", deliveries.c.received_us, sqlite_where=deliveries.c.state == "dead")

# Addresses whose clicks are counted: `slug` follows from the rest, so that the same link is one row.
links = Table(
    "links",
    metadata,
    column("slug", Text, primary_key=True),
    column("worker", Text),
    column("url", Text),
    column("channel", Text, null=True),
    column("campaign", Text, null=True),
    column("content", Text, null=True),
    column("at_us", BigInteger),
    sqlite_with_rowid=False,
)
# Somebody met a worker's work: a click, a mail opened, a coupon used.
touches = Table(
    "touches",
    metadata,
    column("id", Text, primary_key=True),
    column("subject", Text),
    column("worker", Text),
    column("kind", Text),  # click, mail_open, mail_click, coupon, visit
    column("channel", Text, null=True),
    column("campaign", Text, null=True),
    column("link", Text, null=True),
    column("at_us", BigInteger),
    Index("touches_by_subject", "subject", "at_us"),
    Index("touches_by_time", "at_us"),
    sqlite_with_rowid=False,
)
# The same person under several names: a click, an address, a customer.
subjects = Table(
    "subjects",
    metadata,
    column("alias", Text, primary_key=True),
    column("subject", Text),
    column("at_us", BigInteger),
    Index("subjects_by_subject", "subject"),
    sqlite_with_rowid=False,
)
# Whose the sales of a product, price, coupon or campaign are, as a person declared it; ended, never removed.
mappings = Table(
    "mappings",
    metadata,
    column("source", Text),
    column("kind", Text),  # product, price, coupon, campaign
    column("object", Text),
    column("at_us", BigInteger),
    column("worker", Text),
    column("by", Text),
    column("until_us", BigInteger, null=True),
    PrimaryKeyConstraint("source", "kind", "object", "at_us"),
    sqlite_with_rowid=False,
)
# What is known of a payment for attribution, beside its entries, and how it was divided last.
credits = Table(
    "credits",
    metadata,
    column("source", Text),
    column("object", Text),
    column("at_us", BigInteger),
    column("subject", Text, null=True),
    column("evidence", Text),  # JSON: tag, link, coupon, product, price
    column("model", Text, null=True),  # by which it is divided; null: whole, by direct evidence
    column("shares", Text, null=True),  # JSON: millionths of the whole by worker
    column("stale", Boolean),  # something is known since that the division does not know
    PrimaryKeyConstraint("source", "object"),
    Index("credits_by_subject", "subject"),
    Index("credits_by_time", "at_us"),
    sqlite_with_rowid=False,
)
Index("credits_stale", credits.c.at_us, sqlite_where=credits.c.stale)

# What a subscription brings a month from `at_us` on; 0: nothing more.
subscription_events = Table(
    "subscription_events",
    metadata,
    column("source", Text),
    column("id", Text),
    column("at_us", BigInteger),
    column("kind", Text),  # started, changed, paused, resumed, cancelled (ends later), ended
    column("subject", Text, null=True),
    column("worker", Text, null=True),
    column("product", Text, null=True),
    column("monthly_micros", BigInteger),
    column("currency", Text),
    PrimaryKeyConstraint("source", "id", "at_us", "kind"),
    Index("subscription_events_by_time", "at_us"),
    sqlite_with_rowid=False,
)

# Who is not to be written to any more.
suppressions = Table(
    "suppressions",
    metadata,
    column("subject", Text),
    column("reason", Text),  # unsubscribe, bounce, spam, invalid, manual
    column("source", Text),
    column("at_us", BigInteger),
    PrimaryKeyConstraint("subject", "reason"),
    sqlite_with_rowid=False,
)

# How each platform answered, by hour.
platform_calls = Table(
    "platform_calls",
    metadata,
    column("platform", Text),
    column("hour", BigInteger),  # hours since 1970 UTC
    column("calls", BigInteger),
    column("errors", BigInteger),
    column("limited", BigInteger),
    column("seconds", Float),  # that all of them took
    column("longest_s", Float),
    column("last_error", Text, null=True),
    PrimaryKeyConstraint("platform", "hour"),
    sqlite_with_rowid=False,
)

TABLES = (
    deliveries, links, touches, subjects, mappings, credits, subscription_events, suppressions, platform_calls,
)  # fmt: skip
