"""Tokenizers without Beam, and TokenizeRecords."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import sentencepiece
from apache_beam.testing.test_pipeline import TestPipeline as Pipeline
from apache_beam.testing.util import assert_that, equal_to
from scipy import stats

from transforms.datasets.identity import FileId
from transforms.errors import DataError, UsageError
from transforms.kernels.records import blocks
from transforms.tokenization.encoded import identity_keys
from transforms.tokenization.models.texts import pack
from transforms.tokenization.sampling import Sampling
from transforms.tokenization.tokenize import BlockTokenizer, TokenizeRecords
from transforms.tokenization.tokenizer import Tokenizer

EXACT = Sampling(law="exact", alpha=0.5)
TEXT = "abracadabra abracadabra"
ALPHA = 0.001


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a BytePiece model with many segmentations."""
    pieces = [bytes([i]) for i in range(256)]
    pieces += [b"ab", b"bra", b"abra", b"cad", b"ra", b"br", b"ac", b"a ab", b"da"]
    content = {
        base64.b64encode(piece).decode(): [
            i,
            piece.decode(errors="replace"),
            1 + 20 * (len(piece) > 1),
        ]
        for i, piece in enumerate(pieces, start=3)
    }
    path = tmp_path_factory.mktemp("model") / "model.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="module")
def tokenizer(model: Path) -> Tokenizer:
    return Tokenizer.load(str(model))


def test_a_text_is_segmented_by_its_identity_whatever_is_beside_it(tokenizer: Tokenizer) -> None:
    texts = [f"{TEXT} {i}" for i in range(50)]
    names = [f"record {i}" for i in range(50)]
    whole = tokenizer.encode_batch(texts, sampling=EXACT, identities=names).lists()
    alone = [
        tokenizer.encode_batch([text], sampling=EXACT, identities=[name]).lists()[0]
        for text, name in zip(texts, names, strict=True)
    ]
    back = tokenizer.encode_batch(texts[::-1], sampling=EXACT, identities=names[::-1]).lists()
    assert whole == alone == back[::-1]
    assert len({tuple(ids[:8]) for ids in whole}) > 3  # or nothing was drawn
    assert tokenizer.decode_batch(whole) == texts


def test_seed_epoch_and_identity_each_draw_afresh(tokenizer: Tokenizer) -> None:
    def draw(**given: Any) -> list[list[int]]:
        return tokenizer.encode_batch([TEXT] * 40, sampling=EXACT, **given).lists()

    found = [
        draw(),
        draw(seed=1),
        draw(epoch=1),
        draw(identities=range(40, 80)),
        draw(identities=[str(i) for i in range(40)]),
        draw(identities=[b"%d" % i for i in range(40)]),
    ]
    assert draw(identities=range(40)) == found[0] == draw(seed=0, epoch=0)
    assert len({str(lists) for lists in found}) == len(found)


def test_draws_of_neighbours_passes_and_epochs_are_independent(tokenizer: Tokenizer) -> None:
    """Whether "ab" begins a text, a choice of even odds or so, against that of its neighbour."""
    count, sampling = 4000, Sampling(law="exact", alpha=0.3)
    first = {}
    for name, given in {
        "here": {},
        "next": {"identities": range(1, count + 1)},
        "epoch": {"epoch": 1},
        "seed": {"seed": 1},
        "spelled": {"identities": [str(i) for i in range(count)]},
    }.items():
        found = tokenizer.encode_batch(["ab"] * count, sampling=sampling, **given)
        first[name] = np.diff(found.offsets) == 1
    share = first["here"].mean()
    assert 0.2 < share < 0.98

    def p_value(left: Any, right: Any) -> float:
        return float(stats.chi2_contingency(stats.contingency.crosstab(left, right).count).pvalue)

    cases = ["next", "epoch", "seed", "spelled"]
    for name in cases:
        assert p_value(first["here"], first[name]) > ALPHA / len(cases), name
    # what this finds where there is something: every other one drawn alike
    alike = np.where(np.arange(count) % 8 == 0, first["here"], first["next"])
    assert p_value(first["here"], alike) < ALPHA / len(cases)


def test_draws_of_a_records_lines_are_independent(tokenizer: Tokenizer) -> None:
    """Lines of a BytePiece model are segmented apart, each by draws of its own."""
    sampling = Sampling(law="exact", alpha=0.3)
    (ids,) = tokenizer.encode_batch(["ab\n" * 4001], sampling=sampling).lists()
    (newline,) = tokenizer.encode_batch(["\n"]).lists()[0]
    ends = np.flatnonzero(np.array(ids) == newline)
    whole = np.diff(ends, prepend=-1) == 2  # "ab" and the newline
    assert 0.2 < whole.mean() < 0.98
    for lag in (1, 2, 7):
        table = stats.contingency.crosstab(whole[:-lag], whole[lag:]).count
        assert stats.chi2_contingency(table).pvalue > ALPHA / 3, lag


def test_identities_of_different_types_are_different(tokenizer: Tokenizer) -> None:
    keys = identity_keys([1, "1", b"1", 2], seed=0, epoch=0)
    assert len(set(keys.tolist())) == 4
    assert (
        keys[[0, 3]].tolist()
        == identity_keys(np.array([1, 2], np.uint64), seed=0, epoch=0).tolist()
    )
    for wrong in (-1, 1 << 64, 1.5, None):
        with pytest.raises(UsageError, match="identity 1: expected"):
            identity_keys([0, wrong], seed=0, epoch=0)
    with pytest.raises(UsageError, match="identity for each of 2 texts, got 3"):
        tokenizer.encode_batch(["a", "b"], identities=[1, 2, 3])


def test_bos_and_eos_stand_around_each_text(tokenizer: Tokenizer) -> None:
    plain = tokenizer.encode_batch(["ab", "", "c"]).lists()
    both = tokenizer.encode_batch(["ab", "", "c"], add_bos=True, add_eos=True)
    assert both.lists() == [[1, *ids, 2] for ids in plain]
    assert tokenizer.encode_batch(["ab", ""], add_eos=True).lists() == [[*plain[0], 2], [2]]
    assert tokenizer.encode_batch([], add_bos=True).lists() == []


def test_a_text_comes_to_ids_and_texts_to_a_list_of_them(tokenizer: Tokenizer) -> None:
    rows = tokenizer.encode_batch(["abc", "ab"]).lists()
    assert tokenizer.encode("abc") == rows[0] == tokenizer.encode(b"abc")
    assert tokenizer.encode(["abc", "ab"]) == rows == tokenizer.encode(iter(["abc", "ab"]))
    assert tokenizer.encode([]) == []
    assert tokenizer.encode("") == []
    assert tokenizer.decode(rows[0]) == "abc"
    drawn = tokenizer.encode("abc" * 9, sampling=EXACT, seed=3, identities=["x"])
    assert [drawn] == tokenizer.encode(["abc" * 9], sampling=EXACT, seed=3, identities=["x"])


def test_sentencepieces_way_to_say_all_segmentations_is_answered() -> None:
    for law in ("nbest", "off"):
        with pytest.raises(UsageError, match=r"--nbest_size=-1: .*pass --sampling=exact"):
            Sampling(law=law, nbest_size=-1)  # type: ignore[arg-type]


def test_a_model_is_read_anew_each_time_it_is_loaded(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_bytes(model.read_bytes())
    before = Tokenizer.load(str(path)).encode_batch(["ab"]).lists()
    content = json.loads(model.read_text())
    content.pop(base64.b64encode(b"ab").decode())
    path.write_text(json.dumps(content))
    assert Tokenizer.load(str(path)).encode_batch(["ab"]).lists() != before


def test_one_text_is_no_list_of_texts(tokenizer: Tokenizer) -> None:
    with pytest.raises(UsageError, match="expected a list of texts, got one"):
        tokenizer.encode_batch("abc")


def test_what_is_no_text_is_named(tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match="record 1 of the batch"):
        tokenizer.encode_batch(["a", b"\xff"])


def test_texts_that_no_pieces_cover_are_told_one_by_one(tmp_path: Path) -> None:
    pieces = {b"a": 1, b"bc": 2, b"b": 3, "é".encode(): 4}
    content = {
        base64.b64encode(p).decode(): [i, "", n] for i, (p, n) in enumerate(pieces.items(), 3)
    }
    (tmp_path / "some.json").write_text(json.dumps(content))
    some = Tokenizer.load(str(tmp_path / "some.json"))
    texts = ["abc", "ac", "", "e\u0301", "c", "bcbc\n", "ab"]  # the fourth is normalized to a piece
    found = some.find_unencodable(pack(texts))
    assert sorted(found) == [1, 4, 5]
    assert "no piece for the byte 0x63, at byte 1 of its normalized text" in found[1]
    assert "0x0A, at byte 4" in found[5]
    for number, text in enumerate(texts):
        if number not in found:
            assert len(some.encode_batch([text]).ids) > 0 or not text


def test_a_model_without_bos_or_of_another_kind_says_so(tmp_path: Path) -> None:
    sink = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c ab abc"] * 20),
        model_writer=sink,
        vocab_size=9,
        model_type="unigram",
        bos_id=-1,
        minloglevel=2,
    )
    (tmp_path / "u.model").write_bytes(sink.getvalue())
    unigram = Tokenizer.load(str(tmp_path / "u.model"))
    with pytest.raises(UsageError, match="--add_bos: expected a model that has bos"):
        unigram.encode_batch(["a"], add_bos=True)
    from tokenizers import Tokenizer as Other
    from tokenizers.models import BPE

    Other(BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")])).save(str(tmp_path / "bpe.json"))
    bpe = Tokenizer.load(str(tmp_path / "bpe.json"))
    assert bpe.encode_batch(["ab", "ba", ""]).lists() == [[2], [1, 0], []]
    with pytest.raises(
        UsageError, match=r"--sampling=exact: expected a unigram model .*bpe.json is"
    ):
        bpe.encode_batch(["ab"], sampling=EXACT)


def test_plain_texts_in_a_pipeline_are_their_own_identities(
    model: Path, tokenizer: Tokenizer
) -> None:
    texts = [f"{TEXT} {i}" for i in range(30)]
    expected = tokenizer.encode_batch(texts, sampling=EXACT, seed=3, identities=texts).lists()
    work = BlockTokenizer(model=str(model), sampling=EXACT, seed=3)
    with Pipeline() as pipeline:
        found = pipeline | beam.Create(texts) | TokenizeRecords(work)
        assert_that(found, equal_to(list(zip(texts, expected, strict=True))))


def test_blocks_in_a_pipeline_become_rows(model: Path, tokenizer: Tokenizer) -> None:
    texts = ["ab abra", "", "cad"]
    block = blocks.from_records(
        [text.encode() for text in texts], np.arange(3, dtype=np.uint64) * 10, line_end=b"\n"
    )
    lists = tokenizer.encode_batch(texts).lists()
    with Pipeline() as pipeline:
        made = pipeline | beam.Create([(FileId("web", "a"), block)])
        made = made | TokenizeRecords(BlockTokenizer(model=str(model)))
        assert_that(made | beam.MapTuple(_plainly), equal_to([("a", [0, 10, 20], lists)]))


def _plainly(file: FileId, rows: Any) -> tuple[str, list[int], list[list[int]]]:
    ids = [row["input_ids"] for row in rows.column("record").to_pylist()]
    return file.name, rows.column("position").to_pylist(), ids


def test_a_blocks_segmentations_are_of_file_place_and_pass(model: Path) -> None:
    work = BlockTokenizer(model=str(model), sampling=EXACT)
    texts = [TEXT.encode()] * 20
    block = blocks.from_records(texts, np.arange(20, dtype=np.uint64), line_end=b"")

    def ids(file: FileId, block: Any) -> list[Any]:
        return work(file, block)[0].column("record").to_pylist()

    here = ids(FileId("web", "a"), block)
    assert ids(FileId("web", "a"), block.slice(5, 3)) == here[5:8]
    others = [FileId("web", "b"), FileId("books", "a"), FileId("web", "a", 1)]
    assert all(ids(file, block) != here for file in others)


def test_shuffling_imports_no_numba() -> None:
    code = (
        "import sys, pipelines.shuffle, pipelines.jobs.build, pipelines.verify\n"
        "import transforms.datasets.read, transforms.datasets.write, transforms.mixing.interleave\n"
        "import transforms.shuffling.partition, transforms.shuffling.shuffle\n"
        "heavy = {'numba', 'sentencepiece', 'tokenizers', 'jieba'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("law", ["off", "exact"])
def test_nothing_is_compiled_or_loaded_after_preparing(model: Path, law: str) -> None:
    code = """
import sys
from numba.core.dispatcher import Dispatcher
from transforms.tokenization.sampling import Sampling
from transforms.tokenization.tokenizer import Tokenizer

def made():
    modules = [module for name, module in sys.modules.items() if name.startswith("transforms.")]
    found = {id(each): each for module in modules for each in vars(module).values()
             if isinstance(each, Dispatcher)}
    return sum(len(each.overloads) for each in found.values())

tokenizer, sampling = Tokenizer.load(sys.argv[1]), Sampling(law=sys.argv[2])
tokenizer.prepare(sampling)
before = made()
tokenizer.encode_batch(["ab", "", "b" * 300_000], sampling=sampling)
assert 0 < before == made(), (before, made())
"""
    subprocess.run([sys.executable, "-c", code, str(model), law], check=True, timeout=300)


def test_ids_that_are_no_integers_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match=r"expected ids that are integers, got float64"):
        tokenizer.decode_batch([[1.5]])  # type: ignore[list-item]
    assert tokenizer.decode_batch([[]]) == [""]
