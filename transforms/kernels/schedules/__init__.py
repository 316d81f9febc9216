"""Which source, and which of its records, stands at each position of a mixture. Pure functions."""
