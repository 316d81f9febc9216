"""Output folders on stores, held by a heartbeat: stores have no locks that end with a process."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipelines.outputs.local_folder import parse_marker
from pipelines.recipes.cli import LOG
from transforms.errors import RunError, StoreError, UsageError
from transforms.storage import files as storage
from transforms.storage import layout, versions
from transforms.workers.signs_of_life import BEAT, DEAD, Beat, stays

_SETTLE = 2.0  # seconds in which another that took over in the same moment has written, too


def refuse_living(output: str, look: Callable[[], object], left: Mapping[str, Any]) -> None:
    """Raise UsageError where another run lives: what ``look`` sees changes while one waits.

    ``left`` is the run's marker, which says for how long it may be silent.
    """
    patience = float(left.get("patience", DEAD))
    run = left.get("run")
    LOG.info(
        "%s: run %s left its marker there; waiting %.0f s to see whether it is still running",
        output,
        run,
        patience,
    )
    if not stays(look, patience=patience):
        raise UsageError(
            f"--output={output}: another run is writing there (its sign of life is recent); "
            "wait for it, or choose another folder (on a cluster, look for the job "
            f"dovetail-{run})"
        )


class StoreFolder:
    """A folder on a store, held by at most one run; ``LocalFolder`` has the same face.

    The marker is created only where there is none, taken over only where it stays as it is, and
    written again only while it is this run's. Whatever is published or removed is so only
    while it names this run.
    """

    def __init__(self, output: str) -> None:
        self.given = output
        self.url = output.rstrip("/")
        self._fs, self._path = storage.filesystem(self.url)
        self._marker = storage.join(self.url, layout.MARKER)
        self._version: str | None = None
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
        text, self._version = self._look()
        left = None if text is None else parse_marker(text) or {}
        if left is not None:
            # on a cluster workers go on without the process that wrote the marker
            beat = Beat(self.url, str(left.get("run")))
            refuse_living(self.given, lambda: (self._look()[0], beat.seen()), left)
        try:
            self._write()
            if left is not None:
                time.sleep(_SETTLE)
        except FileNotFoundError:
            raise UsageError(
                f"--output={self.given}: there is no such bucket; create it, or check its name"
            ) from None
        except FileExistsError:  # another run's
            pass
        if not self.owned():  # also for stores that don't heed conditions
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
                    self._renew()
                except FileExistsError:  # the next publication finds that out too
                    return
                except StoreError as error:
                    LOG.warning("the heartbeat could not be written: %s", error)

    def _look(self) -> tuple[bytes | None, str | None]:
        try:
            return versions.read_version(self._marker)
        except FileNotFoundError:
            return None, None

    def _write(self) -> None:
        text = json.dumps({**self._content, "beat": time.time()}).encode()
        self._version = versions.replace(self._marker, text, known=self._version)

    def _renew(self) -> None:
        """Write the marker where it names this run.

        It is read for the stores that don't heed conditions, and for what this run wrote before
        without an answer.

        Raises:
            FileExistsError: it is another run's by now.
        """
        text, self._version = self._look()
        if not self._is_mine(text):
            raise FileExistsError(self._marker)
        self._write()

    def write_marker(self, content: Mapping[str, object]) -> None:
        """Replace what the marker says."""
        with self._writing:
            self._content = dict(content)
            try:
                self._renew()
            except FileExistsError:
                layout.require_marker(self.url, str(content["run"]))  # says whose it is
                raise RunError(f"{self._marker}: another process writes this file") from None

    def owned(self) -> bool:
        """Return whether the marker names this run."""
        return self._is_mine(self._look()[0])

    def _is_mine(self, text: bytes | None) -> bool:
        return (parse_marker(text) or {}).get("run") == self._content["run"]

    def names(self) -> set[str]:
        """Return the names right in the folder."""
        # asked first: of a folder that is not there, s3fs lists the one above
        if self._fs.isfile(self._path):
            raise UsageError(f"--output={self.given}: expected a folder, got a file")
        if not self._fs.isdir(self._path):
            return set()
        below = self._path.rstrip("/") + "/"
        found = self._fs.ls(self._path, detail=False)
        names = {name.rstrip("/").removeprefix(below) for name in found}
        return names - {"", self._path}  # some stores show a folder as an empty object

    def paths(self, into: Callable[[str], bool]) -> Iterator[str]:
        """Yield the paths of all below the folder; of a folder that isn't looked into, its own.

        Args:
            into: says of a path whether to look into such a folder.
        """
        for name in self.names():
            if not into(name):
                yield name
                continue
            for found in self._fs.find(f"{self._path}/{name}/"):
                path = found.removeprefix(f"{self._path}/").rstrip("/")
                if not into(path):  # an empty object by which a console shows a folder
                    yield path

    def remove_file(self, name: str) -> None:
        """Remove a file, if it is there."""
        self._fs.remove(f"{self._path}/{name}")

    def _remove_marker(self) -> None:
        if not self.owned():
            return
        layout.drop_uploads(self.url)  # a dead run's, and those of attempts that failed
        if not any(layout.is_temporary(name) for name in self.names()):
            self.remove_file(layout.MARKER)
