"""What can be called, without importing it: names, where they live, and the line that `--help` lists.

A test holds that every line equals the first line of the command's own help.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Command(NamedTuple):
    target: str  # module:function under nova.cli.commands
    help: str
    panel: str = "Commands"


class Group(NamedTuple):
    help: str
    commands: Mapping[str, Command | Group]
    panel: str = "Commands"


FLEET = "Fleet"
MONEY = "Money"
AUTONOMY = "Autonomy"
REST = "The rest"

_AGENTS = {
    "list": Command("agents:list_agents", "Show what can be deployed."),
    "show": Command("agents:show", "Show an agent and the configuration it takes."),
    "new": Command("agents:new", "Write the file of a new agent, ready to be deployed."),
}
_WORKERS = {
    "start": Command("manager:start", "Start the manager, which runs what is deployed."),
    "stop": Command("manager:stop", "Stop the manager; what is deployed stays declared."),
    "restart": Command("manager:restart", "Stop the manager and start it again."),
    "status": Command("watch:status", "Show every deployment: its state, its runs and what it earns."),
    "run": Command("run:run", "Run a deployment once, now, in this terminal."),
    "scale": Command("workers:scale", "Set how many replicas of a deployment run."),
    "pause": Command("workers:pause", "Start no new run; a running one ends by itself."),
    "resume": Command("workers:resume", "Let a paused, cooling or parked deployment run again."),
    "kill": Command("workers:kill", "End a deployment's runs now and never run it again."),
    "health": Command("watch:health", "Say what is not well; exit code 1 when something is not."),
    "logs": Command("logs:logs", "Print the log of a deployment, an instance or the manager."),
    "outbox": Command("outbox:outbox", "Show which effects of a deployment wait, were given up or are in doubt."),
}
_BUDGETS = {
    "list": Command("budgets:list_budgets", "Show every budget and how much of it is used."),
    "set": Command("budgets:set_budget", "Limit what a scope may spend per run, day or month, or in total."),
    "remove": Command("budgets:remove", "Remove a limit."),
    "tiers": Command("budgets:tiers", "Show or set at how many percent of a budget you are warned."),
}
_RATES = {
    "set": Command("rates:set_rates", "Say what a currency is worth in the reporting currency."),
    "list": Command("rates:list_rates", "Show the rates in use and what still lacks one."),
}
_TARGETS = {
    "set": Command("targets:set_target", "Say how much revenue a period is to bring."),
    "list": Command("targets:list_targets", "Show each target, how far it has come and how likely it is met."),
    "remove": Command("targets:remove", "Take a target back."),
}
_REVENUE: dict[str, Command | Group] = {
    "sync": Command("revenue:sync", "Fetch from the platforms what was sold, refunded and charged."),
    "record": Command("revenue:record", "Book one sale by hand."),
    "import": Command("revenue:import_csv", "Book the rows of a CSV file as revenue."),
    "report": Command("reports:report", "Show revenue, cost, profit and ROI by worker, source or day."),
    "top": Command("reports:top", "Show the deployments with the most profit."),
    "timeline": Command("reports:timeline", "Show revenue and cost day by day."),
    "cashflow": Command(
        "cash:cashflow", "Show what came in and went out day by day, with opening and closing balance."
    ),
    "runway": Command("cash:runway", "Say how long the money lasts at the present pace."),
    "mrr": Command("recurring:mrr", "Show monthly recurring revenue, its movements, churn and lifetime value."),
    "refunds": Command("cash:refunds", "Show how much of what was sold was given back."),
    "cohorts": Command("recurring:cohorts", "Show customers by the month they came in, and how many stay."),
    "forecast": Command("cash:forecast", "Estimate what the days to come bring, with bounds."),
    "target": Group("What is to be earned, and how far it has come.", _TARGETS),
    "export": Command("revenue:export", "Print the report's figures as JSON or CSV."),
    "reconcile": Command(
        "revenue:reconcile", "Prove the ledger against what the platforms say, and name each difference."
    ),
    "links": Command("links:links", "Show the tracked links and how often they were followed."),
    "reinvest": Command("reports:reinvest", "Say how much of the profit goes back as budget, and to whom."),
    "attribute": Command("attribution:attribute", "Say by hand which worker an entry belongs to."),
    "map": Command("attribution:map_object", "Give all sales of a product, price, coupon or campaign to a worker."),
    "unmap": Command("attribution:unmap", "Take a mapping back; what it gave goes back by new entries."),
    "mappings": Command("attribution:mappings", "Show what is mapped to whom."),
    "path": Command("attribution:path", "Explain whose a payment is: evidence, touches, model and shares."),
    "rates": Group("Exchange rates.", _RATES),
}
_COSTS = {
    "record": Command("costs:record", "Book money that was spent."),
    "report": Command("costs:report", "Show what was spent, by worker, source or day."),
    "share": Command("costs:share", "Share a bill among deployments, day by day."),
    "shared": Command("costs:shared", "Show the bills that deployments share."),
    "unshare": Command("costs:unshare", "Share a bill no longer; what is booked of it stays."),
}
_LEDGER = {
    "export": Command("ledger:export", "Write every entry and run as one JSON object a line."),
    "import": Command("ledger:import_lines", "Read what an export wrote; what is there already stays."),
    "verify": Command("ledger:verify", "Recount the ledger and say whether it is whole."),
    "backup": Command("ledger:backup", "Copy the ledger into a file while it is in use."),
    "restore": Command("ledger:restore", "Put a backup in the place of the ledger."),
    "adjust": Command("ledger:adjust", "Correct an entry by a new one; nothing is changed."),
}
_POLICY = {
    "show": Command("policy:show", "Show the thresholds and guardrails in force."),
    "set": Command("policy:set_policy", "Change thresholds and guardrails."),
    "reset": Command("policy:reset", "Go back to the initial policy."),
}
_AUTONOMOUS: dict[str, Command | Group] = {
    "enable": Command("autonomous:enable", "Let the engine act on what it decides."),
    "disable": Command("autonomous:disable", "Let the engine advise only."),
    "status": Command("autonomous:status", "Show the switch, the policy, the budget and what waits."),
    "run": Command("autonomous:run", "Analyse the fleet once, and act where that is allowed."),
    "policy": Group("Thresholds and guardrails of the engine.", _POLICY),
    "approvals": Command("decisions:approvals", "Show the decisions that wait for a person."),
    "approve": Command("decisions:approve", "Approve a waiting decision; it is executed at once."),
    "reject": Command("decisions:reject", "Reject a waiting decision and silence it for a day."),
    "history": Command("decisions:history", "Show what was decided and enforced, newest first."),
    "explain": Command("decisions:explain", "Show the evidence, the rule and the policy of a decision."),
}
_SERVICE = {
    "install": Command("service:install", "Let systemd keep the manager running."),
    "status": Command("service:status", "Show the units that run a manager here, this user's and the system's."),
    "uninstall": Command("service:uninstall", "Stop the manager's service and take its unit away."),
}
_GUMROAD = {
    "products": Command("gumroad_products:products", "Show the products with their prices and what they sold."),
    "price": Command("gumroad_products:price", "Change what a product costs."),
    "publish": Command("gumroad_products:publish", "Put a product into the shop."),
    "unpublish": Command("gumroad_products:unpublish", "Take a product out of the shop; who bought it keeps it."),
    "codes": Command("gumroad_products:codes", "Show the offer codes of a product, add one or take one back."),
    "sales": Command("gumroad_sales:sales", "Show sales, the newest first."),
    "revenue": Command("gumroad_sales:revenue", "Sum up the sales of a period by product, as Gumroad tells them now."),
    "subscribers": Command("gumroad_people:subscribers", "Show who subscribes to a product now."),
    "license": Command("gumroad_people:license_key", "Verify a license key, without counting a use."),
    "refund": Command("gumroad_sales:refund", "Give a customer the money back, all of it or an amount."),
    "hooks": Command("gumroad_people:hooks", "Show where Gumroad posts what happens, add an address or take one back."),
}
_SENDGRID = {
    "send": Command("sendgrid:send", "Send a mail now, to each recipient alone."),
    "stats": Command("sendgrid:stats", "Show what became of the mails: delivered, opened, clicked, bounced."),
    "templates": Command("sendgrid:templates", "Show the dynamic templates."),
    "lists": Command("sendgrid:lists", "Show the contact lists, make one or remove one."),
    "contacts": Command("sendgrid:contacts", "Show, add or delete contacts."),
    "suppressions": Command("sendgrid:suppressions", "Show who is not written to: nova's own list, and SendGrid's."),
    "suppress": Command("sendgrid:suppress", "Let nobody write to an address any more, here and at SendGrid."),
    "unsuppress": Command("sendgrid:unsuppress", "Write to an address again, because its owner wishes so."),
}
_TWITTER = {
    "post": Command("twitter:post", "Post on X."),
    "thread": Command("twitter:thread", "Post a thread on X, each part as an answer to the one before."),
    "delete": Command("twitter:delete", "Delete a post of the account."),
    "search": Command("twitter_reading:search", "Search the posts of the last seven days, newest first."),
    "mentions": Command("twitter_reading:mentions", "Show the posts that mention the account, newest first."),
    "user": Command("twitter_reading:user", "Show users of X and their figures."),
    "metrics": Command("twitter_reading:metrics", "Show how often posts were seen, liked, answered and passed on."),
    "like": Command("twitter:like", "Like a post."),
    "unlike": Command("twitter:unlike", "Like a post no longer."),
    "retweet": Command("twitter:retweet", "Repost a post."),
    "unretweet": Command("twitter:unretweet", "Take a repost back."),
    "limits": Command(
        "twitter_reading:limits", "Show what X still lets the account do, as it told in two harmless calls."
    ),
}
_STRIPE: dict[str, Command | Group] = {
    "balance": Command("stripe_payments:balance", "Show what Stripe holds: available, and on its way."),
    "payments": Group(
        "What customers paid.",
        {
            "list": Command("stripe_payments:payments", "Show payments, the newest first."),
            "show": Command("stripe_payments:payment", "Show one payment, and what was given back of it."),
        },
    ),
    "refund": Command("stripe_payments:refund", "Give a customer the money back, all of it or an amount."),
    "customers": Command("stripe_customers:customers", "Show customers, the newest first."),
    "products": Group(
        "What is sold, and for how much.",
        {
            "list": Command("stripe_catalog:products", "Show the products on sale with their prices."),
            "create": Command("stripe_catalog:create_product", "Make a product with a price."),
        },
    ),
    "link": Group(
        "Payment links: pages where customers pay.",
        {
            "create": Command("stripe_catalog:create_link", "Make a payment link whose sales are a worker's."),
            "list": Command("stripe_catalog:links", "Show the payment links one can pay by."),
            "close": Command("stripe_catalog:close_link", "Let nobody pay by a link any more."),
        },
    ),
    "subscriptions": Group(
        "Who pays again and again.",
        {
            "list": Command("stripe_customers:subscriptions", "Show subscriptions with what they bring a month."),
            "cancel": Command(
                "stripe_customers:cancel_subscription", "Cancel a subscription at the end of what is paid."
            ),
            "resume": Command("stripe_customers:resume_subscription", "Take back that a subscription is to end."),
        },
    ),
    "invoices": Command("stripe_customers:invoices", "Show invoices, the newest first."),
    "disputes": Group(
        "Payments that customers deny.",
        {
            "list": Command("stripe_payments:disputes", "Show disputes, and until when evidence is taken."),
            "answer": Command(
                "stripe_payments:answer_dispute", "Answer a dispute with evidence; it goes to the bank, once."
            ),
            "close": Command("stripe_payments:close_dispute", "Give a dispute up: the customer keeps the money."),
        },
    ),
    "payouts": Command("stripe_payments:payouts", "Show what went to your bank, and what is on its way."),
}
_PLATFORMS: dict[str, Command | Group] = {
    "list": Command("platforms:list_platforms", "Show the platforms, which have a key, and how they answered lately."),
    "check": Command("platforms:check", "Call each configured platform and say whether it answers."),
    "health": Command("platforms:health", "Show how the platforms have answered, and how fast."),
    "stripe": Group("Stripe's payments, catalog, subscriptions and balance.", _STRIPE),
    "gumroad": Group("Gumroad's products, sales, subscribers and licenses.", _GUMROAD),
    "sendgrid": Group("SendGrid's mail, figures, lists and suppressions.", _SENDGRID),
    "twitter": Group("Posts, search and figures on X.", _TWITTER),
}
_WEBHOOKS = {
    "list": Command("webhooks:list_webhooks", "Show the webhooks nova takes, and what has come."),
    "add": Command("webhooks:add", "Take signed webhooks of another sender, and book the sales in them."),
    "remove": Command("webhooks:remove", "Take a sender's webhooks no longer."),
    "dead": Command("webhooks:dead", "Show the deliveries that could not be used, and why."),
    "show": Command("webhooks:show", "Show one delivery, as it came."),
    "replay": Command("webhooks:replay", "Look into dead deliveries again."),
}
_AUDIT = {
    "log": Command("audit:log", "Show who did what and when."),
    "verify": Command("audit:verify", "Derive the audit chain again and compare."),
}

Entry = Command | Group

COMMANDS: dict[str, Entry] = {
    "deploy": Command("fleet:deploy", "Put a worker under nova's care, or change its declaration.", FLEET),
    "retire": Command("fleet:retire", "Remove a deployment from the fleet; its history stays.", FLEET),
    "agents": Group("What can be deployed.", _AGENTS, FLEET),
    "workers": Group("Run, watch and control what is deployed.", _WORKERS, FLEET),
    "service": Group("The manager as a systemd service.", _SERVICE, FLEET),
    "stop": Command("manager:stop_everything", "Stop the whole fleet now: no cycle acts, nothing runs.", FLEET),
    "budgets": Group("What may be spent.", _BUDGETS, FLEET),
    "revenue": Group("What was earned, and by whom.", _REVENUE, MONEY),
    "costs": Group("What was spent.", _COSTS, MONEY),
    "ledger": Group("The book of every entry and run.", _LEDGER, MONEY),
    "autonomous": Group("Decide by ROI, inside budgets, with your approval.", _AUTONOMOUS, AUTONOMY),
    "status": Command("overview:status", "Show on one screen what runs, earns and waits for you.", REST),
    "top": Command("top:top", "Watch the fleet live on the whole terminal, and act on it.", REST),
    "doctor": Command("doctor:doctor", "Check configuration, keys, clock, disk and permissions.", REST),
    "platforms": Group("The platforms nova talks to.", _PLATFORMS, REST),
    "serve": Command("serve:serve", "Take webhooks and lead tracked links on, until it is stopped.", REST),
    "webhooks": Group("What platforms and shops send by themselves.", _WEBHOOKS, REST),
    "audit": Group("Who did what.", _AUDIT, REST),
    "init": Command("init:init", "Ask for the keys and write NOVA_HOME/.env.", REST),
    "demo": Command("demo:demo", "Show the whole job on a throw-away fleet.", REST),
    "version": Command("version:version", "Print the version.", REST),
}
