"""Every format through the whole shuffle: read back by the plain libraries, compared with them."""

from __future__ import annotations

import gzip
import io
import json
import logging
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd

from pipelines.verify import verify
from tests.pipelines.support import (
    cut_otherwise,
    join_shards,
    make_lines,
    read_shards,
    run,
    shuffle_plainly,
    write_tree,
)
from tests.transforms.formats.samples import INSIDE, PACK, SUFFIX, UNPACK, make_table, rows_of
from transforms.datasets.manifest import Manifest
from transforms.errors import DataError, DovetailError, InputError, UsageError
from transforms.formats import arrow, parquet

CODECS = [codec for codec in PACK if codec != "none"]
FILES = {"a.txt": make_lines(150, name="a"), "deep/b.txt": b"b\r\n\n" * 20 + b"no end"}
ORDER = b"".join(record + b"\n" for record in shuffle_plainly({"default": FILES}))
SMALL = {"span_bytes": 300, "run_bytes": 4000, "bucket_bytes": 3000, "page_bytes": 900}
CUTS: list[dict[str, int]] = [{}, SMALL, {"span_bytes": 1 << 30, "chunk_bytes": 400}]
ROWS = make_table(150)
EXTENSIONS = {"parquet": "parquet", "arrow": "arrow", "arrow_stream": "arrow"}


def shuffled(tmp_path: Path, *flags: str, output: str = "o") -> Path:
    run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / output}", *flags)
    problems = verify(str(tmp_path / output))[1]
    assert problems == []
    return tmp_path / output


def refused(tmp_path: Path, *flags: str) -> str:
    with pytest.raises(DovetailError) as caught:
        run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}", *flags)
    assert not (tmp_path / "o").exists()
    assert isinstance(caught.value, UsageError | DataError)
    return str(caught.value)


def save(
    path: Path, table: pa.Table, kind: str, *, compression: str = "none", rows: int = 40
) -> None:
    """Write rows with the plain library."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "parquet":
        pq.write_table(table, path, compression=compression, row_group_size=rows)
        return
    codec = None if compression == "none" else compression
    new = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with new(str(path), table.schema, options=options) as writer:
        writer.write_table(table, rows)


def load(folder: Path, kind: str) -> pa.Table:
    """Read the shards with the plain library, in order."""
    parts = []
    for name, data in read_shards(folder).items():
        assert name.endswith(f".{EXTENSIONS[kind]}")
        if kind == "parquet":
            parts.append(pq.read_table(io.BytesIO(data)))
        else:
            opened = pa.ipc.open_file if kind == "arrow" else pa.ipc.open_stream
            parts.append(opened(data).read_all())
    return pa.concat_tables(part.unify_dictionaries() for part in parts)


def counted(table: pa.Table) -> Counter[str]:
    return Counter(map(repr, rows_of(table)))


# ---- lines ----


@pytest.mark.parametrize("codec", PACK)
@pytest.mark.parametrize("members", [1, 3])
def test_the_same_records_come_out_in_the_same_order_whatever_packed_them(
    tmp_path: Path, codec: str, members: int
) -> None:
    def pack(data: bytes) -> bytes:
        step = len(data) // members + 1
        return b"".join(PACK[codec](data[i : i + step]) for i in range(0, len(data), step))

    packed = {name + SUFFIX[codec]: pack(data) for name, data in FILES.items()}
    write_tree(tmp_path / "in", packed)
    for i, cuts in enumerate(CUTS if members > 1 else [SMALL]):
        with cut_otherwise(**cuts):
            shards = read_shards(shuffled(tmp_path, "--num_shards=3", output=f"o{i}"))
        assert list(shards) == [f"train-{i:05d}-of-00003.txt{SUFFIX[codec]}" for i in range(3)]
        assert b"".join(map(UNPACK[codec], shards.values())) == ORDER


def test_one_source_may_be_packed_in_many_ways(tmp_path: Path) -> None:
    names = {f"{codec}.txt": make_lines(40, name=codec) for codec in PACK}
    packed = {name + SUFFIX[name[:-4]]: PACK[name[:-4]](data) for name, data in names.items()}
    write_tree(tmp_path / "in", packed)
    expected = shuffle_plainly({"default": names})
    assert join_shards(shuffled(tmp_path, "--compression=none")).splitlines() == expected


@pytest.mark.parametrize("codec", PACK)
def test_shards_may_be_packed_otherwise_than_the_input(tmp_path: Path, codec: str) -> None:
    write_tree(tmp_path / "in", {f"{name}.gz": PACK["gzip"](d) for name, d in FILES.items()})
    shards = read_shards(shuffled(tmp_path, f"--compression={codec}", "--num_shards=2"))
    assert b"".join(map(UNPACK[codec], shards.values())) == ORDER
    assert {Path(name).suffix for name in shards} == {SUFFIX[codec] or ".txt"}


def test_a_header_is_found_and_written_inside_the_codec(tmp_path: Path) -> None:
    files = {f"{n}.csv.zst": PACK["zstd"](b"x,y\n" + make_lines(20, name=n)) for n in "ab"}
    write_tree(tmp_path / "in", files)
    shards = read_shards(shuffled(tmp_path, "--header_lines=1", "--num_shards=2"))
    plain = [UNPACK["zstd"](data) for data in shards.values()]
    assert all(data.startswith(b"x,y\n") for data in plain)
    lines = b"".join(data[4:] for data in plain).splitlines(keepends=True)
    assert sorted(lines) == sorted(
        (make_lines(20, name="a") + make_lines(20, name="b")).splitlines(True)
    )


def test_twins_that_differ_in_their_codec_alone_are_refused_by_both_names(tmp_path: Path) -> None:
    write_tree(tmp_path / "in", {"x.txt": b"1\n", "x.txt.gz": PACK["gzip"](b"2\n")})
    message = refused(tmp_path)
    assert "in/x.txt and " in message
    assert "in/x.txt.gz" in message


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("harm", ["cut", "cut in member 2", "flip", "other"])
def test_a_damaged_input_is_named_and_nothing_is_left(
    tmp_path: Path, codec: str, harm: str
) -> None:
    one, two = (PACK[codec](make_lines(400, name=name)) for name in "ab")
    bad = {
        "cut": one[: len(one) * 2 // 3],
        "cut in member 2": one + two[: len(two) * 2 // 3],
        "flip": one[: len(one) // 2] + bytes([one[len(one) // 2] ^ 64]) + one[len(one) // 2 + 1 :],
        "other": PACK["xz" if codec == "gzip" else "gzip"](b"x\n"),
    }[harm]
    write_tree(tmp_path / "in", {f"bad.txt{SUFFIX[codec]}": bad, f"c.txt{SUFFIX[codec]}": one})
    message = refused(tmp_path)
    assert f"in/bad.txt{SUFFIX[codec]}: " in message
    assert "\n" not in message


# ---- rows ----


@pytest.mark.parametrize("kind", INSIDE)
def test_every_row_of_every_file_comes_out_with_its_schema(tmp_path: Path, kind: str) -> None:
    for i, compression in enumerate(INSIDE[kind]):
        save(tmp_path / f"in/{i}.{EXTENSIONS[kind]}", ROWS, kind, compression=compression)
    found = load(shuffled(tmp_path, "--num_shards=3"), kind)
    assert counted(found) == counted(pa.concat_tables([ROWS] * len(INSIDE[kind])))
    expected = pq.read_table(tmp_path / "in/0.parquet").schema if kind == "parquet" else ROWS.schema
    assert found.schema.equals(expected, check_metadata=True)
    ids = found["id"].to_pylist()
    assert ids != sorted(ids)


def test_rows_come_in_one_order_whatever_the_row_groups_and_the_codec(tmp_path: Path) -> None:
    orders = []
    for rows, compression in ((7, "none"), (150, "zstd"), (1000, "snappy")):
        save(tmp_path / "in/x.parquet", ROWS, "parquet", rows=rows, compression=compression)
        found = load(shuffled(tmp_path, "--num_shards=2", output=f"o{rows}"), "parquet")
        orders.append(found["id"].to_pylist())
    assert orders[0] == orders[1] == orders[2]


@pytest.mark.parametrize(
    ("of", "to"),
    [
        ("parquet", "arrow"),
        ("arrow", "parquet"),
        ("parquet", "arrow_stream"),
        ("arrow_stream", "arrow"),
    ],
)
def test_rows_may_be_written_as_another_kind(tmp_path: Path, of: str, to: str) -> None:
    save(tmp_path / f"in/x.{EXTENSIONS[of]}", ROWS, of)
    same = load(shuffled(tmp_path, "--num_shards=2", output="same"), of)
    other = load(
        shuffled(tmp_path, "--num_shards=2", f"--output_format={to}", "--compression=zstd"), to
    )
    assert rows_of(other) == rows_of(same)
    assert counted(other) == counted(ROWS)


@pytest.mark.parametrize("to", INSIDE)
def test_lines_become_rows_of_one_column(tmp_path: Path, to: str) -> None:
    write_tree(tmp_path / "in", {f"{name}.gz": PACK["gzip"](d) for name, d in FILES.items()})
    found = load(shuffled(tmp_path, f"--output_format={to}", "--num_shards=2"), to)
    assert found.schema.names == ["text"]
    assert "".join(text + "\n" for text in found["text"].to_pylist()).encode() == ORDER


@pytest.mark.parametrize(("kind", "name"), [("parquet", "zstd"), ("arrow", "lz4")])
def test_no_byte_of_a_shard_of_rows_depends_on_how_the_work_was_done(
    tmp_path: Path, kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_GROUP_ROWS", 12)
    monkeypatch.setattr(arrow, "_BATCH_ROWS", 12)
    for i in range(2):
        few = ROWS.slice(30 * i, 30)
        save(tmp_path / f"in/{i}.{EXTENSIONS[kind]}", few, kind, compression=name, rows=13)
    made = []
    for i, cuts in enumerate(CUTS):
        with cut_otherwise(**cuts):
            made.append(read_shards(shuffled(tmp_path, "--num_shards=2", output=f"o{i}")))
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize(
    ("flags", "compression", "mode"),
    [
        ([], "zstd", "multi_processing"),
        (["--output_format=arrow"], "none", "multi_threading"),
        pytest.param([], "gzip", "multi_processing", marks=pytest.mark.slow),
    ],
)
def test_workers_and_memory_change_no_byte(
    tmp_path: Path, flags: list[str], compression: str, mode: str
) -> None:
    if compression == "gzip":
        write_tree(tmp_path / "in", {f"{name}.gz": PACK["gzip"](d) for name, d in FILES.items()})
    else:
        for i in range(2):
            save(tmp_path / f"in/{i}.parquet", ROWS, "parquet", compression=compression)
    more = ["--workers=2", f"--direct_running_mode={mode}", "--memory=1GiB"]
    one = shuffled(tmp_path, "--num_shards=2", *flags, "--workers=1", output="one")
    two = shuffled(tmp_path, "--num_shards=2", *flags, *more, output="two")
    assert read_shards(one) == read_shards(two)


def test_schemas_that_differ_name_the_files_and_the_columns(tmp_path: Path) -> None:
    save(tmp_path / "in/a.parquet", ROWS.select(["id", "text", "flag"]), "parquet")
    other = pa.table({"id": ["1"], "text": ["x"], "extra": [1]})
    save(tmp_path / "in/b.parquet", other, "parquet")
    message = refused(tmp_path)
    for said in ("in/a.parquet", "in/b.parquet", "flag", "extra", "id is string, not int64"):
        assert said in message


def test_lines_and_rows_together_are_refused_by_both_names(tmp_path: Path) -> None:
    write_tree(tmp_path / "in", {"a.jsonl": b"{}\n"})
    save(tmp_path / "in/b.parquet", ROWS, "parquet")
    message = refused(tmp_path)
    assert "in/a.jsonl holds lines" in message
    assert "in/b.parquet holds rows (Parquet)" in message
    assert "--extension=.parquet" in message
    assert "--text_field" not in message  # not every file has one


def test_a_text_field_is_proposed_where_every_file_has_it(tmp_path: Path) -> None:
    lines = b'{"id": 1, "title": "x", "body": "y"}\n'
    write_tree(tmp_path / "in", {"a.jsonl": lines, "c.jsonl.gz": gzip.compress(lines), "d": b""})
    rows = pa.table({"id": ["1"], "body": ["z"], "title": [2]})
    save(tmp_path / "in/b.parquet", rows, "parquet")
    message = refused(tmp_path)
    assert "in/a.jsonl and 1 more hold lines" in message
    assert "--text_field=body" in message
    write_tree(tmp_path / "in", {"e.jsonl": b'{"title": "x"}\n'})
    assert "--text_field" not in refused(tmp_path)
    (tmp_path / "in/e.jsonl").unlink()
    run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}", "--text_field=body")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--output_format=lines"], "rows"),
        (["--compression=xz"], "expected one of none, snappy"),
        (["--header_lines=1"], "--header_lines"),
        (["--compression=rar"], "expected one of"),
    ],
)
def test_what_rows_cannot_become_is_refused(tmp_path: Path, flags: list[str], says: str) -> None:
    save(tmp_path / "in/b.parquet", ROWS, "parquet")
    assert says in refused(tmp_path, *flags)


def test_a_column_that_cannot_be_shuffled_is_named_with_its_file(tmp_path: Path) -> None:
    union = pa.UnionArray.from_sparse(pa.array([0, 0], pa.int8()), [pa.array([1, 2])])
    save(tmp_path / "in/u.arrow", pa.table({"odd": union}), "arrow")
    message = refused(tmp_path)
    assert "in/u.arrow: " in message
    assert "column odd" in message


# ---- bad records ----

BAD = {"a.jsonl": b'{"a": 1}\n{"b": \nplain\n"fine"\n', "b.jsonl": b'[1]\n"\xff"\n[2]'}
GOOD = {"json": [b'"fine"', b"[1]", b"[2]", b'{"a": 1}'], "utf8": []}
GOOD["utf8"] = sorted([*GOOD["json"], b'{"b": ', b"plain"])


@pytest.mark.parametrize("check", GOOD)
def test_bad_lines_end_the_run_or_are_left_out_and_counted(tmp_path: Path, check: str) -> None:
    write_tree(tmp_path / "in", BAD)
    message = refused(tmp_path, f"--check={check}")
    assert ("in/b.jsonl: the line at byte 4 " if check == "utf8" else "bad record") in message
    out = shuffled(tmp_path, f"--check={check}", "--on_bad_record=skip")
    assert sorted(join_shards(out).splitlines()) == GOOD[check]
    manifest = Manifest.model_validate_json((out / "manifest.json").read_bytes())
    dropped = {f.name: f.dropped.records for f in manifest.sources[0].files if f.dropped}
    assert dropped == ({"b.jsonl": 1} if check == "utf8" else {"a.jsonl": 2, "b.jsonl": 1})
    assert manifest.records == len(GOOD[check])


def test_lines_that_are_no_text_are_not_written_as_text(tmp_path: Path) -> None:
    write_tree(tmp_path / "in", BAD)
    assert "in/b.jsonl: the line at byte 4 " in refused(tmp_path, "--output_format=parquet")
    out = shuffled(tmp_path, "--output_format=parquet", "--on_bad_record=skip")
    assert sorted(t.encode() for t in load(out, "parquet")["line"].to_pylist()) == GOOD["utf8"]


def test_rows_whose_text_is_not_text_end_the_run_or_are_left_out(tmp_path: Path) -> None:
    raw = pa.array([b"good", b"\xff", b"fine"])
    text = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])
    save(tmp_path / "in/x.arrow", pa.table({"t": text}), "arrow")
    assert "in/x.arrow: row 1 is a bad record: column t: not UTF-8" in refused(tmp_path)
    out = shuffled(tmp_path, "--on_bad_record=skip")
    assert sorted(load(out, "arrow")["t"].to_pylist()) == ["fine", "good"]


# ---- datasets ----

FORMS = [
    *(("lines", codec) for codec in PACK),
    ("parquet", "zstd"),
    ("arrow", "none"),
    ("arrow_stream", "lz4"),
]


@pytest.fixture(scope="module", params=FORMS, ids="-".join)
def form(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of each form, three shards."""
    folder = tmp_path_factory.mktemp("form")
    write_tree(folder / "in", FILES)
    kind, compression = request.param
    flags = [f"--output_format={kind}", f"--compression={compression}"]
    return shuffled(folder, "--num_shards=3", *flags)


@pytest.mark.parametrize("harm", ["cut", "flip", "missing", "swapped", "extra"])
def test_verify_finds_what_differs_in_every_format(form: Path, harm: str) -> None:
    shards = sorted((form / "data").iterdir())
    victim, other = shards[1], shards[2]
    kept = {path: path.read_bytes() for path in shards}
    data = kept[victim]
    if harm == "cut":
        victim.write_bytes(data[:-3])
    elif harm == "flip":
        draw = random.Random("flip")  # the seed
        bad = bytearray(data)
        bad[draw.randrange(len(bad))] ^= 1
        victim.write_bytes(bad)
    elif harm == "missing":
        victim.unlink()
    elif harm == "swapped":
        victim.write_bytes(kept[other])
        other.write_bytes(data)
    else:
        (form / "data" / f"extra{victim.suffix}").write_bytes(data)
    try:
        problems = verify(str(form))[1]
    finally:
        for path in (form / "data").iterdir():
            path.unlink()
        for path, data in kept.items():
            path.write_bytes(data)
    assert any((f"extra{victim.suffix}" if harm == "extra" else victim.name) in p for p in problems)
    assert verify(str(form))[1] == []


def test_a_dataset_of_ours_may_be_shuffled_again(form: Path, tmp_path: Path) -> None:
    manifest = json.loads((form / "manifest.json").read_bytes())
    again = run(f"--input={form}", f"--output={tmp_path / 'o'}", "--seed=5", "--num_shards=2")
    assert (again.kind, again.compression) == (manifest["kind"], manifest["compression"])
    assert again.records == manifest["records"]
    if again.kind == "lines":
        assert again.digest.model_dump() == manifest["digest"]
        found = [UNPACK[again.compression](d) for d in read_shards(tmp_path / "o").values()]
        lines = b"".join(found).splitlines(keepends=True)
    else:
        texts: list[Any] = load(tmp_path / "o", again.kind)["text"].to_pylist()
        lines = [text.encode() + b"\n" for text in texts]
    assert lines != ORDER.splitlines(keepends=True)
    assert Counter(b"".join(lines).split(b"\n")) == Counter(ORDER.split(b"\n"))


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_dataset_whose_records_look_like_other_formats_is_read_as_what_its_manifest_says(
    tmp_path: Path, compression: str
) -> None:
    looks = [b"\x1f\x8b\x08 gzip", b"PAR1\x15 Parquet", b"ARROW1\0\0", b"(\xb5/\xfd", b"{}"]
    (tmp_path / "in.txt").write_bytes(b"\n".join([b"plain", *looks, b""]))
    once, again = tmp_path / "once", tmp_path / "again"
    flags = [f"--compression={compression}", "--shard_records=1"]
    run(f"--input={tmp_path / 'in.txt'}", f"--output={once}", *flags)
    manifest = run(f"--input={once}", f"--output={again}", *flags, "--seed=1")
    found = [UNPACK[compression](data) for data in read_shards(again).values()]
    assert sorted(found) == sorted(line + b"\n" for line in [b"plain", *looks])
    assert (manifest.kind, manifest.compression) == ("lines", compression)
    assert verify(str(again))[1] == []


def test_a_file_named_for_another_format_is_refused_before_work_starts(tmp_path: Path) -> None:
    save(tmp_path / "in/x.jsonl", ROWS, "parquet")
    with pytest.raises(
        InputError, match=r"in/x\.jsonl: expected lines, by its name, but .*Parquet"
    ):
        run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}")


def test_an_empty_file_among_rows_holds_none(tmp_path: Path) -> None:
    save(tmp_path / "in/b.parquet", ROWS, "parquet")
    write_tree(tmp_path / "in", {"a.txt": b""})
    manifest = run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}")
    assert manifest.records == len(ROWS)


CSV = {
    "a.csv": b"id,t\r\n1,x\r\n",
    "b.csv": b"",
    "c.csv": b"id,t",
    "d.csv": b"id,t\n2,y\n",
    "e.csv.gz": b"",
    "f.csv.gz": gzip.compress(b"id,t\r\n"),
    "g.csv.gz": gzip.compress(b""),
}


def test_files_with_a_header_alone_or_nothing_hold_no_records(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dovetail")
    write_tree(tmp_path / "in", CSV)
    out = tmp_path / "o"
    manifest = run(f"--input={tmp_path / 'in'}", f"--output={out}", "--header_lines=1")
    assert manifest.records == 2
    (shard,) = (out / "data").iterdir()
    data = gzip.decompress(shard.read_bytes()) if shard.suffix == ".gz" else shard.read_bytes()
    assert "e.csv.gz: an empty file (0 bytes), which holds no records" in caplog.text
    assert sorted(data.splitlines(keepends=True)) == [b"1,x\r\n", b"2,y\n", b"id,t\r\n"]
    for name in ("b.csv", "c.csv"):
        shutil.rmtree(out)
        given = [f"--input={tmp_path / 'in' / name}", f"--output={out}", "--header_lines=1"]
        assert run(*given).records == 0
    shutil.rmtree(out)
    with pytest.raises(InputError, match=r"e\.csv\.gz: .*empty file \(0 bytes\)"):
        run(f"--input={tmp_path / 'in/e.csv.gz'}", f"--output={out}")


def test_newlines_behind_gzip_are_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dovetail")
    write_tree(tmp_path / "in", {"a.txt.gz": gzip.compress(b"x\n") + b"\n", "b.txt": b"y\n"})
    manifest = run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}")
    assert (manifest.records, manifest.trailing_bytes) == (2, 1)
    assert "1 byte of zeros or newlines ignored at the end of compressed files" in caplog.text


def test_a_long_window_is_counted_in_memory(tmp_path: Path) -> None:
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 28})
    write_tree(tmp_path / "in", {"a.jsonl.zst": packer.compress(b"{}\n") + packer.flush()})
    flags = [f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}", "--workers=1"]
    with pytest.raises(UsageError, match=r"--memory=450MiB is too little .* pass --memory=\d+MiB"):
        run(*flags, "--memory=450MiB")
    assert run(*flags, "--memory=700MiB").records == 1


def test_what_save_to_disk_wrote_is_read(tmp_path: Path) -> None:
    """As the datasets library lays it out: streams, named .arrow, with JSON and a cache beside them."""
    folder = tmp_path / "in"
    for name in ("data-00000-of-00002.arrow", "data-00001-of-00002.arrow"):
        save(folder / name, ROWS, "arrow_stream")
    save(folder / "cache-0123456789abcdef.arrow", ROWS.select([0]), "arrow_stream")
    write_tree(folder, {"state.json": b'{"_split": "train"}', "dataset_info.json": b"{}"})
    manifest = run(f"--input={folder}", f"--output={tmp_path / 'o'}")
    assert manifest.records == 2 * len(ROWS)
    assert manifest.kind == "arrow_stream"
