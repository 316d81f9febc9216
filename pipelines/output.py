"""Owning an output folder: who may write there, and what is cleared.

A run first writes ``_incomplete.json`` with its id and its temporary folder and holds a lock on it.
Marker without manifest and without a living run: the next run clears what is left. Only paths of
our own layout are ever removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.cli import LOG
from transforms import layout, storage
from transforms.errors import RunError, UsageError
from transforms.manifest import now

_OURS = re.compile(r"dovetail-[0-9a-f]{12}(\.log|\.progress)?")


@dataclass(frozen=True, slots=True)
class Claim:
    """A folder that this run owns.

    Attributes:
        folder: absolute path of the output.
        run_id: of this run.
        spill: absolute path of the folder for temporary files.
        log_file: where the workers' log goes; the next run removes a dead run's.
        progress: local folder for what workers count; removed with the run.
        marker: descriptor of the marker.
        left: what the marker says.
    """

    folder: str
    run_id: str
    spill: str
    log_file: str
    progress: str
    marker: int
    left: Mapping[str, object] = field(repr=False)

    def give_up(self) -> None:
        """End the ownership: from now on nothing of this run is published.

        Work on threads can't be ended from outside: it ends where it would publish, or open a file
        in a folder that is gone.
        """
        with layout.publishing:
            _write_marker(self.marker, {**self.left, "id": None})
        _remove_tree(self.spill)
        _remove_tree(os.path.join(self.folder, layout.TEMPORARY + self.run_id))


@contextlib.contextmanager
def claim_output(
    output: str,
    *,
    overwrite: bool,
    temp_location: str | None,
    check: Callable[[Claim], None] = lambda claim: None,
) -> Iterator[Claim]:
    """Own an output folder for the time of a run.

    A dataset that is to be replaced goes when all has been looked at, ``check`` last. On success
    the temporary files go, on failure also what was published.

    Raises:
        UsageError: another run writes there, or the folder holds what we must not touch.
    """
    folder = storage.local_path(output)
    if temp_location is not None:
        inside = os.path.realpath(storage.local_path(temp_location)) + os.sep
        if inside.startswith(os.path.realpath(folder) + os.sep):
            raise UsageError(
                f"--temp_location={temp_location} lies inside --output={output}, which is for the "
                "dataset alone; leave the flag out, or choose another folder"
            )
    made: list[str] = []
    with contextlib.ExitStack() as undo:
        undo.callback(_remove_made, _make_folders(folder, flag=f"--output={output}"))
        marker = _lock_marker(folder, output)
        undo.callback(os.close, marker)
        undo.callback(_remove_marker, folder)
        _clear_dead_run(folder, output, marker, overwrite=overwrite)
        run_id = secrets.token_hex(6)
        temporary = os.path.join(folder, layout.TEMPORARY + run_id)
        if temp_location is None:
            spill = os.path.join(temporary, "spill")
        else:
            base = storage.local_path(temp_location)
            made = _make_folders(base, flag=f"--temp_location={temp_location}")
            undo.callback(_remove_made, made)
            spill = os.path.join(base, f"dovetail-{run_id}")
        log_file = os.path.join(tempfile.gettempdir(), f"dovetail-{run_id}.log")
        progress = os.path.join(tempfile.gettempdir(), f"dovetail-{run_id}.progress")
        content = {
            "id": run_id,
            "run": run_id,
            "spill": spill,
            "made": made,
            "log": log_file,
            "progress": progress,
            "started": now(),
        }
        _write_marker(marker, content)
        undo.callback(_remove_tree, temporary)
        undo.callback(_remove_tree, spill)
        undo.callback(_remove_tree, progress)
        try:
            os.makedirs(temporary)
            os.makedirs(spill)
        except OSError as error:
            flag = f"--temp_location={temp_location}" if temp_location else f"--output={output}"
            raise UsageError(f"{flag}: not writable: {error}") from None
        claim = Claim(folder, run_id, spill, log_file, progress, marker, content)
        check(claim)
        try:
            _remove_dataset(folder)  # from here on what was there is gone
            yield claim
        except BaseException:
            try:
                claim.give_up()
            finally:
                _remove_dataset(folder)
            LOG.info("what the run had written to %s is cleared", output)
            raise


def check_output(output: str, *, overwrite: bool) -> None:
    """Raise UsageError early, before any work, where ``claim_output`` would; changes nothing."""
    folder = storage.local_path(output)
    if not os.path.lexists(folder):
        return
    if not os.path.isdir(folder):
        raise UsageError(f"--output={output}: expected a folder, it is a file")
    check_foreign(folder, output)
    names = os.listdir(folder)
    if layout.MANIFEST in names and layout.MARKER not in names and not overwrite:
        raise UsageError(
            f"--output={output}: the folder holds a dataset; choose another one, or give --overwrite"
        )


def _lock_marker(folder: str, output: str) -> int:
    path = os.path.join(folder, layout.MARKER)
    check_foreign(folder, output)
    while True:
        try:
            marker = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UsageError(f"--output={output}: not writable: {error}") from None
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(marker)
            raise UsageError(
                f"--output={output}: another run is writing there; wait for it, or choose another "
                "folder"
            ) from None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(marker), os.stat(path)):
                return marker
        os.close(marker)  # its owner finished between our open and our lock


def _clear_dead_run(folder: str, output: str, marker: int, *, overwrite: bool) -> None:
    """Clear what a dead run left; refuse where a dataset is there and nobody said to replace it."""
    left = _read_marker(marker)
    if left is not None:
        LOG.info(
            "clearing what run %s left in %s; it did not end properly", left.get("run"), output
        )
    for name in os.listdir(folder):
        if layout.is_temporary(name):
            _remove_tree(os.path.join(folder, name))
    for path in (str((left or {}).get(name, "")) for name in ("spill", "log", "progress")):
        if _OURS.fullmatch(os.path.basename(path)):
            _remove_tree(path)
            with contextlib.suppress(OSError):
                os.remove(path)
    _remove_made([str(path) for path in (left or {}).get("made", [])])
    if os.path.exists(os.path.join(folder, layout.MANIFEST)) and not overwrite:
        raise UsageError(
            f"--output={output}: the folder holds a dataset; choose another one, or give --overwrite"
        )


def check_foreign(folder: str, output: str) -> None:
    """Raise UsageError, naming it, where a folder holds a path that isn't of our layout."""
    names = set(os.listdir(folder))
    ours = {layout.MARKER, layout.MANIFEST}
    foreign = {n for n in names - ours - {layout.DATA} if not layout.is_temporary(n)}
    if not names & ours:  # nobody says that this is a dataset's folder
        foreign |= names & {layout.DATA}
    elif layout.DATA in names:
        data = os.path.join(folder, layout.DATA)
        inside = os.listdir(data) if os.path.isdir(data) and not os.path.islink(data) else [""]
        foreign |= {f"{layout.DATA}/{n}" for n in inside if not layout.is_shard_name(n)}
    if layout.MANIFEST in names and not _is_our_manifest(os.path.join(folder, layout.MANIFEST)):
        foreign.add(layout.MANIFEST)
    if foreign:
        raise UsageError(
            f"--output={output}: the folder isn't empty and holds {min(foreign)!r}, which is not "
            "ours to replace; choose another folder"
        )


def _is_our_manifest(path: str) -> bool:
    with open(path, "rb") as file:
        return layout.is_our_manifest(file.read(200))


def _read_marker(marker: int) -> dict[str, Any] | None:
    text = os.pread(marker, 1 << 16, 0)
    if not text:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _write_marker(marker: int, content: Mapping[str, object]) -> None:
    text = json.dumps(content).encode()
    # over what is there, filled up with blanks: on a full disk it can't take more room, and at no
    # moment is the marker empty
    os.pwrite(marker, text.ljust(os.fstat(marker).st_size), 0)


def _make_folders(folder: str, *, flag: str) -> list[str]:
    """Make a folder and return the folders that were made, the topmost last."""
    made = []
    path = folder
    while not os.path.lexists(path):
        made.append(path)
        path = os.path.dirname(path)
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{flag}: can't be made: {error}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{flag}: not writable")
    return made


def _remove_made(folders: list[str]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):  # not empty: somebody uses it
            os.rmdir(folder)


def _remove_marker(folder: str) -> None:
    """Remove the marker, unless temporary files are left, which the next run will find by it."""
    with contextlib.suppress(FileNotFoundError):
        if not any(layout.is_temporary(name) for name in os.listdir(folder)):
            _remove_file(os.path.join(folder, layout.MARKER))


def _remove_dataset(folder: str) -> None:
    """Remove manifest and shards, the manifest first: without it nothing is a dataset."""
    _remove_file(os.path.join(folder, layout.MANIFEST))
    data = os.path.join(folder, layout.DATA)
    _remove_tree(data)
    if os.path.lexists(data):
        raise RunError(f"{data}: can't be removed; look at who may write there")


def _remove_tree(path: str) -> None:
    for _ in range(20):  # a thread of ours may just be making a file in it
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.lexists(path) or os.path.islink(path):
            return
        time.sleep(0.05)


def _remove_file(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.remove(path)
