"""How alike records are to those of another set: their features, and scores by linear models."""
