"""Tests of the file formats: one contract per kind, oracles from the formats' own libraries."""
