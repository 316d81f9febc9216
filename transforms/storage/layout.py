"""The layout of a dataset's folder: which paths are ours.

::

    DIR/manifest.json                        written last; manifest.files.parquet beside it
    DIR/like.json, like.svg                  of ``split --like``, its model and its figure
    DIR/[epoch-K/][FORMAT/]data/SPLIT-NNNNN-of-NNNNN.SUFFIX
    DIR/[epoch-K/][FORMAT/]dataset.json      of a prepared dataset, beside each data/ (``BESIDE``)
    DIR/quarantine/                          bad records
    DIR/_incomplete.json, _tmp-RUN/          while a run writes there

A level stands only where a prepared dataset has several epochs or formats.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import stat
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from transforms.errors import LosslessError, PassingError, RunError
from transforms.storage import files as storage

MANIFEST = "manifest.json"
MARKER = "_incomplete.json"
DATA = "data"
QUARANTINE = "quarantine"
LISTING = "manifest.files.parquet"
"""Beside the manifest, where the input files are many."""
LIKE_MODEL = "like.json"
"""Beside the manifest: the discriminator by which records were weighed."""
LIKE_FIGURE = "like.svg"
"""Beside the manifest: what it found, drawn."""
TEMPORARY = "_tmp-"
"""Before the run's id: the folder below the output where a run writes before it publishes."""

FORMATS = ("parquet", "arrow", "megatron", "flat", "olmo")
"""Trainers' formats, each with a folder of its own where a dataset has several."""
ABOUT = "dataset.json"
"""Beside each ``data``: what a trainer has to know of it."""

SPLIT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
BESIDE = (
    re.compile(re.escape(ABOUT)),
    re.compile(r"sequences\.json"),  # Megatron's: how many sequences and documents a prefix has
    re.compile(rf"weights(-{SPLIT_NAME.pattern}\.txt|\.json)"),  # its lists of weights and prefixes
)
"""Names of the files that lie beside a prepared dataset's ``data``."""
_TEMPORARY = re.compile(TEMPORARY + "[0-9a-f]{12}")
EXTENSION = re.compile(r"\.[A-Za-z0-9]+")
_QUARANTINED = re.compile(r"[0-9a-f]{16}\.parquet")
_SHARD = re.compile(SPLIT_NAME.pattern + r"-\d{5,}-of-\d{5,}(\.[A-Za-z0-9]+)*")
_LEVELS = re.compile(rf"(epoch-(0|[1-9]\d*)/)?(({'|'.join(FORMATS)})/)?")


publishing = threading.Lock()
"""Held while a run checks that it owns its output and publishes there, and while it gives it up."""


def shard_path(
    *,
    split: str,
    number: int,
    of: int,
    extension: str,
    epoch: int | None = None,
    form: str | None = None,
) -> str:
    """Return a shard's path below the dataset's folder, the Hugging Face hub's own naming.

    Args:
        extension: such as ``.jsonl``, or ``.csv.gz`` of a shard that has several files.
        epoch, form: the levels above ``data``, for a dataset that has several.

    >>> shard_path(split="train", number=0, of=2, extension=".bin", epoch=3, form="megatron")
    'epoch-3/megatron/data/train-00000-of-00002.bin'
    """
    name = f"{split}{_number_of(number, of)}{extension}"
    return f"{levels(epoch=epoch, form=form)}{DATA}/{name}"


def levels(*, epoch: int | None = None, form: str | None = None) -> str:
    """Return the folders that ``data`` lies in, below the dataset's, each with its slash.

    >>> levels(epoch=3, form="flat"), levels(form="olmo"), levels()
    ('epoch-3/flat/', 'olmo/', '')
    """
    return (f"epoch-{epoch}/" if epoch is not None else "") + (f"{form}/" if form else "")


def _number_of(number: int, of: int) -> str:
    """Return the part of a shard's name that counts: in the order of names also beyond 100,000.

    >>> _number_of(7, 100_000), _number_of(7, 100_001)
    ('-00007-of-100000', '-000007-of-100001')
    """
    return f"-{number:0{max(5, len(str(of - 1)))}d}-of-{of:05d}"


def quarantine_path(*, source: str, name: str, start: int) -> str:
    """Return the path below the dataset's folder of the file for the bad records of one span."""
    span = hashlib.blake2b(repr((source, name, start)).encode(), digest_size=8).hexdigest()
    return f"{QUARANTINE}/{span}.parquet"


def is_shard_path(path: str, *, number: int, of: int) -> bool:
    """Return whether a path is that of a certain shard, of any split and extension."""
    return split_of(path) is not None and _number_of(number, of) in path


def split_of(path: str) -> str | None:
    """Return the split of a shard in a dataset's own ``data``; None for another path.

    >>> split_of("data/test-00000-of-00001.jsonl"), split_of("data/test.jsonl")
    ('test', None)
    """
    folder, _, name = path.rpartition("/")
    ours = folder == DATA and _SHARD.fullmatch(name) is not None
    return name.partition("-")[0] if ours else None


def misplaced(paths: Sequence[str], splits: Sequence[str] | None = None) -> Iterator[str]:
    """Yield what is wrong with a list of shards: which path isn't that of its place.

    Args:
        paths: as a manifest lists them.
        splits: of a dataset that has several, whose shards are numbered apart, split after split.

    >>> list(misplaced(["data/a-00000-of-00001.txt", "data/b-00000-of-00001.txt"], ["a", "b"]))
    []
    """
    if splits is None:
        places = [(split_of(path), number, len(paths)) for number, path in enumerate(paths)]
    else:
        of = Counter(map(split_of, paths))
        yield from (f"its split {split} has no shard" for split in splits if not of[split])
        for path in paths:
            if split_of(path) not in splits:
                yield f"{path} belongs to none of its splits ({', '.join(splits)})"
        paths = [path for path in paths if split_of(path) in splits]
        places = [(s, number, of[s]) for s in dict.fromkeys(splits) for number in range(of[s])]
    for path, (split, number, among) in zip(paths, places, strict=True):
        if split_of(path) != split or not is_shard_path(path, number=number, of=among):
            of_split = f" of {split}" if splits is not None else ""
            yield f"{path} stands at place {number} of {among}{of_split}, counted from 0"


FORMAT = "dovetail-manifest"
"""What a manifest of ours says that it is, in ``format``."""


def is_our_manifest(head: bytes) -> bool:
    """Return whether a file called as MANIFEST that begins so is one."""
    return f'"{FORMAT}"'.encode() in head


def is_temporary(name: str) -> bool:
    """Return whether a name is that of a run's temporary folder below its output."""
    return _TEMPORARY.fullmatch(name) is not None


def is_our_folder(path: str) -> bool:
    """Return whether a path below a dataset's folder is that of one of its folders.

    >>> [is_our_folder(path) for path in ("data", "epoch-0/flat", "flat/data", "data/data", "src")]
    [True, True, True, False, False]
    """
    above = path.removesuffix(DATA) if path.rpartition("/")[2] == DATA else f"{path}/"
    return path == QUARANTINE or _LEVELS.fullmatch(above) is not None


def is_our_file(path: str) -> bool:
    """Return whether a path below a dataset's folder is that of a file that it may hold.

    Temporary files aren't meant, and no run's marker.

    >>> [is_our_file(f"flat/data/{name}") for name in ("train-00000-of-00002.bin", "mine.bin")]
    [True, False]
    """
    if path in (MANIFEST, LISTING, LIKE_MODEL, LIKE_FIGURE):
        return True
    folder, _, name = path.rpartition("/")
    if folder == QUARANTINE:
        return _QUARANTINED.fullmatch(name) is not None
    if folder.rpartition("/")[2] == DATA:
        return is_our_folder(folder) and _SHARD.fullmatch(name) is not None
    above = _LEVELS.fullmatch(f"{folder}/" if folder else "")
    return above is not None and any(pattern.fullmatch(name) for pattern in BESIDE)


def why_not_read(folder: str, path: str) -> str | None:
    """Return why a file that a manifest names is not read; None where it may be, or isn't there.

    A manifest may come from anybody. What it names is read where the path is one of our layout, and
    what lies there a regular file inside the dataset's folder: a link elsewhere is somebody else's
    file, and a device or a pipe may have no end. ``data`` itself may be a link, to another disk say. And
    in the hub's cache of downloads files are links to the ``blobs`` beside all snapshots.

    Args:
        folder: the dataset's, a path or a URL.
        path: below it, as the manifest has it.

    >>> why_not_read("shuffled", "data/../../private.txt")
    'not read: it is not a path that Dovetail writes'
    """
    inner = path.rpartition("/")[0]
    if not is_our_file(path):
        return "not read: it is not a path that Dovetail writes"
    url = storage.join(folder, path)
    if not storage.is_local(url):  # a store has nothing but files
        return None
    root, real = (os.path.realpath(storage.local_path(place)) for place in (folder, url))
    roots = [root, os.path.realpath(os.path.join(root, inner))]
    snapshots = os.path.dirname(root)
    if os.path.basename(snapshots) == "snapshots":
        roots.append(os.path.join(os.path.dirname(snapshots), "blobs"))
    if not any(real.startswith(place.rstrip("/") + "/") for place in roots):
        return f"not read: it leads to {real}, outside of the dataset's folder"
    try:
        regular = stat.S_ISREG(os.stat(real).st_mode)
    except OSError:  # whoever opens it says why it can't be
        return None
    return None if regular else "not read: it is a folder, a pipe or a device, not a file"


def drop_uploads(output: str) -> None:
    """End what was begun to be uploaded into a dataset's folder, which a run owns, and not completed.

    Of our own names only, those of temporary folders too: somebody may upload elsewhere below it.
    """
    if not storage.is_local(output):
        storage.drop_uploads(output, _is_ours)


def _is_ours(path: str) -> bool:
    return is_temporary(path.partition("/")[0]) or is_our_file(path)


@contextlib.contextmanager
def publish(
    output: str, path: str, *, run_id: str, check: Callable[[str], None] | None = None
) -> Iterator[storage.File]:
    """Open a file of a dataset for writing.

    It appears whole when the block ends well, as long as the output is still this run's: locally
    it is written under a temporary name and renamed, on a store uploaded in one piece.

    Args:
        output: URL of the dataset's folder.
        path: below it.
        run_id: whose marker has to stand there; "" for none.
        check: looks at the URL of what was written, and raises LosslessError where it is wrong:
            locally before the file appears, on a store, where it is removed then, as soon as it does.
    """
    url = storage.join(output, path)
    if not storage.is_local(output):
        guard = functools.partial(owned, output, run_id)
        with storage.open_write(url, guard=guard) as file:
            yield file
        if check is not None:
            try:
                check(url)
            except LosslessError:
                # where another run owns the output by now, what lies there is that one's
                with contextlib.suppress(RunError), owned(output, run_id):
                    storage.remove_file(url)
                raise
        return
    name = uuid.uuid4().hex + os.path.splitext(path)[1]
    temporary = storage.join(output, TEMPORARY + run_id, name)
    with storage.open_write(temporary) as file:
        yield file
    if check is not None:
        check(temporary)
    with owned(output, run_id), storage.disk_full_is_ours(url):
        storage.rename(temporary, url)


def publish_whole(output: str, path: str, data: bytes, *, run_id: str) -> None:
    """Write a small file of a dataset, as of ``publish``."""

    def write() -> None:
        with publish(output, path, run_id=run_id) as file:
            storage.write_all(file, data)

    storage.retry(write, storage.join(output, path))


@contextlib.contextmanager
def owned(output: str, run_id: str) -> Iterator[None]:
    """Enter only while the output is this run's, and let nobody give it up meanwhile.

    Raises:
        RunError: it belongs to another run, or to nobody.
    """
    with publishing:
        if run_id:
            require_marker(output, run_id)
        yield


def _read_marker(url: str) -> dict[str, object]:
    fs, path = storage.filesystem(url)
    # in one request: its owner may write it anew between two, and of another length
    text = fs.cat_file(path)
    try:
        return dict(json.loads(text))
    except (
        ValueError
    ):  # also where it is empty: on NFS, what was written on another machine comes late
        raise PassingError(
            f"{url}: expected JSON, got {len(text):,} bytes that aren't complete"
        ) from None


def require_marker(output: str, run_id: str) -> None:
    """Raise RunError where a run no longer owns its output.

    A run that is thought dead may have late workers; they must not touch the next one's files.
    """
    found = owner(output)
    if found != run_id:
        raise RunError(
            f"{output}: this run ({run_id}) no longer owns the output, which now belongs to "
            f"{found or 'nobody'}: nothing was published; let only one run write there, and run "
            "again"
        )


def owner(output: str) -> object:
    """Return the id of the run that may publish to an output, None where there is none."""
    url = storage.join(output, MARKER)
    try:
        return storage.retry(lambda: _read_marker(url), url).get("id")
    except FileNotFoundError:
        return None
