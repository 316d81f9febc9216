"""Stores: real protocols served on this machine, and stores that fail on purpose."""
