"""The newcomer's fleet, and the storefront it sells through."""
