"""Output folders on stores, held by a heartbeat: stores have no locks that end with a process."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipelines.cli import LOG
from transforms import layout, storage
from transforms.errors import StoreError, UsageError
from transforms.heartbeat import BEAT, DEAD, Beat


def refuse_living(output: str, silent: float, left: Mapping[str, Any]) -> None:
    """Raise UsageError where another run gave a sign of life so few seconds ago.

    ``left`` is its marker, which says for how long it may be silent.
    """
    patience = float(left.get("patience", DEAD))
    if silent < patience:
        raise UsageError(
            f"--output={output}: another run is writing there, its last sign of life is "
            f"{max(silent, 0):.0f} s old; wait for it, or choose another folder (if it is "
            f"dead, come again in {patience - silent:.0f} s; on a cluster, look for the job "
            f"dovetail-{left.get('run')})"
        )


class StoreFolder:
    """A folder on a store; a Folder.

    The marker is created only where there is none, and says when its run was last alive. Whatever
    is published or removed is so only while it names this run.
    """

    def __init__(self, output: str) -> None:
        self.given = output
        self.url = output.rstrip("/")
        self._fs, self._path = storage.filesystem(self.url)
        self._marker = storage.filesystem(storage.join(self.url, layout.MARKER))[1]
        self._writing = threading.Lock()
        self._content: dict[str, object] = {}

    @contextlib.contextmanager
    def held(self, run_id: str, clear: Callable[..., None]) -> Iterator[dict[str, Any] | None]:
        """Hold the marker: write the time into it now and then."""
        self._content = {"id": run_id, "run": run_id}
        left = self._take()
        ended = threading.Event()
        threading.Thread(target=self._live, args=(ended,), name="heartbeat", daemon=True).start()
        try:
            yield left
        finally:
            ended.set()
            with self._writing:
                clear(self.url, self._remove_marker)

    def _take(self) -> dict[str, Any] | None:
        left = self._read_marker()
        if left is not None:
            silent = time.time() - float(left.get("beat", 0))
            refuse_living(self.given, silent, {"run": left.get("run")})
            # on a cluster workers go on without the process that wrote the marker
            refuse_living(self.given, Beat(self.url, str(left.get("run"))).silent(), left)
        try:
            self._write(mode="create" if left is None else "overwrite")
        except FileNotFoundError:
            raise UsageError(f"--output={self.given}: there is no such bucket; make it") from None
        except FileExistsError:  # another run's, or ours by a request whose answer was lost
            pass
        if not self.owned():  # also for stores that know no exclusive creation
            raise UsageError(
                f"--output={self.given}: another run has begun to write there; wait for it, or "
                "choose another folder"
            )
        return left

    def _live(self, ended: threading.Event) -> None:
        while not ended.wait(BEAT):
            with self._writing:
                if ended.is_set():
                    return
                try:
                    if not self.owned():  # the next publication finds that out too
                        return
                    self._write()
                except StoreError as error:
                    LOG.warning("no sign of life could be written: %s", error)

    def _read_marker(self) -> dict[str, Any] | None:
        try:
            found = json.loads(self._fs.cat_file(self._marker))
        except FileNotFoundError:
            return None
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, mode: str = "overwrite") -> None:
        text = json.dumps({**self._content, "beat": time.time()}).encode()
        self._fs.pipe_file(self._marker, text, mode=mode)

    def write_marker(self, content: Mapping[str, object]) -> None:
        """Replace what the marker says."""
        with self._writing:
            self._content = dict(content)
            if self.owned():
                self._write()

    def owned(self) -> bool:
        """Return whether the marker names this run."""
        return (self._read_marker() or {}).get("run") == self._content["run"]

    def names(self) -> set[str]:
        """Return the names right in the folder."""
        # asked first: of a folder that is not there, s3fs lists the one above
        if self._fs.isfile(self._path):
            raise UsageError(f"--output={self.given}: expected a folder, it is a file")
        if not self._fs.isdir(self._path):
            return set()
        below = self._path.rstrip("/") + "/"
        found = self._fs.ls(self._path, detail=False)
        names = {name.rstrip("/").removeprefix(below) for name in found}
        return names - {"", self._path}  # some stores show a folder as an empty object

    def names_in(self, folder: str) -> list[str]:
        """Return the names in a folder below."""
        below = f"{self._path}/{folder}/"
        return [name.removeprefix(below) for name in self._fs.find(below)]

    def remove_file(self, name: str) -> None:
        """Remove a file, if it is there."""
        self._fs.remove(f"{self._path}/{name}")

    def _remove_marker(self) -> None:
        if not self.owned():
            return
        layout.drop_uploads(self.url)  # a dead run's, and those of attempts that failed
        if not any(layout.is_temporary(name) for name in self.names()):
            self.remove_file(layout.MARKER)
