"""The recipe and its ways in: flags, files, values, checks."""
