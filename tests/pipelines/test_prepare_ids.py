"""Preparing rows of ids: the rows of their texts, shares by tokens, vocabularies of every size."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines.prepare
from dovetail import Tokenizer
from pipelines.verify import verify
from tests.pipelines import prepare_oracle as oracle
from tests.pipelines import prepared
from tests.pipelines.test_prepare import ONE, L, flags_of, packing_of, require_rows
from tests.pipelines.tokenized import write_model
from transforms.datasets.prepared import PreparedManifest
from transforms.errors import DovetailError
from transforms.kernels.packing.rows import Packing


def write_ids(
    path: Path, ids: Sequence[Sequence[int]], dtype: pa.DataType, column: str = "input_ids"
) -> None:
    """Write rows of ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({column: pa.array(ids, pa.list_(dtype))}), path, row_group_size=1300)


def prepare(root: Path, *flags: str, output: str = "out") -> PreparedManifest:
    found = pipelines.prepare.run([*flags, f"--output={root / output}", *ONE])
    assert isinstance(found, PreparedManifest)
    assert verify(str(root / output))[1] == []
    return found


@pytest.mark.parametrize("dtype", [pa.uint16(), pa.int64()])
def test_rows_of_ids_give_the_rows_of_their_texts(dtype: pa.DataType, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model.json")
    tokenizer = Tokenizer.load(str(model))
    texts = [f"the abcabc the abc {i}" if i % 9 else "" for i in range(60)]
    pq.write_table(pa.table({"text": texts}), _made(tmp_path / "texts") / "x.parquet")
    write_ids(tmp_path / "ids/x.parquet", tokenizer.encode(texts), dtype)
    asked = ["--repeats=s=2.5", *flags_of("concat"), "--seed=2"]
    rows = {}
    for name, folder, flags in (
        ("texts", "texts", [f"--tokenizer={model}"]),
        ("ids", "ids", [f"--tokenizer={model}"]),
        ("bare", "ids", ["--eos_token=2", "--vocab_size=266"]),
    ):
        prepare(tmp_path, f"--input=s={tmp_path / folder}", *asked, *flags, output=f"{name}.out")
        rows[name] = prepared.of_tables(tmp_path / f"{name}.out")
    assert rows["ids"] == rows["texts"]
    assert rows["bare"] == rows["texts"]
    files = {"x.parquet": oracle.of_rows(texts)}
    stage = oracle.Stage(repeats={"s": Fraction(5, 2)})
    law = oracle.Asked(stages=[stage], seed=2, packing=packing_of("concat"))
    require_rows(tmp_path / "texts.out", oracle.prepare(tokenizer, {"s": files}, law)["train"].rows)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("size", [255, 256, 257, 65_499, 65_500, 65_535, 65_536, 65_537])
def test_vocabularies_of_every_size_are_exact_or_refused_by_name(size: int, tmp_path: Path) -> None:
    """The largest ids, and those where types end; EOS is the first."""
    edges = {255, 256, 257, 32_767, 32_768, 65_499, 65_500, 65_534, 65_535, 65_536, size - 1}
    ids = sorted(i for i in edges if 0 < i < size)
    rows = [ids, ids[::-1], [size - 1] * 5, [1], list(range(1, 40))]
    write_ids(tmp_path / "in/x.parquet", rows, pa.uint32())
    asked = [f"--input={tmp_path / 'in'}", "--eos_token=0", f"--vocab_size={size}"]
    together = ["--output_format=parquet,arrow,megatron,flat", "--megatron=documents"]
    prepare(tmp_path, *asked, *together, "--packing=none")
    ours = {"default": {"x.parquet": [oracle.Record(i, "", tuple(r)) for i, r in enumerate(rows)]}}
    law = oracle.Asked(packing=Packing(end=0))
    wanted = oracle.prepare(None, ours, law)["train"].rows
    out = tmp_path / "out"
    require_rows(out / "parquet", wanted)
    require_rows(out / "arrow", wanted)
    assert prepared.of_megatron(out / "megatron") == [[row.ids] for row in wanted]
    dtype = "<u2" if size <= 65_536 else "<u4"
    joined = tuple(itertools.chain.from_iterable(row.ids for row in wanted))
    assert prepared.of_flat(out / "flat", dtype=dtype) == joined
    olmo = ["--output_format=olmo", *flags_of("concat"), "--eos_at_cuts", "--pad_token=1"]
    prepare(tmp_path, *asked, *olmo, output="olmo")
    smallest = "u1" if size <= 256 else "<u2" if size <= 65_536 else "<u4"
    for found, documents in prepared.of_olmo(tmp_path / "olmo", dtype=smallest):
        assert len(found) % L == 0
        assert all(found[end - 1] == 0 for _, end in documents)
        assert sum(id_ == 0 for id_ in found) == len(documents)
        assert set(found) <= {0, 1, *range(1, 40), *ids}
    write_ids(tmp_path / "more/x.parquet", [[1, size]], pa.uint32())
    with pytest.raises(DovetailError, match=str(size)):
        prepare(tmp_path, f"--input={tmp_path / 'more'}", *asked[1:], output="refused")
    assert not (tmp_path / "refused/manifest.json").exists()


LENGTHS = {"a": np.arange(23_400) % 39 + 1, "b": np.arange(3_120) % 39 + 31}
WEIGHTS = {"a": 0.5, "b": 0.5}


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give two sources whose documents are of other lengths, one with three times the tokens."""
    root = tmp_path_factory.mktemp("uneven")
    for name, lengths in LENGTHS.items():
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        ids = pa.array(np.full(offsets[-1], 7 if name == "a" else 8, np.uint16))
        lists = pa.ListArray.from_arrays(pa.array(offsets), ids)
        path = _made(root / name) / "x.parquet"
        pq.write_table(pa.table({"input_ids": lists}), path, row_group_size=1500)
    return root


def share_of_a(folder: Path) -> tuple[float, int]:
    """Return the share of tokens that the first source has, and how many documents there are."""
    table = pa.concat_tables(pq.read_table(path) for path in prepared.shards(folder, "train", ""))
    ids = table.column("input_ids").combine_chunks().values.to_numpy()
    return float((ids == 7).mean()), len(table)


@pytest.mark.parametrize("interleave", ["stratified", "random"])
def test_shares_are_of_tokens(interleave: str, uneven: Path, tmp_path: Path) -> None:
    """Stratified within 0.1% after whole passes; random by the variance of independent draws.

    Of n independent draws, x a draw's tokens of a source and y all its tokens, the share X / Y has about
    the variance E[(x - share * y)^2] / (n * E[y]^2), the ratio of two means by the delta method. Drawn
    without replacement inside of a pass, lengths vary less.
    """
    ends = ["--stop=all_exhausted"] if interleave == "stratified" else ["--max_tokens=300k"]
    manifest = prepare(
        *(tmp_path, *(f"--input={name}={uneven / name}" for name in "ab")),
        *("--weights=a=1,b=1", "--weigh_by=tokens", f"--interleave={interleave}", *ends),
        *("--eos_token=2", "--vocab_size=300", "--packing=none", "--document_end=none"),
    )
    share, count = share_of_a(tmp_path / "out")
    (entry,) = manifest.splits
    (first, second) = entry.stages[0].sources
    assert first.share_of_tokens == pytest.approx(share, abs=1e-9)
    assert first.share_of_tokens + second.share_of_tokens == pytest.approx(1)
    assert first.asked == second.asked == 0.5
    if interleave == "stratified":
        assert abs(share - 0.5) < 0.001
        return
    means = {name: lengths.mean() for name, lengths in LENGTHS.items()}
    odds = {name: WEIGHTS[name] / means[name] for name in LENGTHS}
    odds = {name: value / sum(odds.values()) for name, value in odds.items()}
    mean = sum(odds[name] * means[name] for name in LENGTHS)
    squares = {name: (lengths.astype(float) ** 2).mean() for name, lengths in LENGTHS.items()}
    spread = odds["a"] * squares["a"] * 0.25 + odds["b"] * squares["b"] * 0.25
    deviation = math.sqrt(spread / count) / mean
    assert deviation < 0.01
    assert abs(share - 0.5) < 4 * deviation
    assert 0 <= 300_000 - entry.tokens < 70


def test_rows_without_ids_that_can_be_are_bad_records(tmp_path: Path) -> None:
    """Named where they fail, and left out where that is asked for."""
    good = [[i, 5] for i in range(40)]
    rows = [*good[:20], None, [3, 99], [-1], [None, 4], [], *good[20:]]
    write_ids(tmp_path / "ids/x.parquet", rows, pa.int64())  # type: ignore[arg-type]
    asked = [f"--input={tmp_path / 'ids'}", "--eos_token=98", "--vocab_size=99"]
    with pytest.raises(
        DovetailError, match=r"x\.parquet.*row 20.*column input_ids: expected ids, got null"
    ):
        prepare(tmp_path, *asked)
    manifest = prepare(tmp_path, *asked, "--on_bad_record=skip", "--split=test=10%", output="skip")
    assert sum(split.records for split in manifest.splits) == 41
    dropped = manifest.sources[0].dropped
    assert dropped is not None
    assert dropped.records == 4
