"""Beam transforms for preparing training data, each usable in somebody else's pipeline.

The kernels below (``transforms.kernels``) are plain functions on numpy and Arrow, without Beam.
"""

import logging


def _is_news(record: logging.LogRecord) -> bool:
    """Return False for what Beam says as soon as it is imported: we don't use BigQuery."""
    return not str(record.msg).startswith("apitools not found, and bigquery client libraries")


logging.getLogger().addFilter(_is_news)  # Beam says it by the root logger; all else goes on
