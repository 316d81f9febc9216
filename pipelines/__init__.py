"""What a person runs: ``dovetail NAME``, or ``python -m pipelines.NAME``."""
