"""One module a command group: parse, call a service, render. No rule lives here."""
