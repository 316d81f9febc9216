"""Read a dataset again, whole, and check it against its manifest."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

from pydantic import BaseModel

from pipelines.datasets.check_records import check_records
from pipelines.datasets.flags import parse
from pipelines.datasets.manifests import AnyManifest, read_manifest
from pipelines.datasets.shard_files import EXTRA
from pipelines.jobs.dataset_json import dataset_json
from pipelines.jobs.watch import Watch, watching
from pipelines.recipes.access import access
from pipelines.recipes.cli import LOG, leave, print_json, printable, run_main
from pipelines.recipes.fields import RUN, Modules, StorageOptions, make_flag
from pipelines.recipes.settings import JSON_HELP
from pipelines.recipes.wording import write_bytes, write_count, write_rate, write_seconds
from pipelines.runners.machine import cores_available
from transforms.datasets.prepared import PreparedManifest
from transforms.errors import LosslessError
from transforms.workers.progress import Progress

EXAMPLES = """\
dovetail shuffle -i examples/data/poems.jsonl -o out/checked
dovetail verify out/checked
"""
NOTES = "The exit code is 1 if anything differs; each shard that differs is named."
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class _Flags(BaseModel):
    storage_options: StorageOptions | None = make_flag(
        None,
        RUN,
        "fsspec options for the stores, as JSON; see dovetail shuffle --help-all",
        metavar="JSON",
        brief="options of fsspec for stores, as JSON",
    )
    codec_module: Modules | None = make_flag(
        None,
        RUN,
        "Python modules that register your own codecs; see dovetail shuffle --help-all",
        metavar="MODULE,MODULE",
        brief="Python modules that register your codecs",
    )
    quiet: bool = make_flag(False, RUN, "print only warnings and errors")
    debug: bool = make_flag(False, RUN, "print tracebacks")
    as_json: bool = make_flag(False, RUN, JSON_HELP, brief="print one JSON object")


def verify(folder: str, *, live: bool = False) -> tuple[AnyManifest, list[str]]:
    """Check a dataset; return its manifest and what is wrong, a line each.

    Args:
        live: show a bar, where there is a terminal.

    Raises:
        DovetailError: the manifest itself can't be read.
    """
    manifest = read_manifest(folder)
    with (
        tempfile.TemporaryDirectory(prefix="dovetail-") as counts,
        watching(counts, {"verify": _bytes_of(manifest)}, live=live) as watch,
    ):
        each = functools.partial(_each, Progress.open(counts), watch)
        if isinstance(manifest, PreparedManifest):
            # late: its formats take numba along, which records don't wait for
            from pipelines.datasets.check_prepared import check_prepared

            return manifest, check_prepared(manifest, folder, each)
        return manifest, check_records(manifest, folder, each)


def _each(
    progress: Progress,
    watch: Watch,
    work: Callable[[_Item, Progress], _Result],
    items: Sequence[_Item],
) -> list[_Result]:
    pool = ThreadPoolExecutor(cores_available())  # hashing releases the interpreter's lock
    try:
        futures = [pool.submit(work, item, progress) for item in items]
        for future in futures:
            while not wait([future], timeout=0.25).done:
                watch.tick()
        return [future.result() for future in futures]
    finally:
        pool.shutdown(cancel_futures=True)  # when interrupted: not all that is left


def _bytes_of(manifest: AnyManifest) -> int:
    if isinstance(manifest, PreparedManifest):
        return sum(file.bytes for shard in manifest.shards for file in shard.files)
    return manifest.bytes


def _what_it_holds(manifest: AnyManifest) -> str:
    shards = write_count(len(manifest.shards), "shard")
    if not isinstance(manifest, PreparedManifest):
        records, held = (
            write_count(manifest.records, "record"),
            write_bytes(manifest.bytes),
        )
        return f"{records}, {held} in {shards}, digest {manifest.digest.hash}"
    rows = [
        f"{write_count(split.rows, 'row')} of {split.split}"
        + (f" of epoch {split.epoch}" if split.epoch is not None else "")
        for split in manifest.splits
    ]
    return f"{', '.join(rows)}, {write_bytes(_bytes_of(manifest))} in {shards}"


def run(argv: Sequence[str], **given: Any) -> AnyManifest:
    """Run the command; return the manifest.

    Args:
        argv: the dataset's folder, and flags.
        given: values that count as flags.

    Raises:
        LosslessError: the dataset is not what its manifest says.
        DovetailError: there is none, or it can't be read.
    """
    folder, flags = parse(
        _Flags,
        argv,
        given,
        command="verify",
        examples=EXAMPLES,
        notes=NOTES,
        common=("as_json", "storage_options", "codec_module"),
    )
    begin = time.monotonic()
    with access(flags.storage_options, flags.codec_module):
        manifest, problems = verify(folder, live=not (flags.debug or flags.quiet))
    seconds = time.monotonic() - begin
    result = {
        "command": "verify",
        "folder": folder,
        "ok": not problems,
        "differences": problems,
        "seconds": round(seconds, 3),
        **dataset_json(manifest),
    }
    problems = [printable(problem).replace("\n", "\\n") for problem in problems]
    for problem in problems:
        LOG.error("%s", problem)
    if problems:
        alone = len(problems) == 1
        differ = "1 thing differs" if alone else f"{len(problems)} things differ"
        remedy = "make the dataset again"
        if all(problem.endswith(EXTRA) for problem in problems):
            remedy = (
                f"remove {'it' if alone else 'them'}: everything that the manifest lists matches it"
            )
        error = LosslessError(
            f"{folder}: {differ} from the manifest, the first: {problems[0]}; {remedy}"
        )
        error.result = result
        raise error
    LOG.info(
        "OK: %s matches its manifest (%s); %s",
        folder,
        _what_it_holds(manifest),
        ", ".join(
            filter(
                None, [write_seconds(seconds), write_rate(_bytes_of(manifest) / max(seconds, 1e-9))]
            )
        ),
    )
    if flags.as_json:
        print_json(result, done=f"{folder} matches its manifest")
    return manifest


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a person does; return the exit code."""
    return run_main(run, argv)


if __name__ == "__main__":
    leave(main())
