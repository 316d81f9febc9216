"""What it costs to write Megatron's files of very many short documents, and to read them back.

Memory is the peak of a process of its own, above what it has before the first document; the lengths are
spooled to the system's folder for temporary files, 8 bytes a document.

    python bench/megatron_index.py --documents=50000000 --folder=/tmp/megatron-index
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import time
from pathlib import Path
from typing import Any

import common  # noqa: F401  # finds our packages
import numpy as np

from transforms.kernels.packing.rows import Packing, Rows
from transforms.trainers.contract import Dataset, ShardFacts
from transforms.trainers.digest import RowsDigest
from transforms.trainers.megatron import Megatron

_BATCH = 1 << 16  # documents that the writer gets at a time


def peak() -> float:
    """Return the most memory that this process had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Write and read."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--documents", type=int, default=50_000_000)
    parser.add_argument("--ids", type=int, default=1, help="of each document")
    parser.add_argument("--folder", required=True)
    args = parser.parse_args()
    folder = Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    form: Any = Megatron()
    dataset = Dataset(ids=50_000, packing=Packing(end=3), eos=3)
    form.require(dataset)
    size, each = args.ids, np.arange(_BATCH + 1, dtype=np.int64)
    batch = Rows(
        np.full(_BATCH * size, 3, np.uint16),
        each * size,
        np.full(_BATCH, size, np.int64),
        each,
        np.zeros(_BATCH, np.int64),
    )
    paths = {suffix: folder / f"train{suffix}" for suffix in form.suffixes(dataset)}
    before, begun = peak(), time.process_time()
    digest = RowsDigest(form.keeps(dataset))
    files: dict[str, Any] = {suffix: path.open("wb") for suffix, path in paths.items()}
    facts = ShardFacts(rows=args.documents, ids=args.documents * size)
    writer = form.open_writer(files, dataset, facts)
    for begin in range(0, args.documents, _BATCH):
        some = batch.slice(0, min(_BATCH, args.documents - begin))
        writer.write(some)
        digest.add(form.seen(some, dataset))
    writer.close()
    for file in files.values():
        file.close()
    written = time.process_time()
    after_writing = peak()
    back = RowsDigest(form.keeps(dataset))
    opened: dict[str, Any] = {suffix: path.open("rb", 0) for suffix, path in paths.items()}
    for rows in form.read(opened, dataset):
        back.add(rows)
    read = time.process_time()
    assert back.hexdigest() == digest.hexdigest()
    sizes = ", ".join(f"{s} {path.stat().st_size:,} bytes" for s, path in paths.items())
    head = hashlib.sha256(paths[".idx"].open("rb").read(1 << 20)).hexdigest()[:12]
    print(
        f"{args.documents:,} documents of {size}: {sizes} (idx begins {head}); written in "
        f"{written - begun:.1f} s, read in {read - written:.1f} s of processor time; memory "
        f"{before:.0f} MB before, {after_writing:.0f} after writing, {peak():.0f} after reading"
    )
    for path in paths.values():
        path.unlink()


if __name__ == "__main__":
    main()
