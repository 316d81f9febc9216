"""JSON lines tokenized and merged by datatrove, one worker, to measure against.

    python bench/datatrove_like.py --input=FILE --model=MODEL.json --eod="<|endoftext|>" --folder=OUT

Its own examples' way: ``JsonlReader``, ``DocumentTokenizer`` (documents shuffled inside of a file), then
``DocumentTokenizerMerger``, each by a ``LocalPipelineExecutor`` of one task and one worker, in this
process. ``prepare.py`` makes an environment for it.
"""

from __future__ import annotations

import argparse
import importlib
import os
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", type=Path, required=True, help="JSON lines with a field text")
    parser.add_argument("--model", required=True, help="a tokenizer.json")
    parser.add_argument("--eod", required=True, help="the token after every document")
    parser.add_argument("--folder", type=Path, required=True, help="where everything goes")
    args = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    executor: Any = importlib.import_module("datatrove.executor.local").LocalPipelineExecutor
    tokens: Any = importlib.import_module("datatrove.pipeline.tokens")
    reader: Any = importlib.import_module("datatrove.pipeline.readers").JsonlReader
    parts, merged = str(args.folder / "parts"), str(args.folder / "merged")
    steps = [
        [
            reader(str(args.input.parent), glob_pattern=args.input.name),
            tokens.DocumentTokenizer(parts, args.model, eos_token=args.eod, seed=0),
        ],
        [tokens.DocumentTokenizerMerger(parts, merged, "dataset", seed=0)],
    ]
    for number, pipeline in enumerate(steps):
        logs = str(args.folder / f"logs-{number}")
        executor(pipeline=pipeline, tasks=1, workers=1, logging_dir=logs).run()


if __name__ == "__main__":
    main()
