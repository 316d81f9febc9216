"""Tokenizing through the whole command."""

from __future__ import annotations

import base64
import gzip
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sentencepiece
import tokenizers

import pipelines.shuffle
import pipelines.tokenize
from pipelines.inputs.made_by import tokenizers_of
from pipelines.jobs import command as jobs_command
from pipelines.tokenize import run
from pipelines.verify import verify
from tests.pipelines.support import read_shards
from tests.transforms.tokenization.models.oracle import Reference
from transforms.datasets.listing import list_sources
from transforms.datasets.manifest import Manifest
from transforms.errors import DataError, InputError, LosslessError, UsageError
from transforms.tokenization.models.load import load
from transforms.workers.progress import read_progress

PIECES = {bytes([i]): 1 for i in range(256)} | {
    b"ab": 30,
    b"abc": 40,
    b"bc": 25,
    b"the ": 60,
    "天".encode(): 20,
    "今天".encode(): 15,
    b"\n\n": 3,
}
ONE = "--workers=1"
TEXTS = ["abcabc the abc", "今天 abc", "", "line\n\nbc the \nend", "ab" * 60, "\U0001f600 é"]


def write_model(path: Path, pieces: dict[bytes, int] = PIECES) -> Path:
    """Write a BytePiece model."""
    content = {
        base64.b64encode(piece).decode(): [i, piece.decode(errors="replace"), count]
        for i, (piece, count) in enumerate(pieces.items(), start=3)
    }
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return make_corpus(tmp_path)


def make_corpus(root: Path) -> Path:
    """Put a model and two files of JSON lines into a folder."""
    write_model(root / "model.json")
    folder = root / "in"
    folder.mkdir()
    for name, repeat in (("a.jsonl", 40), ("b.jsonl", 25)):
        lines = [
            json.dumps({"id": i, "text": f"{TEXTS[i % len(TEXTS)]}{i or ''}"})
            for i in range(repeat)
        ]
        (folder / name).write_text("\n".join(lines) + "\n")
    return root


def texts_of(corpus: Path) -> list[str]:
    files = sorted((corpus / "in").iterdir())
    return [json.loads(line)["text"] for file in files for line in file.read_text().splitlines()]


def tokenize(corpus: Path, *flags: str, output: str = "out", source: str = "in") -> Manifest:
    found = run(
        [
            f"--input={corpus / source}",
            f"--tokenizer={corpus / 'model.json'}",
            f"--output={corpus / output}",
            ONE,
            *flags,
        ]
    )
    assert found is not None
    return found


def rows(folder: Path, column: str = "input_ids") -> list[Any]:
    """Return a column of all shards, in the order of their names."""
    return [
        row
        for path in sorted((folder / "data").iterdir())
        for row in pq.read_table(path).column(column).to_pylist()
    ]


def best(corpus: Path, texts: list[str]) -> list[list[int]]:
    """Return the best segmentations, by the plain oracle."""
    model: Any = load(str(corpus / "model.json"))
    return Reference(model.vocabulary).encode(model.normalizer(texts))


def spell_by(pieces: list[bytes], ids: list[int]) -> bytes:
    return b"".join(pieces[i - 3] for i in ids)


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


BAD = '{"text": "abc"}\nno json\n{"other": 1}\n{"text": 5}\n{"text": ""}\n'


@pytest.mark.parametrize("how", ["skip", "quarantine"])
def test_bad_records_are_counted_and_left_out(corpus: Path, how: str) -> None:
    (corpus / "bad.jsonl").write_text(BAD)
    with pytest.raises(
        DataError, match=r"bad.jsonl: the line at byte 16 \(line 2\) is a bad record"
    ):
        tokenize(corpus, source="bad.jsonl")
    manifest = tokenize(corpus, f"--on_bad_record={how}", source="bad.jsonl")
    assert rows(corpus / "out") == [*best(corpus, ["abc"]), []]
    assert manifest.sources[0].dropped is not None
    assert manifest.sources[0].dropped.records == 3
    assert sum(entry.records for entry in manifest.quarantine) == (3 if how == "quarantine" else 0)
    assert verify(str(corpus / "out"))[1] == []


UNCOVERED = ["ab", "abXa", "", "ba", "X", "aab"]
"""Texts, of which a model of a, ab and ba covers no X, and no b that stands alone."""
NO_PIECE = r"no piece for the byte 0x58, at byte 2 of its normalized text"


def uncovered(folder: Path, form: str) -> tuple[list[str], list[Any]]:
    """Write texts to a file and return flags, and what the quarantine is to hold of the bad ones."""
    write_model(folder / "model.json", {b"a": 1, b"ab": 1, b"ba": 1})
    bad = ["abXa", "X"]
    if form == "rows":
        table = pa.table({"n": range(len(UNCOVERED)), "text": UNCOVERED})
        pq.write_table(table, folder / "in.parquet", row_group_size=2)
        return ["--keep_fields=n"], [
            {"text": text.encode(), "n": 1 + 3 * (text == "X")} for text in bad
        ]
    lines = UNCOVERED if form != "json" else [json.dumps({"text": text}) for text in UNCOVERED]
    path = folder / ("in.txt.gz" if form == "gzip" else "in.txt")
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if form == "gzip" else data)
    flags = {"json": [], "bytes": ["--bytes"]}.get(form, ["--text_field="])
    return flags, [line.encode() for line in lines if "X" in line]


@pytest.mark.parametrize(
    ("form", "law"),
    [
        ("json", "off"),
        ("json", "exact"),
        ("rows", "exact"),
        ("lines", "off"),
        ("gzip", "nbest"),
        ("bytes", "viterbi_sampling"),
    ],
)
def test_text_that_no_piece_covers_is_a_bad_record(tmp_path: Path, form: str, law: str) -> None:
    flags, bad = uncovered(tmp_path, form)
    source = {"rows": "in.parquet", "gzip": "in.txt.gz"}.get(form, "in.txt")
    flags.append(f"--sampling={law}")
    with pytest.raises(DataError, match=rf"{source}: .* is a bad record: .*{NO_PIECE}"):
        tokenize(tmp_path, *flags, source=source)
    assert not (tmp_path / "out").exists()
    for how in ("skip", "quarantine"):
        folder = tmp_path / how
        manifest = tokenize(tmp_path, *flags, f"--on_bad_record={how}", source=source, output=how)
        assert [spell_by([b"a", b"ab", b"ba"], ids) for ids in rows(folder)] == [
            b"ab", b"", b"ba", b"aab"
        ]  # fmt: skip
        dropped = manifest.sources[0].dropped
        assert dropped is not None
        assert (manifest.records, dropped.records) == (4, 2)
        assert verify(str(folder))[1] == []
        assert bool(manifest.quarantine) == (how == "quarantine")
    kept = [
        row
        for entry in manifest.quarantine
        for row in pq.read_table(tmp_path / "quarantine" / entry.path).to_pylist()
    ]
    assert [row["record"] for row in kept] == bad
    assert {row["file"] for row in kept} == {f"file://{tmp_path / source}"}
    places = [1, 4] if form == "rows" else [len(line) + 1 for line in lines_before(form)]
    assert [row["position"] for row in kept] == places
    assert [re.search(r"0x58, at byte (\d)", row["reason"])[1] for row in kept] == ["2", "0"]
    if form == "rows":
        assert rows(tmp_path / "quarantine", "n") == [0, 2, 3, 5]


def test_bad_records_of_every_kind_are_left_out_together(tmp_path: Path) -> None:
    write_model(tmp_path / "model.json", {b"a": 1, b"ab": 1})
    good = '{"text": "ab"}'
    lines = [good, '{"text": "X"}', "no json", good, '{"text": 1}', '{"text": "b"}', "\udcff", good]
    data = "\n".join([*lines, '{"text": "aX"}', "{}"]).encode(errors="surrogateescape")
    (tmp_path / "in.jsonl").write_bytes(data)
    manifest = tokenize(tmp_path, "--on_bad_record=quarantine", "--num_shards=2", source="in.jsonl")
    assert rows(tmp_path / "out") == [[4]] * 3
    kept = [
        row
        for entry in manifest.quarantine
        for row in pq.read_table(tmp_path / "out" / entry.path).to_pylist()
    ]
    every = data.split(b"\n")
    assert sorted(row["record"] for row in kept) == sorted(x for x in every if x != good.encode())
    assert all(data[row["position"] :].startswith(row["record"]) for row in kept)
    assert verify(str(tmp_path / "out"))[1] == []


def lines_before(form: str) -> list[str]:
    """Return what stands before the bad lines, save its last newline."""
    lines = UNCOVERED if form != "json" else [json.dumps({"text": text}) for text in UNCOVERED]
    return ["\n".join(lines[:place]) for place in (1, 4)]


def test_two_sources_with_texts_that_no_piece_covers_are_counted_apart(tmp_path: Path) -> None:
    write_model(tmp_path / "model.json", {b"a": 1, b"ab": 1})
    for name, text in (("x", "a\nb\nab\n"), ("y", "no\nno\na\n")):
        (tmp_path / name).write_text(text)
    manifest = run(
        [
            *(f"--input={name}={tmp_path / name}" for name in "xy"),
            *("--text_field=", "--on_bad_record=quarantine", "--workers=1"),
            f"--tokenizer={tmp_path / 'model.json'}",
            f"--output={tmp_path / 'out'}",
        ]
    )
    assert manifest is not None
    assert [(s.digest.records, s.dropped.records) for s in manifest.sources if s.dropped] == [
        (2, 1),
        (1, 2),
    ]
    assert verify(str(tmp_path / "out"))[1] == []


def test_a_text_of_any_bytes_is_a_bad_record_where_the_model_needs_text(corpus: Path) -> None:
    (corpus / "odd.jsonl").write_bytes(b'{"text": "abc"}\n{"text": "\xff"}\n{"text": "ab"}\n')
    (corpus / "odd.txt").write_bytes(b"abc\n\xff\nab\n")
    column = pa.array([b"abc", b"\xff", b"ab"]).view(pa.string())
    pq.write_table(pa.table({"text": column}), corpus / "odd.parquet")
    for name in ("odd.jsonl", "odd.txt", "odd.parquet"):
        flags = ["--text_field="] if name == "odd.txt" else []
        with pytest.raises(DataError, match=rf"{name}: .* is a bad record: .*(UTF-8|JSON)"):
            tokenize(corpus, *flags, source=name)
        flags.append("--on_bad_record=quarantine")
        manifest = tokenize(corpus, *flags, source=name, output=name + ".out")
        assert rows(corpus / f"{name}.out") == best(corpus, ["abc", "ab"])
        assert [entry.records for entry in manifest.quarantine] == [1]
        assert verify(str(corpus / f"{name}.out"))[1] == []


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
    with pytest.raises(InputError, match="expected the name of a column of body"):
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
    assert any("manifest: tokens have" in line for line in verify(str(corpus / "out"))[1])


def trained_model(folder: Path, texts: list[str], **options: Any) -> Path:
    """Train a SentencePiece model."""
    sink = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=sink,
        model_type="unigram",
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
        **{"vocab_size": 60, **options},
    )
    path = folder / "model.json"  # its name has no say
    path.write_bytes(sink.getvalue())
    return path


ENGLISH = ["the quick brown fox jumps over a lazy dog"] * 20


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("law", ["off", "exact"])
def test_a_model_of_another_language_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, law: str, fallback: bool
) -> None:
    options = {"byte_fallback": True, "vocab_size": 330} if fallback else {}
    trained_model(tmp_path, ENGLISH, **options)
    caplog.set_level("WARNING", logger="dovetail")
    for name, text, warned in (
        ("mine", "the quick fox", ""),
        ("few", "the quick brown fox jumps over ж", ""),  # 1 of 34
        ("other", "今天天气", r"80.0% of the text is unknown to the model \(4 of 5\)"),
        ("more", "foxes ж", r"12.5% of the text is unknown to the model \(1 of 8\)"),
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


def test_words_without_tokens_are_bad_records(tmp_path: Path) -> None:
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "model.json"))
    (tmp_path / "in").write_text("a\na b\n\na a\n")
    with pytest.raises(
        DataError, match=r"the line at byte 2 \(line \d\) is a bad record: .*tokenizers package"
    ):
        tokenize(tmp_path, "--text_field=")
    manifest = tokenize(tmp_path, "--text_field=", "--on_bad_record=skip")
    assert rows(tmp_path / "out") == [[0], [], [0, 0]]
    assert manifest.sources[0].dropped is not None
    assert manifest.sources[0].dropped.records == 1


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


def shuffle(root: Path, *flags: str, output: str) -> Manifest:
    found = pipelines.shuffle.run([*flags, f"--output={root / output}", ONE])
    assert found is not None
    return found


def test_which_tokenizer_made_ids_goes_on_with_them(
    corpus: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tokenize(corpus, "--sampling=exact", "--alpha=0.3", "--add_eos", "--num_shards=2")
    assert made.tokens is not None
    caplog.set_level("INFO", logger="dovetail")
    first = shuffle(corpus, f"--input={corpus / 'out'}", output="first")
    again = shuffle(corpus, f"--input=x={corpus}/first/data/*", "--epoch=1", output="again")
    for manifest, source in ((first, "default"), (again, "x")):
        assert manifest.tokenizers is not None
        (entry,) = manifest.tokenizers
        assert (entry.sources, entry.column, entry.law, entry.alpha) == (
            *([source], "input_ids"),
            *("exact", 0.3),
        )
        assert entry.model == made.tokens.model
        assert entry.model["eos"]["ids"] == [2]
    sha256 = made.tokens.model["sha256"][:12]
    said = f"input_ids of x: made by {corpus}/model.json, a BytePiece model (SHA-256 {sha256}…)"
    assert said in caplog.messages
    assert verify(str(corpus / "again"))[1] == []
    assert shuffle_plan(corpus, "first", capsys).count("made by") == 1
    tokenize(corpus, "--decode", source="again", output="texts")
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == []
    assert sorted(decoded(corpus / "texts")) == sorted(texts_of(corpus))

    # another model's ids in one mixture, and another model to decode by
    other = corpus / "other"
    other.mkdir()
    write_model(other / "model.json", PIECES | {b"xyz": 9})
    tokenize(other, source=str(corpus / "in"))
    mixed = shuffle(
        corpus, f"--input=a={corpus / 'out'}", f"--input=b={other / 'out'}", output="mixed"
    )
    assert [entry.sources for entry in mixed.tokenizers or ()] in (
        [["a"], ["b"]],
        [["b"], ["a"]],
    )
    assert "ids were made by different tokenizers" in caplog.text
    caplog.clear()
    tokenize(other, "--decode", source=str(corpus / "out"), output="wrong")
    assert re.search(
        r"model.json \(SHA-256 .* is not the model that made the ids: input_ids of default",
        caplog.text,
    )


def shuffle_plan(root: Path, source: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    pipelines.shuffle.run([f"--input={root / source}", f"--output={root}/plan", "--plan"])
    return capsys.readouterr().out


def decoded(folder: Path) -> list[str]:
    lines = [p.read_text().splitlines() for p in sorted((folder / "data").iterdir())]
    return [json.loads(line)["text"] for part in lines for line in part]


def test_what_says_of_no_tokenizer_is_shuffled_as_it_lies(corpus: Path) -> None:
    tokenize(corpus)
    manifest = corpus / "out/manifest.json"
    text = manifest.read_text()
    files = list_sources({"x": [f"{corpus}/out/data/*"]})
    schema = pq.read_schema(next((corpus / "out/data").iterdir()))
    assert [entry.sources for entry in tokenizers_of(files, schema)] == [["x"]]
    assert tokenizers_of(files, None) == []
    assert tokenizers_of(files, pa.schema([("other", pa.list_(pa.int32()))])) == []
    manifest.unlink()
    assert tokenizers_of(files, schema) == []
    nameless = text.replace(
        '"sha256": "' + json.loads(text)["tokens"]["model"]["sha256"], '"sha": "'
    )
    column = {**json.loads(text), "recipe": {"token_column": ["x"]}}
    broken = (text.replace('"model"', '"mode"'), nameless, json.dumps(column))
    for other in ("{", "[]", "{}", '{"shards": []}', *broken):
        manifest.write_text(other)
        assert tokenizers_of(files, schema) == []
    (corpus / "elsewhere").write_text(text)
    manifest.unlink()
    manifest.symlink_to(corpus / "elsewhere")
    assert tokenizers_of(files, schema) == []


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
    with pytest.raises(DataError, match=r"not a manifest that can be read: tokens\.model"):
        verify(str(out))


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
