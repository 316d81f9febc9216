"""JSON lines to a .bin and .idx in the way of Megatron's preprocess, on one thread, to measure against.

    python bench/megatron_like.py --input=FILE --model=MODEL.json --eod="<|endoftext|>" --prefix=OUT

As ``tools/preprocess_data.py`` of NVIDIA/Megatron-LM goes about it with one worker: each line is parsed,
its text encoded by the tokenizers package on its own, EOD put behind, the ids made a numpy array and
written; lengths stay in a list, and the index is written from them at the end. Its pool of processes is
left out, which takes time beside the work where one worker is all there is. Needs numpy and tokenizers,
nothing of ours or of Megatron's. The documents keep their order: nothing is shuffled, nothing proved.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

_CODES = {"<u2": 8, "<i4": 4}  # of types, in the index


def write_index(file: BinaryIO, lengths: list[int], dtype: str) -> None:
    """Write an index of a document a sequence."""
    np: Any = importlib.import_module("numpy")
    sizes = np.array(lengths, np.int32)
    ends = np.cumsum(sizes.astype(np.int64) * np.dtype(dtype).itemsize)
    file.write(b"MMIDIDX\x00\x00" + struct.pack("<QB", 1, _CODES[dtype]))
    file.write(struct.pack("<QQ", len(lengths), len(lengths) + 1))
    file.write(sizes.tobytes())
    file.write((ends - sizes.astype(np.int64) * np.dtype(dtype).itemsize).tobytes())
    file.write(np.arange(len(lengths) + 1, dtype=np.int64).tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", type=Path, required=True, help="JSON lines with a field text")
    parser.add_argument("--model", required=True, help="a tokenizer.json")
    parser.add_argument("--eod", required=True, help="the token after every document")
    parser.add_argument("--prefix", type=Path, required=True, help="OUT of OUT.bin and OUT.idx")
    args = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    np: Any = importlib.import_module("numpy")
    tokenizer: Any = importlib.import_module("tokenizers").Tokenizer.from_file(args.model)
    dtype = "<u2" if tokenizer.get_vocab_size() < 65500 else "<i4"
    eod = tokenizer.token_to_id(args.eod)
    lengths = []
    with args.input.open(encoding="utf-8") as lines, open(f"{args.prefix}.bin", "wb") as out:
        for line in lines:
            ids = tokenizer.encode(json.loads(line)["text"], add_special_tokens=False).ids
            if ids:
                ids.append(eod)
                lengths.append(len(ids))
                out.write(np.array(ids, dtype).tobytes())
    with open(f"{args.prefix}.idx", "wb") as out:
        write_index(out, lengths, dtype)
    print(json.dumps({"documents": len(lengths), "ids": sum(lengths)}))


if __name__ == "__main__":
    main()
