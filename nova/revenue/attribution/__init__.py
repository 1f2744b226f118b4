"""Whose a payment is: by direct evidence, or divided among those whose work led to it."""
