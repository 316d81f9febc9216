"""Preparing through the whole command, against the oracle and against readers that aren't ours."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import pipelines.prepare
from dovetail import Sampling, Tokenizer
from pipelines.verify import verify
from tests.pipelines import prepare_oracle as oracle
from tests.pipelines import prepared
from tests.pipelines.support import unless_given, write_tree
from tests.pipelines.tokenized import write_model
from transforms.datasets.prepared import PreparedManifest, passes_of
from transforms.kernels.packing.rows import Packing
from transforms.kernels.splitting.plan import SplitPlan
from transforms.mixing import order_documents
from transforms.splitting.parse_splits import parse_splits

ONE = ("--workers=1", "--direct_running_mode=in_memory")
L = 16
EOS = 2
EXACT = ("--sampling=exact", "--alpha=0.1")
SAMPLED = Sampling(law="exact", alpha=0.1)
DRAWN = "the abcabc the abc"  # of many segmentations


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model.json")


@pytest.fixture(scope="module")
def tokenizer(model: Path) -> Tokenizer:
    return Tokenizer.load(str(model))


def lines_of(texts: Sequence[str]) -> bytes:
    """Return JSON lines."""
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


def texts_of(lengths: Sequence[int], name: str) -> list[str]:
    """Return texts of so many tokens each without sampling, all different where they can be."""
    letters = "defgijklmnopqrsuvwxyz0123456789"
    return [
        "".join(letters[(i * 7 + j * (i + 3) + ord(name)) % len(letters)] for j in range(n))
        for i, n in enumerate(lengths)
    ]


@contextlib.contextmanager
def cut_otherwise(**sizes: int) -> Iterator[None]:
    """Run with some of the plan's figures replaced."""
    real: Any = pipelines.prepare.make_plan

    def make_plan(**given: Any) -> Any:
        return dataclasses.replace(real(**given), **{"segment_bytes": 0, **sizes})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipelines.prepare, "make_plan", make_plan)
        yield


def prepare(
    root: Path, model: Path, names: Sequence[str], *flags: str, output: str = "out"
) -> PreparedManifest:
    """Prepare the sources of these names, folders below the root."""
    found = pipelines.prepare.run(
        [
            *(f"--input={name}={root / name}/*" for name in names),
            f"--tokenizer={model}",
            f"--output={root / output}",
            *unless_given(ONE, flags),
            *flags,
        ]
    )
    assert isinstance(found, PreparedManifest)
    assert verify(str(root / output))[1] == []
    return found


def write_sources(root: Path, trees: Mapping[str, Mapping[str, bytes]]) -> dict[str, oracle.Files]:
    """Write sources of JSON lines; return them for the oracle."""
    for name, files in trees.items():
        write_tree(root / name, files)
    return {
        name: {file: oracle.of_lines(data) for file, data in files.items()}
        for name, files in trees.items()
    }


def small_sources(root: Path) -> dict[str, oracle.Files]:
    """Write two sources and an empty file: texts to be segmented, and of lengths around L."""
    around = [0, 1, L - 2, L - 1, L, L + 1, 2 * L - 1, 2 * L, 2 * L + 1, 3 * L + 5, 0, 3]
    trees = {
        "a": {
            "x.jsonl": lines_of([f"{DRAWN} {i}" for i in range(25)]),
            "empty.jsonl": b"",
            "y.jsonl": lines_of(texts_of([i % 23 for i in range(30)], "y")),
        },
        "b": {"z.jsonl": lines_of([*texts_of(around, "z"), DRAWN * 3])},
    }
    return write_sources(root, trees)


def packing_of(kind: str, **more: Any) -> Packing:
    """Return what the flags ask for."""
    length = None if kind == "none" else L
    return Packing(kind=kind, length=length, end=EOS, **more)  # type: ignore[arg-type]


def flags_of(kind: str) -> list[str]:
    return ["--packing=none"] if kind == "none" else [f"--packing={kind}", f"--sequence_length={L}"]


def require_rows(folder: Path, rows: Sequence[oracle.Row], split: str = "train") -> None:
    """Require rows of Parquet or Arrow, their pieces too."""
    assert prepared.of_tables(folder, split) == [(row.ids, row.lengths) for row in rows]


def joined(rows: Sequence[oracle.Row], filler: int | None = None) -> tuple[int, ...]:
    """Return all ids of rows, with filler where it is given."""
    return tuple(
        itertools.chain.from_iterable(
            [*row.ids, *([] if filler is None else [filler] * row.filler)] for row in rows
        )
    )


def documents_of(found: oracle.Prepared, packing: Packing) -> list[Any]:
    """Return Megatron's documents: a sequence each."""
    streams = (
        oracle.stream(document, packing)
        for document in found.documents
        if document.ids or packing.kind == "none"
    )
    return [[tuple(stream)] for stream in streams if stream]


@pytest.mark.parametrize("kind", ["none", "concat", "best_fit", "pad", "buckets"])
def test_rows_of_a_mixture_are_those_of_the_oracle_in_every_format(
    kind: str, tmp_path: Path, model: Path, tokenizer: Tokenizer
) -> None:
    """A sampled mixture in which both sources are repeated, the small one from memory."""
    sources = small_sources(tmp_path)
    formats = ["parquet", "arrow", "megatron", *(["flat"] if kind != "buckets" else [])]
    flags = [*flags_of(kind), f"--output_format={','.join(formats)}", "--megatron=documents"]
    manifest = prepare(
        *(tmp_path, model, ["a", "b"], *EXACT, "--weights=a=1,b=1", "--max_tokens=3000"),
        *(*flags, "--num_shards=3", "--seed=3", "--pad_token=0"),
    )
    packing = packing_of(kind)
    stage = oracle.Stage(weights={"a": Fraction(1), "b": Fraction(1)}, tokens=3000)
    asked = oracle.Asked(stages=[stage], seed=3, sampling=SAMPLED, packing=packing)
    found = oracle.prepare(tokenizer, sources, asked)["train"]
    documents, rows = found.documents, found.rows
    assert {d.pass_number for d in documents if d.source == "b"} >= {0, 1, 2}
    for form in ("parquet", "arrow"):
        require_rows(tmp_path / "out" / form, rows)
    assert prepared.of_megatron(tmp_path / "out/megatron") == documents_of(found, packing)
    if kind != "buckets":
        filler = None if kind == "none" else 0
        assert prepared.of_flat(tmp_path / "out/flat") == joined(rows, filler)
    (entry,) = manifest.splits
    assert entry.documents == len(documents)
    assert entry.tokens == sum(len(document.ids) for document in documents)
    assert entry.rows == len(rows)
    assert entry.empty == (0 if kind == "none" else sum(not d.ids for d in documents))
    for source in entry.stages[0].sources:
        mine = [document for document in documents if document.source == source.source]
        by_pass = Counter(document.pass_number for document in mine)
        tokens = Counter[int]()
        for document in mine:
            tokens[document.pass_number] += len(document.ids)
        assert source.documents == len(mine)
        assert {p.number: p.documents for p in source.passes} == by_pass
        assert {p.number: p.tokens for p in source.passes} == tokens


def test_passes_of_a_small_source_are_read_together_and_drawn_each_anew(
    tmp_path: Path, model: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = small_sources(tmp_path)
    read: list[Any] = []
    listed = order_documents.list_passes

    def list_passes(*given: Any) -> Iterator[Any]:
        for group in listed(*given):
            read.append(group)
            yield group

    monkeypatch.setattr(order_documents, "list_passes", list_passes)
    stage = oracle.Stage(repeats={"a": Fraction(1), "b": Fraction(50)})
    found = oracle.prepare(tokenizer, sources, oracle.Asked(stages=[stage], sampling=SAMPLED))[
        "train"
    ]
    for most, readings in ((1024, 1), (20, 3)):
        read.clear()
        monkeypatch.setattr(order_documents, "MOST_TOGETHER", most)
        output = f"out{most}"
        prepare(tmp_path, model, ["a", "b"], *EXACT, "--repeats=a=1,b=50", output=output)
        assert len(read) == readings
        ids = [(*document.ids, EOS) for document in found.documents]
        assert [row for row, _ in prepared.of_tables(tmp_path / output)] == ids


@pytest.mark.parametrize("kind", ["concat", "best_fit", "pad"])
@pytest.mark.parametrize(
    ("flags", "more"),
    [
        (["--eos_at_cuts"], {"end_at_cuts": True}),
        (["--long=truncate"], {"long": "truncate"}),
        (["--long=drop"], {"long": "drop"}),
        (["--document_end=none"], {"end": None}),
        (["--add_bos"], {"begin": 1}),
    ],
    ids=["eos_at_cuts", "truncate", "drop", "no end", "bos"],
)
def test_long_documents_and_ends_are_as_asked(
    kind: str,
    flags: list[str],
    more: dict[str, Any],
    tmp_path: Path,
    model: Path,
    tokenizer: Tokenizer,
) -> None:
    if kind == "concat" and "long" in more:
        pytest.skip("concat cuts all documents alike")
    sources = small_sources(tmp_path)
    manifest = prepare(tmp_path, model, ["a", "b"], *flags_of(kind), *flags)
    packing = Packing(**{"kind": kind, "length": L, "end": EOS, **more})  # type: ignore[arg-type]
    asked = oracle.Asked(packing=packing)
    found = oracle.prepare(tokenizer, sources, asked)["train"]
    documents = found.documents
    require_rows(tmp_path / "out", found.rows)
    (entry,) = manifest.splits
    streams = [oracle.stream(document, packing) for document in documents if document.ids]
    rows = prepared.of_tables(tmp_path / "out")
    ids = sum(len(row) for row, _ in rows)
    assert ids == entry.tokens - entry.cut - entry.dropped + entry.special
    assert entry.long == sum(len(stream) > L for stream in streams)
    if "long" not in more:
        assert entry.dropped == entry.cut == 0


def test_nothing_and_one_document_are_datasets_too(
    tmp_path: Path, model: Path, tokenizer: Tokenizer
) -> None:
    one = [("none", []), ("one", ["abc the"]), ("blank", ["", ""])]
    for name, texts in one:
        sources = write_sources(tmp_path, {name: {"x.jsonl": lines_of(texts)}})
        for kind in ("none", "best_fit") if name == "blank" else ("concat",):
            flags = [*flags_of(kind), "--output_format=parquet,megatron", "--megatron=documents"]
            manifest = prepare(tmp_path, model, [name], *flags, output=f"{name}-{kind}")
            packing = packing_of(kind)
            asked = oracle.Asked(packing=packing)
            found = oracle.prepare(tokenizer, sources, asked)["train"]
            folder = tmp_path / f"{name}-{kind}"
            require_rows(folder / "parquet", found.rows)
            assert prepared.of_megatron(folder / "megatron") == documents_of(found, packing)
            assert manifest.splits[0].rows == len(found.rows)


def test_nothing_of_how_the_work_is_done_changes_a_byte(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers, memory, spans, runs, buckets, pages, codecs, the order of the listing."""
    small_sources(tmp_path)
    asked = [
        *(*EXACT, "--weights=a=2,b=1", "--rows=120", "--split=validation=20%,test=5"),
        *("--packing=best_fit", f"--sequence_length={L}", f"--pack_window={40 * L}"),
        *("--output_format=parquet,megatron", "--megatron=rows", "--num_shards=3"),
    ]
    prepare(tmp_path, model, ["a", "b"], *asked, output="first")
    first = prepared.files_of(tmp_path / "first")
    assert len(first) >= 6
    threads = ("--workers=2", "--direct_running_mode=multi_threading")
    prepare(tmp_path, model, ["b", "a"], *asked, *threads, "--memory=3GiB", output="more")
    assert prepared.files_of(tmp_path / "more") == first
    with cut_otherwise(span_bytes=500, run_bytes=2000, bucket_bytes=1500, page_bytes=400):
        prepare(tmp_path, model, ["a", "b"], *asked, *threads, output="cut")
    assert prepared.files_of(tmp_path / "cut") == first
    for path in sorted(tmp_path.glob("[ab]/*.jsonl")):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    prepare(tmp_path, model, ["a", "b"], *asked, output="gz")
    assert prepared.files_of(tmp_path / "gz") == first


@pytest.mark.parametrize("kind", ["concat", "best_fit", "none"])
def test_budgets_end_where_they_say(
    kind: str, tmp_path: Path, model: Path, tokenizer: Tokenizer
) -> None:
    sources = small_sources(tmp_path)
    weights = {"a": Fraction(7), "b": Fraction(3)}
    mixed = ["--weights=a=7,b=3", *flags_of(kind), *EXACT]
    packing = packing_of(kind)
    for number, (flags, rows, multiple, tokens) in enumerate(
        [
            (["--rows=77"], 77, 1, None),
            (["--max_tokens=1501", "--rows_multiple_of=8"], None, 8, 1501),
        ]
    ):
        output = f"out{number}"
        manifest = prepare(tmp_path, model, ["a", "b"], *mixed, *flags, output=output)
        stage = oracle.Stage(weights=weights, rows=rows, tokens=tokens)
        asked = oracle.Asked(
            stages=[stage], sampling=SAMPLED, packing=packing, rows_multiple_of=multiple
        )
        found = prepared.of_tables(tmp_path / output)
        assert len(found) == manifest.splits[0].rows
        if rows is not None:
            assert len(found) == rows
        assert len(found) % multiple == 0
        require_rows(tmp_path / output, oracle.prepare(tokenizer, sources, asked)["train"].rows)


@pytest.mark.parametrize("by", ["tokens", "bytes"])
def test_weights_are_of_what_is_asked(
    by: str, tmp_path: Path, model: Path, tokenizer: Tokenizer
) -> None:
    sources = small_sources(tmp_path)
    flags = ["--weights=a=1,b=2", f"--weigh_by={by}", "--rows=150", *EXACT, *flags_of("pad")]
    prepare(tmp_path, model, ["a", "b"], *flags, "--split=validation=10%")
    stage = oracle.Stage(weights={"a": Fraction(1), "b": Fraction(2)}, rows=150)
    plan = SplitPlan(parts=parse_splits({"validation": "10%"}))
    asked = oracle.Asked(
        stages=[stage], weigh_by=by, sampling=SAMPLED, packing=packing_of("pad"), split=plan
    )
    for name, found in oracle.prepare(tokenizer, sources, asked).items():
        require_rows(tmp_path / "out", found.rows, name)


@pytest.mark.parametrize("mixed", [[], ["--weights=a=2,b=1"]], ids=["one", "weights"])
@pytest.mark.parametrize("end", ["--max_tokens=20000", "--rows=1250"])
def test_what_is_not_used_is_not_tokenized(
    mixed: list[str], end: str, tmp_path: Path, model: Path
) -> None:
    """At most twice what is written is, and a span of each source."""
    span, count = 40_000, 12_000
    for name in "ab":
        lines = lines_of([f"{name}{i} {DRAWN}" for i in range(count)])
        write_tree(tmp_path / name, {"x.jsonl": lines})
    with cut_otherwise(span_bytes=span, bucket_bytes=20_000, run_bytes=200_000):
        manifest = prepare(*(tmp_path, model, ["a", "b"], end, *flags_of("concat"), *EXACT, *mixed))
    (entry,) = manifest.splits
    found = [source for stage in entry.stages for source in stage.sources]
    tokenized = sum(source.tokenized_tokens for source in found)
    assert 18_000 < entry.tokens <= 20_000
    assert tokenized <= 2 * entry.tokens + 2 * span  # a token has a byte at least
    assert sum(source.tokenized_documents for source in found) < count


@pytest.mark.parametrize("long", ["drop", "truncate"])
@pytest.mark.parametrize("kind", ["best_fit", "pad"])
def test_rows_are_exact_where_long_documents_stand_in_none(
    kind: str, long: str, tmp_path: Path, model: Path
) -> None:
    """Nine of ten are much longer than a row, so that rows take more documents than their ids say."""
    lengths = [5 if i % 10 == 0 else 4 * L for i in range(60)]
    write_sources(
        tmp_path, {name: {"x.jsonl": lines_of(texts_of(lengths, name))} for name in ("a", "b")}
    )
    stages = [
        {"weights": {"a": 1, "b": 1}, "until": {"rows": 15}},
        {"weights": {"a": 1, "b": 3}, "until": {"rows": 9}},
    ]
    (tmp_path / "recipe.json").write_text(json.dumps({"stages": stages}))
    asked = [f"--recipe={tmp_path / 'recipe.json'}", *flags_of(kind), f"--long={long}"]
    (entry,) = prepare(tmp_path, model, ["a", "b"], *asked, output="stages").splits
    assert [stage.rows for stage in entry.stages] == [15, 9]
    asked = ["--weights=a=1,b=1", "--rows=40", *flags_of(kind), f"--long={long}"]
    (entry,) = prepare(tmp_path, model, ["a", "b"], *asked).splits
    assert entry.rows == 40 == len(prepared.of_tables(tmp_path / "out"))


def test_how_much_is_laid_down_for_rows_that_lose_documents_changes_none(
    tmp_path: Path, model: Path
) -> None:
    """How many documents may be needed is estimated from those that were tokenized."""
    lines = lines_of(["defgi" * (i % 7 + 1) + str(i) for i in range(6000)])
    write_tree(tmp_path / "a", {"x.jsonl": lines})
    asked = ["--rows=60", "--packing=best_fit", "--sequence_length=31", "--long=drop"]
    prepare(tmp_path, model, ["a"], *asked, output="whole")
    with cut_otherwise(span_bytes=40_000, bucket_bytes=20_000, run_bytes=200_000):
        prepare(tmp_path, model, ["a"], *asked, output="cut")
    assert prepared.files_of(tmp_path / "cut") == prepared.files_of(tmp_path / "whole")


def test_max_tokens_ends_before_the_document_that_would_exceed_it(
    tmp_path: Path, model: Path, tokenizer: Tokenizer
) -> None:
    sources = small_sources(tmp_path)
    every = oracle.prepare(tokenizer, sources, oracle.Asked())["train"].documents
    sums = list(itertools.accumulate(len(document.ids) for document in every))
    place = next(i for i, d in enumerate(every) if i > 20 and len(d.ids) > 5)
    for name, budget, want in (("exact", sums[place], place + 1), ("less", sums[place] - 1, place)):
        flags = [f"--max_tokens={budget}", "--packing=none"]
        manifest = prepare(tmp_path, model, ["a", "b"], *flags, output=name)
        found = prepared.of_tables(tmp_path / name)
        # empty documents that follow fit as well
        ids = [document.ids for document in every[: len(found)]]
        assert [row[:-1] for row, _ in found] == ids
        assert len(found) >= want
        assert manifest.splits[0].tokens == sums[len(found) - 1]
        assert budget - sums[len(found) - 1] < len(every[len(found)].ids)


def test_stages_change_the_weights_and_sources_go_on(
    tmp_path: Path, model: Path, tokenizer: Tokenizer
) -> None:
    sources = small_sources(tmp_path)
    stages: list[dict[str, Any]] = [
        {"weights": {"a": 1, "b": 0}, "until": {"records": 20}},
        {"weights": {"a": 1, "b": 1}, "until": {"tokens": 400}},
        {"weights": {"a": 1, "b": 3}, "interleave": "stratified", "until": {"rows": 9}},
        {"weights": {"a": 1, "b": 4}, "stop": "first_exhausted"},
        {"weights": {"a": 1, "b": 0}, "stop": "all_exhausted"},
    ]
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"stages": stages}))
    laws = [
        oracle.Stage(
            weights={name: Fraction(w) for name, w in stage["weights"].items()},
            interleave=str(stage.get("interleave", "random")),
            stop=stage.get("stop"),
            **stage.get("until", {}),
        )
        for stage in stages
    ]
    for kind in ("concat", "none", "best_fit"):
        flags = [f"--recipe={recipe}", *flags_of(kind), *EXACT]
        manifest = prepare(tmp_path, model, ["a", "b"], *flags, output=kind)
        asked = oracle.Asked(stages=laws, sampling=SAMPLED, packing=packing_of(kind))
        laid = oracle.prepare(tokenizer, sources, asked)["train"]
        require_rows(tmp_path / kind, laid.rows)
        found = manifest.splits[0].stages
        assert [stage.documents for stage in found] == [len(part) for part in laid.stages]
        assert [stage.rows for stage in found] == laid.rows_of
        ended = passes_of(manifest.splits[0], 4, 0)  # the last stage ends when a is used up
        assert ended is not None
        assert ended.unused == 0 < ended.finished
        assert found[0].documents == 20
        assert found[1].tokens <= 400
        assert found[2].rows == 9


def test_a_stage_that_ends_by_rows_needs_not_all_tokens_of_the_output(
    tmp_path: Path, model: Path
) -> None:
    """It was counted as far as its rows go, and refused since the output's tokens lie beyond."""
    write_sources(tmp_path, {n: {"x.jsonl": lines_of(texts_of([2] * 300, n))} for n in ("a", "b")})
    stages = [
        {"weights": {"a": 1, "b": 1}, "until": {"rows": 5}},
        {"weights": {"a": 1, "b": 3}, "until": {"rows": 3}},
        {"weights": {"a": 1, "b": 0}},
    ]
    (tmp_path / "recipe.json").write_text(json.dumps({"stages": stages}))
    asked = [f"--recipe={tmp_path / 'recipe.json'}", *flags_of("concat"), "--max_tokens=4000"]
    (entry,) = prepare(tmp_path, model, ["a", "b"], *asked).splits
    assert [stage.rows for stage in entry.stages][:2] == [5, 3]
    assert entry.tokens == 4000


def test_every_epoch_is_that_of_a_run_alone(
    tmp_path: Path, model: Path, tokenizer: Tokenizer
) -> None:
    sources = small_sources(tmp_path)
    asked = [
        *(*EXACT, "--split=validation=20%", *flags_of("concat"), "--num_shards=2"),
        *("--output_format=parquet,megatron", "--megatron=documents"),
    ]
    prepare(tmp_path, model, ["a", "b"], *asked, "--epoch=4", "--epochs=2", output="both")
    both = prepared.files_of(tmp_path / "both")
    train = {}
    for epoch in (4, 5):
        prepare(tmp_path, model, ["a", "b"], *asked, f"--epoch={epoch}", output=f"e{epoch}")
        alone = prepared.files_of(tmp_path / f"e{epoch}")
        for form in ("parquet", "megatron"):
            about = f"{form}/dataset.json"
            assert both[f"epoch-{epoch}/{about}"] == alone[about]
            for path, data in alone.items():
                folder, _, name = path.rpartition("/data/")
                if folder != form:
                    continue
                level = f"epoch-{epoch}/" if name.startswith("train-") else ""
                assert both.pop(f"{level}{path}") == data if level else both[path] == data, path
        train[epoch] = prepared.of_tables(tmp_path / f"e{epoch}/parquet")
        plan = SplitPlan(parts=parse_splits({"validation": "20%"}))
        law = oracle.Asked(epoch=epoch, sampling=SAMPLED, split=plan, packing=packing_of("concat"))
        for split, found in oracle.prepare(tokenizer, sources, law).items():
            require_rows(tmp_path / f"e{epoch}/parquet", found.rows, split)
    assert train[4] != train[5]
    assert not [path for path in both if "/train-" in path]


def test_equal_texts_stand_on_one_side_and_counts_are_kept(
    tmp_path: Path, model: Path, tokenizer: Tokenizer
) -> None:
    """Half of the texts are there twice or more, across files and sources."""
    texts = [f"{DRAWN} {i % 17}" for i in range(40)] + [f"text {i}" for i in range(60)]
    trees = {
        "a": {"x.jsonl": lines_of(texts[::2]), "y.jsonl": lines_of(texts[:30])},
        "b": {"x.jsonl": lines_of(texts[1::2])},
    }
    sources = write_sources(tmp_path, trees)
    flags = ["--split=validation=20%,test=11", "--weights=a=3,b=1", "--max_records=400"]
    manifest = prepare(tmp_path, model, ["a", "b"], *flags, *flags_of("none"), *EXACT)
    plan = SplitPlan(parts=parse_splits({"validation": "20%", "test": "11"}))
    stage = oracle.Stage(weights={"a": Fraction(3), "b": Fraction(1)}, records=400)
    asked = oracle.Asked(stages=[stage], sampling=SAMPLED, split=plan, packing=packing_of("none"))
    laid = oracle.prepare(tokenizer, sources, asked)
    sides = {name: {document.text for document in of.documents} for name, of in laid.items()}
    for one, other in itertools.combinations(sides, 2):
        assert not sides[one] & sides[other]
    for name, found in laid.items():
        require_rows(tmp_path / "out", found.rows, name)
    held = {entry.split: entry for entry in manifest.splits}
    assert 0 < held["test"].records <= 11
    assert sum(entry.records for entry in manifest.splits) == 130


def test_a_source_without_weight_in_train_is_in_other_splits(
    tmp_path: Path, model: Path, tokenizer: Tokenizer
) -> None:
    """Weights are train's alone."""
    trees = {
        "a": {"x.jsonl": lines_of([f"text {i}" for i in range(60)])},
        "b": {"x.jsonl": lines_of([f"other {i}" for i in range(60)])},
    }
    sources = write_sources(tmp_path, trees)
    flags = ["--split=validation=30%", "--weights=a=1,b=0"]
    manifest = prepare(tmp_path, model, ["a", "b"], *flags, *flags_of("none"))
    plan = SplitPlan(parts=parse_splits({"validation": "30%"}))
    stage = oracle.Stage(weights={"a": Fraction(1), "b": Fraction(0)})
    asked = oracle.Asked(stages=[stage], split=plan, packing=packing_of("none"))
    laid = oracle.prepare(tokenizer, sources, asked)
    for name, found in laid.items():
        require_rows(tmp_path / "out", found.rows, name)
    (_, validation) = manifest.splits
    assert all(source.documents for source in validation.stages[0].sources)


def test_no_text_of_the_reviews_stands_on_two_sides(
    tmp_path: Path, model: Path, tokenizer: Tokenizer
) -> None:
    """Half of those texts are there twice and more."""
    shared = os.environ.get("DOVETAIL_SHARED")
    if not shared:
        pytest.skip("DOVETAIL_SHARED isn't set")
    lines = Path(shared, "data/reviews.jsonl").read_bytes().splitlines(keepends=True)
    write_tree(tmp_path / "a", {"x.jsonl": b"".join(lines[:2000])})
    write_tree(tmp_path / "b", {"y.jsonl": b"".join(lines[1000:3000])})
    flags = ["--split=validation=10%,test=100", "--weights=a=1,b=1", "--max_records=5000"]
    prepare(tmp_path, model, ["a", "b"], *flags, "--packing=none")
    sides = {
        split: {ids for ids, _ in prepared.of_tables(tmp_path / "out", split)}
        for split in ("train", "validation", "test")
    }
    assert min(map(len, sides.values())) > 50
    for one, other in itertools.combinations(sides, 2):
        assert not sides[one] & sides[other]
    write_tree(tmp_path / "c", {"z.jsonl": b"".join(lines[3000:4000])})
    prepare(tmp_path, model, ["a", "b", "c"], "--split=validation=10%,test=100", output="added")
    added = {ids for ids, _ in prepared.of_tables(tmp_path / "added", "validation")}
    assert sides["validation"] <= added
    assert not added & sides["train"]
