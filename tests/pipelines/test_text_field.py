"""--text_field through the whole command: texts of files of any format, mixed and proved."""

from __future__ import annotations

import bisect
import gzip
import hashlib
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from pipelines.verify import verify
from tests.pipelines.support import cut_otherwise, join_shards, read_shards, run, write_tree
from tests.transforms.kernels import oracles
from transforms.datasets.manifest import Manifest
from transforms.errors import DataError, InputError, UsageError
from transforms.kernels.randomness import derive

ODD = ["", "two\nlines", '"quoted" \\', "poème 😀", "\0\u2028\r"]
POEMS = [*ODD, *(f"poem {i}\n{'la ' * (i % 7)}" for i in range(120))]
BOOKS = [*ODD, *(f"book {i}\n{'and ' * (i * i % 31)}" for i in range(200))]
WEB = [*(text for text in ODD if "\n" not in text), *(f"web {i}" for i in range(90))]
TEXTS = {"poems": POEMS, "books": BOOKS, "web": WEB}
SMALL = {"span_bytes": 700, "run_bytes": 6000, "bucket_bytes": 5000, "page_bytes": 900}

JSON = [json.dumps({"id": i, "body": text}) for i, text in enumerate(POEMS)]


def write_inputs(root: Path) -> list[str]:
    """Write JSON lines, a Parquet file and plain lines; return the flags that read them."""
    plain = "".join(f"{text}\n" for text in WEB).encode()
    write_tree(root, {"p.jsonl": "\n".join(JSON).encode(), "w.txt": plain})
    table = pa.table({"n": range(len(BOOKS)), "body": BOOKS})
    pq.write_table(table, root / "b.parquet", row_group_size=30)
    files = {"poems": "p.jsonl", "books": "b.parquet", "web": "w.txt"}
    inputs = [f"--input={name}={root / file}" for name, file in files.items()]
    return [*inputs, "--text_field=body"]


def ordered() -> list[tuple[str, str]]:
    """Return (source, text) in the order that identities give: bytes of lines, numbers of rows."""
    keyed = []
    for source, name in (("poems", "p.jsonl"), ("books", "b.parquet"), ("web", "w.txt")):
        k0, k1 = derive(0, 0, source, 0, name)
        lines = JSON if source == "poems" else TEXTS[source]
        place = 0
        for number, (text, line) in enumerate(zip(TEXTS[source], lines, strict=True)):
            position = number if source == "books" else place
            keyed.append((oracles.record_key(k0, k1, position), source, text))
            place += len(line.encode()) + 1
    return [(source, text) for _, source, text in sorted(keyed)]


def digest_of(texts: list[str]) -> str:
    records = [text.encode() for text in texts]
    sums = [sum(oracles.record_hash(record, k) for record in records) % 2**64 for k in (0, 1)]
    return "".join(f"{total:016x}" for total in sums)


def read_texts(folder: Path, manifest: Manifest) -> list[str]:
    if manifest.kind == "lines":
        lines = join_shards(folder).decode().split("\n")[:-1]
        found = [json.loads(line) for line in lines]
    else:
        tables = [folder / shard.path for shard in manifest.shards]
        read = pq.read_table if manifest.kind == "parquet" else pyarrow.feather.read_table
        found = [row for path in tables for row in read(path).to_pylist()]
    assert all(list(row) == ["text"] for row in found)
    return [row["text"] for row in found]


@pytest.mark.parametrize("kind", ["lines", "parquet", "arrow"])
@pytest.mark.parametrize("sizes", [{}, SMALL], ids=["whole", "cut"])
def test_formats_shuffle_as_one_in_the_order_of_their_identities(
    tmp_path: Path, kind: str, sizes: dict[str, int]
) -> None:
    flags = [*write_inputs(tmp_path / "in"), f"--output={tmp_path / 'o'}", "--num_shards=3"]
    with cut_otherwise(**sizes):
        manifest = run(*flags, f"--output_format={kind}")
    expected = ordered()
    assert read_texts(tmp_path / "o", manifest) == [text for _, text in expected]
    assert manifest.records_are == "texts"
    assert manifest.digest.hash == digest_of([text for _, text in expected])
    for source in manifest.sources:
        assert source.digest.hash == digest_of(TEXTS[source.name])
        assert source.digest.bytes == sum(len(text.encode()) for text in TEXTS[source.name])
    assert verify(str(tmp_path / "o"))[1] == []


@pytest.mark.parametrize(
    ("workers", "kind"),
    [
        (1, "lines"),
        (1, "parquet"),
        pytest.param(2, "lines", marks=pytest.mark.slow),
        (2, "parquet"),
    ],
)
def test_a_weighted_mixture_of_three_formats(tmp_path: Path, kind: str, workers: int) -> None:
    with cut_otherwise(**SMALL):
        manifest = run(
            *write_inputs(tmp_path / "in"),
            f"--output={tmp_path / 'o'}",
            f"--output_format={kind}",
            f"--workers={workers}",
            "--weights=poems=0.5,books=0.3,web=0.2",
            "--max_records=700",  # so each repeats, or doesn't
        )
    texts = read_texts(tmp_path / "o", manifest)
    assert len(texts) == manifest.records == 700
    assert manifest.mixture is not None
    for entry, source in zip(manifest.mixture, manifest.sources, strict=True):
        mine = [text for name, text in ordered() if name == entry.source]
        assert source.digest.hash == digest_of(mine)
        # texts that no other source has: in the first pass, in the order of the plain shuffle
        own = [text for text in mine if text not in ODD]
        got = [text for text in texts if text in own]
        assert got[: len(own)] == own[: len(got)]
        assert abs(entry.share_of_records - (entry.asked or 0)) < 0.1
    assert verify(str(tmp_path / "o"))[1] == []


def test_bytes_are_those_of_the_texts_however_they_are_written(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "in")
    texts = [text for _, text in ordered()]
    ends = list(itertools.accumulate(len(text.encode()) for text in texts))
    for kind in ("lines", "parquet"):
        out = tmp_path / kind
        manifest = run(
            *inputs, f"--output={out}", f"--output_format={kind}", f"--max_bytes={ends[40]}"
        )
        assert read_texts(out, manifest) == texts[: bisect.bisect(ends, ends[40])]


def test_lines_are_shuffled_as_without_it(tmp_path: Path) -> None:
    write_tree(tmp_path, {"in/a.jsonl": "\n".join(JSON).encode()})
    run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'bare'}")
    manifest = run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}", "--text_field=body")
    bare = [json.loads(line)["body"] for line in join_shards(tmp_path / "bare").splitlines()]
    assert read_texts(tmp_path / "o", manifest) == bare


def test_lines_out_by_default_compressed_as_most_of_the_lines_in(tmp_path: Path) -> None:
    flags = write_inputs(tmp_path / "in")
    packed = gzip.compress("".join(f"{i}" for i in range(9999)).encode())
    write_tree(tmp_path / "in", {"x/z.txt.gz": packed})
    manifest = run(*flags, f"--input=z={tmp_path / 'in/x'}", f"--output={tmp_path / 'o'}")
    assert (manifest.kind, manifest.compression) == ("lines", "gzip")
    assert [Path(shard.path).suffixes for shard in manifest.shards] == [[".jsonl", ".gz"]]
    assert verify(str(tmp_path / "o"))[1] == []
    rows = run(f"--input={tmp_path / 'in/b.parquet'}", f"--output={tmp_path / 'p'}", *flags[-1:])
    assert (rows.kind, rows.compression, rows.separator) == ("lines", "none", 10)


def test_a_dataset_of_texts_is_an_input_again(tmp_path: Path) -> None:
    run(*write_inputs(tmp_path / "in"), f"--output={tmp_path / 'o'}", "--compression=zstd")
    flags = [f"--input={tmp_path / 'o'}", f"--output={tmp_path / 'p'}", "--text_field=text"]
    again = run(*flags, "--compression=none")
    every = [text for texts in TEXTS.values() for text in texts]
    assert sorted(read_texts(tmp_path / "p", again)) == sorted(every)
    assert again.digest.hash == digest_of(every)


def test_separator_and_header_are_those_of_the_lines_read(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": b"head;one\n;two", "b": b'head;{"body":"three"};'})
    flags = [f"--input={tmp_path / name}" for name in "ab"] + ["--text_field=body"]
    manifest = run(*flags, f"--output={tmp_path / 'o'}", "--separator=;", "--header_lines=1")
    assert sorted(read_texts(tmp_path / "o", manifest)) == ["one\n", "three", "two"]
    assert (manifest.separator, manifest.header_bytes) == (10, 0)
    assert verify(str(tmp_path / "o"))[1] == []
    pq.write_table(pa.table({"body": ["a"]}), tmp_path / "c.parquet")
    with pytest.raises(UsageError, match="--separator is for lines"):
        run(
            f"--input={tmp_path / 'c.parquet'}",
            "--text_field=body",
            f"--output={tmp_path / 'q'}",
            "--separator=;",
        )


BAD: dict[str, tuple[str, Any, str]] = {
    "json": ("a.jsonl", b'{"body":"a"}\n{"text":1}\n', r"the line at byte 13 .*field 'body'"),
    "plain": (
        "a.txt",
        b"a\n\xff\n",
        r"the line at byte 2 \(line 2\) is a bad record: not UTF-8; it begins '\\xff';",
    ),
    "parquet": ("a.parquet", ["a", None], "row 1 is a bad record: column body: .* null"),
    "arrow": ("a.arrow", ["a", None], "row 1 is a bad record: column body: .* null"),
}


@pytest.mark.parametrize(("name", "content", "message"), BAD.values(), ids=BAD)
def test_bad_records_end_the_run_or_are_left_out_and_kept(
    tmp_path: Path, name: str, content: Any, message: str
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif name == "a.parquet":
        pq.write_table(pa.table({"body": content, "n": [1, 2]}), path)
    else:
        table = pa.table({"body": content, "n": [1, 2]})
        pyarrow.feather.write_feather(table, path, compression="uncompressed")
    flags = [f"--input={path}", "--text_field=body"]
    with pytest.raises(DataError, match=message):
        run(*flags, f"--output={tmp_path / 'o'}")
    for what in ("skip", "quarantine"):
        out = tmp_path / what
        manifest = run(*flags, f"--output={out}", f"--on_bad_record={what}")
        assert read_texts(out, manifest) == ["a"]
        (source,) = manifest.sources
        assert source.dropped is not None
        assert source.dropped.records == 1
        assert verify(str(out))[1] == []
        kept = [row for q in manifest.quarantine for row in pq.read_table(out / q.path).to_pylist()]
        assert len(kept) == (what == "quarantine")
        for row in kept:
            bare = content.splitlines()[1] if isinstance(content, bytes) else {"body": None}
            assert row["record"] == bare
            assert re.search("null|UTF-8|'body'", row["reason"])


def test_what_cannot_be_is_refused_before_any_work(tmp_path: Path) -> None:
    flags = write_inputs(tmp_path / "in")[:-1]
    for more in ((), ("--plan",)):
        with pytest.raises(InputError, match=r"b\.parquet: .* column bodi.* did you mean body\?"):
            run(*flags, "--text_field=bodi", f"--output={tmp_path / 'o'}", *more)
        with pytest.raises(InputError, match=r"b\.parquet: expected text .*column n, got int64"):
            run(*flags, "--text_field=n", f"--output={tmp_path / 'o'}", *more)
        with pytest.raises(InputError, match=r"p\.jsonl .*b\.parquet holds rows.*--extension"):
            run(*flags, f"--output={tmp_path / 'o'}", *more)
    assert not (tmp_path / "o").exists()


def test_a_field_that_no_line_has_is_refused_before_any_work(tmp_path: Path) -> None:
    write_inputs(tmp_path / "in")
    (tmp_path / "in/few.jsonl").write_text('{"id": 1}\n{"bodi": "a"}\n')
    out = f"--output={tmp_path / 'o'}"
    poems = f"--input={tmp_path / 'in/p.jsonl'}"
    was = run(poems, out).digest
    for more in ((), ("--plan",), (f"--input=web={tmp_path / 'in/w.txt'}",)):
        with pytest.raises(InputError, match=r"=bodi: no record .* field bodi; .*mean body"):
            run(poems, "--text_field=bodi", out, "--overwrite", *more)
    assert verify(str(tmp_path / "o"))[1] == []  # is still there
    # it may be meant, or some records have it: then it's the work that says which one lacks it
    assert (
        run(poems, "--text_field=bodi", out, "--overwrite", "--on_bad_record=skip", "--plan")
        is None
    )
    few = f"--input=few={tmp_path / 'in/few.jsonl'}"
    assert run(few, "--text_field=bodi", out, "--overwrite", "--plan") is None
    # a file of which none has it is named, whatever others have
    with pytest.raises(InputError, match=r"p\.jsonl: --text_field=bodi: no record .* field bodi"):
        run(poems, few, "--text_field=bodi", out, "--overwrite")
    assert run(poems, out, "--overwrite").digest == was


def test_a_plan_says_how_many_texts_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*write_inputs(tmp_path / "in"), f"--output={tmp_path / 'o'}", "--plan") is None
    out = capsys.readouterr().out
    assert re.search(r"books +1 +\S+ kB +205 +~\d", out), out
    assert re.search(r"web +1 +[\d.]+ \S+ +~\d+ +~\d", out), out
    assert "-of-00001.jsonl" in out


@pytest.mark.parametrize("kind", ["lines", "parquet"])
@pytest.mark.parametrize("change", ["text", "swap", "bare", "lost"])
def test_verify_finds_texts_that_were_changed_even_where_their_sums_were_too(
    tmp_path: Path, kind: str, change: str
) -> None:
    out = tmp_path / "o"
    manifest = run(*write_inputs(tmp_path / "in"), f"--output={out}", f"--output_format={kind}")
    texts = read_texts(out, manifest)
    if change == "text":
        texts[7] += "."
    elif change == "swap":
        texts[7] = texts[8]
    elif change == "lost":
        texts.pop()
    rows = [{"text": text} for text in texts]
    if change == "bare":
        rows[7] = {"txt": texts[7]}
    (name,) = read_shards(out)
    path = out / "data" / name
    if kind == "lines":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows, pa.schema([("text", pa.large_string())])), path)
    entry = json.loads((out / "manifest.json").read_text())
    entry["shards"][0] |= {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
    }
    entry["bytes"] = path.stat().st_size
    (out / "manifest.json").write_text(json.dumps(entry))
    assert verify(str(out))[1] != []
