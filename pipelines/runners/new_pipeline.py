"""Beam's pipelines, each without the temporary folder that Beam makes for it."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions


def new_pipeline(runner: Any, options: PipelineOptions) -> beam.Pipeline:
    """Make an empty pipeline.

    Beam makes a folder for what transforms of other languages need. We have none of these, and a run
    that is killed would leave it.

    Raises:
        ValueError: Beam can't take the options.
    """
    pipeline = beam.Pipeline(runner=runner, options=options)
    with contextlib.suppress(OSError):
        os.rmdir(pipeline.local_tempdir)
    return pipeline
