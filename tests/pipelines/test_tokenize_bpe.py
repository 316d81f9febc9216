"""Tokenizing by BPE models through the whole command: ids, what encoded them, and what is checked."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.tokenize import run
from tests.transforms.tokenization.models.bpe_samples import rank_file, written
from tests.transforms.tokenization.models.samples import examples, trained
from tests.transforms.tokenization.models.test_bpe import Differs
from transforms.errors import DovetailError, UsageError
from transforms.tokenization.models import bpe
from transforms.tokenization.models.load import load
from transforms.tokenization.models.texts import pack

TEXTS = [*examples(40_000), "<|endoftext|> für </s>", "", "\U0001f600 é"]
FILES = {
    "gpt2.json": lambda: written("GPT-2").encode(),
    "nfd.json": lambda: written("NFD").encode(),
    "llama.model": lambda: trained(model_type="bpe", byte_fallback=True),
    "r50k_base.tiktoken": rank_file,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [json.dumps({"text": text}) + "\n" for text in TEXTS]
    (tmp_path / "in.jsonl").write_text("".join(lines))
    return tmp_path


def flags_of(folder: Path, name: str, *more: str) -> list[str]:
    path = folder / name
    path.write_bytes(FILES[name]())
    where = [f"--input={folder / 'in.jsonl'}", f"--output={folder / 'out'}", "--overwrite"]
    return [*where, f"--tokenizer={path}", "--workers=1", *more]


@pytest.mark.parametrize("name", FILES)
def test_ids_are_the_references_and_the_manifest_says_what_gave_them(
    folder: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="dovetail")
    manifest = run(flags_of(folder, name))
    assert manifest is not None
    assert manifest.tokens is not None
    model = load(str(folder / name), bpe_engine="reference")
    assert isinstance(model, bpe.BPE)
    ids, offsets = model.encode(pack(TEXTS))
    column = pq.read_table(folder / "out" / "data")["input_ids"].combine_chunks()
    assert column.flatten().to_pylist() == ids.tolist()
    assert column.offsets.to_pylist() == offsets.tolist()
    found = manifest.tokens
    if name == "nfd.json":
        assert found.model["engine"].startswith("tokenizers ")
        assert found.checked_records is None
        (said,) = [line for line in caplog.messages if "many times slower" in line]
        assert "can't take this model: Unsupported normalizer type: NFD" in said
        return
    assert found.model["engine"].startswith("gigatoken ")
    assert found.checked_records is not None
    assert found.checked_bytes is not None
    assert 0 < found.checked_records < len(TEXTS) / 50
    assert found.checked_bytes > 0
    assert manifest.versions["gigatoken"] == found.model["engine"].split()[1]


def test_the_engine_can_be_chosen(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(flags_of(folder, "gpt2.json", "--plan", "--bpe_engine=reference")) is None
    assert "engine      tokenizers " in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"can't take this model.*run again with --bpe_engine=ref"):
        run(flags_of(folder, "nfd.json", "--bpe_engine=gigatoken"))
    with pytest.raises(
        UsageError, match=r"--bpe_engine=gigatoken.*uniform.*gigatoken doesn't sample"
    ):
        run(flags_of(folder, "gpt2.json", "--bpe_engine=gigatoken", "--sampling=uniform"))
    (folder / "unigram.model").write_bytes(trained())
    unigram = f"--tokenizer={folder / 'unigram.model'}"
    with pytest.raises(
        UsageError,
        match=(
            r"--bpe_engine=reference: .* not a BPE model; leave out "
            r"--bpe_engine"
        ),
    ):
        flags = flags_of(folder, "gpt2.json", "--bpe_engine=reference")
        run([*(flag for flag in flags if "--tokenizer=" not in flag), unigram])


def test_a_difference_in_a_sample_ends_the_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bpe, "Encoder", Differs)
    monkeypatch.setattr(bpe, "hard_texts", lambda *_: ["too easy"])
    monkeypatch.setattr(bpe, "COMPARED", 1)
    bpe.forget_checks()
    with pytest.raises(DovetailError, match=r"gives other ids .* run again with --bpe_engine=ref"):
        run(flags_of(folder, "gpt2.json", "--direct_running_mode=in_memory"))
    assert not (folder / "out" / "manifest.json").exists()
    bpe.forget_checks()
    assert run(flags_of(folder, "gpt2.json", "--bpe_engine=reference")) is not None
