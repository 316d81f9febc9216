"""Tests, in the tree of what they test."""

from hypothesis import settings

# A shared machine stalls now and then; a slow example is no failure.
settings.register_profile("dovetail", deadline=None)
settings.load_profile("dovetail")
