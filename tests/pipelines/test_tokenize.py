"""Tokenizing through the whole command."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines.shuffle
import pipelines.tokenize
from pipelines.tokenize import run
from pipelines.verify import verify
from tests.pipelines.support import read_shards
from tests.pipelines.tokenized import (
    PIECES,
    best,
    make_corpus,
    rows,
    spell_by,
    texts_of,
    tokenize,
    write_model,
)
from transforms.errors import DataError, InputError, LosslessError, UsageError
from transforms.tokenization.models.load import load


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return make_corpus(tmp_path)


def spell(ids: list[int]) -> bytes:
    return spell_by(list(PIECES), ids)


@pytest.mark.parametrize("shards", [1, 3, 50])
def test_rows_are_the_best_segmentations_in_the_inputs_order(corpus: Path, shards: int) -> None:
    manifest = tokenize(corpus, f"--num_shards={shards}")
    texts = texts_of(corpus)
    assert rows(corpus / "out") == best(corpus, texts)
    assert len(list((corpus / "out/data").iterdir())) == shards
    assert manifest.records == len(texts) == 65
    assert verify(str(corpus / "out"))[1] == []


@pytest.mark.parametrize(
    ("law", "mode"),
    [  # processes take seconds to start
        ("exact", "multi_processing"),
        ("viterbi_sampling", "multi_threading"),
        ("nbest", "multi_threading"),
    ],
)
def test_what_is_drawn_spells_the_texts_and_follows_from_seed_epoch_and_place_alone(
    corpus: Path, law: str, mode: str
) -> None:
    flags = [f"--sampling={law}", "--alpha=0.05"]
    tokenize(corpus, *flags)
    drawn = rows(corpus / "out")
    assert [spell(ids).decode() for ids in drawn] == texts_of(corpus)
    assert drawn != best(corpus, texts_of(corpus))
    two = ("--workers=2", f"--direct_running_mode={mode}")
    tokenize(corpus, *flags, "--num_shards=7", *two, output="more")
    assert rows(corpus / "more") == drawn
    other = {}
    for name, flag in (("seed", "--seed=1"), ("epoch", "--epoch=1")):
        tokenize(corpus, *flags, flag, output=name)
        other[name] = rows(corpus / name)
        assert other[name] != drawn
    assert other["seed"] != other["epoch"]
    # the same text in another place is drawn apart
    long = [ids for ids in drawn if spell(ids).startswith(b"abababab")]
    assert len({tuple(ids[:60]) for ids in long}) > 1


def test_tokens_go_back_to_texts(corpus: Path) -> None:
    tokenize(corpus, "--sampling=exact", "--num_shards=2", "--add_bos", "--add_eos")
    assert all(ids[0] == 1 and ids[-1] == 2 for ids in rows(corpus / "out"))
    manifest = tokenize(corpus, "--decode", output="texts", source="out/data")
    lines = (corpus / "texts/data").glob("*")
    found = [json.loads(line) for path in sorted(lines) for line in path.read_text().splitlines()]
    assert found == [{"text": text} for text in texts_of(corpus)]
    assert manifest.tokens is not None
    assert manifest.tokens.decoded
    assert verify(str(corpus / "texts"))[1] == []


def test_bytes_that_are_no_text_are_not_decoded_to_less(corpus: Path) -> None:
    (corpus / "raw").write_bytes(b"caf\xe9\n")
    tokenize(corpus, "--bytes", source="raw")
    with pytest.raises(
        DataError, match=r"row 0: its tokens make bytes that aren't UTF-8, from byte 3"
    ):
        tokenize(corpus, "--decode", output="texts", source="out/data")


@pytest.mark.parametrize("ids", [None, [100, None]])
def test_nulls_are_not_decoded(corpus: Path, ids: Any) -> None:
    column = pa.array([[100], ids], pa.list_(pa.uint32()))
    pq.write_table(pa.table({"input_ids": column}), corpus / "nulls.parquet")
    with pytest.raises(DataError, match="row 1: expected ids in input_ids, got null"):
        tokenize(corpus, "--decode", source="nulls.parquet")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_model_that_changes_during_the_run_is_caught_by_who_loads_it_then(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setenv("DOVETAIL_FORK", "0")  # else workers have what the launcher was told of
    tokenize(corpus, output="expected")
    real = pipelines.tokenize.COMMAND.build

    def build(*given: Any) -> None:
        write_model(corpus / "model.json", {**PIECES, b"other": 3})
        real(*given)

    monkeypatch.setattr(pipelines.tokenize.COMMAND, "build", build)
    if workers == 1:  # it has been loaded already
        tokenize(corpus)
        assert read_shards(corpus / "out") == read_shards(corpus / "expected")
        return
    with pytest.raises(DataError, match=r"model\.json: the model changed during the run"):
        tokenize(corpus, f"--workers={workers}")
    assert not (corpus / "out").exists()


def test_a_record_too_large_for_memory_is_refused_by_its_place(corpus: Path) -> None:
    text = json.dumps({"text": "ab" * 8_000_000})
    (corpus / "long.jsonl").write_text(f'{{"text": "short"}}\n{text}\n')
    with pytest.raises(
        DataError, match=r"long.jsonl: the record at byte 18 has .* pass --memory=\d+MiB"
    ):
        tokenize(corpus, "--memory=470MiB", source="long.jsonl")


def test_entropy_depends_on_no_order_of_summing(corpus: Path) -> None:
    flags = ["--sampling=exact", "--alpha=0.123"]
    found = [
        tokenize(corpus, *flags, f"--num_shards={n}", output=f"out{n}").tokens
        for n in (1, 2, 7, 50)
    ]
    assert len({tokens.model_dump_json() for tokens in found if tokens}) == 1
    drawn = tokenize(corpus, "--sampling=viterbi_sampling", output="viterbi").tokens
    assert drawn is not None
    assert drawn.entropy_per_token is None


def test_versions_are_those_of_what_makes_tokens(corpus: Path) -> None:
    versions = tokenize(corpus).versions
    assert {"numba", "sentencepiece", "tokenizers", "unicode"} <= versions.keys()


def test_counts_are_those_of_the_rows(corpus: Path) -> None:
    manifest = tokenize(corpus, "--sampling=exact", "--alpha=0.3")
    tokens, texts, drawn = manifest.tokens, texts_of(corpus), rows(corpus / "out")
    assert tokens is not None
    assert tokens.records == len(texts)
    assert tokens.bytes == sum(len(text.encode()) for text in texts)
    assert tokens.tokens == sum(map(len, drawn))
    assert tokens.bytes_per_token == pytest.approx(tokens.bytes / tokens.tokens)
    lengths = [len(ids) for ids in drawn]
    for power, count in enumerate(tokens.lengths):
        low, high = (0, 1) if power == 0 else (1 << power - 1, 1 << power)
        assert count == sum(low <= length < high for length in lengths)
    assert (tokens.law, tokens.alpha) == ("exact", 0.3)
    assert tokens.entropy_per_token is not None
    assert tokens.entropy_per_token > 0
    assert tokens.model["sha256"] == load(str(corpus / "model.json")).digest


def test_entropy_and_comparison_are_of_what_they_say(tmp_path: Path) -> None:
    """Of ``ab`` alone: a + b, or ab, whose odds at alpha 1 are known."""
    write_model(tmp_path / "model.json", {b"a": 1, b"b": 1, b"ab": 1})
    (tmp_path / "in").write_text('{"text": "ab"}\n' * 4000)
    flags = ["--sampling=exact", "--alpha=1", "--seed=5"]
    tokens = tokenize(tmp_path, *flags).tokens
    assert tokens is not None
    split = 1 / 4  # (1/3)² of (1/3)² + 1/3
    per_record = -(split * math.log(split) + (1 - split) * math.log(1 - split))
    assert tokens.tokens / 4000 == pytest.approx(1 + split, abs=0.03)
    assert tokens.entropy_per_token == pytest.approx(per_record / (1 + split), rel=0.05)
    assert tokens.best_bytes_per_token == 2.0
    assert tokens.bytes_per_token == pytest.approx(2 / (1 + split), rel=0.03)


@pytest.mark.parametrize("form", ["parquet", "arrow", "arrow_stream"])
@pytest.mark.parametrize("dtype", [None, "uint16", "uint32"])
def test_shards_are_what_was_asked(corpus: Path, form: str, dtype: str | None) -> None:
    flags = [f"--output_format={form}", "--token_column=tokens"]
    tokenize(corpus, *flags, *([f"--token_dtype={dtype}"] if dtype else []))
    (path,) = (corpus / "out/data").iterdir()
    reader = {
        "parquet": pq.read_table,
        "arrow": lambda p: pa.ipc.open_file(p).read_all(),
        "arrow_stream": lambda p: pa.ipc.open_stream(p).read_all(),
    }[form]
    table = reader(path)
    assert table.column_names == ["tokens"]
    assert table.schema.field("tokens").type.value_type == pa.type_for_alias(dtype or "uint16")
    assert table.column("tokens").to_pylist() == best(corpus, texts_of(corpus))


def test_text_may_be_a_column_or_whole_lines_of_any_codec(corpus: Path) -> None:
    texts = [text.replace("\n", " ") for text in texts_of(corpus)]
    expected = best(corpus, texts)
    table = pa.table({"n": range(len(texts)), "body": texts})
    pq.write_table(table, corpus / "rows.parquet", row_group_size=9)
    tokenize(corpus, "--text_field=body", source="rows.parquet", output="rows")
    assert rows(corpus / "rows") == expected
    plain = "".join(f"{text}\n" for text in texts).encode()
    (corpus / "plain.txt.gz").write_bytes(gzip.compress(plain))
    tokenize(corpus, "--text_field=", source="plain.txt.gz", output="plain")
    assert rows(corpus / "plain") == expected


def test_text_may_be_in_arrays_of_json_and_in_several_fields(corpus: Path) -> None:
    texts = ["abc", "ab ab", "b\na"]
    records = [{"data": {"text": text}, "n": [float("nan")]} for text in texts]
    (corpus / "a.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(records, indent=2).encode())
    tokenize(corpus, "--text_field=data.text", "--num_shards=4", source="a.json", output="array")
    assert rows(corpus / "array") == best(corpus, texts)
    assert len(list((corpus / "array" / "data").iterdir())) == 1  # it can't be cut
    tokenize(corpus, "--text_field={data.text}b{data.text}", source="a.json", output="both")
    assert rows(corpus / "both") == best(corpus, [f"{text}b{text}" for text in texts])


def test_bytes_are_taken_as_they_are(corpus: Path) -> None:
    (corpus / "raw").write_bytes(b"\xff\xfeab\ne\xcc\x81\n")  # as UTF-16 begins
    tokenize(corpus, "--bytes", source="raw")
    assert [spell(ids) for ids in rows(corpus / "out")] == [b"\xff\xfeab", b"e\xcc\x81"]
    (corpus / "raw").write_bytes(b"\xfeab\n")
    with pytest.raises(
        DataError, match=r"raw: the line at byte 0 \(line 1\) is a bad record: .*UTF-8"
    ):
        tokenize(corpus, "--text_field=", source="raw", output="text")
    assert not (corpus / "text").exists()


"""Texts, of which a model of a, ab and ba covers no X, and no b that stands alone."""


def test_nothing_is_an_empty_dataset(corpus: Path) -> None:
    (corpus / "none.jsonl").write_text("")
    manifest = tokenize(corpus, source="none.jsonl")
    assert manifest.records == 0
    assert rows(corpus / "out") == []
    assert verify(str(corpus / "out"))[1] == []


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--alpha=0.1"], "--alpha=0.1: expected --sampling=.*exact.* with it"),
        (["--sampling=exact", "--alpha=-1"], "--alpha=-1.0: expected a number of at least 0"),
        (["--sampling=exact", "--alpha=nan"], "--alpha=nan: expected"),
        (["--sampling=exact", "--alpha=inf"], "--alpha=inf: expected"),
        (["--sampling=nbest", "--nbest_size=0"], "--nbest_size=0: expected 1 to"),
        (["--sampling=nbest", "--nbest_size=100000"], "--nbest_size=100000: expected 1 to"),
        (["--sampling=exact", "--nbest_size=5"], "--nbest_size=5: expected --sampling=nbest"),
        (["--sampling=best"], "--sampling=best"),
        (["--tokenizer=nothing.json"], "nothing.json: there is no such file"),
        (["--tokenizer=in/a.jsonl"], "not a model"),
        (["--whitespace=cpm"], "expected a SentencePiece unigram model for"),
        (["--newline_symbol=x"], "--whitespace=cpm"),
        (["--bytes", "--text_field=text"], "--bytes and --text_field=text"),
        (["--decode", "--alpha=1"], "--alpha=1.0 and --decode"),
        (["--decode", "--output_format=arrow"], "--output_format=arrow and --decode"),
        (["--decode", "--add_eos"], "--add_eos and --decode"),
        (["--sampling=exact", "--alpha=500000"], "--alpha=500000.0: expected alpha times"),
        (["--decode"], "--decode and --token_column=input_ids: .*lines"),
        (["--token_dtype=uint8"], "--token_dtype=uint8"),
        (["--compression=bzip2"], "--compression=bzip2"),
        (["--runner=FlinkRunner"], "--workers is for --runner=DirectRunner"),
    ],
)
@pytest.mark.parametrize("plan", [(), ("--plan",)], ids=["run", "plan"])
def test_what_can_not_be_asked_is_refused_before_any_work(
    corpus: Path,
    flags: list[str],
    words: str,
    plan: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(corpus)
    with pytest.raises((UsageError, InputError), match=words):
        tokenize(corpus, *flags, *plan)
    assert not (corpus / "out").exists()


def test_rows_need_a_column(corpus: Path) -> None:
    pq.write_table(pa.table({"body": ["x"]}), corpus / "rows.parquet")
    with pytest.raises(InputError, match="expected the name of one of their columns: body"):
        tokenize(corpus, "--text_field=", source="rows.parquet")
    with pytest.raises((InputError, UsageError), match="text"):
        tokenize(corpus, source="rows.parquet")


def test_a_plan_writes_nothing(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [f"--input={corpus / 'in'}", f"--tokenizer={corpus / 'model.json'}", "--plan"]
    assert run([*flags, f"--output={corpus / 'out'}"]) is None
    assert "a BytePiece model" in capsys.readouterr().out
    assert not (corpus / "out").exists()


@pytest.mark.parametrize("fault", ["lost", "doubled", "another"])
def test_rows_that_are_not_what_was_made_are_caught(
    corpus: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transforms.datasets import map_shards

    real = map_shards._of_source

    def of_source(block: pa.RecordBatch, *given: Any) -> pa.RecordBatch:
        block = real(block, *given)
        last = len(block) - 1
        return block.take(
            {"lost": [*range(last)], "doubled": [0, *range(last + 1)]}.get(
                fault, [0, 0, *range(2, last + 1)]
            )
        )

    monkeypatch.setattr(map_shards, "_of_source", of_source)
    with pytest.raises(LosslessError):
        tokenize(corpus)
    assert not (corpus / "out").exists()


def _change_a_page(patch: pytest.MonkeyPatch) -> None:
    from transforms.formats import parquet_ids

    real = parquet_ids.id_pages

    def id_pages(pieces: list[pa.Array]) -> Any:
        for page in real(pieces):
            page.body[len(page.body) // 2] ^= 1
            yield page

    patch.setattr(parquet_ids, "id_pages", id_pages)


def _change_a_batch(patch: pytest.MonkeyPatch) -> None:
    from transforms.formats import tables

    real = tables.restore

    def restore(rows: pa.StructArray, *given: Any) -> pa.RecordBatch:
        ids = rows.field(0).values.to_numpy().copy()
        ids[len(ids) // 2] ^= 1
        lists = pa.ListArray.from_arrays(rows.field(0).offsets, pa.array(ids))
        return real(pa.StructArray.from_arrays([lists], fields=list(rows.type)), *given)

    patch.setattr(tables, "restore", restore)


@pytest.mark.parametrize(
    ("form", "change"), [("parquet", _change_a_page), ("arrow", _change_a_batch)]
)
def test_ids_that_change_when_they_are_encoded_are_caught(
    corpus: Path, form: str, change: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch)
    with pytest.raises(LosslessError, match="as soon as it was written"):
        tokenize(corpus, f"--output_format={form}")
    assert not (corpus / "out").exists()


@pytest.mark.parametrize("field", ["records", "bytes", "lengths", "tokens"])
@pytest.mark.parametrize("flags", [(), ("--add_bos", "--add_eos"), ("--token_dtype=uint32",)])
def test_a_manifest_whose_counts_were_changed_is_found(
    corpus: Path, field: str, flags: tuple[str, ...]
) -> None:
    tokenize(corpus, *flags)
    assert verify(str(corpus / "out"))[1] == []
    path = corpus / "out/manifest.json"
    content = json.loads(path.read_text())
    old = content["tokens"][field]
    content["tokens"][field] = [*old, 1] if isinstance(old, list) else old + 1
    path.write_text(json.dumps(content))
    assert any("manifest: its tokens have" in line for line in verify(str(corpus / "out"))[1])


@pytest.mark.parametrize("end", [5, None, {"ids": 7}, {"ids": [2], "tokens": ["</s>"]}])
def test_of_a_manifest_whose_eos_is_none_it_is_said_that_it_cannot_be_read(
    tmp_path: Path, end: object
) -> None:
    (tmp_path / "in.txt").write_bytes(b"a\nb\n")
    write_model(tmp_path / "model.json", {b"a": 1, b"b": 1})
    out = tmp_path / "o"
    flags = ["--text_field=", "--add_eos", "--eos_token=2", f"--output={out}"]
    run([f"--input={tmp_path / 'in.txt'}", f"--tokenizer={tmp_path / 'model.json'}", *flags])
    assert verify(str(out))[1] == []
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["tokens"]["model"]["eos"]["ids"] == [2]
    manifest["tokens"]["model"]["eos"] = end
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=r"the manifest can.t be read: tokens\.model"):
        verify(str(out))
