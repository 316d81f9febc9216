"""Prepare's plan, and what is refused before any work: models, special ids, rows of ids, formats."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tokenizers
from tokenizers.models import WordLevel
from tokenizers.normalizers import Prepend, Sequence
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

import pipelines.tokenize
from dovetail import UsageError
from dovetail import prepare as prepare_from_python
from pipelines.prepare import run
from tests.pipelines.tokenized import write_model
from transforms.errors import InputError

WORDS = [f"w{i}" for i in range(40)]
Plan = Callable[..., str]


def write_tokenizer(
    path: Path,
    *,
    special: tuple[str, ...] = ("<s>", "</s>", "<pad>"),
    template: bool = True,
    prepended: str = "",
) -> Path:
    """Write a tokenizer.json of words, whose special tokens come first: <s> is 0, </s> 1, <pad> 2."""
    names = [*special, "[UNK]", *WORDS]
    made = tokenizers.Tokenizer(
        WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]")
    )
    made.pre_tokenizer = WhitespaceSplit()
    if prepended:
        made.normalizer = Sequence([Prepend(prepended + " ")])
    made.add_special_tokens(list(special))
    if template:
        made.post_processor = TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
        )
    made.save(str(path))
    return path


def write_texts(folder: Path, texts: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    lines = [json.dumps({"text": text, "id": i, "group": f"g{i}"}) for i, text in enumerate(texts)]
    (folder / "a.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def write_rows(folder: Path, rows: list[list[int]], column: str = "input_ids") -> Path:
    folder.mkdir(exist_ok=True)
    ids = pa.array(rows, pa.list_(pa.uint16()))
    pq.write_table(pa.table({column: ids, "id": range(len(rows))}), folder / "a.parquet")
    return folder


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return write_texts(tmp_path / "in", [" ".join(WORDS[: 1 + i % 30]) for i in range(200)])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tokenizer(tmp_path / "tokenizer.json")


@pytest.fixture
def plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Plan:
    """Return what plans with these flags, and what it prints."""

    def planned(*flags: str) -> str:
        assert run([*flags, f"--output={tmp_path / 'out'}", "--plan", "--workers=1"]) is None
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().out

    return planned


def line_of(text: str, name: str) -> str:
    """Return the line of a plan that begins with a word."""
    (found,) = re.findall(rf"^{name} .*$", text, re.MULTILINE)
    return re.sub(r"\s+", " ", found)


# the plan


def test_a_plan_shows_special_ids_packing_and_formats(plan: Plan, texts: Path, model: Path) -> None:
    flags = ("--sequence_length=64", "--packing=best_fit", "--output_format=parquet,flat")
    text = plan(f"--input={texts}", f"--tokenizer={model}", *flags)
    assert line_of(text, "eos") == "eos </s> (id 1), by the model's file"
    assert line_of(text, "bos") == "bos <s> (id 0), by the model's file"
    assert line_of(text, "pad") == "pad <pad> (id 2), by a usual name"
    assert line_of(text, "documents") == "documents end in </s> (1)"
    assert "puts <s> before each text; documents don't get it unless you pass --add_bos" in text
    assert "best_fit, rows of 64 ids; windows of 262,144 tokens" in line_of(text, "packing")
    formats = [line for line in text.splitlines() if line.startswith("format")]
    assert ["parquet" in formats[0], "flat" in formats[1]] == [True, True]
    assert "no filler" in formats[0]
    assert "filler 2" in formats[1]


def test_filler_takes_room_where_it_is_written(plan: Plan, texts: Path, model: Path) -> None:
    flags = ("--sequence_length=64", "--packing=pad", "--output_format=flat,parquet")
    text = plan(f"--input={texts}", f"--tokenizer={model}", *flags)
    written = 200 * 64 * 2
    assert f"~{written / 1000:.2f} kB of train" in text.split("format ")[1]
    assert f"~{written / 1000:.2f} kB" not in text.split("format ")[2]
    (room,) = re.findall(r"~([\d.]+) kB for shards", text)
    assert float(room) * 1000 > written


def test_a_plan_estimates_tokens_and_rows_from_a_sample(
    plan: Plan, texts: Path, model: Path
) -> None:
    text = plan(f"--input={texts}", f"--tokenizer={model}", "--sequence_length=64")
    tokens = sum(1 + i % 30 for i in range(200))
    found = re.search(r"~([\d,]+) rows, ~([\d,]+) tokens", line_of(text, "rows"))
    assert found is not None
    rows, about = (int(n.replace(",", "")) for n in found.groups())
    assert about == pytest.approx(tokens, rel=0.05)
    assert rows == pytest.approx((tokens + 200) / 64, rel=0.05)


def test_a_budget_says_what_share_is_read_tokenized_and_used(
    plan: Plan, tmp_path: Path, model: Path
) -> None:
    for name in ("a", "b"):
        write_texts(tmp_path / name, [" ".join(WORDS[:20]) for _ in range(20_000)])
    flags = [f"--input={name}={tmp_path / name}" for name in ("a", "b")]
    flags += ["--weights=a=0.9,b=0.1", "--max_tokens=40K"]
    text = plan(*flags, f"--tokenizer={model}", "--sequence_length=64")
    shares = {}
    for name in ("a", "b"):
        row = re.search(rf"^{name} +~100% +~([\d.]+)% +~([\d.]+)%", text, re.MULTILINE)
        assert row is not None, text
        shares[name] = [float(share) for share in row.groups()]
    assert shares["a"][1] == pytest.approx(9, rel=0.1)
    assert shares["b"][1] == pytest.approx(1, rel=0.1)
    assert all(used <= tokenized <= 3 * used for tokenized, used in shares.values())


def test_stages_are_planned_each_by_its_own_law(plan: Plan, tmp_path: Path, model: Path) -> None:
    for name in ("a", "b"):
        write_texts(tmp_path / name, [" ".join(WORDS[:20]) for _ in range(2000)])
    recipe = tmp_path / "mix.yaml"
    recipe.write_text(
        f"sources: {{a: {tmp_path}/a, b: {tmp_path}/b}}\ntokenizer: {model}\n"
        "sequence_length: 64\nweigh_by: tokens\nmax_tokens: 30K\nstages:\n"
        "  - {weights: {a: 1, b: 0}, until: {tokens: 10K}}\n  - {weights: {a: 0.5, b: 0.5}}\n"
    )
    text = plan(f"--recipe={recipe}")
    first, last = re.findall(
        r"^  b +[\d.]+% +~[\d.]+% +~[\d.]+% +~[\d,]+ +~([\d,]+)", text, re.MULTILINE
    )
    assert first == "0"
    assert int(last.replace(",", "")) == pytest.approx(500, rel=0.1)
    assert "stage 0, until 10,000 tokens" in text


def test_splits_are_planned_with_what_adding_data_does(
    plan: Plan, texts: Path, model: Path
) -> None:
    flags = (f"--input={texts}", f"--tokenizer={model}")
    text = plan(*flags, "--split=validation=10%,test=30")
    assert "validation 10%: ~20 documents" in text
    assert "test 30: ~30 documents" in text
    assert "may move some in or out of a count" in line_of(text, "split by")
    assert "counts need one more reading of the whole input" in text
    assert re.search(r"^default +~200% ", text, re.MULTILINE)
    text = plan(*flags, "--split=validation=10%")
    assert "may move" not in line_of(text, "split by")
    assert re.search(r"^default +~100% ", text, re.MULTILINE)


def test_control_strings_in_a_sample_are_counted(plan: Plan, tmp_path: Path, model: Path) -> None:
    texts = write_texts(tmp_path / "in", ["w1 </s> w2", "w1 w2", "<s> w3"])
    text = plan(f"--input={texts}", f"--tokenizer={model}")
    assert "2 of 3 sampled documents hold control strings, treated as text" in text


def test_python_plans_too(texts: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stages = [{"weights": {"a": 1}, "until": {"rows": 3}}, {"weights": {"a": 1}}]
    found = prepare_from_python(
        input={"a": texts},
        tokenizer=model,
        output=texts.parent / "out",
        stages=stages,
        sequence_length=64,
        output_format=["parquet", "flat"],
        split={"validation": "1%"},
        plan=True,
    )
    assert found is None
    assert "stage 0, until 3 rows" in capsys.readouterr().out


def test_a_source_that_has_a_weight_and_no_records_is_refused(
    tmp_path: Path, texts: Path, model: Path, plan: Plan
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "x.jsonl").write_bytes(b"")
    flags = [f"--input=a={texts}", f"--input=e={tmp_path}/empty", f"--tokenizer={model}"]
    message = refusal(UsageError, *flags, "--weights=a=1,e=1", folder=tmp_path)
    assert message.startswith("source e has a weight, but its files")
    plan(*flags, "--weights=a=1,e=0")
    plan(*flags)


def test_what_a_mixture_leaves_unused_and_repeats_is_warned_of(
    tmp_path: Path, model: Path, plan: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    write_texts(tmp_path / "many", ["w1 w2"] * 2000)
    write_texts(tmp_path / "few", ["w1 w2"] * 20)
    flags = [f"--input={name}={tmp_path / name}" for name in ("many", "few")]
    flags += [f"--tokenizer={model}", "--weights=many=0.5,few=0.5"]
    plan(*flags)
    assert "the mixture ends when few runs out" in caplog.text
    plan(*flags, "--max_tokens=8K")
    assert "source few will be repeated about 100.0 times" in caplog.text


# special ids of a model


def refusal(error: type[Exception], *flags: str, folder: Path) -> str:
    """Return the message with which flags are refused; nothing is left behind."""
    with pytest.raises(error) as raised:
        run([*flags, f"--output={folder / 'out'}", "--workers=1"])
    assert not (folder / "out").exists()
    return str(raised.value)


def test_a_model_without_eos_is_an_error_that_says_what_to_give(
    tmp_path: Path, texts: Path, plan: Plan
) -> None:
    bare = write_tokenizer(tmp_path / "bare.json", special=(), template=False)
    flags = (f"--input={texts}", f"--tokenizer={bare}", "--sequence_length=64")
    message = refusal(UsageError, *flags, folder=tmp_path)
    assert "--document_end=eos: expected a model that has eos" in message
    assert "pass --eos_token=TEXT|ID" in message
    assert "--document_end=none to add nothing" in message
    assert line_of(plan(*flags, "--eos_token=w0"), "documents") == "documents end in w0 (1)"
    assert line_of(plan(*flags, "--document_end=3"), "documents") == "documents end in w2 (3)"
    text = plan(*flags, "--document_end=none")  # asked for by name
    assert line_of(text, "documents") == "documents end in nothing"
    assert line_of(text, "eos") == "eos none"


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--document_end=nope", "--document_end=nope: .* has no such token"),
        ("--document_end=9999", "--document_end=9999: .* an id from 0 to 43"),
        ("--eos_token=nope", "--eos_token=nope: .* which has none written like this"),
        ("--pad_token=9999", "gives the id 9999, but the ids of .* end at 43"),
    ],
)
def test_tokens_that_the_model_lacks_are_refused(
    tmp_path: Path, texts: Path, model: Path, flag: str, message: str
) -> None:
    found = refusal(UsageError, f"--input={texts}", f"--tokenizer={model}", flag, folder=tmp_path)
    assert re.search(message, found), found


def test_bos_is_put_once_and_a_template_puts_none(plan: Plan, texts: Path, model: Path) -> None:
    text = plan(f"--input={texts}", f"--tokenizer={model}", "--add_bos")
    assert line_of(text, "documents") == "documents begin with <s> (0), end in </s> (1)"
    assert "before each text" not in text


def test_a_bos_that_the_tokenizer_puts_itself_would_be_doubled(
    tmp_path: Path, texts: Path, plan: Plan
) -> None:
    special = ("<bos>", "</s>")
    doubling = write_tokenizer(tmp_path / "t.json", special=special, template=False, prepended="w0")
    flags = (f"--input={texts}", f"--tokenizer={doubling}", "--add_bos")
    message = refusal(UsageError, *flags, "--bos_token=w0", folder=tmp_path)
    assert "--add_bos: " in message
    assert "begins texts with w0 (id 3)" in message
    assert "would have it twice" in message
    plan(*flags)  # the other one isn't


def test_documents_that_begin_or_end_so_already_are_warned_of(
    tmp_path: Path, model: Path, plan: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    texts = write_texts(tmp_path / "in", ["<s> w1 </s>", "w1 </s>", "w2"])
    flags = (f"--input={texts}", f"--tokenizer={model}", "--add_bos")
    plan(*flags)
    assert "twice" not in caplog.text  # as text it is none
    plan(*flags, "--special_tokens=tokens")
    assert "1 of 3 sampled documents already begin with <s> (id 0)" in caplog.text
    assert "2 of 3 sampled documents already end with </s> (id 1)" in caplog.text


def test_text_needs_a_tokenizer(tmp_path: Path, texts: Path) -> None:
    message = refusal(UsageError, f"--input={texts}", folder=tmp_path)
    assert message.startswith("--tokenizer is missing: the input is text")


# formats


def test_formats_that_cannot_share_rows_are_refused_together(
    tmp_path: Path, texts: Path, model: Path
) -> None:
    flags = (f"--input={texts}", f"--tokenizer={model}", "--sequence_length=64")
    pair = ("--packing=buckets", "--output_format=parquet,flat")
    message = refusal(UsageError, *flags, *pair, folder=tmp_path)
    assert "--output_format=" in message
    assert "flat" in message


def test_a_filler_that_is_not_there_is_an_error_before_work(tmp_path: Path, texts: Path) -> None:
    bare = write_tokenizer(tmp_path / "bare.json", special=(), template=False)
    flags = (f"--input={texts}", f"--tokenizer={bare}", "--sequence_length=64", "--packing=pad")
    message = refusal(
        UsageError, *flags, "--output_format=flat", "--document_end=none", folder=tmp_path
    )
    assert "pad" in message
    assert "--pad_token" in message


# rows of ids

ROWS = [[5, 6, 7 + i % 3] for i in range(40)]


def test_rows_of_ids_need_a_model_or_its_size_and_end(tmp_path: Path, plan: Plan) -> None:
    rows = write_rows(tmp_path / "rows", ROWS)
    message = refusal(UsageError, f"--input={rows}", folder=tmp_path)
    assert message.startswith("--vocab_size is missing")
    message = refusal(UsageError, f"--input={rows}", "--vocab_size=50", folder=tmp_path)
    assert "--document_end=eos: the EOS of these ids is unknown" in message
    message = refusal(
        UsageError, f"--input={rows}", "--vocab_size=50", "--eos_token=</s>", folder=tmp_path
    )
    assert "--eos_token=</s>: expected an id in digits" in message
    message = refusal(
        UsageError, f"--input={rows}", "--vocab_size=50", "--eos_token=50", folder=tmp_path
    )
    assert "--eos_token=50: expected an id below 50" in message
    text = plan(f"--input={rows}", "--vocab_size=50", "--eos_token=1", "--sequence_length=8")
    assert "rows of ids in input_ids: nothing is tokenized" in text
    assert line_of(text, "eos") == "eos id 1, by --eos_token"
    assert "~20 rows, ~120 tokens" in text


def test_ids_above_the_size_that_is_given_are_refused(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", ROWS)
    flags = (f"--input={rows}", "--vocab_size=8", "--eos_token=1")
    message = refusal(UsageError, *flags, folder=tmp_path)
    assert "expected ids below 8, got 9" in message


def test_rows_that_end_in_eos_already_are_noticed(tmp_path: Path, plan: Plan) -> None:
    rows = write_rows(tmp_path / "rows", [[*row, 1] for row in ROWS])
    flags = (f"--input=a={rows}", "--vocab_size=50", "--eos_token=1")
    message = refusal(UsageError, *flags, folder=tmp_path)
    assert "--document_end: the rows of a end with id (1) already" in message
    assert "pass --document_end=none" in message
    plan(*flags, "--document_end=none")


@pytest.mark.parametrize("flag", ["--sampling=stochastok", "--special_tokens=tokens"])
def test_what_is_asked_of_texts_is_refused_of_rows_of_ids(
    tmp_path: Path, model: Path, flag: str
) -> None:
    rows = write_rows(tmp_path / "rows", ROWS)
    flags = (f"--input={rows}", f"--tokenizer={model}", flag)
    message = refusal(UsageError, *flags, folder=tmp_path)
    assert f"{flag}: the input is rows of ids" in message


def test_another_column_and_a_named_text_field_decide_what_rows_are(
    tmp_path: Path, plan: Plan, model: Path
) -> None:
    rows = write_rows(tmp_path / "rows", ROWS, column="tokens")
    flags = (f"--input={rows}", "--vocab_size=50", "--eos_token=1")
    assert refusal(UsageError, *flags, folder=tmp_path).startswith("--tokenizer is missing")
    plan(*flags, "--token_column=tokens")
    both = tmp_path / "both"
    both.mkdir()
    table = pa.table({"input_ids": pa.array([[1]], pa.list_(pa.uint16())), "text": ["w1 w2"]})
    pq.write_table(table, both / "a.parquet")
    text = plan(f"--input={both}", f"--tokenizer={model}", "--text_field=text")
    assert line_of(text, "sampling") == "sampling off"


def test_a_token_column_that_is_not_there_does_not_turn_rows_into_text(
    tmp_path: Path, texts: Path, model: Path
) -> None:
    flags = (f"--input={texts}", f"--tokenizer={model}", "--token_column=tokens")
    message = refusal(UsageError, *flags, folder=tmp_path)
    assert "--token_column=tokens: the first input file has no such column" in message
    message = refusal(UsageError, *flags, "--text_field=text", folder=tmp_path)
    assert "--text_field or --bytes says that the input is text" in message


def test_columns_that_rows_of_ids_lack_are_refused(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", ROWS)
    flags = (f"--input={rows}", "--vocab_size=50", "--eos_token=1")
    message = refusal(InputError, *flags, "--keep_fields=nope", folder=tmp_path)
    assert "--keep_fields=nope: the rows have no such column; they have input_ids, id" in message
    message = refusal(InputError, *flags, "--split=a=1%", "--split_by=nope", folder=tmp_path)
    assert "--split_by=nope: the rows have no such column" in message


def tokenized(folder: Path, texts: Path, model: Path, *flags: str) -> Path:
    pipelines.tokenize.run(
        [f"--input={texts}", f"--tokenizer={model}", f"--output={folder}", "--workers=1", *flags]
    )
    return folder


def test_ours_say_who_made_them_and_the_model_is_asked(
    tmp_path: Path, texts: Path, model: Path, plan: Plan
) -> None:
    ours = tokenized(tmp_path / "tokens", texts, model)
    text = plan(f"--input={ours}", "--sequence_length=64")
    assert line_of(text, "documents") == "documents end in </s> (1)"
    assert str(model) in line_of(text, "model")
    model.unlink()
    message = refusal(UsageError, f"--input={ours}", folder=tmp_path)
    assert "--document_end=eos: the EOS of these ids is unknown" in message
    assert "44 ids" in line_of(plan(f"--input={ours}", "--eos_token=1"), "model")


def test_ours_that_end_in_eos_are_not_ended_twice(
    tmp_path: Path, texts: Path, model: Path, plan: Plan
) -> None:
    ours = tokenized(tmp_path / "tokens", texts, model, "--add_eos")
    message = refusal(UsageError, f"--input={ours}", folder=tmp_path)
    assert "end with </s> (1) already, so documents would have it twice" in message
    text = plan(f"--input={ours}", "--document_end=none", "--sequence_length=64")
    assert line_of(text, "eos").startswith("eos </s> (id 1)")


def test_rows_of_different_models_are_refused(tmp_path: Path, texts: Path, model: Path) -> None:
    other = write_model(tmp_path / "other.json")
    one = tokenized(tmp_path / "one", texts, model)
    two = tokenized(tmp_path / "two", texts, other)
    flags = (f"--input=one={one}", f"--input=two={two}")
    message = refusal(UsageError, *flags, folder=tmp_path)
    assert "these rows were made by 2 models: " in message
    assert str(model) in message
    assert str(other) in message
    message = refusal(UsageError, f"--input=two={two}", f"--tokenizer={model}", folder=tmp_path)
    assert "the rows of two were made by" in message


# fields


def test_a_text_field_has_to_be_there(tmp_path: Path, texts: Path, model: Path) -> None:
    flags = (f"--input={texts}", f"--tokenizer={model}", "--text_field=txt")
    message = refusal(InputError, *flags, folder=tmp_path)
    assert "--text_field=txt: no record that was looked at has a field txt" in message
    assert "did you mean text?" in message


def test_a_field_to_split_by_has_to_be_there(tmp_path: Path, texts: Path, model: Path) -> None:
    flags = (f"--input={texts}", f"--tokenizer={model}", "--split=a=10%")
    message = refusal(InputError, *flags, "--split_by=grup", folder=tmp_path)
    assert "--split_by=grup: no record that was looked at has this field" in message
    assert "did you mean group?" in message


def test_a_field_can_decide_the_split_and_be_kept_or_not(
    plan: Plan, texts: Path, model: Path
) -> None:
    flags = (f"--input={texts}", f"--tokenizer={model}", "--split=a=10%", "--split_by=group")
    assert "split by the field group;" in line_of(plan(*flags), "split by")
    plan(*flags, "--keep_fields=group,id")
