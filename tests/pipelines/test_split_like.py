"""``dovetail split --like``: weights and draws are those of like.json, exact, and nothing moves them."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pipelines import splits
from tests.transforms.likeness.test_draw_records import hashes_of
from transforms.datasets.manifest import Manifest
from transforms.errors import DovetailError, RunError, UsageError
from transforms.kernels.arrays import U64
from transforms.kernels.likeness.draws import drawn, points
from transforms.kernels.likeness.folds import folds_of
from transforms.kernels.likeness.weights import Weighing, counted, weigh
from transforms.likeness.model import LikeModel

SEED = 3
DRAWS = 60


def make_texts(count: int, share: float, *, seed: int) -> list[str]:
    """Make texts of one kind, and of another by a share; some come twice."""
    draw = random.Random(seed)
    words = [
        ["rose", "moon", "night", "love", "star"],
        ["screen", "price", "phone", "cheap", "good"],
    ]
    both = ["the", "of", "and", "a", "in"]
    found: list[str] = []
    while len(found) < count:
        kind = words[draw.random() < share] + both
        text = " ".join(draw.choice(kind) for _ in range(draw.randint(4, 12)))
        found += [text] * (1 if draw.random() < 0.8 else 2)
    return found[:count]


TEXTS = make_texts(300, 0.15, seed=1)
TESTS = make_texts(220, 0.85, seed=2)


def as_lines(texts: Iterable[str]) -> list[bytes]:
    return [
        json.dumps({"n": n, "text": text}, indent=None if n % 3 else 0).replace("\n", " ").encode()
        for n, text in enumerate(texts)
    ]


LINES = as_lines(TEXTS)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("like")
    (folder / "in").mkdir()
    for i in range(3):
        part = LINES[i * 100 : (i + 1) * 100]
        (folder / "in" / f"{i}.jsonl").write_bytes(b"".join(line + b"\n" for line in part))
    (folder / "test.jsonl").write_bytes(b"".join(line + b"\n" for line in as_lines(TESTS)))
    (folder / "test.txt").write_text("".join(f"{text}\n" for text in TESTS))
    return folder


def flags(corpora: Path, *more: str, test: str = "test.jsonl") -> list[str]:
    return [f"--input={corpora}/in", f"--like={corpora}/{test}", f"--split_seed={SEED}", *more]


WEIGHED = ("--fractions=train=0.75,validation=0.25", "--weights_column=w")
DRAWN = (f"--draw={DRAWS}",)


class Run:
    """A dataset that was made, and its manifest."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self.model = (folder / "like.json").read_bytes()
        self.shards = splits.shards(folder)
        self.lines = {
            split.name: splits.lines(folder, split.name) for split in manifest.splits or ()
        }

    def weighing(self, texts: Sequence[str] = TEXTS) -> tuple[Weighing, U64]:
        """Weigh texts by what lies in like.json."""
        model = LikeModel.of_json(self.model, what="like.json")
        scores = model.score(list(texts), {}, folds_of(*hashes_of(list(texts)), model.seed))
        found = weigh(*counted(scores))
        return found, found.units_of(scores)


def make(tmp: Path, *given: str, one: bool = True) -> Run:
    return Run(tmp, splits.run(tmp, *given, one=one))


@pytest.fixture(scope="module")
def weighed(corpora: Path) -> Run:
    return make(corpora / "weighed", *flags(corpora, *WEIGHED))


@pytest.fixture(scope="module")
def drew(corpora: Path) -> Run:
    return make(corpora / "drew", *flags(corpora, *DRAWN))


def test_each_record_has_its_weight_by_like_json_and_is_as_it_was(weighed: Run) -> None:
    found, units = weighed.weighing()
    weights = units.astype(np.float64) / 2**32
    want = {line: float(weight) for line, weight in zip(LINES, weights, strict=True)}
    seen: dict[bytes, float] = {}
    for line in (line for lines in weighed.lines.values() for line in lines):
        weight = json.loads(line)["w"]
        tail = f',"w":{weight!r}}}'.encode()
        assert line.endswith(tail)
        seen[line.removesuffix(tail) + b"}"] = weight
    assert seen == want
    assert abs(np.mean([*seen.values()]) - 1) < 1e-9
    like = weighed.manifest.like
    assert like is not None
    assert like["records"] == found.records == 300
    assert like["auc_before"] > 0.75
    assert abs(like["auc_after"] - 0.5) < abs(like["auc_before"] - 0.5) / 2
    assert [file["path"] for file in like["files"]] == ["like.json", "like.svg"]


def test_both_splits_are_those_without_weights(weighed: Run, corpora: Path, tmp_path: Path) -> None:
    plain = make_plain(
        tmp_path / "out", f"--input={corpora}/in", f"--split_seed={SEED}", WEIGHED[0]
    )
    for name, lines in weighed.lines.items():
        assert [json.loads(line)["n"] for line in lines] == plain[name]


def test_counted_splits_have_weights_too(corpora: Path, weighed: Run, tmp_path: Path) -> None:
    given = ["--counts=a=60,b=rest", "--by=identity", "--weights_column=w"]
    model = f"--like_model={weighed.folder}/like.json"
    found = make(tmp_path / "out", f"--input={corpora}/in", model, *given)
    _, units = weighed.weighing()
    want = Counter((text, unit / 2**32) for text, unit in zip(TEXTS, units.tolist(), strict=True))
    both = [json.loads(line) for lines in found.lines.values() for line in lines]
    assert Counter((one["text"], one["w"]) for one in both) == want
    assert len(found.lines["a"]) == 60
    assert found.manifest.parted is not None
    assert found.manifest.parted.contents > 0


def make_plain(folder: Path, *given: str) -> dict[str, list[int]]:
    manifest = splits.run(folder, *given)
    return {
        split.name: [json.loads(line)["n"] for line in splits.lines(folder, split.name)]
        for split in manifest.splits or ()
    }


def test_what_is_drawn_is_what_like_json_says(drew: Run) -> None:
    _, units = drew.weighing()
    every = points(DRAWS, total=int(units.sum()), seed=SEED)
    places, times = drawn(units, begin=0, points=every)
    want = [
        (place, often)
        for place, often in zip(places.tolist(), times.tolist(), strict=True)
        for _ in range(often)
    ]
    found = [json.loads(line) for line in drew.lines["validation"]]
    assert [(one["n"], one["drawn"]) for one in found] == want
    assert len(found) == DRAWS
    contents = {TEXTS[place] for place in places}
    rest = [n for n, text in enumerate(TEXTS) if text not in contents]
    train = [json.loads(line) for line in drew.lines["train"]]
    assert [one["n"] for one in train] == rest
    assert {one["drawn"] for one in train} == {0}
    left = len(TEXTS) - len(rest) - len(places)
    assert left > 0
    assert drew.manifest.left_out is not None
    assert drew.manifest.left_out.records == left
    assert [
        (split.name, split.records, split.read.records) for split in drew.manifest.splits or ()
    ] == [
        ("train", len(rest), len(rest)),
        ("validation", DRAWS, len(places)),
    ]


def test_a_group_of_which_one_was_drawn_has_no_part_in_train(corpora: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"text": text, "site": n % 90}) for n, text in enumerate(TEXTS)]
    (tmp_path / "in.jsonl").write_text("".join(f"{line}\n" for line in lines))
    given = [f"--input={tmp_path}/in.jsonl", f"--like={corpora}/test.jsonl", "--split_by=site"]
    found = make(tmp_path / "out", *given, "--draw=40")
    sites = {
        name: {json.loads(line)["site"] for line in lines} for name, lines in found.lines.items()
    }
    assert sites["train"]
    assert sites["validation"]
    assert not sites["train"] & sites["validation"]
    assert len(found.lines["validation"]) == 40


def test_bad_records_are_left_out_everywhere(corpora: Path, drew: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for path in (corpora / "in").iterdir():
        (tmp_path / "in" / path.name).write_bytes(path.read_bytes())
    with (tmp_path / "in" / "2.jsonl").open("ab") as file:
        file.write(b'{"n": 1, "text": 7}\n')
    given = [f"--input={tmp_path}/in", f"--like={corpora}/test.jsonl", f"--split_seed={SEED}"]
    found = make(tmp_path / "out", *given, *DRAWN, "--text_field=text", "--on_bad_record=skip")
    assert found.shards == drew.shards
    assert found.model == drew.model


def test_workers_memory_and_spans_move_nothing(corpora: Path, drew: Run, tmp_path: Path) -> None:
    other = make(
        tmp_path / "out",
        *flags(corpora, *DRAWN, "--memory=1GiB", "--workers=2"),
        one=False,
    )
    assert other.shards == drew.shards
    assert other.model == drew.model
    assert other.manifest.like == drew.manifest.like


def test_shuffled_draws_are_the_same_records(corpora: Path, drew: Run, tmp_path: Path) -> None:
    found = make(tmp_path / "out", *flags(corpora, *DRAWN, "--shuffle", "--seed=4"))
    for name, lines in drew.lines.items():
        assert Counter(found.lines[name]) == Counter(lines)
        assert found.lines[name] != lines
    assert any(lines > 1 for lines in Counter(found.lines["validation"]).values())
    pairs = zip(found.lines["validation"], found.lines["validation"][1:], strict=False)
    beside = sum(one == other for one, other in pairs)
    copies = DRAWS - len({*found.lines["validation"]})
    assert beside < copies / 2  # each has a pass of its own


def test_a_test_set_of_another_format_fits_the_same_model(
    corpora: Path, weighed: Run, tmp_path: Path
) -> None:
    found = make(tmp_path / "out", *flags(corpora, *WEIGHED, test="test.txt"))
    assert found.model == weighed.model
    assert found.shards == weighed.shards


def test_a_model_that_was_fitted_weighs_the_same(
    corpora: Path, weighed: Run, tmp_path: Path
) -> None:
    given = [f"--input={corpora}/in", f"--split_seed={SEED}", *WEIGHED]
    found = make(tmp_path / "out", *given, f"--like_model={weighed.folder}/like.json")
    assert found.shards == weighed.shards
    assert found.model == weighed.model
    assert found.manifest.like is not None
    assert found.manifest.like["auc_before"] is None


def test_rows_are_compared_by_columns_too(tmp_path: Path) -> None:
    draw = random.Random(5)

    def write(name: str, count: int, mean: float, kinds: str) -> None:
        table = pa.table(
            {
                "n": range(count),
                "stars": [draw.gauss(mean, 1) if i % 9 else None for i in range(count)],
                "kind": [draw.choice(kinds) for _ in range(count)],
                "vector": [[draw.gauss(mean, 2), draw.random()] for _ in range(count)],
            }
        )
        pq.write_table(table, tmp_path / name)

    write("in.parquet", 300, 0.0, "aab")
    write("test.parquet", 250, 1.0, "abb")
    found = splits.run(
        tmp_path / "out",
        f"--input={tmp_path}/in.parquet",
        f"--like={tmp_path}/test.parquet",
        "--features=stars,kind,vector",
        *WEIGHED,
    )
    rows = [row for name in ("train", "validation") for row in splits.rows(tmp_path / "out", name)]
    assert sorted(row["n"] for row in rows) == [*range(300)]
    assert set(rows[0]) == {"n", "stars", "kind", "vector", "w"}
    right = [(row["stars"], row["w"]) for row in rows if row["stars"] is not None]
    assert np.corrcoef(np.array(right).T)[0, 1] > 0.3
    assert found.like is not None
    assert found.like["auc_after"] < found.like["auc_before"]
    again = splits.run(
        tmp_path / "again",
        f"--input={tmp_path}/in.parquet",
        f"--like_model={tmp_path}/out/like.json",
        *WEIGHED,
    )
    assert again.digest == found.digest


def test_a_model_of_fields_of_json_lines_finds_them_again(corpora: Path, tmp_path: Path) -> None:
    both = [
        f"--input={corpora}/in",
        f"--like={corpora}/test.jsonl",
        "--features=text,n",
        *DRAWN,
    ]
    found = make(tmp_path / "out", *both)
    model = LikeModel.of_json(found.model, what="like.json")
    assert [number.name for number in model.features.numbers] == ["n"]
    again = make(tmp_path / "again", both[0], *DRAWN, f"--like_model={tmp_path}/out/like.json")
    assert again.shards == found.shards


@pytest.mark.parametrize("text", [b"", b"{}", b'{"format": "dovetail-like"}', None])
def test_what_is_no_model_is_refused_before_work(
    corpora: Path, tmp_path: Path, text: bytes | None
) -> None:
    if text is not None:
        (tmp_path / "like.json").write_bytes(text)
    with pytest.raises(
        DovetailError, match=r"like.json: (expected a model as --like|can't be read)"
    ):
        splits.run(
            tmp_path / "out", f"--input={corpora}/in", *DRAWN, f"--like_model={tmp_path}/like.json"
        )


def test_a_test_set_with_a_column_of_another_kind_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [float(i) for i in range(80)]}), tmp_path / "in.parquet")
    pq.write_table(pa.table({"x": [f"{i}" for i in range(80)]}), tmp_path / "test.parquet")
    with pytest.raises(DovetailError, match="--features=x: expected values of one kind"):
        splits.run(
            tmp_path / "out",
            f"--input={tmp_path}/in.parquet",
            f"--like={tmp_path}/test.parquet",
            "--features=x",
            "--draw=3",
        )


def test_too_few_records_to_fit_are_an_error_of_one_line(corpora: Path, tmp_path: Path) -> None:
    (tmp_path / "few.jsonl").write_bytes(b"".join(line + b"\n" for line in as_lines(TESTS[:9])))
    with pytest.raises(RunError, match="expected at least 50 different records in the test set"):
        splits.run(
            tmp_path / "out", f"--input={corpora}/in", f"--like={tmp_path}/few.jsonl", *DRAWN
        )
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_sample_larger_than_memory_is_refused_before_work(corpora: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--fit_bytes=1TiB: fitting on this much takes 6TiB"):
        splits.run(tmp_path / "out", *flags(corpora, *DRAWN, "--fit_bytes=1TiB"))


def test_more_draws_than_memory_holds_are_refused_before_work(
    corpora: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"--draw=\d+: this many draws take .* enough for [\d,]+"):
        splits.run(tmp_path / "out", *flags(corpora, "--draw=1T"))


def test_lines_that_can_not_take_a_weight_are_bad_records(weighed: Run, tmp_path: Path) -> None:
    bad = [b"no JSON", b'["rose"]']
    odd = [*LINES[:50], *bad, b"{}", *LINES[50:]]
    (tmp_path / "in.jsonl").write_bytes(b"".join(line + b"\n" for line in odd))
    given = [f"--input={tmp_path}/in.jsonl", f"--like_model={weighed.folder}/like.json", *WEIGHED]
    with pytest.raises(DovetailError, match="is a bad record: expected a JSON object, to attach"):
        splits.run(tmp_path / "out", *given)
    manifest = splits.run(tmp_path / "out", *given, "--on_bad_record=quarantine")
    (kept,) = manifest.quarantine
    assert kept.records == len(bad)
    assert manifest.records == 301
    assert manifest.like is not None
    assert manifest.like["records"] == 301
