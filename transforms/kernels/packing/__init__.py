"""Which ids of which documents stand in which row of a fixed length. Pure functions."""
