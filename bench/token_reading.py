"""What it costs to bring texts from JSON lines to the kernel, step by step, beside other ways.

Milliseconds of processor time a MB of text, on one core, in blocks as a worker reads them. Reading is
from lines in memory to a block of texts with their digests; other parsers are called as their users
call them, up to a list of texts or a column. Normalizing is by the model's own normalizer, and as it
was done before it was compiled: by Python's ``unicodedata``, or a record at a time by sentencepiece.

    python bench/token_reading.py --model=MODEL --rounds=5
    python bench/token_reading.py --model=MODEL --rounds=5 --english

pyarrow's reader is there with our dependencies, orjson too; msgspec and pysimdjson where installed.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import io
import os
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.json
from kernels import ALLOCATOR
from tokens import write_english

from dovetail import Tokenizer
from transforms.formats import texts
from transforms.kernels.arrays import cuts
from transforms.kernels.records import blocks
from transforms.kernels.records.compiling import use_loops
from transforms.kernels.records.lines import line_offsets
from transforms.tokenization.models.model import Unigram
from transforms.tokenization.models.sentencepiece_normalizer import SentencePieceNormalizer
from transforms.tokenization.models.texts import Texts, check_utf8, cut_after_newlines, unpack

_BLOCK_BYTES = 2 << 20  # of lines that a worker reads at once


def main() -> None:
    if any(os.environ.get(name) != value for name, value in ALLOCATOR.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="a unigram model")
    parser.add_argument("--input", type=Path, help="JSON lines with a field text")
    parser.add_argument("--bytes", type=float, default=2e7, help="without --input (default 2e7)")
    parser.add_argument("--rounds", type=int, default=5, help="(default 5)")
    parser.add_argument("--english", action="store_true", help="docstrings in place of poems")
    common.add_work_arguments(parser)
    args = parser.parse_args()
    with common.work_folder(args) as folder:
        if args.english:
            args.seed_file = folder / "english.jsonl"
            write_english(args.seed_file)
        data = common.corpus(args, folder, args.bytes).read_bytes()
    use_loops()
    read = blocks_of(np.frombuffer(data, np.uint8))
    found = [texts.of_json(block, field="text").block for block in read]
    steps = {**reading(data, read), **normalizing(args.model, found)}
    size = sum(map(blocks.payload_bytes, found)) / 1e6
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()  # compiled, or loaded
    for _ in range(args.rounds):
        for name, step in steps.items():
            begin = time.process_time()
            step()
            taken[name].append(1e3 * (time.process_time() - begin) / size)
    common.header("step", "ms a MB of text, least / median / most")
    for name, values in taken.items():
        common.row(name, common.spread(values))


def blocks_of(values: Any) -> list[pa.RecordBatch]:
    """Return blocks of lines, as they are read for their texts."""
    offsets = line_offsets(values, ord("\n"))
    return [
        blocks.from_buffer(
            values,
            offsets=offsets[begin : end + 1],
            positions=offsets[begin:end].astype(np.uint64),
            line_end=b"\n",
            hashed=False,
        )
        for begin, end in cuts(offsets, limit=_BLOCK_BYTES)
    ]


def reading(data: bytes, read: list[pa.RecordBatch]) -> dict[str, Callable[[], object]]:
    """Return ways from lines to texts."""
    lines = data.splitlines()
    schema = pa.schema([("text", pa.string())])
    arrow: dict[str, Any] = {
        "read_options": pa.json.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
        "parse_options": pa.json.ParseOptions(
            explicit_schema=schema, unexpected_field_behavior="ignore"
        ),
    }

    def by_objects() -> None:
        kept, texts.loops_for = texts.loops_for, lambda size: None
        try:
            for block in read:
                texts.of_json(block, field="text")
        finally:
            texts.loops_for = kept

    steps: dict[str, Callable[[], object]] = {
        "reading": lambda: [texts.of_json(block, field="text") for block in read],
        "reading, an object for each field": by_objects,
        "pyarrow.json, a column": lambda: pa.json.read_json(io.BytesIO(data), **arrow),
        "orjson, a list": lambda: [orjson.loads(line)["text"] for line in lines],
    }
    if importlib.util.find_spec("msgspec"):
        msgspec = importlib.import_module("msgspec")
        decode = msgspec.json.Decoder(msgspec.defstruct("Line", [("text", str)])).decode
        steps["msgspec, a list"] = lambda: [decode(line).text for line in lines]
    if importlib.util.find_spec("simdjson"):
        parse = importlib.import_module("simdjson").Parser().parse
        steps["pysimdjson, a list"] = lambda: [parse(line)["text"] for line in lines]
    return steps


def normalizing(path: str, found: list[pa.RecordBatch]) -> dict[str, Callable[[], object]]:
    """Return ways from texts to what is segmented."""
    tokenizer = Tokenizer.load(path)
    model = tokenizer.model
    assert isinstance(model, Unigram), "expected a unigram model"
    packed = [texts_in(block) for block in found]
    keys = [np.zeros(len(block), np.uint64) for block in found]

    def before(some: Texts) -> object:
        check_utf8(some)
        if isinstance(model.normalizer, SentencePieceNormalizer):
            return model.normalizer.processor.normalize(unpack(some))
        assert unicodedata.is_normalized("NFC", str(some.data.data, "utf-8"))
        return cut_after_newlines(some)

    return {
        "normalizing": lambda: [model.normalizer.normalize(some) for some in packed],
        "normalizing, as it was": lambda: [before(some) for some in packed],
        "normalizing and segmenting": lambda: [
            tokenizer.encode_keyed(some, key) for some, key in zip(packed, keys, strict=True)
        ],
    }


def texts_in(block: pa.RecordBatch) -> Texts:
    values, offsets = blocks.extents(block)
    return Texts(values[offsets[0] : offsets[-1]], offsets - offsets[0])


if __name__ == "__main__":
    main()
