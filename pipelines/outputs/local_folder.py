"""Local output folders, held by a lock."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from transforms.errors import StoreError, UsageError
from transforms.storage import files as storage
from transforms.storage import layout


def parse_marker(text: bytes | None) -> dict[str, Any] | None:
    """Return what a marker says, nothing where it is no longer whole; None where there is none."""
    if not text:
        return None
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError):
        return {}


class LocalFolder:
    """A folder on this machine's disks, held by at most one run; ``StoreFolder`` has the same face.

    Attributes:
        given: as the user wrote it.
        url: its absolute path or URL.
    """

    def __init__(self, output: str) -> None:
        self.given = output
        self.url = storage.local_path(output)
        self._path = os.path.join(self.url, layout.MARKER)
        self._marker = -1

    @contextlib.contextmanager
    def held(self, run_id: str, clear: Callable[..., None]) -> Iterator[dict[str, Any] | None]:
        """Hold a lock on the marker, which ends with the process; gives what a dead run's said.

        In the end the marker goes, unless temporary files are left, which are found by it.

        Raises:
            UsageError: a living run holds it, or it can't be written.
        """
        with contextlib.ExitStack() as undo:
            undo.callback(
                storage.remove_made, make_folders(self.url, flag=f"--output={self.given}")
            )
            self._marker = self._lock()
            undo.callback(os.close, self._marker)
            undo.callback(self._remove_marker)
            yield parse_marker(os.pread(self._marker, 1 << 16, 0))

    def _lock(self) -> int:
        while True:
            try:
                marker = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise UsageError(f"--output={self.given}: not writable: {error}") from None
            try:
                fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(marker)
                raise UsageError(
                    f"--output={self.given}: another run is writing there; wait for it, or choose "
                    "another folder"
                ) from None
            except OSError as error:
                if not os.fstat(marker).st_size:  # made by us, or by another that met the same
                    self.remove_file(layout.MARKER)
                os.close(marker)
                raise UsageError(
                    f"--output={self.given}: this file system has no file locks "
                    f"({error.strerror}), which keep two runs from writing to one folder; "
                    "mount it with locks (Lustre: -o flock; NFS: without nolock, its lock "
                    "service running), or choose a folder on another file system"
                ) from None
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(marker), os.stat(self._path)):
                    return marker
            os.close(marker)  # its owner finished between our open and our lock

    def write_marker(self, content: Mapping[str, object]) -> None:
        """Replace what the marker says; its ``id`` owns the output."""
        text = json.dumps(content).encode()
        try:
            # over what is there, filled up with blanks: the lock is this file's, on a full disk it
            # can't take more room, and at no moment is the marker empty
            os.pwrite(self._marker, text.ljust(os.fstat(self._marker).st_size), 0)
            # on NFS workers on other machines see what the server has
            os.fsync(self._marker)
        except OSError as error:
            raise StoreError(f"{self._path}: can't be written: {error}") from error
        _sync_folder(self.url)

    def owned(self) -> bool:
        """Return True: a lock is held until it is given back."""
        return True

    def names(self) -> set[str]:
        """Return the names right in the folder, none where it isn't there; UsageError for a file."""
        if not os.path.lexists(self.url):
            return set()
        if not os.path.isdir(self.url):
            raise UsageError(f"--output={self.given}: expected a folder, got a file")
        return set(os.listdir(self.url))

    def paths(self, into: Callable[[str], bool], below: str = "") -> Iterator[str]:
        """Yield the paths of all below; with a slash at the end where folders aren't looked into.

        Args:
            into: says of a path whether to look into such a folder; a link to one is never followed.
            below: where to begin, for what is looked into.
        """
        with os.scandir(os.path.join(self.url, below)) as found:
            for entry in found:
                path = f"{below}{entry.name}"
                if not into(path):
                    yield path + ("/" if entry.is_dir(follow_symlinks=False) else "")
                elif entry.is_dir(follow_symlinks=False):
                    yield from self.paths(into, f"{path}/")
                else:
                    yield f"{path}/"

    def remove_file(self, name: str) -> None:
        """Remove a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(self.url, name))

    def _remove_marker(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if not any(layout.is_temporary(name) for name in os.listdir(self.url)):
                self.remove_file(layout.MARKER)


def _sync_folder(folder: str) -> None:
    """Let a folder's names be on disk, where its file system can be told to."""
    with contextlib.suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def make_folders(folder: str, *, flag: str) -> list[str]:
    """Make a local folder and return the folders that were made, the topmost last."""
    made = []
    path = folder
    while not os.path.lexists(path):
        made.append(path)
        path = os.path.dirname(path)
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{flag}: can't be created: {error}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{flag}: not writable")
    return made


def make_writable(url: str) -> None:
    """Make a folder; on a store, which has none, make sure that files can be written there.

    Raises:
        OSError, StoreError: they can't.
    """
    if storage.is_local(url):
        storage.make_folder(url)
        return
    fs, path = storage.filesystem(url)
    try:
        fs.pipe_file(f"{path}/try", b"")
    except FileNotFoundError:
        raise StoreError(f"{url}: there is no such bucket; create it, or check its name") from None
    fs.remove(f"{path}/try")
