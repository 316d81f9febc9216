"""The door: smart_open's registry, with our codecs in it and those of users' modules."""

from __future__ import annotations

import gzip
import io
import lzma
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import smart_open
import smart_open.compression

from tests.transforms.formats.samples import PACK, SUFFIX, UNPACK
from transforms.errors import DataError, RunError, UsageError
from transforms.formats import codecs, compressed
from transforms.formats.codecs import CODECS, codec_of_name
from transforms.formats.detection import FileFormat, detect
from transforms.storage import files as storage

TEXT = b'{"n": 1}\n' * 50_000
OURS = pytest.mark.parametrize("codec", [name for name in PACK if name != "none"])


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], str]]:
    """Return what writes a module and loads it; all is as it was afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    kept = [codecs.CODECS, codecs.BY_SUFFIX, smart_open.compression._COMPRESSOR_REGISTRY]
    before = [dict(each) for each in kept]
    modules = set(sys.modules)

    def load(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        compressed.load([name])
        return name

    yield load
    for each, was in zip(kept, before, strict=True):
        each.clear()
        each.update(was)
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    compressed._loaded.clear()
    compressed._load_registry.cache_clear()


LZMA = """
import lzma, smart_open
smart_open.register_compressor(
    ".old", lambda file, mode: lzma.open(file, mode, format=lzma.FORMAT_ALONE)
)
"""


def read(data: bytes, codec: str = "old") -> bytes:
    return compressed.reader(io.BytesIO(data), CODECS[codec], "some/file").readall()


@OURS
def test_others_get_our_checked_codecs_from_smart_open(codec: str, tmp_path: Path) -> None:
    compressed.writer(io.BytesIO(), CODECS[codec])  # they are registered with the first use
    path = tmp_path / f"a.jsonl{SUFFIX[codec]}"
    with smart_open.open(path, "wb") as sink:
        sink.write(TEXT)
    assert UNPACK[codec](path.read_bytes()) == TEXT
    with smart_open.open(path) as lines:
        assert sum(line == '{"n": 1}\n' for line in lines) == 50_000
    path.write_bytes(PACK[codec](b"one\n") + b"garbage")
    with smart_open.open(path, "rb") as source, pytest.raises(DataError, match="at byte"):
        source.read()


def test_a_gzip_shard_is_the_same_seconds_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(when: float) -> bytes:
        monkeypatch.setattr(time, "time", lambda: when)
        ours, others = io.BytesIO(), io.BytesIO()
        encoder = compressed.writer(ours, CODECS["gzip"])
        encoder.write(TEXT)
        encoder.close()
        with smart_open.compression.compression_wrapper(others, "wb", ".gz") as sink:
            sink.write(TEXT)
        assert ours.getvalue() == others.getvalue()
        return ours.getvalue()

    assert write(1e9) == write(1e9 + 10)
    monkeypatch.setattr(time, "time", lambda: 1e9)
    first = gzip.compress(TEXT)
    monkeypatch.setattr(time, "time", lambda: 1e9 + 10)
    assert gzip.compress(TEXT) != first  # what this test would find


def test_what_an_error_left_unfinished_is_not_ended_when_it_is_forgotten() -> None:
    sink = io.BytesIO()
    encoder = compressed.writer(sink, CODECS["gzip"])
    encoder.write(TEXT)
    written = sink.getvalue()
    del encoder
    assert sink.getvalue() == written


def test_a_users_codec_reads_and_writes(module: Callable[[str, str], str]) -> None:
    module("old_lzma", LZMA)
    assert codec_of_name("b/a.jsonl.OLD") is CODECS["old"]
    sink = io.BytesIO()
    encoder = compressed.writer(sink, CODECS["old"])
    for begin in range(0, len(TEXT), 10_000):
        encoder.write(memoryview(TEXT)[begin : begin + 10_000])
    encoder.close()
    assert not sink.closed
    packed = sink.getvalue()
    assert lzma.decompress(packed, lzma.FORMAT_ALONE) == TEXT
    assert read(packed) == TEXT
    file = io.BytesIO(packed)
    for _ in range(2):  # what the codec closed or read doesn't matter
        file.seek(0)
        stream = compressed.reader(file, CODECS["old"], "some/file")
        assert stream.seek(9000) == stream.tell() == 9000
        assert stream.read(9) == TEXT[:9]
        assert stream.seek(0) == 0
        assert stream.readall() == TEXT
        assert (stream.produced, stream.consumed) == (len(TEXT), len(packed))
        assert stream.last == b"\n"
        del stream
    file.seek(0)
    assert compressed.sample_ratio(file, CODECS["old"], "x") == len(TEXT) / len(packed)


def test_a_users_codec_is_known_by_name_alone(module: Callable[[str, str], str]) -> None:
    module("old_lzma", LZMA)
    for data in (lzma.compress(b"x\n", lzma.FORMAT_ALONE), gzip.compress(b"x\n"), b"PAR1"):
        found = detect(io.BytesIO(data), name="a.old", size=len(data))
        assert found == FileFormat("lines", CODECS["old"])
    assert detect(io.BytesIO(b""), name="a.old", size=0) == FileFormat("lines")


def test_damage_that_a_users_codec_finds_or_leaves_is_an_error(
    module: Callable[[str, str], str],
) -> None:
    module("old_lzma", LZMA)
    packed = lzma.compress(TEXT, lzma.FORMAT_ALONE)
    with pytest.raises(DataError, match="some/file: the codec old can't decode it: EOFError"):
        read(packed[:-9])
    with pytest.raises(DataError, match=rf"stops at byte \d+ of {len(packed) + 100_000}"):
        read(packed + b"\x99" * 100_000)


def test_errors_of_the_storage_are_not_the_codecs(module: Callable[[str, str], str]) -> None:
    module("old_lzma", LZMA)

    class Refuses(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise ConnectionError("gone")

        def write(self, data: object) -> int:
            raise ConnectionError("full")

    with pytest.raises(ConnectionError, match="gone"):
        compressed.reader(Refuses(), CODECS["old"], "some/file").read(1)
    with pytest.raises(ConnectionError, match="full"):
        compressed.writer(Refuses(), CODECS["old"]).close()


def test_a_codec_that_fails_is_named(module: Callable[[str, str], str]) -> None:
    module(
        "broken",
        "import smart_open\n"
        "def fails(file, mode): raise ValueError('not today')\n"
        "smart_open.register_compressor('.broken', fails)\n"
        "smart_open.register_compressor('.string', lambda file, mode: __import__('io').StringIO('x'))",
    )
    with pytest.raises(DataError, match=r"some/file: the codec broken .* ValueError: not today"):
        read(b"x", "broken")
    with pytest.raises(DataError, match="expected the codec to return bytes, got str"):
        read(b"x", "string")
    with pytest.raises(RunError, match=r"--compression=broken: the codec can't write: ValueError"):
        compressed.writer(io.BytesIO(), CODECS["broken"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import no_such_thing",
            "can't be imported here: ModuleNotFoundError: .*no_such_thing.* on every machine",
        ),
        ("1 / 0", "can't be imported here: ZeroDivisionError"),
        ("", "got one that registers nothing"),
        (
            "import smart_open; smart_open.register_compressor('.gz', print)",
            r"registers \.gz, which",
        ),
        ("import smart_open; smart_open.register_compressor('.a-b', print)", "letters and digits"),
        (
            "import smart_open; smart_open.register_compressor('.gzip', print)",
            "of Dovetail has, got",
        ),
        (
            "import smart_open; smart_open.register_compressor('.none', print)",
            "of Dovetail has, got",
        ),
        (
            "import smart_open; smart_open.register_compressor('.csv', print)",
            "of Dovetail has, got",
        ),
    ],
)
def test_modules_that_are_none(module: Callable[[str, str], str], text: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"--codec_module=odd_one: .*{message}"):
        module("odd_one", text)
    assert read(gzip.compress(TEXT), "gzip") == TEXT


def test_what_others_registered_for_themselves_is_none_of_ours(
    module: Callable[[str, str], str],
) -> None:
    for suffix in (".a-b", ".others"):
        smart_open.register_compressor(suffix, print)
    module("old_lzma", LZMA)
    assert codec_of_name("a.old") is not None
    assert codec_of_name("a.others") is None  # workers wouldn't know it


def test_a_run_has_the_codecs_of_its_own_modules_alone(module: Callable[[str, str], str]) -> None:
    module("old_lzma", LZMA)
    for _ in range(2):
        with compressed.having(["old_lzma"]), compressed.having(["old_lzma"]):
            assert codec_of_name("a.old") is not None
            with pytest.raises(UsageError, match="another run"), compressed.having([]):
                pass
        with compressed.having([]):
            assert codec_of_name("a.old") is None
            assert read(gzip.compress(TEXT), "gzip") == TEXT


def test_a_small_file_is_decompressed_by_its_name(tmp_path: Path) -> None:
    for name, codec in (("a.yaml", "none"), ("a.yaml.zst", "zstd"), ("a.json.GZ", "gzip")):
        (tmp_path / name).write_bytes(PACK[codec](TEXT))
        assert compressed.read_whole(str(tmp_path / name)) == TEXT
        assert compressed.read_whole(str(tmp_path / name), limit=99) == TEXT[:100]
    (tmp_path / "b.gz").write_bytes(gzip.compress(TEXT)[:-1])
    with pytest.raises(DataError, match="truncated"):
        compressed.read_whole(storage.join(str(tmp_path), "b.gz"))


def test_smart_opens_registry_comes_without_its_stores_and_serves_it_later(tmp_path: Path) -> None:
    program = """
import io, sys
import pipelines.shuffle
assert "smart_open.compression" not in sys.modules
from transforms.formats import codecs, compressed
sink = io.BytesIO()
compressed.writer(sink, codecs.CODECS["gzip"]).close()
assert "smart_open.compression" in sys.modules
assert not sys.modules.keys() & {"smart_open", "boto3", "requests"}
import smart_open
open(sys.argv[1], "wb").write(sink.getvalue() + b"garbage")
try:
    smart_open.open(sys.argv[1], "rb").read()
except Exception as error:
    sys.exit(type(error).__name__ != "DataError")
sys.exit(2)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.gz")], check=False)
    assert done.returncode == 0


def test_threads_that_begin_together_all_find_the_whole_registry() -> None:
    script = """
import threading, time
from importlib.machinery import SourceFileLoader
from transforms.formats import compressed

quick = SourceFileLoader.exec_module
SourceFileLoader.exec_module = lambda self, module: (time.sleep(0.1), quick(self, module))
together, found = threading.Barrier(16), []

def look():
    together.wait()
    found.append(compressed._registry().get_supported_extensions())

threads = [threading.Thread(target=look) for _ in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(found), all(".zst" in suffixes for suffixes in found))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("16 True\n", "")
