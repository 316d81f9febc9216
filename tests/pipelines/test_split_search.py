"""Recipes of split drawn at random, each against the oracle and with the work cut otherwise; slow.

DOVETAIL_RECIPES is how many, 30 by default.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines.split
from tests.pipelines import split_oracle as oracle
from tests.pipelines import splits
from tests.pipelines.split_oracle import Asked, Record
from tests.pipelines.support import write_tree
from tests.pipelines.test_split_odd import ODD_LINES
from tests.pipelines.test_split_oracle import as_lines, make_rows
from tests.pipelines.test_split_reproducible import TINY, cut_otherwise
from transforms.errors import DovetailError

pytestmark = pytest.mark.slow

RECIPES = int(os.environ.get("DOVETAIL_RECIPES", "30"))
FIRST = int(os.environ.get("DOVETAIL_FIRST_RECIPE", "0"))
SIZES: list[dict[str, int]] = [{}, TINY, {"span_bytes": 2000, "run_bytes": 3000, "page_bytes": 900}]
NAMES = ["train", "validation", "test", "more", "dev"]


def draw_law(draw: random.Random, total: int) -> tuple[list[str], dict[str, Any]]:
    """Return flags, and the oracle's law."""
    names = draw.sample(NAMES, draw.choice([1, 2, 3, 4]))
    law: dict[str, Any] = {}
    fractions, counts = [], []
    left = Fraction(1)
    for name in names:
        if name == "train":
            continue
        if draw.random() < 0.6:
            share = draw.choice([Fraction(1, 3), Fraction(1, 4), Fraction(1, 100), Fraction(1, 2)])
            if share < left:
                left -= share
                law[name] = share
                written = [f"{share}", f"{float(share)}"][share.denominator != 3]
                fractions.append(f"{name}={written}")
        else:
            law[name] = draw.choice([1, 3, total // 9 + 1, total // 3 + 1])
            counts.append(f"{name}={law[name]}")
    rest = "train"
    if counts and draw.random() < 0.4:
        rest = "others"
        counts.append("others=rest")
    elif fractions and not counts and draw.random() < 0.5:
        fractions.insert(draw.randrange(len(fractions) + 1), f"train={left}")
    flags = [f"--fractions={','.join(fractions)}"] if fractions else []
    flags += [f"--counts={','.join(counts)}"] if counts else []
    if not flags:
        return ["--fractions=all=1"], {"all": Fraction(1)}
    return flags, {rest: None, **law}


def draw_files(
    draw: random.Random, kind: str, source: str
) -> tuple[dict[str, bytes | pa.Table], list[Record]]:
    """Return the files of a source, and their records."""
    files: dict[str, bytes | pa.Table] = {}
    records: list[Record] = []
    for number in range(draw.choice([1, 1, 2, 5])):
        rows = make_rows(draw, draw.choice([0, 1, 20, 60]))
        if kind == "rows":
            rows = rows or make_rows(draw, 1)
            files[f"{number}.parquet"] = pa.Table.from_pylist(rows)
            records += oracle.of_rows(rows, file=f"{number}.parquet", source=source)
            continue
        data = as_lines(rows)
        name = f"{draw.choice(['', 'deep/'])}{number}.jsonl"
        if kind == "plain":
            data, name = b"plain\n" + data.replace(b"{", b""), name.replace(".jsonl", ".txt")
        elif kind == "odd":
            data = data + ODD_LINES
        data = data[: -draw.choice([1, 0]) or None]
        records += oracle.of_lines(data, file=name, source=source, json_lines=kind != "plain")
        if draw.random() < 0.3:
            name, data = f"{name}.gz", gzip.compress(data)
        files[name] = data
    return files, records


def impossible(records: list[Record], asked: Asked) -> bool:
    """Say whether counts ask for more than is there, or a text has several labels."""
    left = oracle.left_by_shares(records, asked)
    wanted = sum(part for part in asked.law.values() if isinstance(part, int))
    if wanted > len(left):
        return True
    if asked.stratify is None or asked.by == "identity":
        return False
    labels: dict[Any, set[Any]] = {}
    for content, record in left:
        labels.setdefault(content, set()).add(record.fields[asked.stratify])
    return any(len(one) > 1 for one in labels.values())


@pytest.mark.parametrize("number", range(FIRST, FIRST + RECIPES))
def test_a_recipe_gives_what_the_oracle_says(number: int, tmp_path: Path) -> None:
    draw = random.Random(number)
    kind = draw.choice(["json", "json", "rows", "plain", "odd"])
    records: list[Record] = []
    flags = []
    for source in ["b", "a", "c"][: draw.choice([1, 2, 3])]:
        files, mine = draw_files(draw, kind, source)
        records += mine
        flags.append(f"--input={source}={tmp_path / source}")
        for name, data in files.items():
            if isinstance(data, bytes):
                write_tree(tmp_path / source, {name: data})
            else:
                (tmp_path / source).mkdir(exist_ok=True)
                pq.write_table(data, tmp_path / source / name, row_group_size=7)
    law_flags, law = draw_law(draw, len(records))
    more: dict[str, Any] = {"split_seed": draw.choice([0, 5])}
    flags += [*law_flags, f"--split_seed={more['split_seed']}"]
    if draw.random() < 0.3:
        more["by"] = "identity"
        flags.append("--by=identity")
    elif kind in ("json", "rows") and draw.random() < 0.4:
        more["split_by"] = draw.choice([["site"], ["y"], ["label", "site"], ["id"]])
        flags.append(f"--split_by={','.join(more['split_by'])}")
    counted = any(isinstance(part, int) for part in law.values())
    if kind in ("json", "rows") and counted and draw.random() < 0.5:
        more["stratify"] = draw.choice(["y", "label"])
        flags.append(f"--stratify={more['stratify']}")
    asked = Asked(law=law, **more)
    shuffle = draw.random() < 0.4
    flags += ["--shuffle", f"--seed={number}"] if shuffle else []
    flags += [f"--num_shards={draw.choice([1, 3])}"] if draw.random() < 0.7 else []
    print(json.dumps(flags))
    with cut_otherwise(**draw.choice(SIZES)):
        if impossible(records, asked):
            with pytest.raises(DovetailError):
                pipelines.split.run([f"--output={tmp_path / 'out'}", *splits.ONE, *flags])
            return
        manifest = splits.run(tmp_path / "out", *flags, "--compression=none")
    wanted = {
        name: [dict(r.raw) if kind == "rows" else r.raw for r in found]
        for name, found in oracle.split(records, asked).items()
    }
    read: Any = splits.rows if kind == "rows" else splits.lines
    found = {name: read(tmp_path / "out", name) for name in wanted}
    splits.require_counts(manifest, found)
    if shuffle:
        for name, mine in wanted.items():
            assert Counter(map(str, found[name])) == Counter(map(str, mine))
    else:
        assert found == wanted
    shutil.rmtree(tmp_path)
