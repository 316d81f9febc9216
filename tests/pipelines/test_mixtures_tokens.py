"""Mixtures of rows of ids by their tokens, through the whole command: shares, budgets, proofs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

import pipelines.prepare
from pipelines.verify import verify
from tests.pipelines.mixture_oracle import Asked, mix_plainly, mix_with_sources
from tests.pipelines.support import cut_otherwise, cut_twice, run, write_tree
from tests.pipelines.test_mixtures import flags_of
from tests.pipelines.test_needed import count_reads, guess
from tests.pipelines.test_prepare import ONE
from transforms.datasets.manifest import Manifest
from transforms.errors import InputError, UsageError
from transforms.kernels.records import blocks
from transforms.shuffling import spill_files

Ids = tuple[int, ...]
Rows = Sequence[Ids]


def make_rows(count: int, *, mean: int, first: int) -> list[Ids]:
    """Rows of 0 to three times the mean of ids; each row's first id is its own number."""
    sizes = [i * i * 7 % (2 * mean + 1) + (mean if i % 11 == 0 else 0) for i in range(count)]
    return [
        tuple(first + (i if j == 0 else j) for j in range(size)) for i, size in enumerate(sizes)
    ]


SOURCES: dict[str, dict[str, Rows]] = {
    "books": {
        "a.parquet": make_rows(70, mean=40, first=100),
        "b.parquet": make_rows(21, mean=60, first=300),
    },
    "code": {"x.parquet": make_rows(17, mean=9, first=5000)},
    "web": {"w.parquet": make_rows(240, mean=13, first=9000)},
}
WEIGHTS = {"books": Fraction("0.3"), "code": Fraction("0.1"), "web": Fraction("0.6")}
SMALL = {"span_bytes": 700, "run_bytes": 6000, "bucket_bytes": 5000, "page_bytes": 900}

ASKED: dict[str, Asked] = {
    "first exhausted": Asked(weights=WEIGHTS, weigh_by="tokens"),
    "stratified": Asked(weights=WEIGHTS, weigh_by="tokens", interleave="stratified"),
    "all exhausted": Asked(weights=WEIGHTS, weigh_by="tokens", stop="all_exhausted", seed=3),
    "so many tokens": Asked(weights=WEIGHTS, weigh_by="tokens", max_tokens=9_000, epoch=2),
    "few tokens": Asked(weights=WEIGHTS, max_tokens=300, seed=8),
    "fewer than any": Asked(weights=WEIGHTS, max_tokens=1, interleave="stratified"),
    "or so many records": Asked(weights=WEIGHTS, max_tokens=9_000, max_records=100),
    "repeats, cut": Asked(repeats={"web": Fraction("1.5")}, max_tokens=4_000),
    "as one": Asked(max_tokens=2_500, seed=1),
}


def write_rows(folder: Path, files: dict[str, Rows]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        notes = ["." * (i * 37 % 50 * (folder.name != "web")) for i in range(len(rows))]
        ids = pa.array(list(rows), pa.list_(pa.uint16()))
        table = pa.table({"note": notes, "input_ids": ids})  # bytes don't follow from tokens
        pq.write_table(table, folder / name, row_group_size=50)


def mix(tmp_path: Path, *flags: str, output: str = "out", sources: Any = SOURCES) -> Manifest:
    for name, files in sources.items():
        if not (tmp_path / name).exists():
            write_rows(tmp_path / name, files)
    inputs = [f"--input={name}={tmp_path / name}" for name in sources]
    return run(*inputs, f"--output={tmp_path / output}", *flags)


def read_rows(folder: Path) -> list[Ids]:
    found = [
        row
        for path in sorted((folder / "data").iterdir())
        for row in pq.read_table(path).column("input_ids").to_pylist()
    ]
    return list(map(tuple, found))


CUT, TWICE = partial(cut_otherwise, **SMALL), partial(cut_twice, **SMALL)


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        *((name, CUT) for name in ASKED),
        *((name, TWICE) for name in ("all exhausted", "so many tokens", "as one")),
        ("so many tokens", cut_otherwise),
    ],
)
def test_a_mixture_by_tokens_is_what_one_position_at_a_time_gives(
    tmp_path: Path, name: str, cut: Callable[[], AbstractContextManager[Any]]
) -> None:
    asked = ASKED[name]
    with cut():
        manifest = mix(tmp_path, *flags_of(asked), "--num_shards=3")
    expected = mix_with_sources(SOURCES, asked)
    assert read_rows(tmp_path / "out") == [record for _, record in expected]
    total = sum(len(record) for _, record in expected)
    assert manifest.counted is not None
    assert (manifest.counted.column, manifest.counted.tokens) == ("input_ids", total)
    for part in manifest.mixture or ():
        mine = sum(len(record) for name, record in expected if name == part.source)
        every = sum(len(row) for rows in SOURCES[part.source].values() for row in rows)
        if asked.weights is None and asked.repeats is None:
            assert (part.tokens, part.share_of_tokens) == (None, None)
        else:
            assert (part.tokens, part.tokens_read) == (mine, every)
            assert part.share_of_tokens == mine / max(total, 1)
    assert verify(str(tmp_path / "out"))[1] == []


@pytest.mark.parametrize("max_tokens", [1, 500, 12_345])
def test_a_budget_is_missed_by_less_than_the_next_document(tmp_path: Path, max_tokens: int) -> None:
    asked = Asked(weights=WEIGHTS, weigh_by="tokens", seed=5)
    manifest = mix(tmp_path, *flags_of(asked._replace(max_tokens=max_tokens)))
    assert manifest.counted is not None
    found, more = read_rows(tmp_path / "out"), asked._replace(max_records=manifest.records + 1)
    longer = mix_plainly(SOURCES, more)
    assert longer[:-1] == found
    assert manifest.counted.tokens <= max_tokens < sum(map(len, longer))


# ---- what is spilled follows tokens too

LARGE: dict[str, dict[str, Rows]] = {
    "books": {"b.parquet": make_rows(900, mean=20, first=0)},
    "web": {"w.parquet": make_rows(9_000, mean=12, first=0)},
}
MANY = {"bucket_bytes": 20_000, "run_bytes": 90_000, "page_bytes": 9_000, "span_bytes": 1 << 20}
LITTLE = [
    "--weights=books=0.2,web=0.8",
    "--weigh_by=tokens",
    "--max_tokens=12000",
    "--num_shards=2",
]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("large")
    for name, files in LARGE.items():
        write_rows(found / name, files)
    return found


@pytest.mark.parametrize("share", [None, 0.0001, 0.04])
def test_what_is_needed_is_guessed_by_tokens_and_a_guess_that_falls_short_costs_no_byte(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float | None
) -> None:
    expected = mix_plainly(
        LARGE,
        Asked(
            weights={"books": Fraction("0.2"), "web": Fraction("0.8")},
            weigh_by="tokens",
            max_tokens=12_000,
        ),
    )
    spilled = [0]
    real = spill_files.end_spill

    def end_spill(file: Any, url: str, rows: list[Any], **how: Any) -> bytes:
        spilled[0] += sum(row[-1] for row in rows)  # what is measured comes last
        return real(file, url, rows, **how)

    monkeypatch.setattr(spill_files, "end_spill", end_spill)
    if share is not None:
        guess(monkeypatch, share)
    again = count_reads(monkeypatch)
    inputs = [f"--input={name}={large / name}" for name in LARGE]
    with cut_otherwise(**MANY):
        manifest = run(*inputs, f"--output={tmp_path / 'o'}", *LITTLE)
    assert read_rows(tmp_path / "o") == expected
    every = sum(len(row) for files in LARGE.values() for rows in files.values() for row in rows)
    assert manifest.counted is not None
    used = manifest.counted.tokens
    assert used <= spilled[0] < every / 2
    assert (again == []) == (share is None)


def test_that_lengths_differ_very_much_lets_a_budget_be_met_all_the_same(tmp_path: Path) -> None:
    """Counted beforehand is by mean lengths, and that is too short here: one row has most tokens."""
    rows = [(7,)] * 4000
    sources: dict[str, dict[str, Rows]] = {
        "a": {"x.parquet": [*rows, (9,) * 60_000]},
        "b": {"x.parquet": rows[:10]},
    }
    asked = Asked(weights={"a": Fraction(1), "b": Fraction("0.001")}, max_tokens=3_900, seed=3)
    mix(tmp_path, *flags_of(asked), sources=sources)
    expected = mix_plainly(sources, asked)
    assert len(expected) > 1.2 * 3_900 / 16 + 1000  # beyond what was counted
    assert read_rows(tmp_path / "out") == expected


# ---- shares

LENGTHS = {"a": 20, "b": 200, "c": 66}
SHARES = {"a": 0.5, "b": 0.3, "c": 0.2}


def exponential(name: str, count: int) -> list[int]:
    """Lengths of a source's rows, as uneven as an exponential law, by its quantiles."""
    places = (np.arange(count) + 0.5) / count
    return np.maximum(np.round(-np.log1p(-places) * LENGTHS[name]), 1).astype(int).tolist()


def weigh(
    tmp_path: Path,
    lengths: dict[str, list[int]],
    *flags: str,
    weigh_by: str = "tokens",
    output: str = "out",
) -> Any:
    for name, sizes in lengths.items():
        if not (tmp_path / name).exists():
            offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]), pa.int32())
            ids = pa.ListArray.from_arrays(offsets, pa.array(np.zeros(sum(sizes), np.uint16)))
            (tmp_path / name).mkdir()
            pq.write_table(pa.table({"input_ids": ids}), tmp_path / name / "x.parquet")
    inputs = [f"--input={name}={tmp_path / name}" for name in lengths]
    shares = ",".join(f"{name}={share}" for name, share in SHARES.items())
    how = [f"--weights={shares}", f"--weigh_by={weigh_by}", *flags]
    return run(*inputs, f"--output={tmp_path / output}", *how)


def test_stratified_whole_passes_have_their_shares_of_tokens_within_a_thousandth(
    tmp_path: Path,
) -> None:
    """No document over 1e-4 of the output, and 1.7 records (the schedule's bound) of it are 2e-4."""
    means, once = {"a": 20, "b": 60, "c": 33}, 1_200_000
    lengths = {
        name: [mean // 2, mean + (mean + 1) // 2] * int(SHARES[name] * once / mean / 2)
        for name, mean in means.items()
    }
    once = sum(map(sum, lengths.values()))
    manifest = weigh(tmp_path, lengths, "--interleave=stratified", "--stop=all_exhausted")
    longest = max(map(max, lengths.values()))
    assert manifest.counted.tokens >= once
    assert longest < 1e-4 * manifest.counted.tokens
    assert all(part.passes_finished >= 1 for part in manifest.mixture)
    for part in manifest.mixture:
        assert abs(part.share_of_tokens - SHARES[part.source]) <= 1e-3
        assert part.asked == pytest.approx(SHARES[part.source], abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_random_shares_of_tokens_have_the_variance_of_independent_draws(
    tmp_path: Path, seed: int
) -> None:
    """Four standard deviations, of a ratio of sums of independent draws.

    A position draws source i with p_i, and a length from i's own (mean m_i, variance v_i). With
    X = its tokens if it is of source s, T = its tokens, f = E X / E T the share, the variance of
    sum(X) / sum(T) over N positions is, to the first order (delta method),

        Var(X - f T) / (N (E T)^2), where
        E (X - f T)^2 = p_s (1 - f)^2 (v_s + m_s^2) + f^2 sum_{i != s} p_i (v_i + m_i^2)

    and E (X - f T) = 0. Ranks without repetition vary less, so it is an upper bound.
    """
    lengths = {name: exponential(name, 4_000) for name in SHARES}
    manifest = weigh(tmp_path, lengths, "--max_tokens=150K", f"--seed={seed}")
    means = {name: np.mean(own) for name, own in lengths.items()}
    squares = {name: np.mean(np.square(own)) for name, own in lengths.items()}
    rate = {name: SHARES[name] / means[name] for name in SHARES}
    p = {name: rate[name] / sum(rate.values()) for name in SHARES}
    mean = sum(p[name] * means[name] for name in SHARES)
    for part in manifest.mixture:
        f = SHARES[part.source]
        others = sum(p[n] * squares[n] for n in SHARES if n != part.source)
        square = p[part.source] * (1 - f) ** 2 * squares[part.source] + f**2 * others
        sigma = math.sqrt(square / manifest.records) / mean
        assert abs(part.share_of_tokens - f) <= 4 * sigma
        assert 4 * sigma < 0.1  # else it would say nothing
    # a control: weights of records give other shares, beyond as many deviations
    plain = weigh(tmp_path, lengths, "--max_tokens=150K", weigh_by="records", output="plain")
    worst = max(abs(part.share_of_tokens - SHARES[part.source]) for part in plain.mixture)
    assert worst > 0.2


# ---- what can't be is refused before work, by name


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--max_tokens=9", "--token_column=ids"], ["column ids", "got columns input_ids, id"]),
        (["--max_tokens=9", "--token_column=id"], ["column id of lists", "got int64"]),
        (
            ["--max_tokens=9", "--max_bytes=9"],
            ["--max_bytes=9 and --max_tokens=9", "or tokens, not both"],
        ),
        (
            ["--weights=s=1", "--weigh_by=tokens", "--max_bytes=5"],
            ["--max_bytes=5 and --weigh_by=tokens"],
        ),
        (["--max_tokens=9", "--text_field=text"], ["--text_field=text", "--max_tokens=9"]),
        (["--max_tokens=1.5"], ["--max_tokens=1.5", "500K"]),
        (["--max_tokens=0"], ["--max_tokens=0"]),
        (["--weigh_by=tokens"], ["--weigh_by=tokens: expected --weights"]),
    ],
)
def test_what_cannot_be_counted_is_refused(
    tmp_path: Path, flags: list[str], words: list[str]
) -> None:
    table = pa.table({"input_ids": [[1, 2], [3]], "id": [1, 2]})
    (tmp_path / "s").mkdir()
    pq.write_table(table, tmp_path / "s" / "a.parquet")
    with pytest.raises((UsageError, InputError)) as caught:
        run(f"--input=s={tmp_path / 's'}", f"--output={tmp_path / 'o'}", *flags)
    assert all(word in str(caught.value) for word in words), caught.value
    assert not (tmp_path / "o").exists()


def test_lines_have_no_tokens(tmp_path: Path) -> None:
    write_tree(tmp_path / "s", {"a.jsonl": b'{"input_ids": [1, 2]}\n'})
    with pytest.raises(
        InputError, match=r"got lines; tokenize them first, or use dovetail prepare"
    ):
        run(f"--input={tmp_path / 's'}", f"--output={tmp_path / 'o'}", "--max_tokens=5")


@pytest.mark.parametrize("kind", [pa.large_list(pa.int32()), pa.list_(pa.int64())])
def test_rows_of_arrow_and_of_other_lists_are_counted_too(tmp_path: Path, kind: Any) -> None:
    files = SOURCES["books"]
    (tmp_path / "s").mkdir()
    rows = [row for own in files.values() for row in own]
    table = pa.table({"tokens": pa.array([*rows, None, []], kind), "n": range(len(rows) + 2)})
    with pa.ipc.new_file(tmp_path / "s" / "a.arrow", table.schema) as writer:
        writer.write_table(table)
    how = [f"--output={tmp_path / 'o'}", "--max_tokens=1K", "--token_column=tokens"]
    manifest = run(f"--input={tmp_path / 's'}", *how)
    assert manifest.counted is not None
    assert 1_000 - max(map(len, rows)) < manifest.counted.tokens <= 1_000
    assert verify(str(tmp_path / "o"))[1] == []


# ---- what is proved


def test_verify_finds_another_number_of_tokens(tmp_path: Path) -> None:
    mix(tmp_path, *flags_of(ASKED["so many tokens"]))
    path = tmp_path / "out" / "manifest.json"
    manifest = json.loads(path.read_text())
    for change, words in (
        (lambda m: m["counted"].update(tokens=7), "tokens don't add up"),
        (lambda m: m["mixture"][0].update(share_of_tokens=0.9), "of the tokens"),
        (lambda m: m["counted"].update(column="ids"), "no column ids of lists"),
    ):
        changed = json.loads(json.dumps(manifest))
        change(changed)
        path.write_text(json.dumps(changed))
        found = verify(str(tmp_path / "out"))[1]
        assert any(words in problem for problem in found), found
    both = json.loads(json.dumps(manifest))
    both["counted"]["tokens"] += 1
    both["mixture"][0]["tokens"] += 1
    path.write_text(json.dumps(both))
    assert any("all shards together" in problem for problem in verify(str(tmp_path / "out"))[1])


def test_tokens_counted_wrongly_in_the_work_are_found_by_verify_which_counts_them_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = blocks.measures
    with monkeypatch.context() as patch:
        patch.setattr(blocks, "measures", lambda block, column: real(block, column) + 1)
        manifest = mix(tmp_path, *flags_of(ASKED["first exhausted"]))
    assert manifest.counted is not None
    (problem,) = verify(str(tmp_path / "out"))[1]
    assert f"{manifest.counted.tokens - manifest.records} tokens" in problem


# ---- prepare goes by the same law


@pytest.mark.parametrize("staged", [False, True])
def test_prepare_meets_a_budget_beyond_what_was_counted_by_means(
    tmp_path: Path, staged: bool
) -> None:
    """One row has most tokens, and comes late: the schedule is counted on as far as that takes."""
    rows = [(i % 50 + 7,) for i in range(4000)]
    sources: dict[str, dict[str, Rows]] = {
        "a": {"x.parquet": [*rows, (9,) * 60_000]},
        "b": {"x.parquet": rows[:10]},
    }
    weights = {"a": Fraction(1), "b": Fraction("0.001")}
    expected = mix_plainly(sources, Asked(weights=weights, max_tokens=3_900, seed=3))
    for name, files in sources.items():
        write_rows(tmp_path / name, files)
    asked: dict[str, Any] = {
        "sources": {name: str(tmp_path / name) for name in sources},
        "vocab_size": 500,
        "eos_token": "0",
        "document_end": "none",
        "packing": "none",
        "seed": 3,
        "output_format": ["parquet"],
    }
    numbers = {name: float(weight) for name, weight in weights.items()}
    if staged:
        first = {"weights": numbers, "until": {"tokens": 3_900}}
        asked["stages"] = [first, {"weights": {"a": 0, "b": 1}, "until": {"records": 5}}]
    else:
        asked |= {"weights": numbers, "max_tokens": 3_900}
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(asked))
    pipelines.prepare.run([f"--recipe={recipe}", f"--output={tmp_path / 'out'}", *ONE])
    found = read_rows(tmp_path / "out")
    assert found[: len(expected)] == expected
    assert len(found) == len(expected) + 5 * staged
    used = sum(row[0] <= 16 and row in rows[:10] for row in found)
    assert used >= 5 * staged
