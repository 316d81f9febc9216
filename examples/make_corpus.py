"""Make a corpus that is large enough to measure, of the small texts in ``data``.

python examples/make_corpus.py FOLDER [MEGABYTES]

Writes poems.jsonl, three quarters of it, and novel.jsonl: records of four pieces each, a few hundred
bytes to some kilobytes, all different. The same every time.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

DATA = Path(__file__).parent / "data"
STEPS = (1, 7, 31, 101)  # by which the pieces of a record walk through the text, each its own way


def poems() -> list[str]:
    """Return 4,000 poems."""
    lines = (DATA / "poems.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def paragraphs() -> list[str]:
    """Return the novel, six lines of it at a time."""
    lines = (DATA / "botchan.txt").read_text(encoding="utf-8").splitlines()
    return [" ".join(lines[i : i + 6]) for i in range(0, len(lines), 6)]


def records(pieces: list[str]) -> Iterator[bytes]:
    """Yield JSON lines without end."""
    number = 0
    while True:
        round_ = number // len(pieces)
        chosen = [
            pieces[(number * step + round_ * place) % len(pieces)]
            for place, step in enumerate(STEPS)
        ]
        text = "\n".join(chosen)
        yield json.dumps({"id": number, "text": text}, ensure_ascii=False).encode() + b"\n"
        number += 1


def write(path: Path, pieces: list[str], size: int) -> None:
    """Write so many bytes of records."""
    with path.open("wb") as file:
        for record in records(pieces):
            if file.tell() >= size:
                break
            file.write(record)


if __name__ == "__main__":
    folder, *rest = sys.argv[1:]
    megabytes = int(rest[0]) if rest else 160
    Path(folder).mkdir(parents=True, exist_ok=True)
    write(Path(folder, "poems.jsonl"), poems(), megabytes * 750_000)
    write(Path(folder, "novel.jsonl"), paragraphs(), megabytes * 250_000)
