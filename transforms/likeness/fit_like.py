"""Fitting in a pipeline: two samples to one model, in one worker, on one thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from pyarrow import types as pt

from transforms.errors import DataError
from transforms.kernels.likeness.columns import specify
from transforms.kernels.likeness.spec import FeatureSpec
from transforms.kernels.records import blocks
from transforms.likeness.fit import FitReport, fit
from transforms.likeness.fit_sample import FitSample
from transforms.likeness.model import LikeModel
from transforms.likeness.sample_records import read_sample
from transforms.likeness.score_records import write_model
from transforms.likeness.seen import parted
from transforms.shuffling.packed import pack, unpack
from transforms.shuffling.spill_files import Spilling
from transforms.storage import files as storage
from transforms.workers.give_back import give_back
from transforms.workers.progress import Progress

TEXT_FEATURE = "text"
"""What names the text among features."""


class Fitted(NamedTuple):
    """A model, and what fitting it came to.

    Attributes:
        model: a reference, as of ``write_model``.
        report: None of a model that was fitted before.
    """

    model: bytes
    report: FitReport | None


@dataclass(eq=False, kw_only=True)
class FitLike(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Fit the discriminator: (sample of the input, sample of the test set) -> one Fitted, packed.

    The samples are those of SampleRecords. ``model_of`` gives the reference to the model alone, as
    ScoreRecords wants it.

    Attributes:
        features: TEXT_FEATURE, and names of columns.
        seed: of the split.
        spill: where temporary files lie.
    """

    features: Sequence[str]
    seed: int
    spill: Spilling

    def expand(self, samples: tuple[Any, Any]) -> Any:
        """One step, which waits for both samples."""
        once = samples[0].pipeline | "Once" >> beam.Create([None])
        sides = map(beam.pvalue.AsSingleton, samples)
        return once | "Fit" >> beam.Map(_fit, *sides, self).with_output_types(bytes)


@dataclass(eq=False, kw_only=True)
class LoadLike(beam.PTransform):  # type: ignore[misc]
    """Take a model that was fitted before: PBegin -> one Fitted, packed.

    Attributes:
        url: of its ``like.json``.
        spill: where temporary files lie.
    """

    url: str
    spill: Spilling

    def expand(self, root: Any) -> Any:
        """Read it once: who scores reads what was read."""
        load = partial(_load, self.url, self.spill)
        return root | "Once" >> beam.Create([None]) | beam.Map(load).with_output_types(bytes)


def model_of(fitted: Any) -> Any:
    """Return a PCollection of the reference to the model, of one of Fitted."""
    return fitted | "Model" >> beam.Map(lambda packed: read_fitted(packed).model).with_output_types(
        bytes
    )


def join_samples(
    found: pa.RecordBatch | None, test: pa.RecordBatch | None, features: Sequence[str]
) -> FitSample:
    """Put samples of the input (or of what was drawn of it) and of the test set together.

    Raises:
        DataError: one is empty, or a column isn't of one kind in both.
    """
    for part, what in ((found, "input"), (test, "test set")):
        if part is None:
            raise DataError(
                f"--like: expected records in the sample of the {what}, got none: the {what} is "
                "empty, or its first record exceeds --fit_bytes; pass more records, or a larger "
                "--fit_bytes"
            )
    assert found is not None
    assert test is not None
    both = [parted(part.column("seen")) for part in (found, test)]
    (texts, columns), (more_texts, more) = both
    wanted = [name for name in features if name != TEXT_FEATURE]
    sizes = (len(found), len(test))
    halves = [
        np.concatenate([blocks.column(part, name) for part in (found, test)])
        for name in ("hash0", "hash1")
    ]
    return FitSample(
        texts=_texts(texts, more_texts) if TEXT_FEATURE in features else None,
        columns={name: _joined(name, columns, more) for name in wanted},
        is_test=np.repeat([False, True], sizes),
        hash0=halves[0],
        hash1=halves[1],
    )


def _texts(*sides: pa.Array | None) -> pa.Array:
    found = []
    for texts, what in zip(sides, ("input", "test set"), strict=True):
        if texts is None:
            raise DataError(
                f"--features=text: expected a text in every row of the {what}, got rows without "
                "one; pass --text_field, or columns to compare by"
            )
        found.append(texts.cast(pa.large_string()))
    return pa.concat_arrays(found)


def _joined(name: str, columns: Mapping[str, pa.Array], more: Mapping[str, pa.Array]) -> pa.Array:
    for have, what in ((columns, "input"), (more, "test set")):
        if name not in have:
            raise DataError(
                f"--features={name}: expected this column in the input and the test set, the "
                f"{what} has none; pass columns that both have"
            )
    one, other = columns[name], more[name]
    if one.type == other.type:
        return pa.concat_arrays([one, other])
    for is_kind, kind in ((_is_number, pa.float64()), (_is_text, pa.large_string())):
        if all(is_kind(part.type) or pt.is_null(part.type) for part in (one, other)):
            return pa.concat_arrays([part.cast(kind) for part in (one, other)])
    raise DataError(
        f"--features={name}: expected values of one kind in the input and the test set, got "
        f"{one.type} and {other.type}; cast one of them"
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pt.is_integer(kind) or pt.is_floating(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind))


def _fit(_: None, found: bytes, test: bytes, config: FitLike) -> bytes:
    storage.configure(config.spill.storage_options)
    try:
        with Progress.open(config.spill.progress).doing("fitting the discriminator"):
            return _packed(*_fitted(found, test, config), config.spill.folders[0])
    finally:
        give_back()


def _fitted(found: bytes, test: bytes, config: FitLike) -> tuple[LikeModel, FitReport]:
    sample = join_samples(read_sample(found), read_sample(test), config.features)
    return fit(sample, spec_of(sample), config.seed)


def spec_of(sample: FitSample) -> FeatureSpec:
    """Return which features there are of what a sample holds."""
    spec = FeatureSpec() if sample.texts is not None else FeatureSpec(characters=None, words=None)
    return specify(spec, sample.columns)


def features_of(spec: FeatureSpec) -> list[str]:
    """Return the names of features that a spec was made of."""
    return [*([TEXT_FEATURE] if spec.has_text else []), *spec.columns]


def _load(url: str, spill: Spilling, _: None) -> bytes:
    storage.configure(spill.storage_options)
    model = LikeModel.of_json(storage.read_all(url), what=url)
    return pack([write_model(model, spill.folders[0]).hex(), None])


def _packed(model: LikeModel, report: FitReport, folder: str) -> bytes:
    return pack([write_model(model, folder).hex(), report.model_dump(mode="json")])


def read_fitted(packed: bytes) -> Fitted:
    """Read what FitLike or LoadLike gave."""
    model, said = unpack(packed)[0]
    return Fitted(bytes.fromhex(model), None if said is None else FitReport.model_validate(said))
