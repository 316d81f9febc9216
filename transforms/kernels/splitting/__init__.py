"""Which split each record falls to, by hashes of its content. Pure functions."""
