"""Texts to pieces by a unigram model: the best segmentation, or one drawn by a law. Pure functions."""
