"""`nova top`: the fleet, live on a whole terminal. Only the command imports this package: it brings Textual with it."""
