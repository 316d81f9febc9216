"""What OLMo-core reads of our files, by its own code, in an environment of its own.

Makes a virtual environment in the folder (numpy, and ai2-olmo-core without its dependencies: what it
imports of torch and others is stubbed), writes rows at the edges of vocabularies, with a pad token and
without, and lets NumpyFSLDataset read them, and iter_document_indices find their documents, by EOS and
by the table.

    python bench/readers_olmo.py --folder=/tmp/readers_olmo
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import common  # noqa: F401  # finds our packages
import numpy as np
from environment import make_environment

from transforms.kernels.arrays import offsets_of
from transforms.kernels.packing.fill import fill
from transforms.kernels.packing.pack import pack
from transforms.kernels.packing.rows import Kind, Packing, Rows
from transforms.kernels.randomness import KeyPair
from transforms.trainers.contract import Dataset, ShardFacts
from transforms.trainers.formats import FORMATS

EOS, PAD, LENGTH = 3, 2, 64
VOCABULARIES = (255, 256, 257, 65_499, 65_500, 65_535, 65_536, 65_537)
CASES: tuple[tuple[Kind, int | None], ...] = (
    ("concat", None),
    ("concat", PAD),
    ("best_fit", PAD),
    ("pad", PAD),
)
PACKAGES = (("numpy", "typing_extensions"), ("--no-deps", "ai2-olmo-core"))
SHARDS, DOCUMENTS = 2, 200


def make_rows(dataset: Dataset, seed: int) -> Rows:
    """Return documents of 1 to 3 L ids, packed."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, 3 * LENGTH, DOCUMENTS)
    ids = draw.integers(4, dataset.ids, int(lengths.sum())).astype(dataset.ids_type)
    ids[::9] = dataset.ids - 1
    pieces = pack(lengths, dataset.packing, key=KeyPair(np.uint64(seed), np.uint64(1)))
    return fill(ids, offsets_of(lengths), pieces, dataset.packing)


def check(folder: Path, python: Path, kind: Kind, pad: int | None, ids: int) -> str:
    """Write a case and compare what is read; return what it came to."""
    form: Any = FORMATS["olmo"]
    packing = Packing(kind=kind, length=LENGTH, end=EOS, end_at_cuts=True)
    dataset = Dataset(ids=ids, packing=packing, eos=EOS, pad=pad)
    form.require(dataset)
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    seen: list[Rows] = []
    for number in range(SHARDS):
        rows = make_rows(dataset, seed=number)
        facts = ShardFacts(rows=len(rows), ids=len(rows.ids), filler=int(rows.filler.sum()))
        files = {s: (data / f"train-{number}{s}").open("wb") for s in form.suffixes(dataset)}
        writer = form.open_writer(files, dataset, facts)
        writer.write(rows)
        writer.close()
        for file in files.values():
            file.close()
        seen.append(form.seen(rows, dataset))
    case = {
        "line": form.how_to_open(dataset, str(folder)),
        "paths": [str(data / f"train-{number}.npy") for number in range(SHARDS)],
        "masks": pad is not None,
        "eos": EOS,
    }
    (folder / "case.json").write_text(json.dumps(case))
    inside = [python, Path(__file__).with_name("readers_olmo_core.py"), folder / "case.json"]
    done = subprocess.run(inside, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{kind}: OLMo-core failed:\n{done.stderr}")
    return compare(
        json.loads(done.stdout.splitlines()[-1]), seen, form.about(dataset)["dtype"], pad
    )


def compare(found: dict[str, Any], seen: list[Rows], dtype: str, pad: int | None) -> str:
    """Raise SystemExit where OLMo-core reads something else than was written."""
    rows = [row for one in seen for row in one.ids.reshape(-1, LENGTH).tolist()]
    if found["dtype"] != dtype or found["rows"] != rows:
        raise SystemExit(f"{dtype} rows: OLMo-core reads others, of {found['dtype']}")
    lengths = [one.lengths.tolist() for one in seen]
    if [[end - begin for begin, end in file] for file in found["by_table"]] != lengths:
        raise SystemExit("documents by the table: OLMo-core finds others")
    ends = [[end for _, end in file] for file in found["by_table"]]
    if [[end for _, end in file] for file in found["by_eos"]] != ends:
        raise SystemExit("documents by EOS end elsewhere than by the table")
    if pad is None and found["by_eos"] != found["by_table"]:
        raise SystemExit("documents by EOS aren't those of the table")
    if pad is not None:
        masks = [[one != pad for one in row] for row in rows]
        if found["masks"] != masks:
            raise SystemExit("masks: OLMo-core reads others")
    return f"{len(rows)} rows and {sum(map(len, lengths))} documents equal, {dtype}"


def main() -> None:
    """Check all cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args()
    python = make_environment(args.folder / "environment", *PACKAGES)
    for kind, pad in CASES:
        for ids in VOCABULARIES:
            said = check(args.folder / f"{kind}-{pad}-{ids}", python, kind, pad, ids)
            print(f"{kind}, pad {pad}, {ids} ids: {said}")


if __name__ == "__main__":
    main()
