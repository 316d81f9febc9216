"""Datasets of ours, read again: their manifests, their rows, and what is wrong with them."""
