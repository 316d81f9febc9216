"""Write a corpus of JSON lines of a chosen size from a small file of JSON lines.

Each line of the seed file is repeated with a new ``id``, so that no two lines
are equal and the line lengths keep the seed's distribution.

    python bench/make_corpus.py --seed_file examples/data/poems.jsonl --bytes 4e9 --output 4g.jsonl
"""

from __future__ import annotations

import argparse
from pathlib import Path

_FIRST = 10**12  # an id of as many digits as the last


def write_corpus(*, seed_file: Path, size: int, output: Path) -> int:
    """Write whole lines to ``output`` until it holds at least ``size`` bytes; return the size."""
    bodies = []
    for line in seed_file.read_bytes().splitlines():
        before, after = line.split(b'"text"', 1)  # {"id": 2, "text": ...}
        bodies.append(b', "text"' + after + b"\n")
        if not before.startswith(b'{"id":'):
            raise SystemExit(f'{seed_file}: expected lines that begin with {{"id": N, "text":')
    output.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    number = 0
    with output.open("wb") as sink:
        while written < size:
            part = b"".join(b'{"id": %d%s' % (_FIRST + number + i, b) for i, b in enumerate(bodies))
            number += len(bodies)
            if written + len(part) > size:  # end after the first line that reaches the size
                part = part[: part.index(b"\n", size - written - 1) + 1]
            written += sink.write(part)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed_file", type=Path, required=True)
    parser.add_argument("--bytes", type=float, default=4e9, help="size to reach (default 4e9)")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    size = write_corpus(seed_file=args.seed_file, size=int(args.bytes), output=args.output)
    print(f"{args.output}: {size} bytes")


if __name__ == "__main__":
    main()
