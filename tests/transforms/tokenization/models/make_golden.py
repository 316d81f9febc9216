"""Ask bytepiece and transformers for ids, and keep them beside the tests.

Neither is needed to work on Dovetail: bytepiece must be built with a pyahocorasick in bytes mode, and
transformers' CpmTokenizer cuts words only in old releases. Run from the checkout, in an environment
with numpy, sentencepiece and hypothesis and

    bytepiece 0.6.3     (AHOCORASICK_BYTES=1 pip install --no-binary :all: pyahocorasick; pip install
                        Cython setuptools wheel; pip install --no-build-isolation bytepiece)
    transformers 4.22.2 or older, jieba 0.42.1

    DOVETAIL_SHARED=../shared python -m tests.transforms.tokenization.models.make_golden bytepiece
    DOVETAIL_SHARED=../shared python -m tests.transforms.tokenization.models.make_golden cpm
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from tests.transforms.tokenization.models.samples import (
    ALL_BYTES,
    EXAMPLES,
    GOLDEN,
    ODD,
    bytepiece_json,
    examples,
    ids_digest,
    shared_records,
)

RANDOM = random.Random(6)


def any_text() -> str:
    points = (RANDOM.choice([*range(1, 0xD800), *range(0xE000, 0x110000)]) for _ in range(3))
    return "".join(RANDOM.choice([*ODD, *map(chr, points)]) for _ in range(RANDOM.randrange(12)))


def tiny(pieces: int) -> dict[bytes, int]:
    """Make a vocabulary over few bytes with few different counts, so that scores tie."""
    found = dict.fromkeys(ALL_BYTES, 2)
    for _ in range(pieces):
        piece = "".join(RANDOM.choice("ab\né漢") for _ in range(RANDOM.randrange(1, 5))).encode()
        start = RANDOM.randrange(len(piece))
        found[piece[start:]] = RANDOM.choice([1, 2, 4, 8, 4096])
    return found


def bytepiece() -> dict[str, Any]:
    import bytepiece

    def ids_of(model: bytes, texts: list[str]) -> list[list[int]]:
        with tempfile.NamedTemporaryFile("wb", suffix=".model") as file:
            file.write(model)
            file.flush()
            tokenizer = bytepiece.Tokenizer(file.name)
        return [tokenizer.encode(text) for text in texts]

    cases = []
    for size in (5, 20, 80):
        counts = tiny(size)
        texts = ["".join(RANDOM.choice("ab\né漢e\u0301") for _ in range(n)) for n in range(1, 30)]
        cases.append(
            {
                "counts": [[piece.hex(), count] for piece, count in counts.items()],
                "texts": texts,
                "ids": ids_of(bytepiece_json(counts), texts),
            }
        )
    odd = [any_text() for _ in range(300)] + examples(1500)
    models = {}
    for path in sorted(Path(os.environ["DOVETAIL_SHARED"], "models").glob("bytepiece*.zip")):
        archive = zipfile.ZipFile(path)
        model = archive.read(archive.namelist()[0])
        models[path.name] = {
            "sha256": hashlib.sha256(model).hexdigest(),
            "ids": ids_of(model, odd),
            "digests": {
                name: ids_digest(ids_of(model, texts)) for name, texts in shared_records().items()
            },
        }
    return {"cases": cases, "texts": odd, "models": models}


def cpm() -> dict[str, Any]:
    import transformers
    from transformers.models.cpm.tokenization_cpm import CpmTokenizer

    model = str(Path(os.environ["DOVETAIL_SHARED"], "models", "cpm_chinese_vocab.model"))
    as_published = CpmTokenizer(model, remove_space=False, keep_accents=True)
    by_default = CpmTokenizer(model)

    def ids_of(tokenizer: Any, text: str) -> list[int]:
        # not `encode`, which takes special tokens' names out of the text first
        return tokenizer.convert_tokens_to_ids(tokenizer._tokenize(text))

    texts = ["今天天气不错", "今天 天气\n不错", *examples(1500), *(any_text() for _ in range(200))]
    return {
        "transformers": transformers.__version__,
        "texts": texts,
        "ids": [ids_of(as_published, text) for text in texts],
        "by default": [ids_of(by_default, text) for text in texts],
        "digests": {
            name: ids_digest([ids_of(as_published, text) for text in records])
            for name, records in shared_records().items()
        },
    }


if __name__ == "__main__":
    assert EXAMPLES.exists()
    (which,) = sys.argv[1:]
    made = {"bytepiece": bytepiece, "cpm": cpm}[which]()
    GOLDEN.mkdir(exist_ok=True)
    text = json.dumps(made, ensure_ascii=True, separators=(",", ":"))
    (GOLDEN / f"{which}.json").write_text(text + "\n")
