"""Promise 3: what goes out is what came in, whatever the bytes."""

from __future__ import annotations

import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pipelines.verify import verify
from tests.pipelines.support import (
    Tree,
    command,
    count_records,
    cut_otherwise,
    make_lines,
    read_shards,
    run,
    split,
    write_tree,
)
from transforms.errors import DataError, LosslessError
from transforms.formats.codecs import codec_of_head
from transforms.formats.foreign import foreign
from transforms.kernels.records import blocks

SMALL = {"span_bytes": 5, "run_bytes": 200, "bucket_bytes": 100, "page_bytes": 60}


OTHERS = (b"PAR", b"ARROW1", b"\xff\xff\xff\xff", b"\xef\xbb\xbf", b"[", b"{")


def is_text(data: bytes) -> bool:
    """Say whether a file without a suffix is taken for lines, whatever its bytes, without being told."""
    known = codec_of_head(data[:32]) or foreign(data, len(data))
    return known is None and not data.lstrip().startswith(OTHERS)


def check(files: Tree, *flags: str, separator: bytes = b"\n") -> None:
    """Shuffle files; what comes out must be what went in, by every account.

    What looks like another kind of file is said to be lines; all else has to be found to be.
    """
    assume(all(codec_of_head(data[:32]) is None for data in files.values()))  # or it is damaged
    told = "--extension=none,.x" if all(map(is_text, files.values())) else "--format=lines"
    with tempfile.TemporaryDirectory() as folder:
        corpus = write_tree(Path(folder, "in"), files)
        manifest = run(f"--input={corpus}", f"--output={folder}/out", told, *flags)
        shards = read_shards(Path(folder, "out"))
        assert all(not data or data.endswith(separator) for data in shards.values())
        expected = count_records(files, separator)
        assert count_records(shards, separator) == expected
        assert manifest.records == manifest.digest.records == expected.total()
        assert manifest.bytes == sum(map(len, shards.values()))
        assert manifest.digest.bytes == manifest.bytes - manifest.records
        assert [shard.path for shard in manifest.shards] == [f"data/{name}" for name in shards]
        counted = {f.name: (f.size, f.records) for f in manifest.sources[0].files}
        assert counted == {
            name: (len(data), len(split(data, separator))) for name, data in files.items()
        }
        assert verify(f"{folder}/out")[1] == []


bytes_of_lines = st.lists(
    st.one_of(st.binary(max_size=12), st.sampled_from([b"\n", b"\n\n", b"\r\n", b"\0", b"twin\n"])),
    max_size=12,
).map(b"".join)


@given(
    files=st.dictionaries(st.sampled_from(["a", "b.x", "c/d"]), bytes_of_lines, min_size=1),
    shards=st.integers(1, 9),
    small=st.booleans(),
)
@example(files={"a": b""}, shards=3, small=False)
@example(files={"a": b"", "b.x": b""}, shards=1, small=False)
@example(files={"a": b"one"}, shards=1, small=False)
@example(files={"a": b"one\n"}, shards=9, small=False)
@example(files={"a": b"\n"}, shards=2, small=True)
@example(files={"a": b"\n\n\n\n"}, shards=2, small=True)
@example(files={"a": b"x\r\ny\r\n\r\n", "b.x": b"x\r"}, shards=2, small=True)
@example(files={"a": b"\0\0\n\0\n\0"}, shards=2, small=True)
@example(files={"a": b"\xff\xfe\n\xc3\n\x80abc\n\xed\xa0\x80"}, shards=2, small=True)
@example(files={"a": b"twin\n" * 40, "b.x": b"twin\n" * 3}, shards=4, small=True)
@example(files={"a": b"1\n2", "b.x": b"3", "c/d": b"4\n"}, shards=1, small=False)
@settings(max_examples=12)
def test_every_record_comes_out_as_often_as_it_went_in(
    files: Tree, shards: int, small: bool
) -> None:
    with cut_otherwise(**(SMALL if small else {})):
        check(files, f"--num_shards={shards}")


@given(
    files=st.dictionaries(st.sampled_from(["a", "b"]), bytes_of_lines, min_size=1),
    size=st.integers(1, 5),
    small=st.booleans(),
)
@example(files={"a": b""}, size=1, small=True)
@example(files={"a": b"1\n2\n3\n4\n5\n6"}, size=3, small=True)
@settings(max_examples=8)
def test_nothing_is_lost_where_shards_are_counted_out(files: Tree, size: int, small: bool) -> None:
    with cut_otherwise(**(SMALL if small else {})):
        check(files, f"--shard_records={size}")


@pytest.mark.parametrize(
    ("separator", "byte"),
    [(r"\0", b"\0"), (r"\t", b"\t"), (";", b";"), (r"\xff", b"\xff"), (r"\x0a", b"\n")],
)
@pytest.mark.parametrize("small", [False, True])
def test_any_byte_may_end_records(separator: str, byte: bytes, small: bool) -> None:
    files = {"a": b"x\ny" + byte + b"\r\n" + byte * 3 + b"last", "b": b"\n", "c": b"z" + byte}
    with cut_otherwise(**(SMALL if small else {})):
        check(files, f"--separator={separator}", separator=byte)


def test_a_line_of_100_mb_is_a_record(tmp_path: Path) -> None:
    long = bytes(range(32, 127)) * (100_000_000 // 95 + 1)
    corpus = write_tree(tmp_path / "in", {"a": b"x\n" + long + b"\ny\n", "b": b"z\n" * 9})
    manifest = run(f"--input={corpus}", f"--output={tmp_path / 'o'}")
    assert manifest.records == 12
    found = sorted(split((tmp_path / "o/data/train-00000-of-00001.txt").read_bytes()), key=len)
    assert sorted(found[:-1]) == [b"x", b"y", *[b"z"] * 9]
    assert found[-1] == long


@pytest.mark.parametrize(
    "flags",
    [
        ["--input=-"],
        ["--input=pipe=-", "--input=web=in"],
        ["--input=-", "--temp_location=t/u"],
        ["--input=-", "--temp_location=in/.."],
    ],
    ids=["alone", "beside others", "its spool made", "its spool elsewhere"],
)
def test_standard_input_comes_out_whole_and_its_spool_goes(
    tmp_path: Path, logs: Path, flags: list[str]
) -> None:
    data = make_lines(2000) + b"\0\xff\r\n\nno end"
    other = {"a.txt": make_lines(10, name="a")}
    write_tree(tmp_path / "in", other)
    done = command(*flags, "--output=o", cwd=tmp_path, stdin=data)
    assert done.returncode == 0, done.stderr.decode()
    expected = {"": data, **(other if len(flags) > 1 and "web" in flags[1] else {})}
    assert count_records(read_shards(tmp_path / "o")) == count_records(expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "o"]
    assert not list(logs.glob("*dovetail*"))


def test_empty_standard_input_is_an_empty_dataset(tmp_path: Path) -> None:
    done = command("--input=-", "--output=o", cwd=tmp_path)
    assert done.returncode == 0
    assert read_shards(tmp_path / "o") == {"train-00000-of-00001.txt": b""}


def _write_with(payload: Callable[[Any], Any], patch: pytest.MonkeyPatch) -> None:
    """Give the writer, and nobody else, another way to the bytes of a block."""
    patch.setattr(
        "transforms.formats.lines.blocks",
        types.SimpleNamespace(**{**vars(blocks), "payload": payload}),
    )


def _record(i: int) -> bytes:
    return b"%08d%08dabcdefgh\n" % (i * 7919, i * 104729 % 10**8)


def _harm(rows: list[bytes], at: int, other: int, harm: str) -> None:
    """Do harm to lines whose words are aligned, as ``_record`` makes them."""
    row, beside = rows[at], rows[other]
    if harm == "drop":
        rows[at] = b""
    elif harm == "double":
        rows[at] = row * 2
    elif harm == "double one, drop one":
        rows[other] = row
    elif harm == "swap words":
        rows[at] = row[8:16] + row[:8] + row[16:]
    elif harm == "swap words between records":
        rows[at], rows[other] = (
            row[:8] + beside[8:16] + row[16:],
            beside[:8] + row[8:16] + beside[16:],
        )
    elif harm == "flip a bit":
        rows[at] = bytes([row[0] ^ 1]) + row[1:]
    elif harm == "cut in two":
        rows[at] = row[:4] + b"\n" + row[4:]


@pytest.mark.parametrize(
    "harm",
    [
        "drop",
        "double",
        "double one, drop one",
        "swap words",
        "swap words between records",
        "flip a bit",
        "cut in two",
    ],
)
@pytest.mark.parametrize("flag", ["--num_shards=3", "--shard_records=100"])
def test_a_writer_that_does_harm_is_caught_and_leaves_nothing(
    tmp_path: Path, harm: str, flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").write_bytes(b"".join(map(_record, range(1000))))
    real: Callable[..., Any] = blocks.payload
    harmed = []

    def payload(block: Any) -> Any:
        rows = bytes(real(block)).splitlines(keepends=True)
        if _record(500) in rows:
            at = rows.index(_record(500))
            _harm(rows, at, at - 1 if at else 1, harm)
            harmed.append(b"".join(rows) != bytes(real(block)))
        return memoryview(b"".join(rows))

    _write_with(payload, monkeypatch)
    with pytest.raises((LosslessError, DataError), match="data/train-0"):
        run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}", flag)
    assert harmed == [True]
    assert not (tmp_path / "o").exists()


def test_the_harness_above_is_harmless_without_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").write_bytes(b"".join(map(_record, range(1000))))
    real: Callable[..., Any] = blocks.payload
    _write_with(lambda block: memoryview(bytes(real(block))), monkeypatch)
    assert run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}").records == 1000
