"""The command, whose job on Flink asks for more of the TaskManagers' heap than there is."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

import pipelines.shuffle
from pipelines.jobs.job import Job
from pipelines.recipes.cli import leave


def build(root: Any, job: Job) -> None:
    """Group 130 MB by Flink's own GroupByKey, which holds them; a shuffle groups references alone."""
    payload = root | beam.Create(range(130)) | beam.Map(lambda i: (0, bytes([i]) * 1_000_000))
    _ = payload | beam.GroupByKey() | beam.MapTuple(lambda _, found: sum(map(len, found)))


if __name__ == "__main__":
    pipelines.shuffle.COMMAND.build = build
    leave(pipelines.shuffle.main())
