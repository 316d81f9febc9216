"""What ``--like`` found: how far the sets were apart, and are now; its files beside the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from transforms.kernels.likeness.draws import drawn, points
from transforms.kernels.likeness.folds import folds_of
from transforms.kernels.records import blocks
from transforms.likeness.figure import figure
from transforms.likeness.fit import fit, has_enough
from transforms.likeness.fit_like import features_of, join_samples, read_fitted, spec_of
from transforms.likeness.model import LikeModel
from transforms.likeness.report import LikeReport, make_report, words
from transforms.likeness.sample_records import read_sample
from transforms.likeness.score_records import read_model, read_weighing
from transforms.likeness.seen import parted
from transforms.shuffling.file_ranges import FileRange
from transforms.shuffling.spill_files import Spilling
from transforms.storage import files as storage
from transforms.storage import layout
from transforms.workers.give_back import give_back
from transforms.workers.progress import Progress


@dataclass(eq=False, kw_only=True)
class ReportLike(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Say what came of it, and publish the model and a figure: PBegin -> one JSON-able value.

    Attributes:
        fitted: a PCollection of one of Fitted, packed.
        weighing: of one reference, as WeighScores gives it.
        sample, test: of samples of the input and of the test set; None where there is a model alone.
        drawn: of a sample of what was drawn; None where weights are given in place of draws.
        seed: of the split.
        draws: how many there were; None for weights.
        output, run_id: the dataset's folder, and whose it is.
        spill: where temporary files lie.
    """

    fitted: Any
    weighing: Any
    sample: Any = None
    test: Any = None
    drawn: Any = None
    seed: int
    draws: int | None = None
    output: str
    run_id: str = ""
    spill: Spilling

    def expand(self, root: Any) -> Any:
        """One step, which waits for all that is to be told of."""
        nothing = root | "Nothing" >> beam.Create([b""])
        sides = [
            beam.pvalue.AsSingleton(nothing if side is None else side)
            for side in (self.fitted, self.weighing, self.sample, self.test, self.drawn)
        ]
        once = root | "Once" >> beam.Create([None])
        telling = _Telling(self.seed, self.draws, self.output, self.run_id, self.spill)
        return once | "Report" >> beam.Map(telling.report, *sides)


@dataclass(frozen=True)
class _Telling:
    """What is made known of one run; its fields are as of ReportLike."""

    seed: int
    draws: int | None
    output: str
    run_id: str
    spill: Spilling

    def report(
        self, _: None, fitted: bytes, weighing: bytes, sample: bytes, test: bytes, after: bytes
    ) -> dict[str, Any]:
        """Return the report, once the model and the figure are published."""
        storage.configure(self.spill.storage_options)
        found = read_fitted(fitted)
        model, weights = read_model(found.model), read_weighing(weighing)
        auc = None
        if test:
            others = after or sample
            with Progress.open(self.spill.progress).doing(
                "fitting another, to tell what it came to"
            ):
                auc = self._fresh_auc(model, None if after else weights, read_sample(others), test)
            give_back()
        told = make_report(weights, fitted=found.report, auc_after=auc, draws=self.draws)
        files = list(self._publish(found.model, told))
        return told.model_dump(mode="json") | {"words": words(told), "files": files}

    def _fresh_auc(
        self, model: LikeModel, weights: Any, found: pa.RecordBatch | None, test: bytes
    ) -> float | None:
        """Return how well a new discriminator tells them from the test set; None where they are few.

        They are drawn by weight first, where there are weights.
        """
        if weights is not None:
            found = self._resampled(model, weights, found)
        sample = join_samples(found, read_sample(test), features_of(model.features))
        del found  # which takes as much as its copy
        return fit(sample, spec_of(sample), self.seed)[1].auc if has_enough(sample) else None

    def _resampled(
        self, model: LikeModel, weights: Any, sample: pa.RecordBatch | None
    ) -> pa.RecordBatch | None:
        """Draw as many records as a sample has, from it, by weight."""
        if sample is None or not weights.records:
            return None
        texts, columns = parted(sample.column("seen"))
        hashes = blocks.column(sample, "hash0"), blocks.column(sample, "hash1")
        scores = model.score(texts, columns, folds_of(*hashes, model.seed))
        # a text that was cut for the sample may have a score that no whole one has
        places = np.minimum(np.searchsorted(weights.scores, scores), len(weights.scores) - 1)
        units = weights.units[places]
        total = int(units.sum(dtype=np.uint64))
        every = points(len(sample), total=total, seed=self.seed)
        found, times = drawn(units, begin=0, points=every)
        return sample.take(pa.array(np.repeat(found, times)))

    def _publish(self, model: bytes, report: LikeReport) -> Iterator[dict[str, str]]:
        """Publish the model's file and the figure; yield what the manifest says of them."""
        data = bytes(FileRange.from_bytes(model).read_checked())
        for path, content in ((layout.LIKE_MODEL, data), (layout.LIKE_FIGURE, figure(report))):
            layout.publish_whole(self.output, path, content, run_id=self.run_id)
            yield {"path": path, "sha256": hashlib.sha256(content).hexdigest()}
