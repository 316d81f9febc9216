"""Files, sources, headers and names, from the command line to the dataset."""

from __future__ import annotations

import csv
import itertools
import json
import os
from datetime import datetime
from pathlib import Path

import pytest

from pipelines.verify import verify
from tests.pipelines.support import (
    command,
    count_records,
    join_shards,
    make_lines,
    read_shards,
    run,
    split,
    write_tree,
)
from transforms.errors import InputError


def test_the_manifest_says_what_was_read_and_written(tmp_path: Path) -> None:
    files = {"x.jsonl": make_lines(70), "y/z.jsonl": b"a\nb"}
    corpus = write_tree(tmp_path / "in", files)
    returned = run(
        f"--input=web={corpus}",
        f"--output={tmp_path / 'o'}",
        "--num_shards=3",
        "--seed=4",
        "--epoch=2",
        "--split_name=dev",
    )
    found = json.loads((tmp_path / "o/manifest.json").read_bytes())
    assert found == returned.model_dump()
    assert (found["format_version"], found["order_version"]) == (4, 1)
    assert (found["seed"], found["epoch"], found["records"]) == (4, 2, 72)
    assert found["recipe"]["sources"] == {"web": [str(corpus)]}
    assert found["recipe"]["num_shards"] == 3
    assert [source["name"] for source in found["sources"]] == ["web"]
    assert [(f["name"], f["size"], f["records"]) for f in found["sources"][0]["files"]] == [
        ("x.jsonl", len(files["x.jsonl"]), 70),
        ("y/z.jsonl", 3, 2),
    ]
    assert [shard["path"] for shard in found["shards"]] == [
        f"data/dev-{i:05d}-of-00003.jsonl" for i in range(3)
    ]
    assert sorted(os.listdir(tmp_path / "o/data")) == [
        Path(s["path"]).name for s in found["shards"]
    ]
    assert {"dovetail", "apache-beam", "pyarrow", "numpy"} <= set(found["versions"])
    started, ended = (datetime.fromisoformat(found[name]) for name in ("started", "ended"))
    assert started.tzinfo
    assert started <= ended


def test_digests_of_files_sources_and_the_whole_add_up_and_tell_contents_apart(
    tmp_path: Path,
) -> None:
    write_tree(tmp_path, {"a/1": b"x\ny\n", "a/2": b"y\nx", "b/1": b"x\nz\n"})
    manifest = run(
        f"--input=a={tmp_path / 'a'}", f"--input=b={tmp_path / 'b'}", f"--output={tmp_path / 'o'}"
    )
    files = {(s.name, f.name): f.digest for s in manifest.sources for f in s.files}
    assert files["a", "1"] == files["a", "2"]  # of the records, in whatever order
    assert files["a", "1"].hash != files["b", "1"].hash
    halves = [[int(d.hash[i : i + 16], 16) for i in (0, 16)] for d in files.values()]
    total = [sum(half) % 2**64 for half in zip(*halves, strict=True)]
    assert [int(manifest.digest.hash[i : i + 16], 16) for i in (0, 16)] == total


@pytest.mark.parametrize(
    ("names", "extension"),
    [
        (["a.jsonl"], ".jsonl"),
        (["a.jsonl", "b/c.jsonl"], ".jsonl"),
        (["a.txt", "b.jsonl"], ".txt"),
        (["a"], ".txt"),
        (["a", "b.csv"], ".txt"),
        (["a.tar.csv", "b.csv"], ".csv"),
    ],
)
def test_shards_have_the_extension_that_all_inputs_share(
    tmp_path: Path, names: list[str], extension: str
) -> None:
    corpus = write_tree(tmp_path / "in", dict.fromkeys(names, b"1\n2\n"))
    inputs = [f"--input={corpus}/{name}" for name in names]  # of a folder, kinds may not differ
    run(*inputs, f"--output={tmp_path / 'o'}", "--split_name=t_2")
    assert list(read_shards(tmp_path / "o")) == [f"t_2-00000-of-00001{extension}"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("", "abcde"),
        ("/", "abcde"),
        ("/*", "ab"),
        ("/*.txt", "a"),
        ("/**", "abcde"),
        ("/d?", ""),
        ("/d1/*", "c"),
        ("/d[12]/*", "cd"),
        ("/d*/*.txt", "cd"),
        ("/d2/**", "de"),
        ("/[x]", "b"),
        ("/y z.txt", "a"),
        ("/d2/x", "e"),
        ("/d3", ""),
        ("/d3/*", ""),
    ],
)
def test_patterns_find_files_and_folders_give_all_below_that_is_not_hidden(
    tmp_path: Path, pattern: str, found: str
) -> None:
    names = {"a": "y z.txt", "b": "[x]", "c": "d1/c.txt", "d": "d2/d.txt", "e": "d2/x/e.log"}
    if "*" not in pattern:
        names |= {"f": ".f", "g": "d2/.g", "h": ".hidden/h.txt", "i": "d2/x/.h/i"}
    corpus = write_tree(tmp_path / "in", {name: letter.encode() for letter, name in names.items()})
    flags = [f"--input={corpus}{pattern}", f"--output={tmp_path / 'o'}"]
    if found:
        run(*flags, "--extension=.txt,.log,none")
        assert sorted(split(join_shards(tmp_path / "o"))) == [c.encode() for c in found]
    else:
        with pytest.raises(InputError, match="no file matches"):
            run(*flags)


def test_a_header_stands_on_every_shard_and_is_no_record(tmp_path: Path) -> None:
    rows = {name: [f"{name}{i},{i}" for i in range(300)] for name in "ab"}
    header = 'name,"value"\nunits,none\n'
    write_tree(
        tmp_path / "in",
        {f"{name}.csv": (header + "\n".join(lines)).encode() for name, lines in rows.items()},
    )
    manifest = run(
        f"--input={tmp_path / 'in'}",
        f"--output={tmp_path / 'o'}",
        "--num_shards=4",
        "--header_lines=2",
    )
    assert manifest.records == 600
    shards = read_shards(tmp_path / "o")
    assert all(data.startswith(header.encode()) for data in shards.values())
    bodies = {name: data[len(header) :] for name, data in shards.items()}
    assert count_records(bodies) == count_records(
        {name: "\n".join(lines).encode() for name, lines in rows.items()}
    )
    read = [row for data in shards.values() for row in csv.DictReader(data.decode().splitlines())]
    assert {row["name"][0] for row in read} == {"a", "b", "u"}
    assert verify(str(tmp_path / "o"))[1] == []


def test_files_of_nothing_but_a_header_give_shards_of_nothing_but_a_header(tmp_path: Path) -> None:
    write_tree(tmp_path / "in", {"a": b"h\n", "b": b"h\n"})
    manifest = run(
        f"--input={tmp_path / 'in'}",
        f"--output={tmp_path / 'o'}",
        "--num_shards=2",
        "--header_lines=1",
    )
    assert manifest.records == 0
    assert set(read_shards(tmp_path / "o").values()) == {b"h\n"}
    assert verify(str(tmp_path / "o"))[1] == []


def test_headers_may_end_in_another_separator(tmp_path: Path) -> None:
    write_tree(tmp_path / "in", {"a": b"h1\nh2\0x\n\0y"})
    run(
        f"--input={tmp_path / 'in'}",
        f"--output={tmp_path / 'o'}",
        "--header_lines=1",
        r"--separator=\0",
    )
    assert join_shards(tmp_path / "o") in (b"h1\nh2\0x\n\0y\0", b"h1\nh2\0y\0x\n\0")


def test_sources_are_shuffled_as_one_and_counted_apart(tmp_path: Path) -> None:
    web = {"1": make_lines(500, name="w"), "2": make_lines(100, name="v")}
    books = {"1": make_lines(400, name="b")}
    write_tree(tmp_path / "web", web)
    write_tree(tmp_path / "books", books)
    for i, order in enumerate((("web", "books"), ("books", "web"))):
        manifest = run(
            *(f"--input={name}={tmp_path / name}" for name in order),
            f"--output={tmp_path / str(i)}",
            "--num_shards=3",
        )
        assert [(s.name, s.digest.records) for s in manifest.sources] == [
            ("books", 400),
            ("web", 600),
        ]
    assert read_shards(tmp_path / "0") == read_shards(tmp_path / "1")
    mixed = split(join_shards(tmp_path / "0"))
    assert sum(record.startswith(b"b") for record in mixed[:500]) in range(150, 250)


def test_the_same_file_in_two_sources_counts_twice_with_an_order_for_each(tmp_path: Path) -> None:
    data = make_lines(300)
    (tmp_path / "in").write_bytes(data)
    run(
        f"--input=a={tmp_path / 'in'}", f"--input=b={tmp_path / 'in'}", f"--output={tmp_path / 'o'}"
    )
    found = split(join_shards(tmp_path / "o"))
    assert count_records({"": b"\n".join(found)}) == count_records({"a": data, "b": data})
    assert sum(a == b for a, b in itertools.pairwise(found)) < 10  # no twins side by side


def test_a_file_that_two_patterns_match_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(make_lines(20))
    manifest = run(
        f"--input={tmp_path / 'in.txt'}", f"--input={tmp_path}/*.txt", f"--output={tmp_path / 'o'}"
    )
    assert manifest.records == 20


def test_a_dataset_as_input_is_read_by_its_shards_alone(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(make_lines(200))
    run(f"--input={tmp_path / 'in.jsonl'}", f"--output={tmp_path / 'o'}", "--num_shards=3")
    write_tree(tmp_path / "o", {"README.md": b"not me\n", "data/notes.txt": b"nor me\n"})
    manifest = run(f"--input={tmp_path / 'o'}", f"--output={tmp_path / 'p'}")
    assert manifest.records == 200
    assert [f.name for f in manifest.sources[0].files] == [
        f"data/train-{i:05d}-of-00003.jsonl" for i in range(3)
    ]
    assert count_records(read_shards(tmp_path / "p")) == count_records({"": make_lines(200)})
    assert join_shards(tmp_path / "p") != join_shards(tmp_path / "o")


@pytest.mark.parametrize(
    "manifest", [b'{"name": "an app"}', b"not JSON", b"[]", b"\xff", b'{"shards": [{"x": 1}]}']
)
def test_a_folder_whose_manifest_is_another_programs_is_read_or_refused_by_name(
    tmp_path: Path, manifest: bytes
) -> None:
    corpus = write_tree(tmp_path / "in", {"manifest.json": manifest, "a.txt": b"1\n"})
    try:
        run(f"--input={corpus}", f"--output={tmp_path / 'o'}")
    except InputError as error:
        assert str(corpus) in str(error)  # noqa: PT017  # one of two outcomes
        assert "manifest.json" in str(error)  # noqa: PT017  # as above
    else:
        assert b"1" in split(join_shards(tmp_path / "o"))


def test_a_dataset_that_lacks_a_shard_is_refused_as_input_naming_it(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(make_lines(20))
    run(f"--input={tmp_path / 'in.txt'}", f"--output={tmp_path / 'o'}", "--num_shards=3")
    (tmp_path / "o/data/train-00001-of-00003.txt").unlink()
    with pytest.raises(InputError, match=r"train-00001-of-00003\.txt"):
        run(f"--input={tmp_path / 'o'}", f"--output={tmp_path / 'p'}")


def test_a_dataset_in_the_making_is_no_input(tmp_path: Path) -> None:
    write_tree(
        tmp_path / "half",
        {"_incomplete.json": b'{"id": "0123456789ab"}', "data/train-00000-of-00002.txt": b"a\n"},
    )
    with pytest.raises(InputError, match="half"):
        run(f"--input={tmp_path / 'half'}", f"--output={tmp_path / 'o'}")


@pytest.mark.parametrize("pattern", ["in", "in/*", "in/l.txt"])
def test_links_to_files_are_read_whatever_their_own_age(tmp_path: Path, pattern: str) -> None:
    write_tree(tmp_path, {"real.txt": b"1\n2\n", "in/.keep": b""})
    (tmp_path / "in/l.txt").symlink_to("../real.txt")
    os.utime(tmp_path / "real.txt", (1, 1))
    assert run(f"--input={tmp_path / pattern}", f"--output={tmp_path / 'o'}").records == 2


def test_a_link_to_nowhere_in_a_folder_is_named(tmp_path: Path) -> None:
    corpus = write_tree(tmp_path / "in", {"a.txt": b"1\n"})
    (corpus / "b.txt").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"b\.txt"):
        run(f"--input={corpus}", f"--output={tmp_path / 'o'}")


def test_a_pipe_in_a_folder_does_not_hang_the_run(tmp_path: Path) -> None:
    corpus = write_tree(tmp_path / "in", {"a.txt": b"1\n"})
    os.mkfifo(corpus / "b.txt")
    done = command(f"--input={corpus}", f"--output={tmp_path / 'o'}", python=("-c", TIMED))
    assert b"STILL RUNNING" not in done.stdout
    assert done.returncode == 0 or b"b.txt" in done.stderr


TIMED = """
import os, sys, threading
import pipelines.shuffle
def give_up():
    print("STILL RUNNING", flush=True)
    os._exit(3)
timer = threading.Timer(15, give_up)
timer.daemon = True
timer.start()
sys.exit(pipelines.shuffle.main())
"""


@pytest.mark.parametrize(
    "name",
    [
        "süß 雪.txt",
        "a\tb.txt",
        "a\nb.txt",
        "a'b\".txt",
        "a  b.txt",
        "#.txt",
        "%41.txt",
        "x=1",
        "-",
        "a::b.txt",
        "\\x.txt",
    ],
)
def test_files_may_have_any_name(tmp_path: Path, name: str) -> None:
    write_tree(tmp_path / "in", {name: b"1\n2\n3\n"})
    for i, pattern in enumerate((tmp_path / "in", tmp_path / "in" / name)):
        manifest = run(f"--input={pattern}", f"--output={tmp_path / str(i)}")
        assert [(f.name, f.records) for f in manifest.sources[0].files] == [(name, 3)]
        assert verify(str(tmp_path / str(i)))[1] == []


def test_a_file_whose_name_is_no_text_is_read_or_refused_before_any_work(tmp_path: Path) -> None:
    corpus = write_tree(tmp_path / "in", {os.fsdecode(b"\xff\xfe.txt"): b"1\n2\n"})
    try:
        assert run(f"--input={corpus}", f"--output={tmp_path / 'o'}").records == 2
    except InputError as error:
        assert ".txt" in str(error)  # noqa: PT017  # one of two outcomes


@pytest.mark.parametrize("workers", [1, 2])
def test_folders_of_the_users_that_are_called_as_our_packages_are_in_nobodys_way(
    tmp_path: Path, workers: int
) -> None:
    trap = b"raise SystemExit('shadowed')\n"
    write_tree(tmp_path, {f"{name}/__init__.py": trap for name in ("pipelines", "transforms")})
    write_tree(tmp_path, {"tokenize.py": trap, "in.txt": make_lines(30)})
    done = command(
        "--input=in.txt",
        "--output=o",
        f"--workers={workers}",
        cwd=tmp_path,
        python=("-P", "-m", "pipelines.shuffle"),
    )
    assert done.returncode == 0, done.stderr.decode()
    assert count_records(read_shards(tmp_path / "o")) == count_records({"": make_lines(30)})


def test_many_small_files_are_one_source(tmp_path: Path) -> None:
    files = {f"{i % 7}/{i}.txt": b"%d\n" % i for i in range(3000)}
    corpus = write_tree(tmp_path / "in", files)
    assert run(f"--input={corpus}", f"--output={tmp_path / 'o'}").records == 3000
    assert count_records(read_shards(tmp_path / "o")) == count_records(files)
