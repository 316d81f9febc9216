"""What others take to tokenize JSON lines in memory, on one thread; run by an interpreter that has them.

    python bench/token_peers.py bytepiece --model=MODEL --input=FILE --law=exact

Needs nothing of ours. Their users' calls: bytepiece's ``encode`` for each text; sentencepiece's of all,
and where it samples of each; tokenizers' ``encode_batch_fast``; gigatoken's ``encode_files``. Prints
seconds, processor seconds, bytes of text and tokens as JSON. Loading is not counted: of gigatoken,
which reads files itself, the model alone, of others the texts too.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_THREADS = ("RAYON_NUM_THREADS", "TOKENIZERS_NUM_THREADS", "OMP_NUM_THREADS")


def texts_of(file: Path) -> list[str]:
    return [json.loads(line)["text"] for line in file.read_bytes().splitlines()]


def bytepiece(model: str, file: Path, alpha: float) -> Callable[[], int]:
    texts = texts_of(file)
    tokenizer: Any = importlib.import_module("bytepiece").Tokenizer(model)
    return lambda: sum([len(tokenizer.encode(text, alpha=alpha)) for text in texts])


def sentencepiece(model: str, file: Path, alpha: float) -> Callable[[], int]:
    package: Any = importlib.import_module("sentencepiece")
    texts = texts_of(file)
    processor = package.SentencePieceProcessor(model_file=model)
    if alpha < 0:
        return lambda: sum(map(len, processor.encode(texts, num_threads=1)))
    how = {"enable_sampling": True, "nbest_size": -1, "alpha": alpha, "num_threads": 1}
    return lambda: sum([len(processor.encode(text, **how)) for text in texts])


def tokenizers(model: str, file: Path, alpha: float) -> Callable[[], int]:
    tokenizer = importlib.import_module("tokenizers").Tokenizer.from_file(model)
    texts = texts_of(file)
    return lambda: sum(map(len, tokenizer.encode_batch_fast(texts, add_special_tokens=False)))


def gigatoken(model: str, file: Path, alpha: float) -> Callable[[], int]:
    package: Any = importlib.import_module("gigatoken")
    load = package.Tokenizer.from_sentencepiece if model.endswith(".model") else package.Tokenizer
    tokenizer, source = load(model), package.JsonlFileSource([file])
    return lambda: len(tokenizer.encode_files(source, parallel=False).layout.content.data)


PEERS = {
    function.__name__: function for function in (bytepiece, sentencepiece, tokenizers, gigatoken)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--model", required=True)
    parser.add_argument("--input", type=Path, required=True, help="JSON lines with a field text")
    parser.add_argument("--law", choices=["off", "exact", "viterbi_sampling"], default="off")
    parser.add_argument("--alpha", type=float, default=0.1)
    args = parser.parse_args()
    for name in _THREADS:
        os.environ[name] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    run = PEERS[args.peer](args.model, args.input, -1.0 if args.law == "off" else args.alpha)
    before, begin = os.times(), time.perf_counter()
    tokens = run()
    seconds, after = time.perf_counter() - begin, os.times()
    size = sum(len(text.encode()) for text in texts_of(args.input))
    cpu = after.user + after.system - before.user - before.system
    print(json.dumps({"seconds": seconds, "cpu": cpu, "bytes": size, "tokens": tokens}))


if __name__ == "__main__":
    main()
