"""What the platforms tell becomes entries that know their worker; reports, comparisons and proposals from them."""
