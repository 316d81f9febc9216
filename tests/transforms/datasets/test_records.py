"""BlocksFromRecords: somebody's own records, in an order that only their identity decides."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.transforms import window

from tests.transforms.helpers import (
    THREADS,
    Row,
    collect,
    create,
    digests_of,
    hashed,
    make_rows,
    run,
    shuffle_blocks,
    size_of,
)
from tests.transforms.kernels import oracles
from transforms.datasets.identity import FileId
from transforms.datasets.manifest import Manifest
from transforms.datasets.records import BlocksFromRecords, _GatherBlocks
from transforms.datasets.reports import SpanReports
from transforms.datasets.write import WriteShards
from transforms.datasets.write_manifest import WriteManifest
from transforms.errors import DataError, from_traceback
from transforms.kernels.randomness import file_key
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest

RECORDS = [b"%d" % (i % 40) * (i % 5) for i in range(150)]  # many twins, the empty ones among them
WITH_IDS = list(enumerate(RECORDS))


def position(*identity: int | str | bytes) -> int:
    """The documented hash of an identity: labels with type and length, order version and seed 0."""
    hasher = hashlib.blake2b(digest_size=16, person=b"dovetail")
    for label in (1, 0, *identity):
        tag = {int: b"i", str: b"s", bytes: b"b"}[type(label)]
        data = label if isinstance(label, bytes) else str(label).encode()
        hasher.update(tag + len(data).to_bytes(8, "little") + data)
    return int.from_bytes(hasher.digest()[:8], "little")


def ordered(identities: Sequence[tuple[int, bytes]], seed: int = 7) -> list[bytes]:
    """Sort (position, record) as a dataset of this seed has to be."""
    pair = file_key(seed=seed, epoch=0, source="default", pass_number=0, file_name="")
    return [
        record
        for _, record in sorted(
            (oracles.record_key(pair.k0, pair.k1, place), record) for place, record in identities
        )
    ]


def content_positions(records: Sequence[bytes]) -> list[tuple[int, bytes]]:
    seen: Counter[bytes] = Counter()
    out = []
    for record in records:
        digest = hashlib.blake2b(record, digest_size=16).digest()
        out.append((position(digest, seen[record]), record))
        seen[record] += 1
    return out


def dataset(
    elements: Sequence[Any], output: Path, *, ids: bool, block_bytes: int = 1 << 20, **options: Any
) -> bytes:
    """Shuffle elements into three shards with a manifest, and return the shards' bytes."""

    def build(root: Any) -> None:
        own = (
            root
            | create(elements, spread=bool(options))
            | BlocksFromRecords(ids=ids, block_bytes=block_bytes)
        )
        written = shuffle_blocks(
            own.blocks, folder=output / "spill", shards=3, seed=7
        ) | WriteShards(output=str(output))
        (own.spans, written) | WriteManifest(
            output=str(output), sources=["default"], recipe={}, seed=7, epoch=0, started=""
        )

    run(build, **options)
    return b"".join(path.read_bytes() for path in sorted((output / "data").iterdir()))


def lines(records: Sequence[bytes]) -> bytes:
    return b"".join(record + b"\n" for record in records)


def _as_is(elements: list[Any]) -> list[Any]:
    return elements


def _reversed(elements: list[Any]) -> list[Any]:
    return elements[::-1]


def _anyhow(elements: list[Any]) -> list[Any]:
    return [elements[i] for i in sorted(range(len(elements)), key=hashed)]


@pytest.mark.parametrize("ids", [True, False], ids=["with ids", "without ids"])
@pytest.mark.parametrize(
    ("arrange", "block_bytes", "options"),
    [
        (_as_is, 1 << 20, {}),
        (_reversed, 1, {}),
        (_anyhow, 500, THREADS),
        (_as_is, 1 << 20, THREADS),
    ],
    ids=["one bundle", "reversed, a block each", "anyhow, in bundles", "in bundles"],
)
def test_the_result_does_not_depend_on_bundles_blocks_or_the_order_of_elements(
    tmp_path: Path,
    ids: bool,
    arrange: Callable[[list[Any]], list[Any]],
    block_bytes: int,
    options: dict[str, Any],
) -> None:
    elements = list(WITH_IDS) if ids else list(RECORDS)
    found = dataset(arrange(elements), tmp_path, ids=ids, block_bytes=block_bytes, **options)
    identities = (
        [(position(i), record) for i, record in WITH_IDS] if ids else content_positions(RECORDS)
    )
    assert found == lines(ordered(identities))
    manifest = Manifest.model_validate_json((tmp_path / "manifest.json").read_text())
    assert (manifest.records, manifest.sources[0].name) == (150, "default")


def located(build: Callable[[Any], Any], **options: Any) -> list[tuple[FileId, Any]]:
    return collect(lambda root: build(root).blocks, **options)


def positions_of(found: list[tuple[FileId, Any]]) -> list[tuple[int, bytes]]:
    return sorted(
        row
        for _, block in found
        for row in zip(block.column("position").to_pylist(), blocks.records(block), strict=True)
    )


def test_ids_of_different_types_are_different_and_equal_contents_stay_apart() -> None:
    identities: list[int | str | bytes] = [1, "1", b"1", -1, 10**30, "", b"", "é", 0]
    found = located(
        lambda root: (
            root | create([(identity, b"same") for identity in identities]) | BlocksFromRecords()
        )
    )
    assert positions_of(found) == sorted((position(i), b"same") for i in identities)
    assert len({place for place, _ in positions_of(found)}) == len(identities)


def test_twins_without_ids_are_kept_and_numbered_whatever_window_they_are_in() -> None:
    found = located(
        lambda root: (
            root
            | beam.Create(RECORDS)
            | beam.Map(lambda record: window.TimestampedValue(record, len(record)))
            | beam.WindowInto(window.FixedWindows(2))
            | BlocksFromRecords(ids=False)
        ),
        **THREADS,
    )
    assert positions_of(found) == sorted(content_positions(RECORDS))


@pytest.mark.parametrize("limit", [1, 700])
def test_blocks_are_cut_at_the_limit_and_span_bundles_lose_nothing(limit: int) -> None:
    rows = make_rows(100)
    found = located(
        lambda root: (
            root
            | beam.Create([(i, row.record) for i, row in enumerate(rows)])
            | BlocksFromRecords(source="mine", separator=0, block_bytes=limit)
        )
    )
    assert {file for file, _ in found} == {FileId("mine", "")}
    sizes = [blocks.block_footprint(block) for _, block in found]
    assert all(
        size <= limit or len(block) == 1 for size, (_, block) in zip(sizes, found, strict=True)
    )
    assert len(found) <= 2 * -(-size_of(rows) // limit)
    assert {blocks.terminator(block) for _, block in found} == {b"\0"}
    assert Counter(record for _, record in positions_of(found)) == Counter(r.record for r in rows)


@pytest.mark.parametrize("options", [{}, THREADS], ids=["one bundle", "bundles"])
def test_reports_add_up_to_the_digest_of_all_records(options: dict[str, Any]) -> None:
    rows = make_rows(50)
    found: list[SpanReports] = collect(
        lambda root: (
            (
                root
                | beam.Create([(i, row.record) for i, row in enumerate(rows)])
                | BlocksFromRecords(source="mine", block_bytes=300)
            ).spans
        ),
        **options,
    )
    assert [Digest.total(reports.digest for reports in found)] == digests_of(rows)
    assert len(found) == (3 if options else 1)
    for report in (report for reports in found for report in reports):
        file = report.file
        assert (file.source, file.name, file.url, file.size, file.version) == (
            "mine",
            "",
            "",
            0,
            "",
        )
        assert (report.covered, report.whole) == (0, None)


def test_each_bundle_reports_its_own_records_after_one_that_was_given_up_too() -> None:
    """A worker keeps its DoFn from bundle to bundle, and an error may end one at any point."""
    step = _GatherBlocks(BlocksFromRecords())
    step.start_bundle()
    assert list(step.process((bytes(8), b"given up"))) == []
    for record in (b"first", b"second"):
        step.start_bundle()
        assert list(step.process((bytes(8), record))) == []
        block, report = step.finish_bundle()
        assert blocks.records(block.value[1]) == [record]
        assert report.value.value.digest == digests_of([Row(0, record)])[0]


@pytest.mark.parametrize("ids", [True, False], ids=["with ids", "without ids"])
def test_no_records_are_an_empty_dataset(tmp_path: Path, ids: bool) -> None:
    assert dataset([], tmp_path, ids=ids) == b""
    assert Manifest.model_validate_json((tmp_path / "manifest.json").read_text()).records == 0


@pytest.mark.parametrize(
    ("element", "ids", "says"),
    [
        ((None, b"x"), True, "expected an id of type str, int or bytes, got None of type NoneType"),
        ((1.5, b"x"), True, "got 1.5 of type float"),
        (((1, 2), b"x"), True, r"got \(1, 2\) of type tuple"),
        ((1, "x"), True, "expected records of type bytes, got str"),
        (b"x", True, r"expected pairs of \(id, record\), got b'x' of type bytes; .* set ids=False"),
        (b"xy", True, "expected pairs"),  # two bytes are no pair
        ("x", False, "expected records of type bytes, got str"),
        ((1, b"x"), False, "expected records of type bytes, got tuple; .* check that ids"),
    ],
    ids=str,
)
def test_elements_of_other_types_are_refused(element: Any, ids: bool, says: str) -> None:
    with pytest.raises(Exception, match=says) as caught:
        run(lambda root: root | beam.Create([element]) | BlocksFromRecords(ids=ids))
    error = caught.value
    assert isinstance(error, DataError) or isinstance(from_traceback(str(error)), DataError)
