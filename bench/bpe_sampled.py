"""MB/s of text that becomes ids under BPE's laws of sampling, on one thread, against the packages' own.

The models are trained here: byte-level BPE by tokenizers (a tokenizer.json that cuts as GPT-2 does, one
as o200k, one as Llama 2) and SentencePiece's BPE. The texts are Chinese poems and English documentation
strings of the standard library, a text being a poem or string. Ours is ``Tokenizer.encode_keyed``: text
to ids, normalizing and cutting included, by records' keys. Theirs: ``Tokenizer.encode_batch_fast`` with
``model.dropout`` (its threads held to one), and ``SentencePieceProcessor.encode`` with
``enable_sampling`` and ``alpha``, which for BPE is its dropout. The last column is ours without a draw,
``off``.

Each round is another epoch and draws anew, of words that earlier rounds have seen, and runs everything
in turn, on the clock of the process's processor time; printed are the medians of the rounds, and each
round's ratio.

    python bench/bpe_sampled.py
"""

from __future__ import annotations

import os

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import argparse
import io
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import common
import machine
import sentencepiece
import tokenizers
from segmentation import docstrings, poems, taken
from tokenizers import decoders, normalizers, trainers
from tokenizers import pre_tokenizers as cut

from dovetail import Sampling, Tokenizer
from transforms.tokenization.encoded import identity_keys
from transforms.tokenization.models.texts import pack
from transforms.tokenization.models.tiktoken_bpe import PATTERNS

SPACE = "\u2581"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--poems", type=Path, default=Path("examples/data/poems.jsonl"), help="JSON lines with text"
    )
    parser.add_argument("--vocabulary", type=int, default=16_000)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bytes", type=int, default=2_000_000, help="of each text at most")
    args = parser.parse_args()
    machine.describe(Path.cwd(), terashuf=None)
    texts = {
        "Chinese": head(poems(args.poems), args.bytes),
        "English": head(docstrings(), args.bytes),
    }
    for name, some in texts.items():
        print(f"- {name}: {len(some):,} texts, {sum(len(t.encode()) for t in some):,} bytes")
    common.header("model", "text", "law", "MB/s", "theirs", "ratio", "each round's", "off")
    everything = [text for some in texts.values() for text in some]
    with tempfile.TemporaryDirectory() as folder:
        for name, data in models(everything, args.vocabulary):
            path = Path(folder, "model.json" if name != "SentencePiece" else "model.model")
            path.write_bytes(data)
            for text_name, some in texts.items():
                theirs = peer(name, data, some, args.dropout)
                compare(args, (name, text_name), path, some, theirs)


def head(texts: Sequence[str], size: int) -> list[str]:
    found, total = [], 0
    for text in texts:
        total += len(text.encode())
        if total > size:
            break
        found.append(text)
    return found


def models(texts: list[str], size: int) -> list[tuple[str, bytes]]:
    split = cut.Split(tokenizers.Regex(PATTERNS["o200k"]), "isolated")
    inner = cut.ByteLevel(add_prefix_space=False, use_regex=False)
    return [
        ("GPT-2", by_bytes(texts, size, cut.ByteLevel(add_prefix_space=False))),
        ("o200k", by_bytes(texts, size, cut.Sequence([split, inner]))),
        ("Llama 2", by_spaces(texts, size)),
        ("SentencePiece", by_sentencepiece(texts, size)),
    ]


def by_bytes(texts: list[str], size: int, cutter: Any) -> bytes:
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer, made.decoder = cutter, decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=cut.ByteLevel.alphabet(), show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    return made.to_str().encode()


def by_spaces(texts: list[str], size: int) -> bytes:
    made = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>", fuse_unk=True))
    made.pre_tokenizer = cut.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=["<unk>"], show_progress=False)
    made.train_from_iterator(texts, trainer)
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]
    )
    document = json.loads(made.to_str()) | {"pre_tokenizer": None}
    return json.dumps(document).encode()


def by_sentencepiece(texts: list[str], size: int) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, vocab_size=size, model_type="bpe",
        byte_fallback=True, minloglevel=2, hard_vocab_limit=False, num_threads=1,
    )  # fmt: skip
    return model.getvalue()


def peer(name: str, data: bytes, texts: list[str], dropout: float) -> Callable[[], object]:
    if name == "SentencePiece":
        processor = sentencepiece.SentencePieceProcessor(model_proto=data)
        return lambda: [
            processor.encode(text, enable_sampling=True, nbest_size=-1, alpha=dropout)
            for text in texts
        ]
    theirs = tokenizers.Tokenizer.from_str(data.decode())
    theirs.model.dropout = dropout
    return lambda: theirs.encode_batch_fast(texts, add_special_tokens=False)


def compare(
    args: argparse.Namespace,
    names: tuple[str, str],
    model: Path,
    texts: list[str],
    theirs: Callable[[], object],
) -> None:
    """Measure the laws beside the package's dropout, and print rows."""
    ours = Tokenizer.load(model)
    packed = pack(texts)
    keys = identity_keys(range(len(texts)), seed=0, epoch=0)
    size = len(packed.data) / 1e6
    laws = [
        Sampling(law="bpe_dropout", dropout=args.dropout),
        Sampling(law="uniform"),
        Sampling(law="stochastok"),
        Sampling(),
    ]
    for law in laws:
        ours.encode_keyed(packed, keys, sampling=law)  # compiled, and tables made
    rates: dict[str, list[float]] = {law.law: [] for law in laws}
    others = []
    for epoch in range(1, args.rounds + 1):
        keys = identity_keys(range(len(texts)), seed=0, epoch=epoch)
        for law in laws:
            run = taken(lambda: ours.encode_keyed(packed, keys, sampling=law))  # noqa: B023
            rates[law.law].append(size / run)
        others.append(size / taken(theirs))
    for law in laws[:-1]:
        ratios = [one / other for one, other in zip(rates[law.law], others, strict=True)]
        common.row(
            *names,
            law.law,
            f"{statistics.median(rates[law.law]):.1f}",
            f"{statistics.median(others):.2f}",
            f"{statistics.median(ratios):.1f}",
            " ".join(f"{ratio:.1f}" for ratio in ratios),
            f"{statistics.median(rates['off']):.1f}",
        )


if __name__ == "__main__":
    main()
