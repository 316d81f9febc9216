"""A store in this process's memory that fails on purpose, as a seed says: ``faulty://``.

It has what object stores have: objects that appear whole, uploads in parts that are completed or
aborted, exclusive creation, listings. What can go wrong with a request: an error before it is done
or after (the answer is lost), a delay, an answer that is too short, a write that is done twice.
"""

from __future__ import annotations

import hashlib
import threading
import time
from typing import Any

import fsspec
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem


class Faults:
    """What goes wrong: a function of the seed and of how many requests there were.

    Attributes:
        rate: share of the requests that fail in some way.
        only: names of requests that may fail; all where it is empty.
        requests: how many there were, by name.
        errors: how many errors were raised.
    """

    KINDS = ("before", "after", "delay", "short", "twice")

    def __init__(
        self, seed: int = 0, *, rate: float = 0.0, only: tuple[str, ...] = (), kind: str = ""
    ) -> None:
        self.seed, self.rate, self.only, self.kind = seed, rate, only, kind
        self.requests: dict[str, int] = {}
        self.errors = 0
        self._lock = threading.Lock()

    def draw(self, name: str) -> str:
        """Say what goes wrong with the next request; "" where nothing does."""
        with self._lock:
            number = sum(self.requests.values())
            self.requests[name] = self.requests.get(name, 0) + 1
        hashed = hashlib.blake2b(b"%d/%d" % (self.seed, number), digest_size=8).digest()
        draw = int.from_bytes(hashed[:6], "big") / 2**48
        if draw >= self.rate or (self.only and name not in self.only):
            return ""
        return self.kind or self.KINDS[hashed[7] % len(self.KINDS)]

    def error(self) -> OSError:
        self.errors += 1
        return ConnectionResetError("the store hung up, as it was told to")


class FaultyStore(AbstractFileSystem):  # type: ignore[misc]  # fsspec is untyped
    """The store; objects and faults are those of the process."""

    protocol = "faulty"
    objects: dict[str, bytes] = {}  # noqa: RUF012  # shared by all instances, as a store is
    uploads: set[int] = set()  # noqa: RUF012  # shared by all instances, as a store is
    faults = Faults()

    def request(self, name: str, work: Any) -> Any:
        """Do a request, with what goes wrong in it."""
        kind = FaultyStore.faults.draw(name)
        if kind == "before":
            raise FaultyStore.faults.error()
        if kind == "delay":
            time.sleep(0.001)
        answer = work()
        if kind == "after":
            raise FaultyStore.faults.error()
        if kind == "twice":
            answer = work()
        if kind == "short" and isinstance(answer, bytes):
            return answer[: len(answer) // 2]
        return answer

    def _ls(self, path: str) -> list[dict[str, Any]]:
        path = path.rstrip("/")
        if path in self.objects:
            return [self._entry(path)]
        below = f"{path}/" if path else ""
        found = {}
        for name in sorted(self.objects):
            if name.startswith(below):
                rest, slash, _ = name[len(below) :].partition("/")
                child = below + rest
                found[child] = (
                    {"name": child, "size": 0, "type": "directory"} if slash else self._entry(child)
                )
        if not found:
            raise FileNotFoundError(path)
        return list(found.values())

    def _entry(self, name: str) -> dict[str, Any]:
        data = self.objects[name]
        tag = hashlib.md5(data).hexdigest()
        return {"name": name, "size": len(data), "type": "file", "ETag": tag}

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        found = self.request("ls", lambda: self._ls(self._strip_protocol(path)))
        return found if detail else [entry["name"] for entry in found]

    def info(self, path: str, **kwargs: Any) -> Any:
        path = self._strip_protocol(path)

        def work() -> Any:
            if path in self.objects:
                return self._entry(path)
            self._ls(path)
            return {"name": path, "size": 0, "type": "directory"}

        return self.request("info", work)

    def cat_file(self, path: str, start: Any = None, end: Any = None, **kwargs: Any) -> Any:
        path = self._strip_protocol(path)

        def work() -> bytes:
            if path not in self.objects:
                raise FileNotFoundError(path)
            return self.objects[path][start:end]

        return self.request("cat_file", work)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        path = self._strip_protocol(path)

        def work() -> None:
            if mode == "create" and path in self.objects:
                raise FileExistsError(path)
            self.objects[path] = bytes(value)

        self.request("pipe_file", work)

    def rm_file(self, path: str) -> None:
        path = self._strip_protocol(path)

        def work() -> None:
            if path not in self.objects:
                raise FileNotFoundError(path)
            del self.objects[path]

        self.request("rm_file", work)

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        return FaultyFile(self, path, mode, **kwargs)


class FaultyFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec is untyped
    """An upload in parts."""

    def _initiate_upload(self) -> None:
        self.parts: dict[int, bytes] = {}  # by number: one that comes twice is kept once
        self.sent = 0
        self.fs.request("begin", lambda: self.fs.uploads.add(id(self)))

    def _upload_chunk(self, final: bool = False) -> bool:
        data = self.buffer.getvalue()
        self.fs.request("part", lambda: self.parts.update({self.sent: data}))
        self.sent += 1
        return True

    def commit(self) -> None:
        def work() -> None:
            self.fs.uploads.discard(id(self))
            self.fs.objects[self.path] = b"".join(self.parts.values())

        self.fs.request("complete", work)

    def discard(self) -> None:
        self.fs.uploads.discard(id(self))
        self.buffer = None


fsspec.register_implementation("faulty", FaultyStore, clobber=True)
