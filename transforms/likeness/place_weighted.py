"""Placing with weights: each record gets its weight as one more column, wherever it goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa

from transforms.datasets.identity import Origin
from transforms.kernels.records.attach import attach
from transforms.likeness.score_records import read_model, read_weighing, score_block
from transforms.splitting.placing import Part, Placing

_WEIGHT = "weight to attach"  # a column of blocks, which no record has


class Weighed(NamedTuple):
    """What PlaceWeighted is told.

    Attributes:
        inner: what the placing is told whose records get weights.
        model: a reference, as of ``write_model``.
        weighing: a reference, as WeighScores gives it.
    """

    inner: Any
    model: bytes
    weighing: bytes


@dataclass(frozen=True, kw_only=True)
class PlaceWeighted:
    """A Placing that attaches weights to what another one places; it is told Weighed.

    The scores are computed again, from the record and the model alone.

    Attributes:
        inner: says where records go.
        column: of the weights, float64, whose mean over all records is 1.
    """

    inner: Placing
    column: str = "weight"

    @property
    def names(self) -> tuple[str, ...]:
        """The splits."""
        return self.inner.names

    def place(self, origin: Origin, block: pa.RecordBatch, told: Weighed) -> Iterator[Part]:
        """Yield the parts of the other placing, each record with its weight."""
        scores = score_block(read_model(told.model), block)
        weights = read_weighing(told.weighing).weights_of(scores)
        block = block.append_column(_WEIGHT, pa.array(weights))
        for part in self.inner.place(origin, block, told.inner):
            if part.block is None:
                yield part
                continue
            values = part.block.column(_WEIGHT)
            bare = part.block.drop_columns([_WEIGHT])
            weighed = attach(bare, self.column, values, name_of=part.origin.name_of)
            yield part._replace(block=weighed)


def tell_weights(told: Any, model: Any, weighing: Any) -> Any:
    """Return a PCollection of Weighed, of PCollections of what it says; None of nothing inside."""
    once = model.pipeline | "OnceWeighed" >> beam.Create([None])
    sides = [once if told is None else told, model, weighing]
    return once | "TellWeights" >> beam.Map(_weighed, *map(beam.pvalue.AsSingleton, sides))


def _weighed(_: None, inner: Any, model: bytes, weighing: bytes) -> Weighed:
    return Weighed(inner, model, weighing)
