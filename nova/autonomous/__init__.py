"""Evidence, decisions, approvals: the fleet managed as an investor manages a portfolio."""
