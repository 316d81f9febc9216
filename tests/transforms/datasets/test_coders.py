"""Coders: payload crosses edges as Arrow or as bytes, and costs what it holds."""

from __future__ import annotations

import functools
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.coders import coders as beam_coders
from apache_beam.coders import registry
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import PipelineVisitor

from tests.transforms.helpers import Row, collect, hashed, make_rows, make_run, rows_of
from transforms.datasets.attach_column import AttachColumn
from transforms.datasets.coders import BlockCoder
from transforms.datasets.read import ReadRecords
from transforms.datasets.read_values import ReadValues
from transforms.datasets.records import BlocksFromRecords
from transforms.datasets.write import WriteShards
from transforms.kernels.splitting.plan import Part, SplitPlan
from transforms.packing.window_tokens import WindowTokens
from transforms.shuffling.partition import PartitionIntoBuckets
from transforms.shuffling.shuffle import ShuffleWithinBuckets
from transforms.shuffling.spill_files import Spilling
from transforms.shuffling.streams import Streams
from transforms.splitting.count_contents import CountContents
from transforms.splitting.find_parted import FindParted
from transforms.splitting.find_several import FindSeveral
from transforms.splitting.place_by_plan import PlaceByPlan
from transforms.splitting.split_in_order import SplitInOrder
from transforms.splitting.split_records import SplitRecords
from transforms.splitting.split_shuffled import ShuffledSplit, SplitShuffled
from transforms.splitting.stratify import Stratify

FINE_CODERS = (BlockCoder, beam_coders.BytesCoder)


@pytest.mark.parametrize("sources", [1, 2])
@pytest.mark.parametrize(
    "cut", [slice(0, 100), slice(30, 60), slice(99, 100), slice(5, 5)], ids=str
)
def test_a_block_or_a_slice_comes_back_as_it_was(cut: slice, sources: int) -> None:
    block = make_run(make_rows(100, sources=sources), sources=sources)
    part = block.slice(cut.start, cut.stop - cut.start)
    coder = BlockCoder()
    found = coder.decode(coder.encode(part))
    assert found.equals(part)
    assert found.schema.equals(block.schema, check_metadata=True)


def test_a_slice_of_a_large_block_costs_what_it_holds() -> None:
    block = make_run([Row(hashed(i), bytes(1000)) for i in range(20_000)])
    few = block.slice(7_000, 10)
    assert block.nbytes > 20_000_000
    assert 10_000 < len(BlockCoder().encode(few)) < 15_000


def test_an_estimate_is_near_the_size_and_encodes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    coder = BlockCoder()
    parts = [make_run(make_rows(2000)).slice(at, 1000) for at in (0, 500)]
    sizes = [len(coder.encode(part)) for part in parts]
    monkeypatch.setattr(BlockCoder, "encode", None)
    for part, size in zip(parts, sizes, strict=True):
        assert coder.estimate_size(part) == pytest.approx(size, rel=0.1)


def test_blocks_do_not_pass_for_keys() -> None:
    assert not BlockCoder().is_deterministic()


def test_the_registry_knows_blocks_whatever_was_imported_first() -> None:
    assert isinstance(registry.get_coder(pa.RecordBatch), BlockCoder)


class _Edges(PipelineVisitor):
    """Gathers the element type of every PCollection, by the label of the step that makes it."""

    def __init__(self) -> None:
        self.types: dict[str, Any] = {}

    def visit_value(self, value: Any, producer: Any) -> None:
        tag = f" {value.tag}" if value.tag else ""
        self.types[producer.full_label + tag] = value.element_type


@functools.cache
def edges(shard_records: int | None, *flags: str) -> dict[str, Any]:
    """Return the type of every edge of a pipeline in two levels that is built and never run."""
    spill = Spilling(folders=["memory://nowhere"])
    streams = Streams.as_one(["default"], seed=0, buckets=4, partitions=2)
    root = beam.Pipeline(options=PipelineOptions(list(flags)))
    files = root | ReadRecords(sources={"default": ["nowhere/*"]})
    own = root | beam.Create([(1, b"")]) | BlocksFromRecords()
    alone = root | "Own" >> beam.Create([b""]) | "NoIds" >> BlocksFromRecords(ids=False)
    plan = SplitPlan(parts=(Part("test", count=5),))
    counted = files.blocks | CountContents(plan=plan)
    values = root | ReadValues(files=["nowhere/*"], key="id", value="label")
    column = files.blocks | AttachColumn(name="label", values=values)
    _ = column.blocks | WindowTokens(length=2)
    split = files.blocks | SplitRecords(plan=plan, counted=counted)
    reading, placing = ReadRecords(sources={"default": ["nowhere/*"]}), PlaceByPlan(plan=plan)
    writing = {name: WriteShards(output="nowhere", split=name) for name in placing.names}
    _ = root | SplitInOrder(
        reading=reading, placing=placing, writing=writing, largest="train", units=2, spill=spill
    )
    shuffled = {
        name: ShuffledSplit(streams=streams, spill=spill, shards=2, writing=writing[name])
        for name in placing.names
    }
    _ = root | SplitShuffled(reading=reading, placing=placing, splits=shuffled)
    several = FindSeveral(spill=spill)
    _ = (files.blocks, files.blocks) | Stratify(plan=plan, field="label", several=several)
    _ = files.blocks | FindParted(placing=placing, told=counted, several=several)
    _ = (
        (split["train"][0], own.blocks, alone.blocks)
        | beam.Flatten()
        | PartitionIntoBuckets(streams=streams, spill=spill)
        | ShuffleWithinBuckets(streams=streams, spill=spill, ranges=2, shard_records=shard_records)
        | WriteShards(output="nowhere")
    )
    visitor = _Edges()
    root.visit(visitor)
    return visitor.types


def payload_coder(kind: Any) -> Any:
    """Return the coder of what an edge carries: the last of a tuple, the items of an iterable."""
    while not isinstance(kind, type):
        if hasattr(kind, "tuple_types"):
            kind = kind.tuple_types[-1]
        elif hasattr(kind, "inner_type"):
            kind = kind.inner_type
        else:
            break
    return registry.get_coder(kind)


FINE = [
    *((None, step) for step in ("SpillRuns", "FirstSpills", "CutFirst", "SpillAgain", "AllSpills")),
    *((None, f"{step}/InTurn") for step in ("PartitionIntoBuckets", "ShuffleWithinBuckets")),
    *((many, "LayOut") for many in (None, 5)),
    (None, "BlocksFromRecords/PlaceById"),
    (None, "BlocksFromRecords/GatherBlocks"),
    *((None, f"NoIds/{step}") for step in ("DigestContent", "GroupEquals", "NumberEquals")),
    (None, "NoIds/GatherBlocks"),
    (None, "ReadSpans"),
    (None, "SplitRecords/Split"),
    (None, "CountContents/CountContents"),
    *((None, f"Stratify/{step}") for step in ("CountContents/CountContents", "MarkLabels")),
    *((None, f"Stratify/FindSeveral/{step}") for step in ("Spill/SpillRuns", "Meet/LayOut")),
    (None, "FindParted/MarkSplits"),
    (None, "SplitInOrder/SplitUnits/ParDo(_SplitUnit) aside"),
    (None, "SplitInOrder/CutAside"),
    *((None, f"SplitShuffled/Place/ParDo(_Place) split_{name}") for name in ("train", "test")),
    *((None, f"SplitShuffled/Partition_{name}") for name in ("train", "test")),
    *((None, f"SplitShuffled/Shuffle_{name}/LayOut") for name in ("train", "test")),
    (None, "ReadValues/KeysAndValues"),
    *((None, f"AttachColumn/{step}") for step in ("HashKeys", "AttachValues")),
    (None, "WindowTokens/WindowTokens"),
]
SMALL = (" spans", " spans_train", " spans_test", " tallies", "/Map(decode)")


@pytest.mark.parametrize(("shard_records", "step"), FINE)
def test_an_edge_that_carries_payload_is_not_pickled(shard_records: int | None, step: str) -> None:
    found = {
        label: payload_coder(kind)
        for label, kind in edges(shard_records).items()
        if f"/{step}" in f"/{label}" and not label.endswith(SMALL)
    }
    assert found, f"no step {step}"
    for label, coder in found.items():
        assert isinstance(coder, FINE_CODERS), f"{label}: {coder}"


@pytest.mark.parametrize("step", ["TakeTurns", "ByTurn", "Number"])
@pytest.mark.parametrize("within", ["PartitionIntoBuckets", "ShuffleWithinBuckets"])
def test_what_is_dealt_out_is_not_pickled(within: str, step: str) -> None:
    types = edges(None, "--parallelism=2")
    (kind,) = (kind for label, kind in types.items() if label.endswith(f"{within}/InTurn/{step}"))
    assert isinstance(payload_coder(kind), FINE_CODERS)


def test_the_check_sees_pickling() -> None:
    kind = edges(None)["WriteShards/Write"]  # reports, which are no payload
    assert isinstance(payload_coder(kind), beam_coders.FastPrimitivesCoder)


def test_a_block_crosses_a_real_edge_by_its_own_coder(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    encode = BlockCoder.encode

    def counted(self: BlockCoder, value: pa.RecordBatch) -> bytes:
        calls.append(len(value))
        return encode(self, value)

    monkeypatch.setattr(BlockCoder, "encode", counted)
    rows = make_rows(50)
    found = collect(lambda root: root | beam.Create([make_run(rows)]) | beam.Reshuffle())
    assert sorted(rows_of(found)) == sorted(rows)
    assert calls
