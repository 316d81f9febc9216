"""Tests of the pure kernels: plain oracles, properties, known answers, statistics."""
