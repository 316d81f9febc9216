"""The door for compressed streams: smart_open's registry of codecs by suffix.

For the suffixes of our codecs our own decoders and encoders stand there, which see damage that the
libraries' file classes don't. A user's module registers others, as smart_open documents it::

    smart_open.register_compressor(".ext", open_ext)  # (file_obj, mode) -> a binary file object
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import logging
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from importlib.metadata import entry_points
from types import ModuleType
from typing import IO, Any, BinaryIO, cast

from transforms.errors import DataError, DovetailError, RunError, UsageError
from transforms.formats.codecs import (
    BUILT_IN,
    LARGEST,
    Codec,
    MemberCodec,
    add_codec,
    codec_of_name,
    drop_codecs,
)
from transforms.formats.detection import CANONICAL
from transforms.formats.members import Compressed, Decoder, Encoder
from transforms.storage import files as storage

_GROUP = "dovetail.codecs"
_OUT = 1 << 18  # decompressed bytes at a time
_SAMPLED = 64  # decompressed bytes per compressed one at which a sample is large enough
_TAKEN = {*CANONICAL, ".none", *(f".{name}" for name in BUILT_IN)}
_lock = threading.RLock()
_loaded: dict[str, set[str]] = {}  # suffixes, by module
_held: list[list[str]] = []  # modules of each run at this time: the same ones


def reader(
    file: io.RawIOBase | BinaryIO, codec: Codec, name: str, *, window: int = LARGEST
) -> Compressed:
    """Open a compressed file for reading; arguments as of Decoder."""
    if not isinstance(codec, MemberCodec):
        return _UsersDecoder(file, codec, name)
    return cast(Decoder, _wrap(file, "rb", codec, name=name, window=window))


def writer(sink: Any, codec: Codec, *, level: int | None = None) -> Encoder:
    """Open a compressed stream for writing; the caller closes the sink.

    Args:
        sink: takes the compressed bytes.
        codec: by which to compress.
        level: the scale of a codec of ours; None for its default.
    """
    if not isinstance(codec, MemberCodec):
        return Encoder(sink, _UsersCompressor(sink, codec))
    return cast(Encoder, _wrap(sink, "wb", codec, level=codec.level if level is None else level))


def read_whole(url: str, *, limit: int = 1 << 30) -> bytes:
    """Read a small file, decompressed where its name says that it is compressed.

    What it holds isn't looked at further than ``limit``: then one byte more comes back.

    Raises:
        DataError: it can't be decompressed.
    """
    with storage.open_read(url) as file:
        codec = codec_of_name(url)
        stream = file if codec is None else reader(file, codec, url)
        parts, size = [], 0
        while size <= limit and (part := stream.read(min(1 << 20, limit + 1 - size))):
            parts.append(part)
            size += len(part)
    return b"".join(parts)


def load(modules: Iterable[str]) -> None:
    """Import modules that register codecs with smart_open, and take these up. The second time it
    does nothing.

    Raises:
        UsageError: one can't be imported, registers nothing, or a suffix of ours.
    """
    with _lock:
        for module in modules:
            if module not in _loaded:
                _loaded[module] = _load(module)
            for suffix in _loaded[module]:
                add_codec(suffix)


@contextlib.contextmanager
def having(modules: Iterable[str]) -> Iterator[None]:
    """Have the codecs of these modules for the time of a run, and no others that a run before it had.

    Raises:
        UsageError: as of ``load``, and where another run in this process has other modules.
    """
    asked = sorted(modules)
    with _lock:
        if _held and asked != _held[0]:
            raise UsageError(
                "--codec_module: another run in this process is using other modules; run them "
                "one after the other, or in separate processes"
            )
        if not _held:
            drop_codecs()
        load(asked)
        _held.append(asked)
    try:
        yield
    finally:
        with _lock:
            _held.pop()


def with_installed(modules: Iterable[str] | None) -> tuple[str, ...]:
    """Return modules, and those that installed packages name as their entry points of our group."""
    return tuple(dict.fromkeys((*(modules or ()), *_installed())))


@functools.cache
def _installed() -> tuple[str, ...]:
    return tuple(sorted(entry.module for entry in entry_points(group=_GROUP)))


def _load(module: str) -> set[str]:
    """Import a module; return the suffixes that it registers."""
    import smart_open

    registry, told = _registry(), f"--codec_module={module}"
    smart_open.compression = registry  # as if it hadn't been loaded before the package
    known, fresh = set(registry.get_supported_extensions()), module not in sys.modules
    try:
        importlib.import_module(module)
    except Exception as error:
        raise UsageError(
            f"{told}: can't be imported here: {type(error).__name__}: {error}; install it, or "
            "put its folder on PYTHONPATH, on every machine that runs workers"
        ) from error
    ours = {suffix for codec in BUILT_IN.values() for suffix in codec.suffixes}
    if taken := sorted(suffix for suffix in ours if not _is_ours(suffix)):
        _load_registry.cache_clear()
        raise UsageError(
            f"{told}: registers {taken[0]}, which is Dovetail's own; choose another suffix"
        )
    found = set(registry.get_supported_extensions()) - ours
    mine = found - known if fresh else found
    odd = {suffix for suffix in mine if not suffix[1:].isalnum() or suffix in _TAKEN}
    if fresh and odd:  # else they may be others', for their own ends
        raise UsageError(
            f"{told}: expected a suffix of a dot, letters and digits that no codec or format of "
            f"Dovetail has, got {min(odd)!r}; choose another suffix"
        )
    if not mine - odd:
        raise UsageError(
            f"{told}: expected a module that calls smart_open.register_compressor('.ext', …) "
            "when it is imported, got one that registers nothing"
        )
    return mine - odd


def _registry() -> ModuleType:
    """Return smart_open's registry, with our codecs in it."""
    with _lock:  # threads that begin together would find a module that is half loaded
        return _load_registry()


@functools.cache
def _load_registry() -> ModuleType:
    """Load the registry's module alone: its package imports every store's client, which takes 0.3 s."""
    name = "smart_open.compression"
    if name not in sys.modules:
        package: Any = importlib.util.find_spec("smart_open")
        spec: Any = PathFinder.find_spec(name, package.submodule_search_locations)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    compression: Any = sys.modules[name]
    log = logging.getLogger(compression.__name__)
    log.disabled = True  # it warns of each that is replaced
    for codec in BUILT_IN.values():
        for suffix in codec.suffixes:
            compression.register_compressor(suffix, functools.partial(_open_ours, codec))
    log.disabled = False
    return cast(ModuleType, compression)


def _open_ours(codec: MemberCodec, file: Any, mode: str, **options: Any) -> Any:
    """Be smart_open's way to a codec of ours; without options for others, who expect buffers."""
    if "r" in mode:
        decoder = Decoder(file, codec, **options)
        return decoder if options else io.BufferedReader(decoder)
    encoder = Encoder(file, codec.new_compressor(options.get("level", codec.level)))
    return encoder if options else io.BufferedWriter(encoder)


def _is_ours(suffix: str) -> bool:
    opened = _registry().compression_wrapper(io.BytesIO(), "rb", suffix)
    return isinstance(getattr(opened, "raw", None), Decoder)


def _wrap(file: Any, mode: str, codec: Codec, **options: Any) -> IO[bytes]:
    wrap = _registry().compression_wrapper
    return cast(IO[bytes], wrap(file, mode, codec.suffixes[0], compression_kwargs=options))


class _Lent(io.RawIOBase):
    """A file in the hands of a user's codec, which may close what it is given."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file = file
        self.reached = 0
        self._failed: Exception | None = None

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        view = memoryview(target).cast("B")
        data = self._tried(self._file.read, len(view)) or b""
        view[: len(data)] = data
        self.reached = max(self.reached, self._file.tell())
        return len(data)

    def write(self, data: Any) -> int:
        return int(self._tried(storage.write_all, self._file, data))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def _tried(self, work: Any, *args: Any) -> Any:
        try:
            return work(*args)
        except Exception as error:
            self._failed = error
            raise

    @contextlib.contextmanager
    def blaming(self, kind: type[DovetailError], what: str) -> Iterator[None]:
        """Raise what fails in the codec as an error of ours; what fails in the file, as it is."""
        try:
            yield
        except Exception as error:
            if isinstance(error, DovetailError) or error is self._failed:
                raise
            raise kind(f"{what}: {type(error).__name__}: {error}") from error


class _UsersDecoder(Compressed):
    """A file as a user's codec decodes it: to its last byte, whatever else the codec checks."""

    def __init__(self, file: io.RawIOBase | BinaryIO, codec: Codec, name: str) -> None:
        self._codec = codec
        super().__init__(file, name)

    def _begin(self) -> None:
        super()._begin()
        self._lent = _Lent(self._file)
        self._stream: Any = None

    def _decode(self) -> bytes | None:
        with self._lent.blaming(
            DataError, f"{self.name}: the codec {self._codec.name} can't decode it"
        ):
            if self._stream is None:
                self._stream = _wrap(self._lent, "rb", self._codec)
            out = self._stream.read(_OUT)
            if out is not None and not isinstance(out, bytes):
                raise TypeError(f"expected the codec to return bytes, got {type(out).__name__}")
        self.consumed = self._lent.reached
        if out:
            return out
        if self.consumed < (size := self._file.seek(0, os.SEEK_END)):
            raise DataError(
                f"{self.name}: the codec {self._codec.name} stops at byte {self.consumed} of "
                f"{size}: other data follows there, or the codec doesn't read every member; "
                "check the file and the codec"
            )
        return None


class _UsersCompressor:
    """What a user's codec writes, fed in pieces as of Encoder."""

    def __init__(self, sink: Any, codec: Codec) -> None:
        self._lent = _Lent(sink)
        self._told = RunError, f"--compression={codec.name}: the codec can't write"
        with self._lent.blaming(*self._told):
            self._stream = _wrap(self._lent, "wb", codec)

    def compress(self, data: Any, /) -> bytes:
        """Hand a piece over, which goes to the sink by itself."""
        piece = bytes(data)
        with self._lent.blaming(*self._told):
            while piece:
                piece = piece[self._stream.write(piece) or len(piece) :]
        return b""

    def flush(self) -> bytes:
        """Let the codec write its end."""
        with self._lent.blaming(*self._told):
            self._stream.close()
        return b""


def sample_ratio(
    file: io.RawIOBase | BinaryIO, codec: Codec, name: str, *, limit: int = 1 << 20
) -> float:
    """Return decompressed bytes per compressed byte, from the first ``limit`` compressed bytes.

    Exact where the file is shorter. One that ends inside a member gives the ratio so far.

    Raises:
        DataError: the file is empty, of another kind or damaged.
    """
    decoder = reader(file, codec, name)
    target = bytearray(_OUT)
    produced = consumed = 0
    try:
        while decoder.readinto(target):
            if consumed and (decoder.consumed >= limit or decoder.produced >= _SAMPLED * limit):
                # as it was before this step, which took input that it has not decoded yet
                return produced / consumed
            produced, consumed = decoder.produced, decoder.consumed
    except DataError:
        if not decoder.truncated:
            raise
    return decoder.produced / max(decoder.consumed, 1)
