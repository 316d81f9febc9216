"""What a run of prepare says at its end and in its manifest, and what the manifest makes again."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import dovetail
import pipelines.tokenize
from pipelines.datasets.in_short import in_short
from pipelines.prepare import run
from tests.pipelines.support import read_tree
from tests.pipelines.test_prepare_plan import (
    WORDS,
    tokenized,
    write_rows,
    write_texts,
    write_tokenizer,
)
from transforms.datasets.prepared import PreparedManifest, passes_of
from transforms.errors import UsageError

TEXTS = [" ".join(WORDS[: i % 30]) for i in range(60)] + ["w1 </s> w2", "<s> w3", "w1 </s>"]
FLAGS = (
    "--sequence_length=32",
    "--packing=best_fit",
    "--output_format=parquet,flat",
    "--workers=1",
)


def prepare(folder: Path, *flags: str, output: str = "out") -> PreparedManifest:
    found = run([*flags, f"--output={folder / output}"])
    assert found is not None
    return found


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    texts = write_texts(tmp_path / "in", TEXTS)
    return [
        f"--input={texts}",
        f"--tokenizer={write_tokenizer(tmp_path / 'tokenizer.json')}",
        *FLAGS,
    ]


def test_special_ids_and_control_strings_are_said_and_stand_in_the_manifest(
    tmp_path: Path, given: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "dovetail")
    manifest = prepare(tmp_path, *given, "--add_bos", "--split=validation=10%")
    assert {role: (end.ids, end.tokens) for role, end in manifest.special.items()} == {
        "eos": ([1], ["</s>"]),
        "bos": ([0], ["<s>"]),
        "pad": ([2], ["<pad>"]),
    }
    assert manifest.tokens is not None
    found = manifest.tokens.control_strings or {}
    assert {text: (entry.records, entry.times) for text, entry in found.items()} == {
        "</s>": (2, 2),
        "<s>": (1, 1),
    }
    (about,) = {(one["document_begin"], one["document_end"]) for one in manifest.formats.values()}
    assert about == (0, 1)
    text = caplog.text
    for line in (
        "eos: </s> (id 1), by the model's file",
        "bos: <s> (id 0), by the model's file",
        "pad: <pad> (id 2), by a usual name",
        "control strings found in texts, treated as text: '</s>' 2 times in 2 records",
        "datasets.load_dataset",
        "numpy.memmap",
        f"show {tmp_path}/out",
        f"verify {tmp_path}/out",
    ):
        assert line in text, line
    assert text.count("without tokens left out") == len([s for s in manifest.splits if s.empty]) > 0


def test_what_was_asked_and_what_came_is_said_of_every_source_and_stage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "dovetail")
    for name in ("a", "b"):
        write_texts(tmp_path / name, [" ".join(WORDS[:10]) for _ in range(100)])
    recipe = tmp_path / "mix.yaml"
    recipe.write_text(
        f"sources: {{a: {tmp_path}/a, b: {tmp_path}/b}}\nsequence_length: 16\n"
        f"tokenizer: {write_tokenizer(tmp_path / 'tokenizer.json')}\n"
        "stages:\n  - {weights: {a: 1, b: 0}, until: {records: 20}}\n"
        "  - {weights: {a: 0.5, b: 0.5}, interleave: stratified, until: {records: 40}}\n"
    )
    manifest = prepare(tmp_path, f"--recipe={recipe}", "--workers=1")
    (train,) = manifest.splits
    assert [stage.documents for stage in train.stages] == [20, 40]
    assert "mixture of train, stage 0, rows 0 to " in caplog.text
    first, last = (
        {source.source: (source.asked, source.documents) for source in stage.sources}
        for stage in train.stages
    )
    assert first["a"] == (1.0, 20)
    assert last == {"a": (0.5, 20), "b": (0.5, 20)}
    # of 100 records each: 20 and 20 of one pass of a, and 20 of b
    passes = [[passes_of(train, stage, source) for source in (0, 1)] for stage in (0, 1)]
    assert passes == [[(0, 1, 80), (0, 0, 100)], [(0, 1, 60), (0, 1, 80)]]
    (said,) = (line for line in caplog.messages if line.startswith("b ") and "50.00%" in line)
    assert said.endswith(" 1st partial              80"), said


def test_a_split_that_comes_short_is_warned_of(
    tmp_path: Path, given: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    write_texts(tmp_path / "in", ["w1 w2"] * 50 + ["w3"])
    manifest = prepare(tmp_path, *given, "--split=test=20")
    test = next(split for split in manifest.splits if split.split == "test")
    assert test.records < 20
    assert f"test has {test.records} of the 20 records requested" in caplog.text


def test_tokens_that_are_lost_are_warned_of(
    tmp_path: Path, given: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    write_texts(tmp_path / "in", [" ".join(WORDS)] * 30)
    manifest = prepare(tmp_path, *given, "--long=truncate")
    (train,) = manifest.splits
    assert train.dropped == 30 * (len(WORDS) - 32)
    assert f"train: {train.dropped} tokens in no row" in caplog.text


def test_a_manifest_makes_its_dataset_again(tmp_path: Path, given: list[str]) -> None:
    flags = ("--split=validation=10%", "--rows_multiple_of=4", "--eos_at_cuts", "--epoch=3")
    prepare(tmp_path, *given, *flags)
    again = f"--recipe={tmp_path}/out/manifest.json"
    prepare(tmp_path, again, "--workers=1", output="again")
    one, two = (read_tree(tmp_path / name) for name in ("out", "again"))
    assert {k: v for k, v in one.items() if k != "manifest.json"} == {
        k: v for k, v in two.items() if k != "manifest.json"
    }
    with pytest.raises(UsageError, match="dovetail prepare made this dataset"):
        pipelines.tokenize.run([again, f"--output={tmp_path}/no"])
    with pytest.raises(UsageError, match="dovetail shuffle made this dataset"):
        shuffled = dovetail.shuffle(input=tmp_path / "in", output=tmp_path / "s", workers=1)
        assert shuffled is not None
        run([f"--recipe={tmp_path}/s/manifest.json", f"--output={tmp_path}/no"])


def test_python_gives_the_manifest_and_takes_it(tmp_path: Path, given: list[str]) -> None:
    manifest = prepare(tmp_path, *given)
    again = dovetail.prepare(recipe=manifest, output=tmp_path / "again", workers=1, quiet=True)
    assert isinstance(again, dovetail.PreparedManifest)
    assert [shard.digest for shard in again.shards] == [shard.digest for shard in manifest.shards]


def test_the_model_of_rows_of_ids_is_handed_on(tmp_path: Path) -> None:
    texts = write_texts(tmp_path / "in", TEXTS)
    model = write_tokenizer(tmp_path / "tokenizer.json")
    ours = tokenized(tmp_path / "tokens", texts, model)
    dovetail.shuffle(input=ours, output=tmp_path / "shuffled", workers=1, quiet=True)
    manifest = prepare(tmp_path, f"--input={tmp_path}/shuffled", *FLAGS)
    assert manifest.model is not None
    assert manifest.model["sha256"] == digest_of(model)
    assert manifest.special["eos"].ids == [1]
    assert manifest.tokens is None
    assert {one["tokenizer_sha256"] for one in manifest.formats.values()} == {digest_of(model)}


def digest_of(model: Path) -> str:
    """Return the SHA-256 by which a model is known."""
    return dovetail.Tokenizer.load(str(model)).model.digest


def test_columns_beside_rows_of_ids_can_be_kept(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", [[5, 6, 7 + i % 3] for i in range(40)])
    flags = (f"--input=one={rows}", "--vocab_size=50", "--eos_token=1", "--keep_fields=id")
    prepare(tmp_path, *flags, "--keep_source", "--workers=1")
    found = pq.read_table(tmp_path / "out" / "data").to_pydict()
    assert sorted(found["id"]) == list(range(40))
    assert {*found["source"]} == {"one"}
    by_id = dict(zip(found["id"], found["input_ids"], strict=True))
    assert all(ids == [5, 6, 7 + i % 3, 1] for i, ids in by_id.items())


def test_what_of_the_input_went_into_no_document_is_said(
    tmp_path: Path, given: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Bad records, blank lines and byte order marks: by the run, in the manifest, and by show."""
    caplog.set_level("INFO", "dovetail")
    (tmp_path / "bad.jsonl").write_bytes(
        b'\xef\xbb\xbf{"text": "w1 w2"}\n\n\n{"text": 3}\nno JSON\n'
    )
    asked = [*given, f"--input={tmp_path}/bad.jsonl", "--on_bad_record=quarantine"]
    manifest = prepare(tmp_path, *asked)
    assert (manifest.blank_lines, manifest.byte_order_marks, manifest.trailing_bytes) == (2, 1, 0)
    for line in (
        "2 bad records left out (18 bytes); they are kept in quarantine/",
        "2 blank lines skipped: in JSON lines they are no records",
        "byte order mark removed at the beginning of 1 file",
    ):
        assert line in caplog.text, line
        assert line in list(in_short(manifest, "out")), line


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (
            ["--packing=buckets", "--output_format=megatron"],
            "--packing=buckets has no effect on these formats: megatron holds whole documents",
        ),
        (
            ["--rows=2", "--num_shards=3", "--output_format=flat", "--header=llmc"],
            "flat: 1 shard without ids, which llm.c can't open; lower --num_shards",
        ),
    ],
)
def test_files_that_are_hardly_meant_are_warned_of(
    flags: list[str],
    says: str,
    tmp_path: Path,
    given: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    prepare(tmp_path, *given[:2], "--sequence_length=32", "--workers=1", *flags)
    assert says in caplog.text
    caplog.clear()
    prepare(tmp_path, *given, output="usual")
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_where_train_is_empty_another_split_is_opened(tmp_path: Path, given: list[str]) -> None:
    manifest = prepare(tmp_path, *given[:2], "--output_format=megatron", "--split=val=1000")
    text = "\n".join(in_short(manifest, "out"))
    assert "--data-args-path=weights-val.txt" in text
    assert "weights.json" not in text
