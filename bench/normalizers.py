"""What it takes to load a model and to normalize text for it, on one core: MB of UTF-8 a second.

Chinese is the poems of the examples, English the lines of botchan.txt, each repeated to the size
asked for; a call gets 2,000 records. A tokenizer.json is made of the first SentencePiece model, as
converters do. CPM's white space, which is slow, gets two calls of each.

    python bench/normalizers.py MODEL… --bytes=20000000 --rounds=5
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path

import machine
import tokenizers

from transforms.tokenization.models import unigram
from transforms.tokenization.models.load import load
from transforms.tokenization.models.model import Unigram
from transforms.tokenization.models.texts import Normalizer, pack

DATA = Path(__file__).parent.parent / "examples" / "data"
RECORDS = 2000


def corpora(size: int) -> dict[str, list[list[str]]]:
    """Return batches of records of about ``size`` bytes in all."""
    poems = (DATA / "poems.jsonl").read_text("utf-8").splitlines()
    lines = {
        "Chinese": [json.loads(line)["text"] for line in poems],
        "English": (DATA / "botchan.txt").read_text("utf-8").splitlines(),
    }
    batches = {}
    for name, texts in lines.items():
        repeats = size // sum(len(text.encode()) for text in texts) + 1
        whole = texts * repeats
        batches[name] = [whole[at : at + RECORDS] for at in range(0, len(whole), RECORDS)]
    return batches


def rate(normalizer: Normalizer, batches: list[list[str]]) -> float:
    """Return MB a second over packed batches."""
    packed = [pack(batch) for batch in batches]
    begin = time.perf_counter()
    for texts in packed:
        normalizer.normalize(texts)
    return sum(len(texts.data) for texts in packed) / (time.perf_counter() - begin) / 1e6


def converted(data: bytes) -> str:
    """Return a tokenizer.json with a SentencePiece model's pieces and rules."""
    read = unigram.read_pieces(data)
    vocabulary = [(piece.text.decode(), piece.score) for piece in read.pieces]
    made = tokenizers.Tokenizer(tokenizers.models.Unigram(vocabulary, 0, False))
    made.normalizer = tokenizers.normalizers.Precompiled(read.charsmap)
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    made.add_special_tokens(["<s>", "</s>", "<unk>"])
    return made.to_str()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="model files")
    parser.add_argument("--bytes", type=lambda text: int(float(text)), default=20_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpm", action="store_true", help="CPM's white space too, for the first")
    args = parser.parse_args()
    machine.describe(Path(tempfile.gettempdir()), terashuf=None)
    batches = corpora(args.bytes)
    with tempfile.TemporaryDirectory() as folder:
        files: list[tuple[str, str, str | None]] = [(Path(m).name, m, None) for m in args.models]
        first = next((m for m in args.models if m.endswith(".model")), None)
        if first:
            path = Path(folder, "tokenizer.json")
            path.write_text(converted(Path(first).read_bytes()))
            files.append((f"tokenizer.json of {Path(first).name}", str(path), None))
            if args.cpm:
                files.append((f"{Path(first).name}, CPM's white space", first, "cpm"))
        print("| model | load, s | Chinese, MB/s | English, MB/s |\n|---|---|---|---|")
        for name, url, whitespace in files:
            begin = time.perf_counter()
            model = load(url, whitespace="cpm" if whitespace else None)
            loading = time.perf_counter() - begin
            assert isinstance(model, Unigram)
            rates = {key: [] for key in batches}
            for _, (key, texts) in itertools.product(range(args.rounds), batches.items()):
                rates[key].append(rate(model.normalizer, texts[:2] if whitespace else texts))
            cells = [f"{statistics.median(found):.3g}" for found in rates.values()]
            print(f"| {name} | {loading:.2f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
