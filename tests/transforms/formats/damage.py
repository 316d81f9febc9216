"""Reads damaged files in a process of its own, so that one which ends the process is seen to.

``python -m tests.transforms.formats.damage few|all [NAME]...`` reads files of all formats, or of
those named, each damaged in some places or in many, and prints a JSON line
``[file, damage, place, outcome]`` of each. Outcomes: ``error`` (one of ours), ``right`` (exactly the
right records), ``wrong`` (other records, and no error), else what was raised and should not have
been.
"""

from __future__ import annotations

import atexit
import json
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipelines.inputs.one_file import look_at
from pipelines.recipes.recipe import Recipe
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
from transforms.datasets.source_files import SourceFile
from transforms.errors import DataError, InputError


class Counts(NamedTuple):
    """How often a file is damaged in each way."""

    cuts: int
    flips: int
    words: int


COUNTS = {"few": Counts(12, 50, 10), "all": Counts(50, 200, 40)}
NAME = "damaged"
EDGES = (0, 1, -1, -8, 1 << 31, 1 << 40, (1 << 63) - 1, -(1 << 63))
"""What is put in the place of words in headers and footers: counts and places that can't be."""

RECORDS = 60
READING = "reading"
"""Printed before each file: the last line says which one ended the process."""
MEMORY = 8 << 30  # of addresses; a damaged length must not take the machine's memory


def damaged(sample: Sample, data: bytes, count: Counts) -> Iterator[tuple[str, int, bytes]]:
    """Yield (damage, place, bytes) of damaged versions of a file."""
    draw = draws(sample.id)
    for place in draw.sample(range(1, len(data)), count.cuts):  # nothing at all is no damage
        yield "cut", place, data[:place]
    for place in draw.sample(range(len(data)), count.flips):
        flipped = bytearray(data)
        flipped[place] ^= 1 << draw.randrange(8)
        yield "flip", place, bytes(flipped)
    for _ in range(count.words if sample.kind != "lines" else 0):
        place = 4 * draw.choice(
            (draw.randrange(2, 64), draw.randrange(len(data) // 4 - 64, len(data) // 4))
        )
        changed = bytearray(data)
        changed[place : place + 8] = draw.choice(EDGES).to_bytes(8, "little", signed=True)
        yield "word", place, bytes(changed[: len(data)])


def look(data: bytes, path: str) -> None:
    """Look at a file as a run does before work."""
    Path(path).write_bytes(data)
    file = SourceFile("s", NAME, path, len(data), "")
    look_at(file, Recipe.model_validate({"sources": {"s": [path]}}), (), sample=True)


def outcome(sample: Sample, data: bytes, path: str | None = None) -> str:
    """Say what our reader makes of a file that is damaged, and where a path is given, our planning."""
    try:
        if path is not None:
            look(data, path)
        found = [record for _, record in read(sample, data).found]
    except Bad:
        return "error"
    except (DataError, InputError) as error:
        return "error" if NAME in str(error) or sample.name in str(error) else f"no name: {error}"
    except NoValue:
        return "wrong"
    except BaseException as error:
        return repr(error)
    return "right" if found == sample.records else "wrong"


def main() -> None:
    """Damage and read all files."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    many, *only = sys.argv[1:]
    path = os.path.join(tempfile.mkdtemp(), NAME)
    atexit.register(shutil.rmtree, os.path.dirname(path))
    for sample in samples():
        if only and sample.id not in only:
            continue
        small = sample.head(RECORDS)
        for by, data in (("ours", write(small)), ("plain", write_plainly(small, batch_rows=40))):
            file = f"{sample.id}, {by}"
            for kind, place, bad in damaged(small, data, COUNTS[many]):
                print(json.dumps([file, kind, place, READING]), flush=True)
                said = outcome(small, bad, path if kind == "word" else None)
                print(json.dumps([file, kind, place, said]), flush=True)


if __name__ == "__main__":
    main()
