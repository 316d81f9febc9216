"""Any format from any URL, and what is no model."""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
from pathlib import Path

import fsspec
import pytest

from tests.transforms.tokenization.models import test_huggingface as hf
from tests.transforms.tokenization.models.samples import ALL_BYTES, bytepiece_json, trained
from transforms.errors import UsageError
from transforms.tokenization.models import load as module
from transforms.tokenization.models.bytepiece import BytePiece
from transforms.tokenization.models.huggingface import HuggingFaceUnigram
from transforms.tokenization.models.huggingface_bpe import HuggingFaceBPE
from transforms.tokenization.models.load import load
from transforms.tokenization.models.unigram import SentencePiece
from transforms.tokenization.tokenize import BlockTokenizer


def zipped(*members: tuple[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return made.getvalue()


def test_the_format_is_found_by_content(tmp_path: Path) -> None:
    tiny = bytepiece_json(ALL_BYTES)
    cases = [
        (tiny, BytePiece, tiny),
        (b"\n " + tiny, BytePiece, b"\n " + tiny),
        (zipped(("x/", b""), ("x/y.model", tiny)), BytePiece, tiny),
        (trained(), SentencePiece, trained()),
        (hf.written("converted").encode(), HuggingFaceUnigram, hf.written("converted").encode()),
        (hf.written("BPE").encode(), HuggingFaceBPE, hf.written("BPE").encode()),
    ]
    for number, (data, kind, model_file) in enumerate(cases):
        path = tmp_path / f"{number}"  # a name says nothing
        path.write_bytes(data)
        model = load(str(path))
        assert type(model) is kind
        assert model.name == str(path)
        assert model.digest == hashlib.sha256(model_file).hexdigest()
        assert load(path.as_uri()).digest == model.digest


def test_a_model_may_be_compressed(tmp_path: Path) -> None:
    path, tiny = tmp_path / "tiny.json.gz", bytepiece_json(ALL_BYTES)
    path.write_bytes(gzip.compress(tiny))
    assert load(str(path)).digest == hashlib.sha256(tiny).hexdigest()
    path.write_bytes(gzip.compress(tiny)[:-1])
    with pytest.raises(UsageError, match=r"tiny\.json\.gz: truncated"):
        load(str(path))


def test_a_model_may_lie_on_a_store() -> None:
    with fsspec.filesystem("memory").open("/models/tiny.json", "wb") as file:
        file.write(bytepiece_json(ALL_BYTES))
    model = load("memory://models/tiny.json")
    assert model.size == 259
    work = BlockTokenizer(model="memory://models/tiny.json", digest=model.digest)
    assert work.load().model.digest == model.digest
    assert work.load() is work.load()  # once a process
    with pytest.raises(UsageError, match=r"memory://models/other\.json: there is no such file"):
        load("memory://models/other.json")


def test_raw_bytes_are_for_bytepiece(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(bytepiece_json(ALL_BYTES))
    model = load(str(path), raw=True)
    assert isinstance(model, BytePiece)
    assert model.normalizer([b"\xff\n\xfe"]).of_record(0) == [b"\xff\n", b"\xfe"]
    path.write_bytes(trained())
    with pytest.raises(
        UsageError,
        match="a SentencePiece unigram model needs text; leave raw out, because only BytePiece",
    ):
        load(str(path), raw=True)


def test_cpms_white_space_is_for_sentencepiece(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(bytepiece_json(ALL_BYTES))
    with pytest.raises(
        UsageError,
        match="expected a SentencePiece unigram model for CPM's white space, got a BytePiece model",
    ):
        load(str(path), whitespace="cpm")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a model: the file is empty; pass a BytePiece model"),
        (b"hello, world\n", "not a model: .*; pass a BytePiece model"),
        (b'{"a": ', "not a model: it begins like JSON, but isn't"),
        (b"{" * 100_000, "not a model: it begins like JSON, but isn't"),
        (b'{"version": "1.0"}', "not a model: JSON of another kind"),
        (b"{}", "not a model: JSON of another kind"),
        (b"PK\x03\x04 and nothing", "expected a zip without a password that isn't damaged"),
        (zipped(), "not a model"),
        (zipped(("a", b"1"), ("b", b"2")), r"expected one model in the zip, got 2 files \(a, b\)"),
        (zipped(("a", b"{}"))[:-30], "expected a zip without a password that isn't damaged"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "m.model"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=message) as caught:
        load(str(path))
    assert str(path) in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        load(str(tmp_path / "none"))
    with pytest.raises(
        UsageError, match=r"a folder without a tokenizer\.json \(it holds nothing\)"
    ):
        load(str(tmp_path))
    (tmp_path / "vocab.json").touch()
    with pytest.raises(UsageError, match=r"it holds vocab\.json\); pass a BytePiece"):
        load(str(tmp_path))


def test_a_folder_stands_for_the_tokenizer_json_in_it(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(hf.written("BPE").encode())
    for name in (str(tmp_path), f"{tmp_path}/"):
        assert load(name).name == f"{tmp_path}/tokenizer.json"
    store = fsspec.filesystem("memory")
    with store.open("/folder/tokenizer.json", "wb") as file:
        file.write(hf.written("BPE").encode())
    assert load("memory://folder").name == "memory://folder/tokenizer.json"


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("vocab.json", '{"a": 0, "b": 1}', "only a vocabulary .*pass the tokenizer.json beside"),
        ("merges.txt", "#version: 0.2\nĠ t\nh e\n", "only the merges of a BPE model"),
        ("merges.txt", "Ġ t\nh e\n", "only the merges of a BPE model"),
        ("vocab.txt", "[PAD]\n[unused0]\n[UNK]\n", "only a WordPiece vocabulary"),
        ("x.vocab", "<unk>\t0\n<s>\t0\n▁a\t-2.3\n", "pieces .*pass the .model beside it"),
        ("tokenizer_config.json", '{"tokenizer_class": "X"}', "settings and no vocabulary; pass"),
        ("config.json", '{"model_type": "gpt2"}', "a model's config.json"),
        ("special_tokens_map.json", '{"eos_token": "</s>"}', "a special_tokens_map.json"),
    ],
)
def test_what_lies_beside_a_model_is_named(tmp_path: Path, name: str, text: str, what: str) -> None:
    path = tmp_path / "m"  # by what it holds
    path.write_text(text)
    with pytest.raises(UsageError, match=rf"not a model but .*{what}"):
        load(str(path))


def test_a_name_on_the_hub_is_told_from_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, folder in (("gpt2", "gpt2"), ("org/some-model.v2", "some-model.v2")):
        with pytest.raises(
            UsageError,
            match=rf"hf download {name} tokenizer\.json --local-dir {folder}\), and pass",
        ):
            load(name)
    for name in ("model.json", "./gpt2", "a/b/c", "/gpt2"):
        with pytest.raises(UsageError, match="there is no such file; pass a BytePiece model"):
            load(name)


def test_a_file_too_large_for_a_model_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST_FILE", 1 << 20)
    path = tmp_path / "m"
    path.write_bytes(bytes(3 << 20))
    with pytest.raises(UsageError, match="not a model: over 1,048,576 bytes"):
        load(str(path))
    path.write_bytes(zipped(("m", bytes(2 << 20))))
    with pytest.raises(UsageError, match="m unpacks to 2,097,152 bytes, which isn't a model"):
        load(str(path))
