"""Pure functions on numpy and Arrow. Nothing here imports Beam."""
