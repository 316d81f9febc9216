"""Records as arrays: blocks, rows, pages, keys' ranges, digests, checks. Pure functions."""
