"""A split in the place of what was read: mixtures take its records alone, and repeat them."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path

import apache_beam as beam
import pytest

from tests.transforms.helpers import create, run
from tests.transforms.kernels.splitting import split_oracle
from transforms.datasets.manifest import now
from transforms.datasets.records import BlocksFromRecords
from transforms.datasets.write import WriteShards
from transforms.datasets.write_manifest import WriteManifest
from transforms.kernels.schedules.mixture import Amounts, Mixture
from transforms.kernels.splitting.plan import Part, SplitPlan
from transforms.mixing.interleave import InterleaveSources, plan_streams
from transforms.shuffling.spill_files import Spilling
from transforms.splitting.split_records import SpansOfSplit, SplitRecords

RECORDS = {"a": [b"a%d" % (i % 70) for i in range(100)], "b": [b"b%d" % i for i in range(50)]}
PLAN = SplitPlan(parts=(Part("test", share=Fraction(3, 10)),))


@pytest.mark.parametrize("split", PLAN.names)
def test_a_mixture_takes_one_split_alone(split: str, tmp_path: Path) -> None:
    mixture = Mixture(sources=("a", "b"), repeats=(Fraction(1), Fraction(3)), seed=5)

    def build(root: object) -> None:
        own = {
            name: root
            | f"Create {name}" >> create(list(enumerate(records)))
            | f"Blocks {name}" >> BlocksFromRecords(source=name)
            for name, records in RECORDS.items()
        }
        located = [found.blocks for found in own.values()] | "Blocks" >> beam.Flatten()
        read = [found.spans for found in own.values()] | "Spans" >> beam.Flatten()
        mine, reports = (located | SplitRecords(plan=PLAN, only=[split]))[split]
        spans = (reports, read) | SpansOfSplit()
        amounts = Amounts((100, 50), (400, 200))
        streams = plan_streams(mixture, amounts=amounts, about=[200.0, 100.0], size=1 << 20)
        shards, every, mixed = (mine, spans) | InterleaveSources(
            mixture=mixture,
            streams=streams,
            spill=Spilling(folders=[str(tmp_path / "spill")]),
            num_shards=2,
        )
        written = shards | WriteShards(output=str(tmp_path / "out"), sources=2)
        (every, written, mixed) | WriteManifest(
            output=str(tmp_path / "out"),
            sources=["a", "b"],
            recipe={},
            seed=5,
            epoch=0,
            started=now(),
        )

    run(build)
    paths = sorted((tmp_path / "out" / "data").iterdir())
    found = Counter(line for path in paths for line in path.read_bytes().splitlines())
    want = Counter(RECORDS["a"]) + Counter(RECORDS["b"] * 3)
    assert found == {
        record: count
        for record, count in want.items()
        if (split_oracle.share_of(PLAN, record) or "train") == split
    }
