"""Runners beyond this machine."""
