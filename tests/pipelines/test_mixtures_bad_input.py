"""What a mixture that can't be made gets: an error that names what, before any work; and edges."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.verify import verify
from tests.pipelines.support import cut_otherwise, join_shards, read_shards, run, split, write_tree
from tests.pipelines.test_mixtures import SMALL
from transforms.datasets.manifest import Manifest
from transforms.errors import RunError, UsageError

FILES = {"web": b"".join(b"web %d\n" % i for i in range(60)), "books": b"book\n" * 20, "none": b""}
TWO = ("web", "books")


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[Path]:
    """Give a folder of sources; nothing else may be beside it after an error."""
    for name, data in FILES.items():
        write_tree(tmp_path / "in" / name, {"x.txt": data})
    yield tmp_path / "in"
    assert {path.name for path in tmp_path.iterdir()} <= {"in", "o", "p"}


def mix(corpus: Path, *flags: str, names: tuple[str, ...] = TWO, output: str = "o") -> Manifest:
    inputs = [f"--input={name}={corpus / name}" for name in names]
    return run(*inputs, f"--output={corpus.parent / output}", *flags)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--weights=web=-1,books=2"], ["--weights=web=-1", "0 or more for web", "-1"]),
        (["--weights=web=0,books=0"], ["--weights", "at least one above 0"]),
        (["--weights=web=nan,books=1"], ["--weights", "web", "nan"]),
        (["--weights=web=inf,books=1"], ["--weights", "web", "inf"]),
        (["--weights=web=1,boks=1"], ["--weights", "boks", "did you mean books"]),
        (["--weights=web=1"], ["--weights", "none for books"]),
        (["--weights=web=1,books=1,web=2"], ["--weights", "web twice"]),
        (["--weights=web=1,books=1", "--repeats=web=2"], ["--weights", "--repeats", "one of them"]),
        (["--weights=web=1,books=1", "--temperature=2"], ["--weights", "--temperature"]),
        (
            ["--weights=web=1,books=0", "--stop=all_exhausted"],
            ["--stop=all_exhausted", "books", "weight of zero"],
        ),
        (["--stop=all_exhausted"], ["--stop=all_exhausted", "--weights"]),
        (["--stop=first_exhausted", "--repeats=web=2"], ["--stop", "repeats end by themselves"]),
        (["--repeats=web=-1"], ["--repeats", "web", "-1"]),
        (["--repeats=web=0,books=0"], ["--repeats", "at least one above 0"]),
        (["--repeats=code=2"], ["--repeats", "code"]),
        (["--temperature=0"], ["--temperature=0"]),
        (["--interleave=stratified"], ["--interleave=stratified", "--weights"]),
        (["--weigh_by=bytes"], ["--weigh_by=bytes", "--weights"]),
        (["--max_records=0"], ["--max_records=0"]),
        (["--max_bytes=0"], ["--max_bytes=0"]),
    ],
)
@pytest.mark.parametrize("plan", [(), ("--plan",)], ids=["run", "plan"])
def test_what_can_not_be_asked_is_refused_before_any_work(
    corpus: Path, flags: list[str], words: list[str], plan: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError) as raised:
        mix(corpus, *flags, *plan)
    assert all(word in str(raised.value) for word in words), str(raised.value)
    assert not (corpus.parent / "o").exists()


def test_an_output_that_a_limit_leaves_empty_says_so(
    corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert mix(corpus, "--max_bytes=3").records == 0
    assert "the output is empty: the first record exceeds --max_bytes=3" in caplog.text
    caplog.clear()
    assert mix(corpus, "--max_bytes=3", "--overwrite", names=("none",)).records == 0
    assert "the output is empty: the input has no records" in caplog.text


@pytest.mark.parametrize("flags", [["--weights=web=1,none=1"], ["--temperature=2"]])
def test_an_empty_source_that_is_weighed_is_refused_and_named(
    corpus: Path, flags: list[str]
) -> None:
    with pytest.raises(UsageError, match="source none has a weight"):
        mix(corpus, *flags, names=("web", "none"))
    assert not (corpus.parent / "o").exists()


@pytest.mark.parametrize("flags", [["--weights=web=1,zip=1"], ["--temperature=2"]])
@pytest.mark.parametrize(
    ("data", "header", "error"),
    [
        (gzip.compress(b""), [], UsageError),
        (gzip.compress(b"") * 3, [], UsageError),
        (gzip.compress(b"# names\n"), ["--header_lines=1"], UsageError),
        (gzip.compress(b"") * 100, [], RunError),  # a larger one tells only when it is read
    ],
    ids=["one", "members", "header", "many"],
)
def test_a_source_of_compressed_nothing_is_named_too(
    corpus: Path, flags: list[str], data: bytes, header: list[str], error: type[Exception]
) -> None:
    write_tree(corpus / "zip", {"x.txt.gz": data})
    write_tree(corpus / "web", {"x.txt": b"# names\n" + FILES["web"]} if header else {})
    with pytest.raises(error, match="source zip has a weight"):
        mix(corpus, *flags, *header, names=("web", "zip"))
    assert not (corpus.parent / "o").exists()


def test_many_sources_of_a_small_file_are_not_taken_for_empty_ones(corpus: Path) -> None:
    """Only some files' records are looked at beforehand."""
    write_tree(corpus / "big", {f"{i}": b"c" * 1000 + b"\n" for i in range(30)})
    names = tuple(f"s{i}" for i in range(30))
    for name in names:
        write_tree(corpus / name, {"x.txt": b"ab\n"})
    weights = ",".join(f"{name}=1" for name in (*names, "big"))
    manifest = mix(corpus, f"--weights={weights}", "--max_records=40", names=(*names, "big"))
    assert manifest.records == 40


@pytest.mark.parametrize("names", [TWO, ("web", "none")], ids=["books", "none"])
def test_a_weight_of_zero_leaves_a_source_out_and_says_so(
    corpus: Path, names: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "dovetail"):
        manifest = mix(corpus, f"--weights=web=1,{names[1]}=0", names=names)
    assert f"source {names[1]}: not read, because its weight is zero" in caplog.text
    assert [source.name for source in manifest.sources] == ["web"]
    assert sorted(split(join_shards(corpus.parent / "o"))) == sorted(split(FILES["web"]))


@pytest.mark.parametrize("flags", [["--repeats=web=2,none=3"], ["--max_records=120"]])
def test_an_empty_source_without_a_weight_adds_nothing(corpus: Path, flags: list[str]) -> None:
    manifest = mix(corpus, *flags, names=("web", "none"))
    assert manifest.records == (120 if "repeats" in flags[0] else 60)
    assert verify(str(corpus.parent / "o"))[1] == []


def test_nothing_at_all_is_an_empty_mixture(corpus: Path) -> None:
    mix(corpus, "--repeats=none=5", "--num_shards=2", names=("none",))
    assert list(read_shards(corpus.parent / "o").values()) == [b"", b""]
    assert verify(str(corpus.parent / "o"))[1] == []


@pytest.mark.parametrize(
    ("flags", "records"),
    [
        (["--max_records=7"], 7),
        (["--max_records=7", "--shard_records=3"], 7),
        (["--max_records=60"], 60),
        (["--max_records=1000", "--num_shards=80"], 60),
        (["--max_bytes=1TB"], 60),
        (["--max_bytes=1"], 0),
        (["--max_bytes=5", "--num_shards=4"], 1),
    ],
)
def test_one_source_is_cut(corpus: Path, flags: list[str], records: int) -> None:
    mix(corpus, names=("web",), output="p")
    manifest = mix(corpus, *flags, names=("web",))
    assert manifest.records == records
    found = split(join_shards(corpus.parent / "o"))
    assert found == split(join_shards(corpus.parent / "p"))[:records]
    shards = read_shards(corpus.parent / "o")
    wanted = dict(flag.split("=") for flag in flags)
    if "--num_shards" in wanted:  # also those that hold nothing are published
        assert len(shards) == int(wanted["--num_shards"])
    if "--shard_records" in wanted:
        assert [data.count(b"\n") for data in shards.values()] == [3, 3, 1]
    assert verify(str(corpus.parent / "o"))[1] == []


@pytest.mark.parametrize("sizes", [{}, SMALL], ids=["whole", "cut"])
@pytest.mark.parametrize(
    ("flags", "records"),
    [
        (["--weights=web=1,books=3", "--max_bytes=1"], 0),
        (["--weights=web=1,books=3", "--max_records=1", "--num_shards=9"], 1),
        (["--weights=web=1,books=3", "--stop=first_exhausted", "--max_bytes=1TB"], None),
    ],
)
def test_a_mixture_of_hardly_anything_or_more_than_there_is(
    corpus: Path, flags: list[str], records: int | None, sizes: dict[str, int]
) -> None:
    with cut_otherwise(**sizes):
        manifest = mix(corpus, *flags)
    parts = {part.source: part for part in manifest.mixture or ()}
    if records is None:
        assert parts["books"].unused.records == 0
        assert 0 < parts["web"].written.records < 60
    else:
        assert manifest.records == records
    for part in parts.values():
        read = (20 if part.source == "books" else 60) * part.passes_read
        assert part.written.records + part.unused.records == read
    assert verify(str(corpus.parent / "o"))[1] == []


EMPTY_LINES = {"a": b"\n" * 30, "b": b"\n" * 20}


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (["--weights=a=1,b=1", "--weigh_by=bytes"], "source a: expected bytes to weigh"),
        (["--temperature=2", "--weigh_by=bytes"], "source a: expected bytes to weigh"),
        (
            ["--weights=a=1,b=1", "--max_bytes=9"],
            "--max_bytes=9: expected records that aren't empty",
        ),
        (["--max_bytes=9"], 50),
        (["--repeats=a=2", "--max_bytes=9"], 80),
        (["--weights=a=1,b=1", "--max_bytes=9", "--max_records=70"], 70),
    ],
)
def test_sources_whose_records_are_all_empty(
    corpus: Path, flags: list[str], found: str | int
) -> None:
    for name, data in EMPTY_LINES.items():
        write_tree(corpus / name, {"x.txt": data})
    if isinstance(found, str):
        with pytest.raises(RunError, match=found):
            mix(corpus, *flags, names=("a", "b"))
        assert not (corpus.parent / "o").exists()
        return
    assert mix(corpus, *flags, names=("a", "b")).records == found
    assert join_shards(corpus.parent / "o") == b"\n" * found


@pytest.mark.parametrize("what", ["skip", "quarantine"])
@pytest.mark.parametrize("sizes", [{}, SMALL], ids=["held", "read again"])
def test_a_bad_record_is_counted_once_however_often_its_source_repeats(
    corpus: Path, what: str, sizes: dict[str, int]
) -> None:
    good = [b'{"n": %d}' % i for i in range(200)]
    write_tree(corpus / "a", {"x.jsonl": b"\n".join([*good, b"{bad", b"{worse"])})
    write_tree(corpus / "b", {"x.jsonl": b'{"b": 1}\n{bad\n'})
    flags = ["--check=json", f"--on_bad_record={what}", "--repeats=a=3,b=2"]
    with cut_otherwise(**sizes):
        manifest = mix(corpus, *flags, names=("a", "b"))
    dropped = {source.name: source.dropped for source in manifest.sources}
    assert {name: digest and digest.records for name, digest in dropped.items()} == {"a": 2, "b": 1}
    entries = [(part.written.records, part.passes_finished) for part in manifest.mixture or ()]
    assert entries == [(600, 3), (2, 2)]
    kept = [pq.read_table(corpus.parent / "o" / entry.path) for entry in manifest.quarantine]
    records = sorted(value for table in kept for value in table["record"].to_pylist())
    assert records == ([b"{bad", b"{bad", b"{worse"] if what == "quarantine" else [])
    assert sorted(split(join_shards(corpus.parent / "o"))) == sorted(
        [*good * 3, *[b'{"b": 1}'] * 2]
    )
    assert verify(str(corpus.parent / "o"))[1] == []


@pytest.mark.parametrize(
    ("flags", "passes"),
    [
        (["--repeats=a=2.5"], (3, 1)),
        (
            [
                "--weights=a=1,b=1",
                "--weigh_by=bytes",
                "--max_records=300",
                "--interleave=stratified",
            ],
            None,
        ),
    ],
)
def test_rows_mix_with_bad_ones_left_out(
    corpus: Path, flags: list[str], passes: tuple[int, ...] | None
) -> None:
    for name, length in (("a", 10), ("b", 50)):
        text = pa.array([f"{i:04}".encode() * (length // 4) for i in range(100)])
        bad = pa.array([b"\xff\xfe"])
        (corpus / name).mkdir()
        column = pa.concat_arrays([text, bad]).cast(pa.large_binary()).view(pa.large_string())
        pq.write_table(pa.table({"text": column}), corpus / name / "x.parquet", row_group_size=30)
    with cut_otherwise(**SMALL):
        manifest = mix(corpus, *flags, "--on_bad_record=quarantine", names=("a", "b"))
    assert [source.dropped and source.dropped.records for source in manifest.sources] == [1, 1]
    assert [entry.records for entry in manifest.quarantine] == [1, 1]
    parts = manifest.mixture or []
    if passes:
        assert tuple(part.passes_begun for part in parts) == passes
        assert [part.written.records for part in parts] == [250, 100]
    else:
        assert all(abs(part.share_of_bytes - 0.5) < 0.02 for part in parts)
    tables = [pq.read_table(corpus.parent / "o" / shard.path) for shard in manifest.shards]
    assert pa.concat_tables(tables).num_rows == manifest.records
    assert verify(str(corpus.parent / "o"))[1] == []


def test_a_mixture_in_memory_is_as_one_on_disks(corpus: Path) -> None:
    flags = ["--weights=web=1,books=3", "--stop=all_exhausted", "--num_shards=2"]
    mix(corpus, *flags)
    fs = fsspec.filesystem("memory")
    for name in TWO:
        fs.pipe_file(f"/mixing/{name}/x.txt", FILES[name])
    inputs = [f"--input={name}=memory://mixing/{name}" for name in TWO]
    with cut_otherwise(**SMALL):
        run(*inputs, "--output=memory://mixing/o", *flags, "--workers=1")
    found = {name.rpartition("/")[2]: fs.cat_file(name) for name in fs.find("/mixing/o/data")}
    assert found == read_shards(corpus.parent / "o")
    names = {name.removeprefix("/mixing/o/") for name in fs.find("/mixing/o")}
    assert names == {"manifest.json", *(f"data/{name}" for name in found)}
    assert json.loads(fs.cat_file("/mixing/o/manifest.json"))["mixture"]
    fs.rm("/mixing", recursive=True)
