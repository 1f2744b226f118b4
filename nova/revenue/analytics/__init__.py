"""Figures over what is booked: pure functions over values, each with a thin reader of the ledger."""
