"""Promise 1, through the whole pipeline: every ordering is equally likely.

The kernels' own tests look closer (positions, neighbours, seeds against each other); here it is
that no step between them spoils it. alpha = 0.001, shared out among the p-values of a test.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.pipelines.support import join_shards, run, split, write_tree
from tests.statistics import permutations_p, positions_p, require_chance

N = 4  # records a set, all of whose permutations are counted


def _orders(records: list[bytes], sets: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Return the order of each set's records, which are named ``set index``, among themselves."""
    orders: list[list[int]] = [[] for _ in range(sets)]
    for record in records:
        which, index = record.split()
        orders[int(which)].append(int(index))
    return np.array(orders, np.int64)


@pytest.mark.parametrize("flag", ["--num_shards=3", "--shard_records=1000"])
def test_all_orders_of_a_files_records_are_equally_likely(tmp_path: Path, flag: str) -> None:
    # in a uniform permutation of everything, each file's records are in uniform order, one file's
    # independently of the next one's: a thousand files are a thousand trials
    files = 1000
    write_tree(
        tmp_path / "in",
        {f"{i:05d}.txt": b"".join(b"%05d %d\n" % (i, j) for j in range(N)) for i in range(files)},
    )
    run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}", flag)
    records = split(join_shards(tmp_path / "o"))
    orders = _orders(records, files)
    require_chance(permutations_p(orders), cases=2, what=f"records of one file, {flag}")
    # and so are records at one offset of four files, which a key without the file would tie
    across = _orders(
        [
            b"%d %d" % (int(r.split()[0]) // N, int(r.split()[0]) % N)
            for r in records
            if r.endswith(b" 2")
        ],
        files // N,
    )
    require_chance(permutations_p(across), cases=2, what=f"records of four files, {flag}")
    places = np.array([int(r.split()[0]) * N + int(r.split()[1]) for r in records], np.int64)
    require_chance(positions_p(places), cases=2, what=f"where records go, {flag}")


@pytest.mark.slow
def test_all_orders_of_four_records_are_equally_likely_over_seeds(tmp_path: Path) -> None:
    seeds = 480
    (tmp_path / "in.txt").write_bytes(b"0\n1\n2\n3\n")
    orders = []
    for seed in range(seeds):
        run(
            f"--input={tmp_path / 'in.txt'}",
            f"--output={tmp_path / 'o'}",
            f"--seed={seed}",
            "--num_shards=2",
            "--overwrite",
        )
        orders.append([int(record) for record in split(join_shards(tmp_path / "o"))])
    found = permutations_p(np.array(orders, np.int64))
    require_chance(found, cases=1, what=f"4 records, seeds 0 to {seeds - 1}")
