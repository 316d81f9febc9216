"""Recipes of prepare drawn at random, each against the oracle and with the work cut otherwise; slow.

DOVETAIL_RECIPES is how many, 30 by default.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import pipelines.prepare
from dovetail import Tokenizer
from pipelines.recipes.values import parse_parts
from pipelines.verify import verify
from tests.pipelines import prepare_oracle as oracle
from tests.pipelines import prepared
from tests.pipelines.support import write_tree
from tests.pipelines.test_prepare import (
    DRAWN,
    EXACT,
    ONE,
    SAMPLED,
    cut_otherwise,
    documents_of,
    joined,
    lines_of,
    require_rows,
    texts_of,
)
from tests.pipelines.tokenized import write_model
from transforms.errors import DovetailError
from transforms.kernels.packing.rows import Packing
from transforms.kernels.splitting.plan import SplitPlan
from transforms.splitting.parse_splits import parse_splits

pytestmark = pytest.mark.slow

RECIPES = int(os.environ.get("DOVETAIL_RECIPES", "30"))
FIRST = int(os.environ.get("DOVETAIL_FIRST_RECIPE", "0"))


def draw_files(draw: random.Random, name: str) -> dict[str, bytes]:
    files = {}
    for number in range(draw.choice([1, 1, 2, 3])):
        count = draw.choice([0, 1, 5, 20, 40])
        lengths = [draw.choice([0, 1, 3, 7, 8, 9, 15, 16, 17, 33]) for _ in range(count)]
        texts = texts_of(lengths, name)
        texts += [f"{name}{draw.randrange(30)} {DRAWN}" for _ in range(count // 2)]
        draw.shuffle(texts)
        files[f"{number}.jsonl"] = lines_of(texts)
    return files


def draw_law(draw: random.Random, names: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Return flags, and arguments of the oracle's stage."""
    kind = draw.choice(["union", "weights", "weights", "repeats"])
    if kind == "union":
        return [], {}
    if kind == "repeats":
        repeats = {name: draw.choice(["0.5", "1", "1.75", "3"]) for name in names}
        given = ",".join(f"{name}={value}" for name, value in repeats.items())
        return [f"--repeats={given}"], {"repeats": {n: Fraction(v) for n, v in repeats.items()}}
    weights = {name: draw.choice(["1", "0.3", "5"]) for name in names}
    flags = ["--weights=" + ",".join(f"{name}={value}" for name, value in weights.items())]
    law: dict[str, Any] = {"weights": {name: Fraction(v) for name, v in weights.items()}}
    law["interleave"] = draw.choice(["random", "stratified"])
    law["stop"] = draw.choice([None, "first_exhausted", "all_exhausted"])
    flags.append(f"--interleave={law['interleave']}")
    if law["stop"]:
        flags.append(f"--stop={law['stop']}")
    return flags, law


def draw_stages(draw: random.Random, names: list[str]) -> list[dict[str, Any]]:
    """Return stages as a recipe's file has them."""
    stages: list[dict[str, Any]] = []
    count = draw.choice([2, 3])
    for number in range(count):
        weights = {name: draw.choice([1, 3]) for name in names}
        if len(names) > 1 and draw.random() < 0.3:
            weights[names[0]] = 0
        stage: dict[str, Any] = {"weights": weights}
        stage["interleave"] = draw.choice(["random", "stratified"])
        last = number == count - 1
        if last and draw.random() < 0.5:
            stage["stop"] = "first_exhausted"
        else:
            unit = draw.choice(["records", "tokens", "rows"])
            stage["until"] = {unit: draw.choice([1, 5, 30]) * (10 if unit == "tokens" else 1)}
            if draw.random() < 0.3:
                stage["stop"] = "first_exhausted"
        stages.append(stage)
    return stages


def of_oracle(stage: dict[str, Any]) -> oracle.Stage:
    """Return a stage of a recipe's file as the oracle takes it."""
    return oracle.Stage(
        weights={name: Fraction(weight) for name, weight in stage["weights"].items()},
        interleave=stage["interleave"],
        stop=stage.get("stop"),
        **stage.get("until", {}),
    )


def draw_packing(draw: random.Random) -> tuple[list[str], Packing]:
    kind = draw.choice(["none", "concat", "concat", "best_fit", "best_fit", "pad", "buckets"])
    length = None if kind == "none" else draw.choice([8, 16, 31])
    flags = [f"--packing={kind}"]
    if length:
        flags.append(f"--sequence_length={length}")
    more: dict[str, Any] = {"end": 2}
    if draw.random() < 0.2:
        more["end"] = None
        flags.append("--document_end=none")
    if draw.random() < 0.2:
        more["begin"] = 1
        flags.append("--add_bos")
    if kind != "none" and more["end"] and draw.random() < 0.4:
        more["end_at_cuts"] = True
        flags.append("--eos_at_cuts")
    if kind in ("best_fit", "pad", "buckets") and draw.random() < 0.4:
        more["long"] = draw.choice(["truncate", "drop"])
        flags.append(f"--long={more['long']}")
    if kind == "best_fit":
        more["window"] = length * draw.choice([16, 64, 1000])  # type: ignore[operator]
        flags.append(f"--pack_window={more['window']}")
    return flags, Packing(kind=kind, length=length, **more)  # type: ignore[arg-type]


def draw_end(draw: random.Random) -> tuple[list[str], dict[str, Any]]:
    kind = draw.choice(["none", "none", "rows", "max_tokens", "max_records"])
    if kind == "rows":
        rows = draw.choice([1, 7, 40])
        return [f"--rows={rows}"], {"rows": rows}
    if kind == "max_tokens":
        tokens = draw.choice([1, 100, 900])
        return [f"--max_tokens={tokens}"], {"tokens": tokens}
    if kind == "max_records":
        records = draw.choice([1, 30, 200])
        return [f"--max_records={records}"], {"records": records}
    return [], {}


@pytest.mark.parametrize("number", range(FIRST, FIRST + RECIPES))
def test_a_recipe_gives_what_the_oracle_says(number: int, tmp_path: Path) -> None:
    draw = random.Random(number)
    model = write_model(tmp_path / "model.json")
    tokenizer = Tokenizer.load(str(model))
    names = ["a", "b", "c"][: draw.choice([1, 2, 3])]
    trees = {name: draw_files(draw, name) for name in names}
    sources = {
        name: {file: oracle.of_lines(data) for file, data in files.items()}
        for name, files in trees.items()
    }
    for name, files in trees.items():
        write_tree(tmp_path / name, files)
    law_flags, law = draw_law(draw, names)
    end_flags, end = draw_end(draw)
    stages: list[dict[str, Any]] = []
    if draw.random() < 0.3:
        stages = draw_stages(draw, names)
        (tmp_path / "recipe.json").write_text(json.dumps({"stages": stages}))
        law_flags, law, end_flags, end = [f"--recipe={tmp_path}/recipe.json"], {}, [], {}
    packing_flags, packing = draw_packing(draw)
    flags = [*law_flags, *end_flags, *packing_flags, f"--num_shards={draw.choice([1, 3])}"]
    asked: dict[str, Any] = {"seed": draw.choice([0, 9]), "epoch": draw.choice([0, 4])}
    flags += [f"--seed={asked['seed']}", f"--epoch={asked['epoch']}"]
    if draw.random() < 0.6:
        asked["sampling"] = SAMPLED
        flags += EXACT
        if draw.random() < 0.3:
            asked["sample_splits"] = True
    if (stages or law.get("weights")) and draw.random() < 0.4:
        asked["weigh_by"] = "tokens"
        flags.append("--weigh_by=tokens")
    if draw.random() < 0.5:
        given = draw.choice(["validation=20%", "validation=10%,test=7", "test=3,more=2"])
        asked["split"] = SplitPlan(parts=parse_splits(parse_parts(given)))
        flags.append(f"--split={given}")
        if asked.get("sample_splits"):
            flags.append("--sample_splits")
    else:
        asked.pop("sample_splits", None)
    if "rows" not in end and draw.random() < 0.3:
        asked["rows_multiple_of"] = draw.choice([2, 8])
        flags.append(f"--rows_multiple_of={asked['rows_multiple_of']}")
    flat = packing.kind != "buckets" and draw.random() < 0.5
    kinds = [""]
    if packing.end is not None:
        kinds += ["documents"] if packing.long == "split" else []
        kinds += ["rows"] if packing.kind in ("pad", "concat", "best_fit") else []
    megatron = draw.choice(kinds)
    formats = ["parquet", *(["flat"] if flat else []), *(["megatron"] if megatron else [])]
    flags += [f"--output_format={','.join(formats)}", "--pad_token=0"]
    if megatron:
        flags.append(f"--megatron={megatron}")
    flags += [f"--input={name}={tmp_path / name}/*" for name in names]
    flags += [f"--tokenizer={model}", f"--output={tmp_path / 'out'}", *ONE]
    print(json.dumps(flags))
    laws = [of_oracle(stage) for stage in stages] or [oracle.Stage(**law, **end)]
    wanted: dict[str, oracle.Prepared] | None
    try:
        law_ = oracle.Asked(stages=laws, packing=packing, **asked)
        read = {  # what has no weight anywhere is read for other splits alone
            name: files
            for name, files in sources.items()
            if not stages or any(stage["weights"][name] for stage in stages) or "split" in asked
        }
        wanted = oracle.prepare(tokenizer, read, law_)
    except ZeroDivisionError:
        wanted = None  # a source that is drawn is empty
    small = draw.random() < 0.5
    sizes = {"span_bytes": 300, "run_bytes": 2000, "bucket_bytes": 1500, "page_bytes": 300}
    with cut_otherwise(**(sizes if small else {})):
        if wanted is None or len(wanted["train"].rows) < end.get("rows", 0):
            with pytest.raises(
                DovetailError, match=r"got none|files are empty|in all its records|--rows="
            ):
                pipelines.prepare.run(flags)
            return
        pipelines.prepare.run(flags)
    folder = tmp_path / "out" / "parquet" if formats[1:] else tmp_path / "out"
    for name, found in wanted.items():
        require_rows(folder, found.rows, name)
        if flat:
            filler = None if packing.kind == "none" else 0
            assert prepared.of_flat(tmp_path / "out/flat", name) == joined(found.rows, filler)
        if megatron:
            sequences = [[(*row.ids, *[2] * row.filler)] for row in found.rows]
            if megatron == "documents":
                sequences = documents_of(found, packing)
            assert prepared.of_megatron(tmp_path / "out/megatron", name) == sequences
    assert verify(str(tmp_path / "out"))[1] == []
    shutil.rmtree(tmp_path)
