"""Lines as people have them, through the whole commands: marks, blank lines, quotes, arrays."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pipelines.verify import verify
from tests.pipelines.support import join_shards, run, write_tree

ONE = "--direct_num_workers=1"
MARK = b"\xef\xbb\xbf"


def records(out: Path) -> list[bytes]:
    """Return the records of a dataset of lines, sorted."""
    return sorted(join_shards(out).splitlines())


def test_marks_and_blank_lines_are_left_out_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = {f"in/{i}.jsonl": MARK + b'{"text":"%d"}\n\n  \n' % i for i in range(3)}
    write_tree(tmp_path, {**files, "in/3.jsonl": b'\n{"text":"3"}'})
    caplog.set_level(logging.INFO, logger="dovetail")
    for flags in ([], ["--check=json"], ["--text_field=text", "--on_bad_record=fail"]):
        caplog.clear()
        out = tmp_path / f"out{len(flags)}"
        manifest = run(f"--input={tmp_path}/in", f"--output={out}", ONE, *flags)
        assert records(out) == [b'{"text":"%d"}' % i for i in range(4)]
        assert (manifest.byte_order_marks, manifest.blank_lines) == (3, 7)
        said = [m for m in caplog.messages if "left out" in m]
        assert len(said) == 2
        assert "of 3 files" in said[0]
        assert verify(str(out))[1] == []


def test_a_mark_inside_a_shard_of_ours_is_data(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a.txt": b"1\n" + MARK + b"2\n\n"})
    run(f"--input={tmp_path}/a.txt", f"--output={tmp_path}/x", "--seed=1", ONE)
    run(f"--input={tmp_path}/x", f"--output={tmp_path}/y", "--seed=2", ONE)
    assert records(tmp_path / "y") == [b"", b"1", MARK + b"2"]
