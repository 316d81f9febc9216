"""Pipelines leave nothing where they are killed: there is no temporary folder of Beam's meanwhile."""

from __future__ import annotations

import os
import tempfile

import apache_beam as beam

from pipelines.runners.local import run_local
from transforms.kernels.planning.plan import Workers


def test_no_temporary_folder_of_beam_is_there_while_a_pipeline_runs() -> None:
    seen: list[str] = []

    def build(pipeline: beam.Pipeline) -> None:
        seen.extend(os.listdir(tempfile.gettempdir()))
        _ = pipeline | beam.Create([1])

    run_local(build, workers=Workers(1, 0, 1 << 20))
    assert not [name for name in seen if name.startswith("beam-pipeline-temp")]
