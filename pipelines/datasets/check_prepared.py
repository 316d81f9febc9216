"""Whether a prepared dataset is what its manifest says: every file, read back as a trainer does."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from pipelines.datasets.check_sources import check_quarantine, check_sources
from pipelines.datasets.prepared_shards import files_by_suffix, folders_of, levels_of, open_files
from pipelines.datasets.prepared_sums import check_splits
from pipelines.datasets.shard_files import EXTRA, Each, extra, opened, sha256
from transforms.datasets.manifest_files import sum_files
from transforms.datasets.prepared import FileOfShard, PreparedManifest, PreparedShard
from transforms.errors import DataError
from transforms.storage import layout
from transforms.trainers.beside import files_beside
from transforms.trainers.contract import Dataset
from transforms.trainers.digest import RowsDigest
from transforms.trainers.of_manifest import dataset_of, format_of
from transforms.workers.progress import Progress


def check_prepared(manifest: PreparedManifest, folder: str, each: Each) -> list[str]:
    """Return what is wrong with a dataset, a line each.

    Args:
        manifest: what it should be.
        folder: where it lies.
        each: does the work for each of its shards.
    """
    try:
        sums = sum_files(manifest, folder)
        datasets = {name: dataset_of(manifest, name) for name in manifest.formats}
        for name in datasets:
            format_of(name)
    except DataError as error:
        return [str(error)]
    problems = check_sources(manifest, sums) + check_quarantine(manifest, folder, sums)
    wrong = _check_shards(manifest)
    problems += check_splits(manifest, datasets) + wrong
    listed = {file.path for shard in manifest.shards for file in shard.files}
    for level in folders_of(manifest):
        problems += extra(folder, level + layout.DATA, listed)
    problems += _extra_folders(manifest, folder)
    if not wrong:  # of shards that can't be, nothing can be listed
        problems += _check_beside(manifest, folder, datasets)
    shas: dict[str, dict[str, str]] = defaultdict(dict)  # by format, as two may have equal files
    for shard in manifest.shards:
        shas[shard.format] |= {file.sha256: file.path for file in shard.files}
    found = each(
        lambda shard, progress: check_shard(
            folder, shard, datasets=datasets, shas=shas[shard.format], progress=progress
        ),
        manifest.shards,
    )
    return problems + [problem for some in found for problem in some]


def check_shard(
    folder: str,
    shard: PreparedShard,
    *,
    datasets: Mapping[str, Dataset],
    shas: Mapping[str, str],
    progress: Progress,
) -> list[str]:
    """Check a shard's files, and read them back where they are what was written.

    Args:
        folder: the dataset's.
        shard: what it should be.
        datasets: what each format's readers are told.
        shas: paths of the format's files by SHA-256, to tell a swapped one.
        progress: counts what is read.
    """
    problems = []
    for file in shard.files:
        with progress.doing(f"reading {file.path}"):
            problems += _check_file(folder, file, shas, progress)
    dataset = datasets.get(shard.format)
    if problems or dataset is None or not shard.files:  # said where the manifest is looked at
        return problems
    with progress.doing(f"reading back {shard.files[0].path}"):
        problems += _read_back(folder, shard, dataset, progress)
    return problems


def _check_file(
    folder: str, file: FileOfShard, shas: Mapping[str, str], progress: Progress
) -> list[str]:
    try:
        with opened(folder, file.path) as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            sha = sha256(stream, lambda count: progress.add("verify", bytes=count))
    except DataError as error:
        return [str(error)]
    if sha != file.sha256 and (other := shas.get(sha)):
        return [f"{file.path}: holds what {other} should hold"]
    if size != file.bytes:
        how = "truncated" if size < file.bytes else "too long"
        return [f"{file.path}: {how}: {size} bytes, the manifest says {file.bytes}"]
    if sha != file.sha256:
        said = f"SHA-256 {sha[:12]}…, the manifest says {file.sha256[:12]}…"
        return [f"{file.path}: its bytes differ: {said}"]
    return []


def _read_back(
    folder: str, shard: PreparedShard, dataset: Dataset, progress: Progress
) -> list[str]:
    """Read a shard as its trainer does, and compare what comes with what the manifest says."""
    form, main = format_of(shard.format), shard.files[0].path
    keeps, digest = form.keeps(dataset), RowsDigest(form.keeps(dataset))
    rows = ids = filler = 0
    try:
        with contextlib.ExitStack() as stack:
            for some in form.read(open_files(stack, folder, shard, dataset), dataset):
                rows += len(some)
                ids += len(some.ids)
                filler += int(some.filler.sum())
                digest.add(some)
                progress.add("verify", records=len(some))
    except DataError as error:
        return [f"{main}: {error}"]
    kept = shard.ids - shard.dropped_ids
    expected = [("ids", ids, kept)]
    if form.filler(dataset) is not None:  # it stands among the ids, or beside them
        expected = [("ids, filler included", ids + filler, kept + shard.filler)]
    if keeps.rows:
        expected.append((form.unit(dataset), rows, shard.rows - shard.dropped_rows))
    problems = [
        f"{main}: {came} {what}, the manifest says {asked}"
        for what, came, asked in expected
        if came != asked
    ]
    if not problems and (found := digest.hexdigest()) != shard.digest:
        problems.append(f"{main}: digest {found} of its rows, the manifest says {shard.digest}")
    return problems


def _check_shards(manifest: PreparedManifest) -> list[str]:
    """Check that every split of every epoch has all its shards in every format, at their places."""
    problems = []
    groups: dict[tuple[str, int | None, str], list[PreparedShard]] = defaultdict(list)
    for shard in manifest.shards:
        groups[shard.format, shard.epoch, shard.split].append(shard)
    expected = [(f, s.epoch, s.split) for f in manifest.formats for s in manifest.splits]
    for group in expected:
        if group not in groups:
            problems.append(f"manifest: no shard holds {_name(*group)}")
    for group, shards in groups.items():
        if group not in expected:
            problems.append(f"manifest: shards hold {_name(*group)}, which it doesn't mention")
        numbers = [shard.number for shard in shards]
        if numbers != list(range(len(shards))) or {s.of for s in shards} != {len(shards)}:
            problems.append(
                f"manifest: expected shards 0 to {len(shards) - 1} of {_name(*group)}, in order, got "
                f"{', '.join(f'{s.number} of {s.of}' for s in shards[:4])}"
                + (", …" if len(shards) > 4 else "")
            )
    for shard in manifest.shards:
        stem = layout.shard_path(
            split=shard.split,
            number=shard.number,
            of=shard.of,
            extension="",
            **levels_of(manifest, shard),
        )
        problems += [
            f"manifest: {file.path} is not the path of {_name(shard.format, shard.epoch, shard.split)}"
            f", shard {shard.number} of {shard.of}"
            for file in shard.files
            if not (file.path.startswith(stem) and file.path[len(stem) :].startswith("."))
        ]
        try:
            files_by_suffix(shard, dataset_of(manifest, shard.format))
        except DataError as error:
            problems.append(str(error))
    paths = Counter(file.path for shard in manifest.shards for file in shard.files)
    problems += [f"manifest: {path} is listed {n} times" for path, n in paths.items() if n > 1]
    return problems


def _name(form: str, epoch: int | None, split: str) -> str:
    return f"{split} as {form}" + (f" of epoch {epoch}" if epoch is not None else "")


def _extra_folders(manifest: PreparedManifest, folder: str) -> list[str]:
    """Say which epochs and formats lie there that nobody listed."""
    known = set[str]()
    for level in folders_of(manifest):
        path = level + layout.DATA
        while path:
            known.add(path)
            path = path.rpartition("/")[0]
    above = {path.rpartition("/")[0] for path in known}
    return [
        problem
        for inner in sorted(above)
        for problem in extra(folder, inner, known)
        if layout.is_our_folder(name := problem.removesuffix(EXTRA)) and name != layout.QUARANTINE
    ]


def _check_beside(
    manifest: PreparedManifest, folder: str, datasets: Mapping[str, Dataset]
) -> list[str]:
    """Check that the small files beside each ``data`` say what the manifest does."""
    problems: list[str] = []
    for level, (name, epoch) in folders_of(manifest).items():
        if name not in datasets:
            continue
        form = format_of(name)
        for path, text in files_beside(
            form, datasets[name], manifest.shards, epoch=epoch, folder=level
        ):
            try:
                with opened(folder, path) as file:
                    found = file.read()
            except DataError as error:
                problems.append(str(error))
                continue
            if path == level + layout.ABOUT:
                problems += [f"{path}: {what}" for what in _differences(found, manifest, name)]
            elif found != text.encode():
                problems.append(f"{path}: lists other shards than the manifest")
    return problems


def _differences(data: bytes, manifest: PreparedManifest, name: str) -> Sequence[str]:
    """Say in what a format's small JSON differs from what the manifest says of it."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        return [f"not JSON: {error}"]
    asked = manifest.formats[name]
    if not isinstance(found, dict):
        return ["expected a JSON object, got something else"]
    nothing = object()
    return [
        f"{field} is {json.dumps(found[field]) if field in found else 'missing'}, the manifest says "
        f"{json.dumps(asked[field]) if field in asked else 'nothing about it'}"
        for field in sorted(found.keys() | asked.keys())
        if found.get(field, nothing) != asked.get(field, nothing)
    ]
