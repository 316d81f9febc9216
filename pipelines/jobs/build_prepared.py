"""The dataflow of preparing: from a planned job to Beam's pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.jobs.build import finish, memory_for, most_bad, read_records, spilling
from transforms.kernels.planning.plan import RECORDS
from transforms.kernels.schedules.mixture import Mixture
from transforms.kernels.schedules.staged import Stage
from transforms.trainers.write_prepared import WritePrepared

if TYPE_CHECKING:
    from pipelines.jobs.prepare_job import Job


def build(root: Any, job: Job) -> None:
    """Wire the pipeline: for each epoch read, split, order and pack, write; then prove."""
    import apache_beam as beam

    from transforms.splitting.count_contents import CountContents

    spans, splits, shards = [], [], []
    reading = _reading(job)
    counted = None
    if job.splits is not None and job.splits.is_counted:
        found = root | "ReadContents" >> reading
        counted = found.blocks | "CountContents" >> CountContents(
            plan=job.splits, contents=job.contents
        )
    for epoch in job.epochs:
        first = epoch == job.epochs[0]
        label = f"Epoch{epoch}" if len(job.epochs) > 1 else "All"
        read = root | f"{label}Read" >> reading
        for name, located, of_split in _split(job, read, counted, first=first, label=label):
            train = name == job.recipe.split_name
            ordered, later = (located, of_split) | f"{label}{name}" >> _order(
                job, epoch, name, counted, train=train, reading=reading
            )
            level = epoch if train and len(job.epochs) > 1 else None
            spans.append(...)
