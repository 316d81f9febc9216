"""``show``: the manifest in short, and any row of any dataset, decoded, in a few screens."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import dovetail
import pipelines.show
import pipelines.tokenize
from pipelines.datasets.token_texts import INSIDE, TokenTexts
from pipelines.datasets.visible import SHOWN, TokenLines, escape, show_record
from tests.pipelines.datasets.prepared import write_prepared
from tests.pipelines.support import run, write_tree
from tests.pipelines.tokenized import ENGLISH, trained_model, write_model
from tests.transforms.trainers.support import (
    EOS,
    KINDS,
    accepts,
    dataset_of,
    make_rows,
    rows_for,
)
from transforms.errors import DataError, UsageError
from transforms.kernels.packing.rows import Rows
from transforms.tokenization.models.unigram import SPACE
from transforms.tokenization.tokenizer import Tokenizer
from transforms.trainers.formats import FORMATS

CASES = [
    pytest.param(name, kind, id=f"{name}-{kind}")
    for name, form in FORMATS.items()
    for kind in KINDS
    if accepts(form, dataset_of(kind))
]


@pytest.fixture
def out(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Return a function that shows a dataset and returns what was printed."""

    def shown(*words: object) -> str:
        capsys.readouterr()
        pipelines.show.run([str(word) for word in words])
        return capsys.readouterr().out

    return shown


def _ids_in(text: str) -> list[int]:
    """Return the ids of all lines that hold nothing but ids, and names of special ones."""
    names = {"<eos>": EOS, "<bos>": 1, "<pad>": 2}
    lines = [line.split() for line in text.splitlines()[1:] if "┌" not in line]
    return [names.get(word) or int(word) for words in lines for word in words]


@pytest.mark.parametrize(("form", "kind"), CASES)
def test_every_row_of_every_format_is_found(tmp_path: Path, out: Any, form: str, kind: Any) -> None:
    write_prepared(tmp_path, formats=[form], kind=kind, shards=3)
    dataset, writer = dataset_of(kind), FORMATS[form]
    if not writer.keeps(dataset).rows:
        for row in (0, 1):
            with pytest.raises(UsageError, match=rf"--row={row}: {form} files don't record where"):
                out(tmp_path, f"--row={row}")
        return
    for split, count, seed in (("train", 20, 0), ("validation", 5, 1)):
        seen = writer.seen(rows_for(writer, dataset, count=count, seed=seed), dataset)
        for row in range(0, len(seen), 3):
            one = seen.slice(row, row + 1)
            text = out(tmp_path, f"--row={row}", f"--split={split}", "--full")
            filled = writer.keeps(dataset).pieces  # then filler is told from ids
            end = int(one.lengths.sum()) if filled else len(one.ids)
            assert _ids_in(text) == one.ids[:end].tolist()
            if writer.keeps(dataset).pieces:
                lengths = re.findall(r"┌ ([\d,]+) ids?\n", text)
                assert [int(each) for each in lengths] == one.lengths.tolist()
    with pytest.raises(UsageError, match=r"--row=99: there are 20 \w+ of train; .* 0 to 19"):
        out(tmp_path, "--row=99")


def test_where_no_row_begins_the_first_ids_are_shown(
    tmp_path: Path, out: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines.show, "_FIRST_IDS", 7)
    write_prepared(tmp_path, formats=["flat"], kind="none", shards=3)
    file = next(iter(sorted(tmp_path.rglob("train-00000*.bin"))))
    ids = np.fromfile(file, "<u2").tolist()
    assert len(ids) > 7
    text = out(tmp_path)
    assert "the first 7 ids of train, flat (data/train-00000-of-00003.bin), which doesn't" in text
    assert "row 0" not in text
    assert f"the first {len(ids)} ids of train" in out(tmp_path, "--full")
    for flags, count in (((), 7), (("--full",), len(ids))):
        [shown] = json.loads(out(tmp_path, "--json", *flags))["shown"]
        assert shown["input_ids"] == ids[:count]
        assert shown["lengths"] == [count]
        assert (shown["row"], shown["row_of_file"]) == (None, None)


def test_what_a_dataset_is_comes_first(tmp_path: Path, out: Any) -> None:
    formats = [name for name in FORMATS if accepts(FORMATS[name], dataset_of("best_fit"))][:2]
    write_prepared(tmp_path, formats=formats, epochs=[3, 4], kind="best_fit")
    text = out(tmp_path)
    for words in (
        "prepared, made by dovetail 0",
        "packing: best_fit, rows of 16 ids; the vocabulary has 1,000 ids",
        r"eos: <eos> \(id 3\), by made up",
        r"mixture of train:",
        r"books +25\.00%",
        r"validation +all +5",
        *(f"{name}: rows, 5 files, .*open it with:" for name in formats),
        *(f"  .*{tmp_path}/epoch-3/{name}" for name in formats),
        r"row 0 of train of epoch 3, \w+ \(epoch-3/\w+/data/train-00000-of-00002",
        "not decoded: the manifest names no tokenizer",
    ):
        assert re.search(words, text), (words, text)
    assert text.count("mixture of train") == 1
    assert "of epoch 4, " in out(tmp_path, "--epoch=4", "--row=1")
    assert f", {formats[1]} (" in out(tmp_path, f"--format={formats[1]}", "--row=1")


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--split=test", "--split=test: expected train, validation"),
        ("--epoch=9", "--epoch=9: expected 0"),
        ("--format=zarr", "--format=zarr: expected flat"),
        ("--row=-1", "--row=-1"),
        ("--sede=1", "--sede=1: unknown"),
    ],
)
def test_what_is_not_there_is_named(
    tmp_path: Path, flag: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_prepared(tmp_path)
    with pytest.raises(UsageError, match=re.escape(said)):
        pipelines.show.run([str(tmp_path), flag])
    capsys.readouterr()
    assert pipelines.show.main([str(tmp_path), flag]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert not printed.out  # not the summary, with the error behind it


def test_a_shard_that_is_damaged_is_named(tmp_path: Path) -> None:
    write_prepared(tmp_path)
    (tmp_path / "data/train-00001-of-00002.bin").write_bytes(b"123")
    with pytest.raises(DataError, match="got 3 bytes"):
        pipelines.show.run([str(tmp_path), "--row=12"])
    (tmp_path / "data/train-00001-of-00002.bin").unlink()
    with pytest.raises(DataError, match=r"data/train-00001-of-00002\.bin: missing"):
        pipelines.show.run([str(tmp_path), "--row=12"])


@pytest.mark.parametrize(
    "flags",
    [(), ("--compression=gzip",), ("--output_format=parquet",), ("--output_format=arrow",)],
    ids=["lines", "gzip", "parquet", "arrow"],
)
def test_records_are_shown_as_they_are(tmp_path: Path, out: Any, flags: tuple[str, ...]) -> None:
    lines = [json.dumps({"n": i, "text": f"no. {i}\x1b[31m\n"}) for i in range(100)]
    write_tree(tmp_path, {"in.jsonl": "\n".join(lines).encode()})
    manifest = run(
        f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/o", "--num_shards=3", *flags
    )
    assert [shard.records for shard in manifest.shards] != [100]
    said = [out(tmp_path / "o", f"--row={row}") for row in range(100)]
    assert all(text.startswith(f"record {row} of train (data/") for row, text in enumerate(said))
    found = sorted(int(re.search(r"no\. (\d+)", text)[1]) for text in said)  # type: ignore[index]
    assert found == list(range(100))
    assert not any("\x1b" in text for text in said)
    if not flags:
        shards = sorted((tmp_path / "o/data").iterdir())
        every = b"".join(shard.read_bytes() for shard in shards).decode().splitlines()
        assert [text.splitlines()[1].strip() for text in said] == every
    with pytest.raises(UsageError, match="--row=100: there are 100 records"):
        out(tmp_path / "o", "--row=100")
    with pytest.raises(UsageError, match="--split=test: expected train"):
        out(tmp_path / "o", "--split=test")


def test_a_header_is_no_record(tmp_path: Path, out: Any) -> None:
    write_tree(tmp_path, {"in.txt": b"the header\nfirst\n"})
    run(f"--input={tmp_path}/in.txt", f"--output={tmp_path}/o", "--header_lines=1")
    assert "first" in out(tmp_path / "o", "--row=0")
    assert "header" not in out(tmp_path / "o", "--row=0")


def test_an_empty_dataset_has_no_rows_to_show(tmp_path: Path, out: Any) -> None:
    write_tree(tmp_path, {"in.txt": b""})
    run(f"--input={tmp_path}/in.txt", f"--output={tmp_path}/o")
    assert "0 records" in out(tmp_path / "o")
    with pytest.raises(UsageError, match="--row=0: there are 0 records; there are none"):
        out(tmp_path / "o", "--row=0")


def test_long_rows_are_cut_and_shown_whole_when_asked(tmp_path: Path, out: Any) -> None:
    write_tree(tmp_path, {"in.txt": b"x" * 50_000 + b"END\n"})
    run(f"--input={tmp_path}/in.txt", f"--output={tmp_path}/o")
    text = out(tmp_path / "o")
    assert len(text) < 3 * SHOWN
    assert "49,003 more characters (--full)" in text
    assert "END\n" in out(tmp_path / "o", "--full")
    rows = make_rows(dataset_of("none", ids=60_000), count=5)
    many = Rows(
        np.full(40_000, 7, np.uint16),
        np.array([0, 40_000]),
        np.full(4000, 10),
        np.array([0, 4000]),
        np.zeros(1, np.int64),
    )
    assert len(rows)
    lines = list(
        TokenLines(colour=False, most=SHOWN).documents(
            many.ids.tolist(), many.lengths.tolist(), TokenTexts(None, {})
        )
    )
    assert len(lines) < 30
    assert "3,992 more pieces (--full)" in lines[-1].plain


class _Bytes:
    """A tokenizer whose ids are bytes, as byte-level models' may be."""

    class model:  # noqa: N801
        @staticmethod
        def token(number: int) -> str:
            return f"<0x{number:02X}>"

    def decode(self, ids: list[int]) -> str:
        if any(id_ > 255 for id_ in ids):
            raise DataError("an id beyond the model's")
        return bytes(ids).decode(errors="replace")


def test_ids_that_end_inside_of_characters_show_so() -> None:
    texts = TokenTexts(_Bytes(), {300: "</s>"})  # type: ignore[arg-type]
    data = list("aé中🎈".encode())
    assert texts.of([*data, 300]) == [
        *("a", INSIDE, "é", INSIDE, INSIDE, "中", INSIDE, INSIDE, INSIDE, "🎈", "</s>")
    ]
    assert texts.of([999, 97]) == ["999", "a"], "of another model"
    assert texts.of([]) == []


def test_the_space_that_a_model_puts_before_a_text_is_a_blank(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(str(trained_model(tmp_path, ENGLISH, vocab_size=40)))
    [ids] = tokenizer.encode_batch(["xx the"]).lists()
    space = tokenizer.model.token_id(SPACE)
    assert ids[0] == space
    texts = TokenTexts(tokenizer, {}).of(ids)
    assert texts[0] == " "
    assert INSIDE not in texts
    assert "".join(texts) == " xx the"


@pytest.mark.parametrize("colour", [False, True])
def test_boundaries_of_tokens_and_documents_are_seen(colour: bool) -> None:
    texts = TokenTexts(_Bytes(), {300: "</s>"})  # type: ignore[arg-type]
    ids = [*b"a\x1b\n", 300, *b"bc", 300]
    console = Console(force_terminal=colour, width=80, color_system="standard" if colour else None)
    with console.capture() as captured:
        for line in TokenLines(colour=colour, most=None).documents(ids, [4, 3], texts):
            console.print(line)
    said = captured.get()
    if not colour:
        assert said == "┌ 4 ids\na|\\x1b|⏎|</s>\n┌ 3 ids\nb|c|</s>\n"
        return
    plain = re.sub(r"\x1b\[[\d;]*m", "", said)
    assert plain == "┌ 4 ids\na\\x1b⏎</s>\n┌ 3 ids\nbc</s>\n"
    assert "\x1b[4;36m" in said, "every second token"


def _tokenized(tmp_path: Path, *flags: str) -> Path:
    write_model(tmp_path / "model.json")
    texts = [f"ab é 中 🎈 {i} </s>\n" for i in range(30)]
    lines = "".join(json.dumps({"text": text, "n": 1}) + "\n" for text in texts)
    write_tree(tmp_path, {"in.jsonl": lines.encode()})
    argv = [f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/t", "--text_field=text", *flags]
    pipelines.tokenize.run([*argv, f"--tokenizer={tmp_path}/model.json", "--num_shards=2"])
    return tmp_path / "t"


@pytest.mark.parametrize("flags", [("--add_eos",), ("--keep_fields=n",)])
def test_tokens_are_decoded_by_the_model_that_made_them(
    tmp_path: Path, out: Any, flags: tuple[str, ...]
) -> None:
    folder = _tokenized(tmp_path, *flags)
    said = [out(folder, f"--row={row}") for row in range(30)]
    for row, text in enumerate(said):
        tokens = text.splitlines()[2].strip().replace("|", "").replace(INSIDE, "")
        ended = "<eos>" if "--add_eos" in flags else ""
        assert tokens == f"ab é 中 🎈 {row} </s>⏎{ended}"
        assert ("n: 1" in text) == ("--keep_fields=n" in flags)
    assert f"tokenizer: {tmp_path}/model.json, a BytePiece model" in out(folder)
    shuffled = tmp_path / "s"
    run(f"--input={folder}", f"--output={shuffled}")
    assert "中" in out(shuffled, "--row=3"), "the model is handed on"


def test_ids_alone_are_shown_where_the_model_is_gone_or_another(tmp_path: Path, out: Any) -> None:
    folder = _tokenized(tmp_path)
    assert "ids alone" not in out(folder)
    write_model(tmp_path / "model.json", {b"another": 3, **{bytes([i]): 1 for i in range(256)}})
    assert re.search(r"not decoded: \S+ is another model \(SHA-256", out(folder, "--row=0"))
    (tmp_path / "model.json").unlink()
    text = out(folder, "--row=0")
    assert "not decoded: the tokenizer can't be loaded: " in text
    assert re.fullmatch(r"[\d ]+", text.splitlines()[2])
    write_model(tmp_path / "moved.json")
    assert "中" in out(folder, "--row=0", f"--tokenizer={tmp_path}/moved.json")
    write_model(tmp_path / "moved.json", {b"another": 3, **{bytes([i]): 1 for i in range(256)}})
    for name in ("moved.json", "none.json"):
        with pytest.raises(UsageError, match=rf"{name}: .*(another model|no such file)"):
            out(folder, "--row=0", f"--tokenizer={tmp_path}/{name}")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/dev/zero", "/dev/zero isn't a file"),
        ("http://127.0.0.1:9/m.json", "is on another store; pass --tokenizer=http"),
    ],
)
def test_a_model_that_a_strangers_manifest_names_is_not_opened_everywhere(
    tmp_path: Path, out: Any, url: str, said: str
) -> None:
    model = {"url": url, "kind": "x", "ids": 1000, "sha256": "0" * 64}
    write_prepared(tmp_path, model=model)
    assert said in out(tmp_path, "--row=0")


@pytest.mark.parametrize("value", [b"\x00\xff", "a\u202eb", {"a": "\x07"}, None, 1.5])
def test_nothing_that_a_terminal_obeys_is_shown(value: Any) -> None:
    for line in show_record({"\x1b]0;x": value}, None):
        assert line.plain.isprintable(), line.plain
    assert escape("\x9b1mé") == "\\x9b1mé"


def test_compressed_files_of_a_killed_copy_are_named(tmp_path: Path) -> None:
    write_tree(tmp_path, {"in.txt": b"1\n2\n"})
    run(f"--input={tmp_path}/in.txt", f"--output={tmp_path}/o", "--compression=gzip")
    [shard] = (tmp_path / "o/data").iterdir()
    assert gzip.decompress(shard.read_bytes())
    shard.write_bytes(shard.read_bytes()[:12])
    with pytest.raises(DataError, match=re.escape(shard.name)):
        pipelines.show.run([str(tmp_path / "o"), "--row=0"])


def test_it_is_a_function_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_prepared(tmp_path)
    assert dovetail.show(tmp_path, row=3, split="validation", format="flat", full=True) == manifest
    said = capsys.readouterr().out
    assert said.startswith("row 3 of validation, flat (data/validation-00000-of-00001.bin, 3)")
    with pytest.raises(dovetail.UsageError, match="--epoch=7"):
        dovetail.show(tmp_path, epoch=7)


def test_packed_rows_that_were_shuffled_keep_their_boundaries(tmp_path: Path, out: Any) -> None:
    model = {"url": "gone.json", "kind": "a BytePiece model", "ids": 1000, "sha256": "0" * 64}
    write_prepared(
        tmp_path / "p", formats=["parquet"], kind="best_fit", validation=False, model=model
    )
    run(f"--input={tmp_path / 'p'}", f"--output={tmp_path / 'o'}")
    for row in range(20):
        text = out(tmp_path / "o", f"--row={row}")
        lengths = [int(each) for each in re.findall(r"┌ (\d+) id", text)]
        found = re.search(r"seq_lengths: ([\d ]+)", text)
        assert found
        assert lengths == [int(each) for each in found[1].split()]
