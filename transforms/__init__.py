"""Beam transforms for preparing training data, each usable in somebody else's pipeline.

The kernels below (``transforms.kernels``) are plain functions on numpy and Arrow, without Beam.
"""
