"""What tokenizing says: models that don't fit, what is put around records, how fast it went."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from pipelines.jobs import command as jobs_command
from pipelines.jobs.summary import token_lines
from pipelines.tokenize import run
from pipelines.verify import verify
from tests.pipelines.tokenized import (
    ENGLISH,
    ONE,
    make_corpus,
    rows,
    tokenize,
    trained_model,
)
from transforms.errors import UsageError
from transforms.workers.progress import read_progress


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return make_corpus(tmp_path)


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("law", ["off", "exact"])
def test_a_model_of_another_language_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, law: str, fallback: bool
) -> None:
    options = {"byte_fallback": True, "vocab_size": 330} if fallback else {}
    trained_model(tmp_path, ENGLISH, **options)
    caplog.set_level("WARNING", logger="dovetail")
    said = "the text is unknown to the model"
    if fallback:
        said = "the characters have no token of their own"
    for name, text, warned in (
        ("mine", "the quick fox", ""),
        ("few", "the quick brown fox jumps over ж", ""),  # 1 of 34
        ("other", "今天天气", rf"80.0% of {said} \(4 of 5\)"),
        ("more", "foxes ж", rf"12.5% of {said} \(1 of 8\)"),
    ):
        (tmp_path / name).write_text(f"{text}\n")
        caplog.clear()
        manifest = tokenize(
            tmp_path, "--text_field=", f"--sampling={law}", source=name, output=f"{name}.out"
        )
        assert manifest.tokens is not None
        assert manifest.tokens.unknown == sum(c >= "ж" for c in text)
        assert manifest.tokens.unknown_of == len(text) + 1  # one before the first word
        assert bool(re.search(warned, caplog.text)) if warned else not caplog.text, name
        lines = "\n".join(token_lines(manifest))
        assert ("without a token of their own, written as bytes: " in lines) == (
            fallback and manifest.tokens.unknown > 0
        )
        assert ("unknown to the model: " in lines) == (not fallback and manifest.tokens.unknown > 0)


def test_words_that_another_models_vocabulary_lacks_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]")
    )
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "model.json"))
    (tmp_path / "in").write_text("a b\na a\n")
    caplog.set_level("WARNING", logger="dovetail")
    manifest = tokenize(tmp_path, "--text_field=")
    assert rows(tmp_path / "out") == [[1, 0], [1, 1]]
    assert manifest.tokens is not None
    assert (manifest.tokens.unknown, manifest.tokens.unknown_of) == (1, 4)
    assert "25.0% of the text is unknown to the model (1 of 4)" in caplog.text


def test_texts_that_hold_cpms_symbols_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("jieba")
    trained_model(tmp_path, ENGLISH, user_defined_symbols=["\u2582", "\u2583", "@@"])
    texts = ["the fox", "a\u2582dog", "lazy\u2583\u2582", "over @@"]
    (tmp_path / "in").write_text("".join(f"{text}\n" for text in texts))
    caplog.set_level("WARNING", logger="dovetail")
    flags = ("--text_field=", "--whitespace=cpm")
    for more, count in (((), 2), (("--newline_symbol=@@",), 3)):
        manifest = tokenize(tmp_path, *flags, *more, output=f"out{count}")
        assert manifest.tokens is not None
        assert manifest.tokens.collisions == count
        assert f"{count} texts already held the symbols that --whitespace=cpm" in caplog.text
    caplog.clear()
    manifest = tokenize(tmp_path, "--text_field=", output="plain")
    assert manifest.tokens is not None
    assert manifest.tokens.collisions is None
    assert "symbols" not in caplog.text


def test_what_is_put_around_records_is_asked_for_and_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"<s>": 0, "</s>": 1, "[UNK]": 2, "a": 3}
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(names, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words.add_special_tokens(["<s>", "</s>"])
    words.post_processor = tokenizers.processors.TemplateProcessing(
        single="</s> <s> $A", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    words.save(str(tmp_path / "model.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "[UNK]"}')
    (tmp_path / "in").write_text("a a\n\n")
    caplog.set_level("INFO", logger="dovetail")
    both = ("--add_bos", "--add_eos")
    for asked, eos, said in (
        ((), 2, "eos: [UNK] (id 2), by tokenizer_config.json"),
        (("--eos_token=</s>",), 1, "eos: </s> (id 1), by --eos_token"),
        (("--eos_token=0",), 0, "eos: <s> (id 0), by --eos_token"),
    ):
        caplog.clear()
        manifest = tokenize(tmp_path, "--text_field=", *both, *asked, output=f"out{eos}")
        assert rows(tmp_path / f"out{eos}") == [[1, 0, 3, 3, eos], [1, 0, eos]]
        assert "bos: </s> (id 1) <s> (id 0), by the model's file" in caplog.messages
        assert said in caplog.messages
        assert manifest.tokens is not None
        assert manifest.tokens.model["eos"]["ids"] == [eos]
        assert manifest.tokens.tokens == 2
        assert verify(str(tmp_path / f"out{eos}"))[1] == []
    again = run([f"--recipe={tmp_path}/out1/manifest.json", f"--output={tmp_path}/again", ONE])
    assert again is not None
    assert rows(tmp_path / "again") == rows(tmp_path / "out1")
    plan = [
        f"--input={tmp_path}/in",
        f"--tokenizer={tmp_path}/model.json",
        f"--output={tmp_path}/p",
    ]
    assert run([*plan, "--text_field=", "--add_eos", "--plan"]) is None
    assert "eos         [UNK] (id 2), by tokenizer_config.json" in capsys.readouterr().out
    with pytest.raises(UsageError, match="--eos_token=a: expected --add_eos with it"):
        run([*plan, "--eos_token=a"])


def test_what_is_done_and_how_fast_is_said_in_texts_and_tokens(
    corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="dovetail")
    tokenize(corpus)
    begin, does = [m for m in caplog.messages if m.startswith(("reading", "tokenizing"))]
    assert re.fullmatch(
        r"reading 2 files \([\d.]+ [kM]B\) with 1 worker, [\d.]+ [GM]iB of memory for data; "
        r"writing to .*",
        begin,
    )
    assert does == "tokenizing by a BytePiece model of 266 ids, sampling off; at most 1 shard"
    done = next(m for m in caplog.messages if m.startswith("done:"))
    assert re.search(
        r"; (less than )?[\d.]+ s, [\d.]+ [kM]B/s of text, [\d,]+ tokens/s, peak memory [\d.]+ [MG]iB$",
        done,
    )
    many = [len(ids) for ids in rows(corpus / "out")]
    counts = [(0, 0), (1, 1), (2, 3), (4, 7), (8, 15), (16, 31), (32, 63), (64, 127)]
    of = {(low, high): sum(low <= n <= high for n in many) for low, high in counts}
    says = [f"{a}{f'-{b}' if b > a else ''}: {n}" for (a, b), n in of.items() if n]
    assert f"documents by length in tokens: {', '.join(says)}" in caplog.messages


def test_the_progress_of_tokenizing_is_its_own(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = corpus / "progress"
    folder.mkdir()

    def watch(build: Any, job: Any, *, totals: Any, **more: Any) -> int:
        monkeypatch.setattr(type(job.claim), "watched", str(folder))
        peak = execute(build, job, totals=totals, **more)
        assert totals == {"tokenize": job.inputs.size}
        counts = read_progress(str(folder))["tokenize"]
        assert counts[:2] == (job.inputs.size, 65)
        return peak

    execute = jobs_command.execute
    monkeypatch.setattr(jobs_command, "execute", watch)
    tokenize(corpus)


def test_ends_that_the_template_has_are_named_where_they_are_not_added(
    corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"<s>": 0, "</s>": 1, "?": 2}, unk_token="?")
    )
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    made.save(str(corpus / "ends.json"))
    caplog.set_level("INFO", logger="dovetail")
    flags = [f"--input={corpus}/in", f"--tokenizer={corpus}/ends.json", f"--output={corpus}/out"]
    run([*flags, "--plan", "--add_eos"])
    said = [message for message in caplog.messages if "isn't added unless" in message]
    assert said == [
        "the model's file puts <s> before each text; it isn't added unless you pass --add_bos"
    ]


def test_bos_and_eos_of_a_sentencepiece_model_are_what_it_has_and_not_what_it_puts(
    corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = trained_model(corpus, ENGLISH)
    caplog.set_level("INFO", logger="dovetail")
    run([f"--input={corpus}/in", f"--tokenizer={model}", f"--output={corpus}/out", "--plan"])
    said = [message for message in caplog.messages if "isn't added unless" in message]
    assert said == [
        "the model's file has the bos <s>; it isn't added unless you pass --add_bos",
        "the model's file has the eos </s>; it isn't added unless you pass --add_eos",
    ]


def test_a_model_that_changed_since_the_dataset_of_a_manifest_is_warned_of(
    corpus: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenize(corpus)
    again = [f"--recipe={corpus}/out/manifest.json", f"--output={corpus}/again", "--plan"]
    run(again)
    assert "sampling    off\n" in capsys.readouterr().out
    path = corpus / "model.json"
    before = path.read_bytes()
    assert not caplog.messages
    path.write_bytes(before + b" ")
    run([*again, f"--tokenizer={path}"])  # chosen, and no longer what the manifest says
    assert not caplog.messages
    run([*again, "--sampling=exact", "--alpha=0.3"])
    (said,) = caplog.messages
    assert said.startswith(
        f"{path} is not the model that made the dataset of --recipe={corpus}/out"
    )
    assert "sampling    exact, alpha 0.3\n" in capsys.readouterr().out
