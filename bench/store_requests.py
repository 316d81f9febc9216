"""What a request to a store costs the worker that makes it: CPU time of our client, without TLS.

Ranges are read, twelve in flight, as segments of spill files are, and an object is written in parts,
from and to moto's server on this machine; the server's own time isn't counted. ``scaling_model.py``
takes its constants from here.

    python bench/store_requests.py --rounds=3
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable

import common
from processes import ROOT

sys.path.insert(0, str(ROOT))

READS, PARTS, PART = 600, 8, 8 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="(default 3)")
    args = parser.parse_args()
    from tests.stores.conftest import serve

    with serve("tests.stores.server") as port:
        os.environ.update(
            AWS_ACCESS_KEY_ID="testing",
            AWS_SECRET_ACCESS_KEY="testing",
            AWS_DEFAULT_REGION="us-east-1",
            AWS_EC2_METADATA_DISABLED="true",
            AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
            AWS_CONFIG_FILE="/dev/null",
            AWS_SHARED_CREDENTIALS_FILE="/dev/null",
        )
        measure_requests(args.rounds)


def measure_requests(rounds: int) -> None:
    """Print CPU milliseconds a request, least / median / most of some rounds."""
    from transforms.shuffling.file_ranges import FileRange, read_each
    from transforms.storage import files as storage

    fs, path = storage.filesystem("s3://bench")
    fs.raw.mkdir(path)
    url, size = "s3://bench/object", 2 * PART
    with storage.open_write(url) as file:
        storage.write_all(file, bytes(size))

    def read(length: int) -> None:
        wanted = [FileRange(url, i * length % (size - length), length) for i in range(READS)]
        for _ in read_each(FileRange.read, wanted):
            pass

    def write() -> None:
        with storage.open_write(url + "s") as file:
            for _ in range(PARTS):
                storage.write_all(file, bytes(PART))

    common.header("request", "CPU milliseconds, least / median / most")
    for kib in (1, 256, 1024, 4096):
        spent = [cpu(lambda n=kib << 10: read(n)) / READS for _ in range(rounds)]  # type: ignore[misc]  # mypy can't infer a lambda's default
        common.row(f"a range of {kib} KiB", common.spread([s * 1e3 for s in spent], 1))
    spent = [cpu(write) / PARTS for _ in range(rounds)]
    common.row("a part of 8 MiB", common.spread([s * 1e3 for s in spent], 1))


def cpu(work: Callable[[], None]) -> float:
    """Return the CPU seconds that this process takes for some work."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


if __name__ == "__main__":
    main()
