"""Owning an output folder: who may write there, and what is cleared.

A run first writes ``_incomplete.json`` with its id and its temporary folders, and holds it: a lock
on local disks, a heartbeat on stores. Marker without manifest and without a living run: the next
run clears what is left. Only paths of our own layout are ever removed.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.outputs.local_folder import LocalFolder, make_folders, make_writable
from pipelines.outputs.store_folder import StoreFolder, refuse_living
from pipelines.recipes.cli import LOG, finished
from transforms.datasets.manifest import now
from transforms.errors import RunError, StoreError, UsageError
from transforms.storage import files as storage
from transforms.storage import layout
from transforms.storage.files import remove_made, remove_temporary, remove_tree
from transforms.workers.progress import Watched
from transforms.workers.signs_of_life import DEAD, Beat

Folder = LocalFolder | StoreFolder
_OURS = re.compile(r"dovetail-[0-9a-f]{12}(\.log|\.progress|\.sockets)?")


class _Clearing:
    """Clears up, on stores until one fails: what is left then is the next run's.

    Attributes:
        handed_over: whether a pipeline goes on alone, which clears up itself.
    """

    def __init__(self) -> None:
        self._failed = self.handed_over = False

    def __call__(self, url: str, work: Callable[[], object]) -> None:
        if self.handed_over:
            return
        if self._failed and not storage.is_local(url):  # each attempt would take its time
            return
        try:
            work()
        except StoreError as error:
            self._failed = True
            LOG.warning(
                "some partial output could not be removed; the next run removes it: %s", error
            )


@dataclass(frozen=True, slots=True)
class Claim:
    """A folder that this run owns.

    Attributes:
        folder: absolute path or URL of the output.
        run_id: of this run.
        spills: absolute paths or URLs of the folders for temporary files.
        log_file: where the workers' log goes; the next run removes a dead run's.
        progress: local folder for what workers count; removed with the run.
        sockets: local folder for the sockets of a local run's workers, so too.
        remote: whether the work goes on when this process ends, so that it clears up by itself.
        held: the output folder.
        left: what the marker says.
        clear: runs what clears up.
    """

    folder: str
    run_id: str
    spills: tuple[str, ...]
    log_file: str
    progress: str
    sockets: str
    held: Folder = field(repr=False)
    left: Mapping[str, Any] = field(repr=False)
    clear: _Clearing = field(repr=False)
    remote: bool = False

    @classmethod
    def of_nothing(cls, output: str, temp_locations: Sequence[str] = ()) -> Claim:
        """Return what says where a run would write; nothing is made."""
        folder = open_folder(output)
        bases = [
            storage.local_path(location) if storage.is_local(location) else location.rstrip("/")
            for location in temp_locations or [folder.url]
        ]
        return cls(folder.url, "", tuple(bases), "", "", "", folder, {}, _Clearing())

    @property
    def temporary(self) -> tuple[str, ...]:
        """All folders for temporary files; the last one lies in the output."""
        return (*self.spills, storage.join(self.folder, layout.TEMPORARY + self.run_id))

    @property
    def made(self) -> tuple[str, ...]:
        """Local folders above those for temporary files that weren't there before, innermost first."""
        return tuple(self.left.get("made", []))

    @property
    def watched(self) -> Watched:
        """Where workers count."""
        return Beat(self.folder, self.run_id) if self.remote else self.progress

    @property
    def launcher(self) -> int | None:
        """The pid of the process whose end ends the workers."""
        return None if self.remote else os.getpid()

    @property
    def scratch(self) -> str | None:
        """A local folder for what workers keep apart for a while; None for their system's own."""
        local = (spill for spill in self.spills if storage.is_local(spill))
        return None if self.remote else next(local, None)

    def live(self) -> None:
        """Give the first sign of life of a run whose workers give the others."""
        if self.remote:
            Beat(self.folder, self.run_id).write()

    def hand_over(self) -> None:
        """Leave all that is there to the pipeline, which goes on when this process ends."""
        self.live()
        self.clear.handed_over = True

    @property
    def handed_over(self) -> bool:
        """Whether the pipeline goes on alone."""
        return self.clear.handed_over

    def give_up(self) -> None:
        """End the ownership: from now on nothing of this run is published.

        Work on threads can't be ended from outside: it ends where it would publish, or open a file
        in a folder that is gone.
        """
        with layout.publishing, contextlib.suppress(RunError):  # it is another run's already
            self.clear(self.folder, lambda: self.held.write_marker({**self.left, "id": None}))
        for url in self.temporary:
            self.clear(url, functools.partial(remove_temporary, url))


def open_folder(output: str) -> Folder:
    """Return the folder of an output, local or on a store."""
    return LocalFolder(output) if storage.is_local(output) else StoreFolder(output)


@contextlib.contextmanager
def claim_output(
    output: str,
    *,
    overwrite: bool,
    temp_locations: Sequence[str] = (),
    remote: bool = False,
    patience: float = DEAD,
    check: Callable[[Claim], None] = lambda claim: None,
) -> Iterator[Claim]:
    """Own an output folder for the time of a run.

    A dataset that is to be replaced goes when all has been looked at, ``check`` last. On success
    the temporary files go, unless they were handed over, on failure also what was published. With
    ``remote`` the work may outlive this process: it is taken for dead after ``patience`` seconds
    without a sign of life.

    Raises:
        UsageError: another run writes there, or the folder holds what we must not touch.
    """
    for location in temp_locations:
        if f"{storage.canonical(location)}/".startswith(f"{storage.canonical(output)}/"):
            raise UsageError(
                f"--temp_location={location} is inside --output={output}, which is for the "
                "dataset alone; leave out --temp_location, or choose another folder"
            )
    folder, run_id, clear = open_folder(output), secrets.token_hex(6), _Clearing()
    check_foreign(folder)
    with contextlib.ExitStack() as undo:
        left = undo.enter_context(folder.held(run_id, clear))
        _clear_dead_run(folder, left, overwrite=overwrite)
        temporary = storage.join(folder.url, layout.TEMPORARY + run_id)
        made: list[str] = []
        spills = [storage.join(temporary, "spill")]
        if temp_locations:
            spills = []
            for location in temp_locations:
                base = location.rstrip("/")
                if storage.is_local(location):
                    base = storage.local_path(location)
                    mine = make_folders(base, flag=f"--temp_location={location}")
                    undo.callback(remove_made, mine)
                    made[:0] = mine  # the last one may lie in a folder that the first one made
                spills.append(storage.join(base, f"dovetail-{run_id}"))
        log_file, progress, sockets = (
            os.path.join(tempfile.gettempdir(), f"dovetail-{run_id}.{kind}")
            for kind in ("log", "progress", "sockets")
        )
        content = {
            "id": run_id,
            "run": run_id,
            "spill": spills,
            "made": made,
            "log": log_file,
            "progress": progress,
            "sockets": sockets,
            "started": now(),
            "patience": patience,
        }
        folder.write_marker(content)
        undo.callback(remove_tree, progress)
        for path, location in zip([temporary, *spills], ["", *temp_locations, ""], strict=False):
            flag = f"--temp_location={location}" if location else f"--output={output}"
            try:
                make_writable(path)
            except OSError as error:
                raise UsageError(f"{flag}: not writable: {error}") from None
            except StoreError as error:
                raise UsageError(f"{flag}: {error}") from None
            undo.callback(clear, path, functools.partial(remove_temporary, path))
        claim = Claim(
            *(folder.url, run_id, tuple(spills), log_file, progress, sockets),
            *(folder, content, clear, remote),
        )
        claim.live()
        check(claim)
        try:
            _remove_dataset(folder)  # from here on what was there is gone
            yield claim
        except BaseException:
            try:
                claim.give_up()
            finally:
                clear(folder.url, lambda: _remove_dataset(folder))
            LOG.info("removed partial output in %s", output)
            raise
        finished()


def check_output(output: str, *, overwrite: bool) -> None:
    """Raise UsageError early, before any work, where ``claim_output`` would; changes nothing."""
    folder = open_folder(output)
    check_foreign(folder)
    names = folder.names()
    if layout.MARKER not in names:
        _refuse_dataset(folder, names, overwrite=overwrite)


def _clear_dead_run(folder: Folder, left: Mapping[str, Any] | None, *, overwrite: bool) -> None:
    """Clear what a dead run left; refuse where it lives, or a dataset is not to be replaced."""
    if left is not None:
        if storage.is_local(folder.url):  # on a cluster workers go on, though the lock ended
            beat = Beat(folder.url, str(left.get("run")))
            if beat.seen():
                refuse_living(folder.given, beat.seen, left)
        LOG.info(
            "removing the partial output of run %s in %s, which did not finish",
            left.get("run"),
            folder.given,
        )
    names = folder.names()
    if not folder.owned():  # what lies there is another run's
        raise RunError(f"{folder.url}: another run took the folder; nothing was cleared")
    for name in names:
        if layout.is_temporary(name):
            remove_temporary(storage.join(folder.url, name))
    spills = (left or {}).get("spill", [])
    places = [(left or {}).get(name, "") for name in ("log", "progress", "sockets")]
    for path in [*(spills if isinstance(spills, list) else [spills]), *places]:
        if _OURS.fullmatch(str(path).rpartition("/")[2]):
            remove_temporary(str(path))
    remove_made([str(path) for path in (left or {}).get("made", [])])
    _refuse_dataset(folder, names, overwrite=overwrite)


def _refuse_dataset(folder: Folder, names: set[str], *, overwrite: bool) -> None:
    if layout.MANIFEST in names and not overwrite:
        raise UsageError(
            f"--output={folder.given}: the folder holds a dataset; choose another one, or pass "
            "--overwrite"
        )


def check_foreign(folder: Folder) -> None:
    """Raise UsageError, naming it, where a folder holds a path that isn't of our layout."""
    names = folder.names()
    ours = {layout.MARKER, layout.MANIFEST}
    if names & ours:
        paths = {
            path for path in folder.paths(layout.is_our_folder) if not layout.is_our_file(path)
        }
    else:  # nobody says that this is a dataset's folder
        paths = names
    foreign = {p for p in paths - ours if not layout.is_temporary(p.partition("/")[0])}
    if layout.MANIFEST in names:
        head = storage.read_range(storage.join(folder.url, layout.MANIFEST), 0, 200)
        if not layout.is_our_manifest(bytes(head)):
            foreign.add(layout.MANIFEST)
    if foreign:
        raise UsageError(
            f"--output={folder.given}: the folder holds {min(foreign)!r}, which Dovetail "
            "didn't write and doesn't delete; choose another folder"
        )


def _remove_dataset(folder: Folder) -> None:
    """Remove a dataset, the manifest first: without it nothing is one."""
    if not folder.owned():  # nor is what lies there now
        return
    names = folder.names()
    for name in [layout.MANIFEST, *sorted(names - {layout.MANIFEST})]:
        if layout.is_our_file(name):
            folder.remove_file(name)
    for name in filter(layout.is_our_folder, sorted(names)):
        path = storage.join(folder.url, name)
        remove_tree(path)
        if name in folder.names():
            raise RunError(f"{path}: can't be removed; check its permissions")
