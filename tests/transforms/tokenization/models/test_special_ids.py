"""What the files of the tokenizers package put around a text, and what they fail at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from transforms.errors import DataError, UsageError
from transforms.tokenization.models import huggingface
from transforms.tokenization.models.model import RecordError
from transforms.tokenization.models.texts import pack
from transforms.tokenization.tokenizer import Tokenizer as Ours

SPECIAL = ["<cls>", "<sep>", "<s>", "</s>"]


def words(*vocabulary: str, unk: str = "[UNK]") -> Tokenizer:
    """Return a WordLevel model; its special tokens have the first ids."""
    names = [*SPECIAL, *vocabulary]
    made = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token=unk))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens(SPECIAL)
    return made


def template(single: str) -> Any:
    ids = [(name, i) for i, name in enumerate(SPECIAL)]
    return processors.TemplateProcessing(single=single, special_tokens=ids)


def load(made: Tokenizer | dict[str, Any]) -> Any:
    document = made if isinstance(made, dict) else json.loads(made.to_str())
    return huggingface.load("x.json", document, digest="0" * 64, special_tokens="tokens")


@pytest.mark.parametrize(
    ("processor", "before", "after"),
    [
        (template("<cls> $A <sep>"), (0,), (1,)),
        (template("</s> <s> $A </s>"), (3, 2), (3,)),
        (template("$A <sep> <sep>"), (), (1, 1)),
        (template("$A"), (), ()),
        (template("<s> $A <sep> $A"), (), ()),  # the text twice: nothing is around it
        (processors.ByteLevel(), (), ()),
        (processors.BertProcessing(("<sep>", 1), ("<cls>", 0)), (0,), (1,)),
        (processors.RobertaProcessing(("</s>", 3), ("<s>", 2)), (2,), (3,)),
        (processors.Sequence([processors.ByteLevel(), template("<s> $A")]), (2,), ()),
        (
            processors.Sequence(
                [template("<s> $A"), processors.BertProcessing(("<sep>", 1), ("<cls>", 0))]
            ),
            (0, 2, 1),
            (1,),
        ),
        (processors.Sequence([template("<cls> $A <sep>"), template("<s> $A")]), (), ()),  # panics
        (None, (), ()),
    ],
)
@pytest.mark.parametrize("text", ["天", ""])
def test_the_template_is_read_whatever_the_vocabulary(
    processor: Any, before: tuple[int, ...], after: tuple[int, ...], text: str
) -> None:
    made = words(*filter(None, [text]))
    if processor is not None:
        made.post_processor = processor
    special = load(made).special
    assert (special.before, special.after) == (before, after)
    if before or after:
        inside = made.encode(text, add_special_tokens=False).ids
        assert made.encode(text).ids == [*before, *inside, *after]


def test_models_without_an_unknown_are_loaded_and_name_what_they_lack() -> None:
    proteins = models.Unigram([("<sos>", 0.0), *((c, -2.0) for c in "STRNDV"), ("RS", -3.0)])
    for model, text, ids, bad in (
        (proteins, "DVRS", [5, 6, 7], "DVA"),
        (models.WordPiece({"hello": 0}, unk_token="[UNK]"), "hello", [0], "a"),
        (models.WordLevel({"hello": 0}, unk_token="[UNK]"), "hello", [0], "a"),
        (models.BPE({"h": 0}, [], unk_token="<unk>"), "h", [0], "a"),
        (models.BPE({"h": 0}, []), "h", [0], "a"),
        (models.WordLevel({"h": 0}, unk_token="<s>"), "h", [0], "a"),
    ):
        package = Tokenizer(model)
        package.add_special_tokens(["<s>"])  # which makes no piece of the model's
        ours = Ours(load(package))
        assert ours.encode_batch([text]).lists() == [ids], ours.model.kind
        assert not ours.complete
        found = ours.find_unencodable(pack([text, bad, text]))
        assert list(found) == [1], ours.model.kind
        with pytest.raises(RecordError, match="record 1 of the batch"):
            ours.encode_batch([text, bad])


def at(folder: Path, made: Tokenizer, config: str | None = None) -> Ours:
    made.save(str(folder / "tokenizer.json"))
    if config is not None:
        (folder / "tokenizer_config.json").write_text(config)
    return Ours.load(str(folder / "tokenizer.json"))


CHOSEN = json.dumps({"bos_token": {"content": "<cls>", "lstrip": False}, "eos_token": "<sep>"})


@pytest.mark.parametrize(
    ("single", "config", "asked", "ids", "found"),
    [
        ("<s> $A </s>", CHOSEN, "<cls>", (0,), "--eos_token"),
        ("<s> $A </s>", CHOSEN, "1", (1,), "--eos_token"),
        ("<s> $A <sep> </s>", CHOSEN, None, (1, 3), "the model's file"),
        ("<s> $A", CHOSEN, None, (1,), "tokenizer_config.json"),
        (None, CHOSEN, None, (1,), "tokenizer_config.json"),
        (None, '{"eos_token": null}', None, (3,), "a usual name"),
        (None, None, None, (3,), "a usual name"),
    ],
)
def test_an_eos_is_what_is_asked_for_or_what_files_say(
    tmp_path: Path, single: str | None, config: str, asked: str | None, ids: Any, found: str
) -> None:
    made = words("a")
    if single is not None:
        made.post_processor = template(single)
    ours = at(tmp_path, made, config)
    end = ours.end("eos", asked)
    assert (end.ids, end.found) == (ids, found)
    assert end.tokens == tuple(SPECIAL[id_] for id_ in ids)
    assert ours.encode("a", add_eos=True, eos_token=asked) == [4, *ids]
    assert ours.encode(["a", ""], add_eos=True, eos_token=asked) == [[4, *ids], [*ids]]


def test_an_end_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    bare = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="b"))
    for config, asked, message in (
        (None, None, "expected a model that has eos, .*pass --eos_token=TEXT"),
        (None, "<eos>", "--eos_token=<eos>: .*which has none written like this"),
        (None, "2", "--eos_token gives the id 2, but the ids of .* end at 1"),
        ('{"eos_token": "x"}', None, "tokenizer_config.json beside .* says eos_token 'x'"),
        ("[]", None, r"tokenizer_config.json: expected a JSON object"),
        ("{", None, r"tokenizer_config.json: expected a JSON object"),
    ):
        ours = at(tmp_path, bare, config)
        assert ours.encode("a") == [0]  # what nobody asks for is not looked at
        with pytest.raises(UsageError, match=message):
            ours.encode("a", add_eos=True, eos_token=asked)
    with pytest.raises(TypeError, match="add_eso"):
        ours.encode("a", add_eso=True)


def test_the_unknown_written_out_is_one_with_unknowns_beside_it() -> None:
    package = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0), ("▁", -2.0)], unk_id=0))
    package.pre_tokenizer = pre_tokenizers.Metaspace()
    texts = ["漢<unk>字a<unk><unk>", "<unk> <unk>a漢", "", "漢", "<unk>", "漢 <unk>", "a" * 5]
    expected = [encoding.ids for encoding in package.encode_batch(texts)]
    assert len(expected[0]) == 4
    assert Ours(load(package)).encode(texts) == expected
    package.add_special_tokens(["<unk>"])  # which stands for itself
    expected = [encoding.ids for encoding in package.encode_batch(texts)]
    assert len(expected[0]) > 4
    assert Ours(load(package)).encode(texts) == expected


def with_charsmap(text: str, model: dict[str, Any] | None = None) -> dict[str, Any]:
    normalizer = {"type": "Precompiled", "precompiled_charsmap": text}
    return json.loads(words("a").to_str()) | {"normalizer": normalizer} | (model or {})


UNIGRAM = {"model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0]]}}


@pytest.mark.parametrize(
    "document",
    [
        with_charsmap(""),
        with_charsmap("", UNIGRAM | {"added_tokens": []}),
        with_charsmap("BAAAAAAAAAAA", UNIGRAM),  # fails at the added tokens
        {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]}},
    ],
)
def test_a_file_at_which_rust_panics_is_refused_by_name(document: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"^x\.json: the tokenizers package can't read this file"):
        load(document)


def test_a_text_at_which_rust_panics_is_named() -> None:
    damaged = with_charsmap("BAAAAAAAAAAA")
    with pytest.raises(RecordError, match="it panicked: index out of bounds") as caught:
        load(damaged).encode(pack(["", "a"]))
    assert caught.value.record == 1
    ours = Ours(load(with_charsmap("BAAAAAAAAAAA", UNIGRAM | {"added_tokens": []})))
    with pytest.raises(RecordError, match=r"^record 1 of the batch: x\.json: .*it panicked: index"):
        ours.encode_batch(["", "a"])


def test_ids_at_which_rust_panics_are_named() -> None:
    made = words("a")
    made.decoder = decoders.Strip(content="a", left=5, right=5)
    with pytest.raises(
        DataError, match=r"x\.json: the tokenizers package can't decode: it panicked"
    ):
        load(made).decode([4])


def test_an_interrupt_goes_on_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(text: str) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(huggingface.tokenizers.Tokenizer, "from_str", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(json.loads(words("a").to_str()))
