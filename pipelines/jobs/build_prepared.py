"""The dataflow of prepare: from a planned job to Beam's pipeline."""

from __future__ import annotations

from typing import Any

from pipelines.jobs.prepare_job import Job


def build(root: Any, job: Job) -> None:
    """Wire the pipeline: read, split, tokenize, mix, pack, write, prove."""
    raise NotImplementedError("prepare's pipeline comes with the lead's part")
