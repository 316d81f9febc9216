"""What a person sees of a run: live bars on a terminal, lines elsewhere, and what a stage waits for."""

from __future__ import annotations

import io
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.jobs import bars
from pipelines.jobs.bars import STAGE_WORDS, Bars, Standing
from pipelines.jobs.watch import Watch
from pipelines.recipes import cli
from tests.pipelines.support import command, environment, make_lines
from tests.terminal import frames, plain, run_on_terminal
from transforms.workers.progress import Progress

_RECORDS = 20_000
_CURSOR_HIDDEN, _CURSOR_SHOWN = "\x1b[?25l", "\x1b[?25h"


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return an input file."""
    path = tmp_path / "in.txt"
    path.write_bytes(make_lines(_RECORDS))
    return path


@pytest.fixture
def counts(tmp_path: Path) -> str:
    """Return a folder for counts."""
    folder = tmp_path / "counts"
    folder.mkdir()
    return str(folder)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Hear what our log says."""
    caplog.set_level(logging.INFO, logger="dovetail")
    return caplog


def python(*words: object) -> list[str]:
    """Return a command line of ours."""
    return [sys.executable, "-m", "pipelines", *map(str, words)]


def test_a_terminal_shows_a_bar_for_each_stage_with_what_all_workers_did_then_the_summary(
    source: Path, tmp_path: Path, logs: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    data = source.read_bytes().splitlines(keepends=True)
    for i in range(6):  # spans for both workers
        (folder / str(i)).write_bytes(b"".join(data[i::6]))
    flags = [f"--input={folder}", f"--output={tmp_path / 'o'}", "--workers=2"]
    code, printed = run_on_terminal(
        python("shuffle", *flags, "--num_shards=4"), environment=environment()
    )
    assert code == 0
    seen = frames(printed)
    lines = [plain(line) for line in seen[-1]]
    size = f"{source.stat().st_size / 1e3:.1f}"
    assert len(lines) == 9
    assert "2 workers" in lines[0]
    assert "shuffling into 4 shards" in lines[1]
    assert "starting 2 worker processes" in lines[2]
    for line, stage in zip(lines[3:5], ("reading and shuffling", "writing shards"), strict=True):
        done = rf"100% {size}/{size} kB {_RECORDS:,} records +[\d.]+ [kM]B/s +took +<?0:\d\d"
        assert re.fullmatch(rf"{stage} +━+ {done}", line)
    assert f"done: {_RECORDS:,} records" in lines[5]
    assert "verify it with" in lines[7]
    assert lines[8] == ""
    before = [plain(line) for line in seen[0]]
    assert re.match(rf"reading and shuffling ━+ 0% 0\.0/{size} kB", before[3])
    assert before[4].split()[0] == "writing"
    assert "records" not in before[4]
    assert printed.count(_CURSOR_HIDDEN) == printed.count(_CURSOR_SHOWN) == 1
    assert list(logs.iterdir()) == []


def test_verify_shows_a_bar_too(source: Path, tmp_path: Path) -> None:
    flags = [f"--input={source}", f"--output={tmp_path / 'o'}", "--num_shards=3"]
    assert command(*flags, "--header_lines=1").returncode == 0
    code, printed = run_on_terminal(python("verify", tmp_path / "o"), environment=environment())
    assert code == 0
    lines = [plain(line) for line in frames(printed)[-1]]
    assert re.fullmatch(rf"checking files ━+ 100% .* {_RECORDS - 1:,} records .*", lines[0])
    assert "matches its manifest" in "".join(lines[1:])


def test_ctrl_c_leaves_the_terminal_as_it_was(source: Path, tmp_path: Path, logs: Path) -> None:
    def interrupt(process: subprocess.Popen[bytes], so_far: bytes) -> None:
        if b"reading and shuffling" in so_far and not told:
            told.append(True)
            process.send_signal(signal.SIGINT)

    told: list[bool] = []
    code, printed = run_on_terminal(
        python("shuffle", f"--input={source}", f"--output={tmp_path / 'o'}"),
        environment=environment(),
        heard=interrupt,
    )
    assert code == 130
    lines = [plain(line) for line in frames(printed)[-1]]
    assert lines[-2:] == ["stopped", ""]
    assert lines[3].startswith("reading and shuffling ")
    assert printed.count(_CURSOR_HIDDEN) == printed.count(_CURSOR_SHOWN) == 1
    assert printed.index(_CURSOR_SHOWN) < printed.index("stopped")
    assert list(logs.iterdir()) == []


@pytest.mark.parametrize(("term", "debug"), [("dumb", False), ("xterm", True)])
def test_a_dumb_terminal_and_debugging_show_no_bars(
    source: Path, tmp_path: Path, term: str, debug: bool
) -> None:
    shuffle = python("shuffle", f"--input={source}", f"--output={tmp_path / 'o'}")
    code, printed = run_on_terminal(
        ["env", f"TERM={term}", *shuffle, *["--debug"] * debug], environment=environment()
    )
    assert code == 0
    assert "\x1b" not in printed
    assert printed.count("done: ") == 1


def test_a_pipe_shows_no_bars(source: Path, tmp_path: Path) -> None:
    done = command(f"--input={source}", f"--output={tmp_path / 'o'}")
    assert done.returncode == 0
    assert b"\x1b" not in done.stderr
    words = "|".join(STAGE_WORDS.values())
    slow = re.compile(
        rf"[\d:]+ (({words}): |.*may take a while$)"
    )  # what is said after some seconds
    assert len([line for line in done.stderr.decode().splitlines() if not slow.match(line)]) == 6


def test_our_log_comes_out_above_the_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "100")
    handler = logging.StreamHandler()
    cli.LOG.addHandler(handler)
    with Bars() as live:
        live.show([Standing(stage="partition", done=1, total=4)])
        cli.LOG.warning("[0] a word in between")  # no markup
        print("somebody else's", file=sys.stderr)
        live.show([Standing(stage="partition", done=3, total=4)])
    cli.LOG.warning("after")
    cli.LOG.removeHandler(handler)
    assert sys.stderr is screen
    lines = [plain(line) for line in frames(screen.getvalue())[-1]]
    assert lines[:2] == ["[0] a word in between", "somebody else's"]
    assert "75% 3/4 B" in lines[2]
    assert lines[3:] == ["after", ""]


def test_without_a_terminal_lines_come_often_at_first_and_seldom_later(
    counts: str, said: pytest.LogCaptureFixture
) -> None:
    clock, progress = Clock(), Progress.open(counts)
    watch = Watch(counts, {"partition": 4_000_000_000, "write": None}, clock=clock)
    times = []
    for second in range(301):
        clock.now = 1000.0 + second
        before = len(said.messages)
        watch.tick()
        times += [second] * (len(said.messages) - before)
        progress.add("partition", bytes=10_000_000, records=50_000, payload=20_000_000)
    assert times == [*range(10, 121, 10), *range(150, 301, 30)]
    assert said.messages[1] == (
        "reading and shuffling: 5%, 0.2/4.0 GB, 1,000,000 records, 10 MB/s, 6:20 left"
    )


def test_the_write_stage_knows_its_total_when_partition_is_finished(
    counts: str, said: pytest.LogCaptureFixture
) -> None:
    clock, progress = Clock(), Progress.open(counts)
    watch = Watch(counts, {"partition": 100, "write": None}, clock=clock)
    watch.tick()
    progress.add("partition", bytes=100, records=9, payload=3_000_000)
    clock.now += 50
    watch.tick()
    assert (
        said.messages[-1]
        == "reading and shuffling: 100%, 100/100 B, 9 records, 2 bytes/s, took 0:50"
    )
    clock.now += 50  # time that belongs to nobody's rate
    watch.tick()
    progress.add("write", bytes=1_000_000, records=3)
    clock.now += 10
    watch.tick()
    assert said.messages[-1] == "writing shards: 33%, 1.0/3.0 MB, 3 records, 100 kB/s, 0:20 left"
    progress.add("write", bytes=2_500_000, records=7)  # a shard was written again
    clock.now += 10
    watch.tick()
    assert said.messages[-1].startswith("writing shards: 100%, 3.0/3.0 MB, 10 records")


def test_records_that_come_after_the_last_bytes_count_and_what_a_stage_took_stays(
    counts: str, said: pytest.LogCaptureFixture
) -> None:
    clock, progress = Clock(), Progress.open(counts)
    watch = Watch(counts, {"partition": 100, "write": None}, clock=clock)
    progress.add("partition", bytes=100)  # of a compressed file: all is fed to its decoder
    for second, records in ((10, 5), (20, 5), (30, 0), (40, 0)):
        progress.add("partition", records=records, payload=records)
        clock.now = 1000.0 + second
        watch.tick()
    assert [message.split(" B, ")[1] for message in said.messages] == [
        "5 records, 10 bytes/s, took 0:10",
        "10 records, 5 bytes/s, took 0:20",
        "10 records, 5 bytes/s, took 0:20",
        "10 records, 5 bytes/s, took 0:20",
    ]


def test_tokens_are_counted_a_second(counts: str, said: pytest.LogCaptureFixture) -> None:
    clock, progress = Clock(), Progress.open(counts)
    watch = Watch(counts, {"tokenize": 4_000_000, "write": None}, clock=clock)
    watch.tick()
    progress.add("tokenize", bytes=1_000_000, records=2, tokens=250_000)
    clock.now += 10
    watch.tick()
    assert said.messages == [
        "reading and tokenizing: 25%, 1.0/4.0 MB, 2 records, 100 kB/s, 25,000 tokens/s, 0:30 left"
    ]


def test_where_nothing_is_counted_lines_say_what_goes_on(
    counts: str, said: pytest.LogCaptureFixture
) -> None:
    clock, progress = Clock(), Progress.open(counts)
    watch = Watch(counts, {"count": 100, "score": 100}, clock=clock)
    progress.add("count", bytes=100, records=9)
    watch.tick()
    with progress.doing("fitting the discriminator"):
        clock.now += 10
        watch.tick()
    progress.add("score", bytes=50, records=4)
    with progress.doing("reading FILE"):  # and it moves
        clock.now += 10
        watch.tick()
    clock.now += 10  # nothing moves, and nobody says why
    watch.tick()
    assert [message.partition("records, ")[2].partition("; ")[2] for message in said.messages] == [
        "now fitting the discriminator",
        "",
        "",
    ]


def test_a_stage_that_pauses_has_neither_a_rate_nor_time_left(
    counts: str, said: pytest.LogCaptureFixture
) -> None:
    clock, progress = Clock(), Progress.open(counts)
    watch = Watch(counts, {"count": 1000}, clock=clock)
    watch.tick()
    progress.add("count", bytes=500, records=9)
    with progress.doing("fitting the discriminator"):
        for _ in range(10):
            clock.now += 1
            watch.tick()
    assert said.messages == [
        "surveying records: 50%, 0.5/1.0 kB, 9 records; now fitting the discriminator"
    ]


def test_bars_that_stand_still_have_a_line_that_says_what_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "100")
    with Bars() as live:
        live.show([Standing(stage="count", done=4, total=4)], "now fitting [the discriminator]")
    lines = [plain(line) for line in frames(screen.getvalue())[-1]]
    assert "100% 4/4 B" in lines[0]
    assert lines[1] == "now fitting [the discriminator]"


def test_a_stage_that_does_not_move_says_so_and_what_it_waits_for_ever_more_seldom(
    counts: str, said: pytest.LogCaptureFixture
) -> None:
    def stalls() -> list[str]:
        return [message for message in said.messages if "no progress for" in message]

    clock, progress = Clock(), Progress.open(counts)
    watch = Watch(counts, {"partition": 100, "write": None}, clock=clock)
    times = []
    with progress.doing("reading s3://bucket/key"):
        for second in range(0, 1000):
            clock.now = 1000.0 + second
            before = len(stalls())
            watch.tick()
            times += [second] * (len(stalls()) - before)
        assert times == [120, 240, 480, 960]
        assert stalls()[1] == (
            "reading and shuffling: no progress for 4 minutes; "
            f"process {os.getpid()} is reading s3://bucket/key"
        )
    progress.add("partition", bytes=1)
    watch.tick()
    clock.now += 119
    watch.tick()
    assert len(stalls()) == 4  # it had moved
    clock.now += 1
    watch.tick()
    assert len(stalls()) == 5
    assert stalls()[4].endswith("no worker has work: they wait for Beam's runner")


@pytest.mark.parametrize(
    ("many", "more"), [(7, "3 more processes wait"), (5, "1 more process waits")]
)
def test_of_many_workers_that_wait_some_are_named(
    counts: str,
    said: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    many: int,
    more: str,
) -> None:
    readers = [(i, "reading b") for i in range(2, many + 1)]
    waiting = [(1, "sorting a run"), (1, "reading a"), *readers]
    monkeypatch.setattr("pipelines.jobs.watch.read_doing", lambda folder: waiting)
    clock = Clock()
    watch = Watch(counts, {"verify": 1}, clock=clock)
    clock.now += 180
    watch.tick()
    watch.tick()
    clock.now += 180
    watch.tick()
    assert said.messages[-1] == (
        "checking files: no progress for 3 minutes; process 1 is sorting a run, reading a; "
        "process 2 is reading b; process 3 is reading b; process 4 is reading b; "
        f"{more} too"
    )


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        (Standing(stage="write"), ["", "", "", "", ""]),
        (Standing(stage="write", total=0), ["100%", "", "", "", ""]),
        (
            Standing(stage="write", done=1999, total=2000, records=1, rate=1e6, seconds=3600),
            ["99%", "2.0/2.0 kB", "1 record", "1 MB/s", "1:00:00 left"],
        ),
        (
            Standing(stage="write", done=7 * 10**12, total=5 * 10**12, seconds=59.6),
            ["100%", "5.0/5.0 TB", "", "", "took 1:00"],
        ),
        (
            Standing(stage="tokenize", done=999_999, records=2, rate=0.2, tokens=1500),
            ["", "1.0 MB", "2 records", "1,500 tokens/s", ""],
        ),
        (
            Standing(stage="write", done=999_999, total=999_999),
            ["100%", "1.0/1.0 MB", "", "", ""],
        ),
    ],
)
def test_words_for_people(standing: Standing, words: list[str]) -> None:
    assert standing.words() == words


@pytest.mark.parametrize("stderr", [None, io.StringIO()])
def test_no_terminal_is_no_terminal(
    stderr: io.StringIO | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", stderr)
    assert not bars.on_terminal()
