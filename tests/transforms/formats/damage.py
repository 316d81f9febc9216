"""Reads damaged files in a process of its own, so that one which ends the process is seen to.

``python -m tests.transforms.formats.damage [NAME]...`` reads files of all formats, or of those
named, each damaged in many places, and prints a JSON line ``[file, damage, place, outcome]`` of
each. Outcomes: ``error`` (one of ours), ``right`` (exactly the right records), ``wrong`` (other
records, and no error), else what was raised and should not have been.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator

from tests.transforms.formats.samples import (
    Bad,
    NoValue,
    Sample,
    draws,
    read,
    samples,
    write,
    write_plainly,
)
from transforms.errors import DataError, InputError

CUTS, FLIPS = 50, 200
RECORDS = 60
READING = "reading"
"""Printed before each file: the last line says which one ended the process."""
MEMORY = 8 << 30  # of addresses; a damaged length must not take the machine's memory


def damaged(sample: Sample, data: bytes) -> Iterator[tuple[str, int, bytes]]:
    """Yield (damage, place, bytes) of many damaged versions of a file."""
    draw = draws(sample.id)
    for place in draw.sample(range(len(data)), CUTS):
        yield "cut", place, data[:place]
    for place in draw.sample(range(len(data)), FLIPS):
        flipped = bytearray(data)
        flipped[place] ^= 1 << draw.randrange(8)
        yield "flip", place, bytes(flipped)


def outcome(sample: Sample, data: bytes) -> str:
    """Say what our reader makes of a file that is damaged."""
    try:
        found = [record for _, record in read(sample, data).found]
    except (DataError, InputError, Bad):
        return "error"
    except NoValue:
        return "wrong"
    except BaseException as error:
        return repr(error)
    return "right" if found == sample.records else "wrong"


def main() -> None:
    """Damage and read all files."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    only = sys.argv[1:]
    for sample in samples():
        if only and sample.id not in only:
            continue
        small = sample.head(RECORDS)
        for by, data in (("ours", write(small)), ("plain", write_plainly(small, batch_rows=40))):
            file = f"{sample.id}, {by}"
            for kind, place, bad in damaged(small, data):
                print(json.dumps([file, kind, place, READING]), flush=True)
                print(json.dumps([file, kind, place, outcome(small, bad)]), flush=True)


if __name__ == "__main__":
    main()
