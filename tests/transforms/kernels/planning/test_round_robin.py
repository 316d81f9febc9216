"""Keys by which workers take turns."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from transforms.kernels.planning.round_robin import RoundRobinKeys, flink_workers


@pytest.mark.parametrize(
    ("groups", "found"), [(16, [6, 10]), (257, [132, 125])], ids=["shards", "spans"]
)
def test_the_hash_is_that_of_flink(groups: int, found: list[int]) -> None:
    # counted on a cluster: groups that each of two subtasks read when numbers were the keys
    assert np.bincount(flink_workers(np.arange(groups), 2)).tolist() == found


def test_the_hash_of_keys_of_several_bytes() -> None:
    # 300 is written as the bytes 0xAC 0x02, in Java -84 and 2, so the hash of its array is
    # (31 - 84) * 31 + 2 = -1641; 128 gives -3006. By mmh3 5.3.1 these hash to the words below
    found = flink_workers(np.array([300, 128]), 1 << 31).tolist()
    assert found == [1214017269, abs(-1983473690)]


@pytest.mark.parametrize("workers", [1, 2, 3, 7, 100])
def test_workers_take_turns(workers: int) -> None:
    turns = RoundRobinKeys(workers)
    keys = np.array([turns.key(number) for number in range(1000)])
    assert len(set(keys.tolist())) == 1000
    np.testing.assert_array_equal(flink_workers(keys, workers), np.arange(1000) % workers)


@pytest.mark.parametrize("workers", [1, 2, 7, 100])
def test_a_key_gives_its_number_back_in_another_process(workers: int) -> None:
    keys = [RoundRobinKeys(workers).key(number) for number in (0, 5, 64, 999)]
    assert [RoundRobinKeys(workers).number(key) for key in keys] == [0, 5, 64, 999]


def test_threads_of_a_process_share_the_keys() -> None:
    expected = [RoundRobinKeys(2).key(number) for number in range(5000)]
    wrong: list[object] = []

    def ask(turns: RoundRobinKeys, start: threading.Barrier, first: int) -> None:
        start.wait()
        for number in range(first, 5000, 97):
            try:
                found = turns.key(number), turns.number(expected[number])
            except (IndexError, ValueError) as error:
                wrong.append(error)
            else:
                wrong.extend([found] * (found != (expected[number], number)))

    for _ in range(50):  # of which half went wrong where what is shared was changed in place
        shared, start = RoundRobinKeys(2), threading.Barrier(4)
        threads = [threading.Thread(target=ask, args=(shared, start, i)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
