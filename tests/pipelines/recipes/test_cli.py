"""The command line: help, flags, messages and exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import pipelines.__main__
import pipelines.runners.local
import pipelines.shuffle
import pipelines.verify
from pipelines.recipes.cli import run_main
from pipelines.runners.beam_flags import check_beam_flags, without_effect
from tests.pipelines.support import (
    ROOT,
    command,
    environment,
    make_lines,
    read_tree,
    run,
    write_tree,
)
from transforms.errors import DataError, UsageError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a small input file."""
    path = tmp_path / "in.txt"
    path.write_bytes(make_lines(50))
    return path


@pytest.mark.parametrize(
    ("flag", "nearest"),
    [
        ("--imput=x", "--input"),
        ("--shard_record=5", "--shard_records"),
        ("--sed=1", "--seed"),
        ("--overwrit", "--overwrite"),
        ("--job_nam=x", "--job_name"),
        ("--projekt=x", "--project"),
        ("--num_shard=2", "--num_shards"),
        ("--num-shard=2", "--num_shards"),
        ("--worker=2", "--workers"),
        ("--o", "-o"),
    ],
)
def test_an_unknown_flag_names_the_nearest_of_ours_and_of_beams(
    source: Path, flag: str, nearest: str
) -> None:
    with pytest.raises(UsageError) as raised:
        run(f"--input={source}", "--output=o", flag)
    assert flag in str(raised.value)
    assert f"did you mean {nearest}?" in str(raised.value)


@pytest.mark.parametrize("flag", ["--dry-run", "--dry_run", "--dry_run=true"])
def test_a_dry_run_is_called_a_plan_and_nothing_is_done(
    source: Path, tmp_path: Path, flag: str
) -> None:
    with pytest.raises(UsageError, match=rf"^{flag}: unknown flag; did you mean --plan"):
        run(f"--input={source}", f"--output={tmp_path / 'o'}", flag)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("flag", ["--qqqqqq=1", "--seq_length=1024", "--threads=2", "--x=1"])
def test_an_unknown_flag_that_is_near_nothing_is_refused_too(source: Path, flag: str) -> None:
    with pytest.raises(UsageError, match=f"{flag}: unknown flag; see --help-all"):
        run(f"--input={source}", "--output=o", flag)


def test_several_inputs_behind_an_equals_sign_are_refused_with_what_works() -> None:
    with pytest.raises(UsageError, match=r"^b\.jsonl: .* as in --input a\.jsonl b\.jsonl;"):
        check_beam_flags(["b.jsonl"], [])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["--weights", "web", "0.1"],
            "--weights: expected one value, got web and 0.1; did you mean --weights=web=0.1?",
        ),
        (
            ["--weights=a=0.9,", "b=0.1"],
            "--weights: expected one value, got a=0.9, and b=0.1; leave out spaces, or quote the value",
        ),
        (
            ["--seed", "5", "6"],
            "--seed: expected one value, got 5 and 6; leave out spaces, or quote the value",
        ),
        (["--overwrite", "yes"], "--overwrite: expected no value, got yes"),
        (
            ["--epoch=1", "--seed", "5", "1"],
            "--seed: expected one value, got 5 and 1; leave out spaces, or quote the value",
        ),
        (
            ["--job_name", "6", "--seed=5", "6"],
            "--seed: expected one value, got 5 and 6; leave out spaces, or quote the value",
        ),
        (
            ["--seed=1", "--seed=2"],
            "--seed: expected one value, got 1 and 2; give the flag once",
        ),
        (
            ["-op"],
            "--output: expected one value, got o and p; give the flag once",
        ),
        (
            ["--workers", "1", "--direct-num-workers=2"],
            "--workers: expected one value, got 1 and 2; give the flag once",
        ),
    ],
)
def test_a_second_value_names_its_own_flag(source: Path, words: list[str], says: str) -> None:
    with pytest.raises(UsageError) as raised:
        run(f"--input={source}", "--output=o", *words)
    assert str(raised.value) == says


@pytest.mark.parametrize(
    "flag", ["--workers=2", "--direct_num_workers=2", "--direct-num-workers=2"]
)
def test_workers_are_asked_for_by_our_name_or_beams(
    source: Path, flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        pipelines.shuffle.COMMAND, "make", lambda _, settings, **more: seen.append((settings, more))
    )
    run(f"--input={source}", "--output=o", flag)
    ((settings, more),) = seen
    assert settings.workers == 2
    assert more["beam_flags"] == []


@pytest.mark.parametrize(
    ("flags", "runner", "idle"),
    [
        (["--num_workers=4"], "DirectRunner", ["--num_workers"]),
        (["--region", "x", "--streaming"], "DirectRunner", ["--region", "--streaming"]),
        (["--job_name=x", "--setup_file=y"], "DirectRunner", ["--job_name", "--setup_file"]),
        (["--profile_cpu", "--runtime_type_check"], "DirectRunner", []),
        (["--experiments=a", "--experiment=b"], "DirectRunner", []),
        (["--environment_type=LOOPBACK", "--prism_location=x"], "PrismRunner", []),
        (
            ["--num_workers=4", "--flink_master=x"],
            "PrismRunner",
            ["--num_workers", "--flink_master"],
        ),
        (["--flink_master=x", "--region=y"], "FlinkRunner", ["--region"]),
        (["--num_workers=4", "--region=x"], "DataflowRunner", []),
    ],
)
def test_flags_of_beams_that_do_nothing_on_a_runner(
    flags: list[str], runner: str, idle: list[str]
) -> None:
    assert without_effect(flags, runner) == idle


def test_who_gives_a_flag_without_effect_is_warned_and_told_of_ours(
    source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(f"--input={source}", "--output=o", "--plan", "--num_workers=4", "--region=x")
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warning.startswith("--num_workers, --region: no effect with --runner=DirectRunner")
    assert "--workers" in warning.partition(":")[2]


def test_flags_of_other_commands_of_beam_are_not_shortened(source: Path) -> None:
    with pytest.raises(UsageError, match="--out=o"):
        run(f"--input={source}", "--out=o")


@pytest.mark.parametrize("flags", [["--job_name=x"], ["--job_name", "x"]])
def test_a_beam_flag_reaches_beam(
    source: Path, tmp_path: Path, flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options: list[dict[str, Any]] = []
    real = pipelines.runners.local.beam.Pipeline

    def spy(**given: Any) -> Any:
        options.append(given["options"].get_all_options())
        return real(**given)

    monkeypatch.setattr(pipelines.runners.local.beam, "Pipeline", spy)
    run(f"--input={source}", f"--output={tmp_path / 'o'}", *flags)
    assert options[0]["job_name"] == "x"


def test_a_pattern_that_the_shell_expanded_is_several_inputs(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_tree(tmp_path / "d", {"b.txt": b"b\n", "c=1.txt": b"c\n", "-": b""}))
    flags = ["--input", "b.txt", "c=1.txt", "--input", source, "--output=o", "--seed=1"]
    manifest = run(*flags)
    assert manifest.recipe["sources"] == {"default": ["b.txt", "c=1.txt", str(source)]}
    assert manifest.records == 52


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (
            ["--input", "x=a.txt", "b.txt"],
            "--input x=a.txt b.txt: some have the name x, and others",
        ),
        (["--input=a.txt", "b.txt"], r"^b\.txt: this argument .*--input"),
        (["a.txt", "--input=b.txt"], r"^a\.txt: this argument "),
        (["--input"], "^-i/--input: expected at least one value, got none"),
        (["--seed"], "^--seed: expected one value, got none"),
        (["--overwrite=yes"], "^--overwrite: expected no value, got 'yes'"),
        (["--input", "--seed=1"], "expected at least one"),
    ],
)
def test_what_belongs_to_no_input_is_told(tmp_path: Path, flags: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        run(*flags, f"--output={tmp_path / 'o'}")


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("--seed=one", "a whole number"),
        ("--seed=-1", "0"),
        ("--epoch=1.5", "a whole number"),
        ("--num_shards=0", "1"),
        ("--shard_records=0", "1"),
        ("--header_lines=-1", "0"),
        ("--memory=much", "2GiB"),
        ("--memory=4", "4GiB"),
        ("--memory=4096", "4096MiB"),
        ("--memory=1MB", "pass --memory="),
        ("--memory=100MiB", "pass --memory="),
        ("--exchange=fast", "auto or files"),
        ("--workers=-1", "0"),
        ("--direct_running_mode=fast", "in_memory"),
        ("--separator=ab", "one byte"),
        ("--split_name=a/b", "letters"),
        ("--runner=SparkRunner", "DirectRunner"),
        ("--overwrite=yes", "--overwrite"),
        ("--num_workers=many", "int"),
        ("--input=gopher://host/x", "gopher"),
    ],
)
def test_an_impossible_value_gives_one_line_with_flag_and_value_and_exit_code_2(
    source: Path, tmp_path: Path, flag: str, expected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = read_tree(tmp_path)
    flags = [f"--input={source}", f"--output={tmp_path / 'o'}", flag]
    assert pipelines.shuffle.main(flags) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    shown = flag if flag != "--overwrite=yes" else "yes"  # argparse's own words
    assert shown in err
    assert expected in err
    assert read_tree(tmp_path) == before


def test_too_many_workers_in_memory_are_refused_by_both_flags(source: Path) -> None:
    with pytest.raises(UsageError, match="--workers=2 and --direct_running_mode=in_mem"):
        run(
            f"--input={source}",
            "--output=o",
            "--workers=2",
            "--direct_running_mode=in_memory",
        )


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UsageError("--x=1: expected 2"), 2, "error: --x=1: expected 2\n"),
        (DataError("f:\n broken"), 1, "error: f: broken\n"),
        (ZeroDivisionError("boom"), 1, "error: ZeroDivisionError: boom (unexpected error"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_an_error_is_a_message_and_a_code_with_a_traceback_only_for_debugging(
    error: BaseException, code: int, message: str, debug: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> None:
        raise error

    assert run_main(fail, ["--debug"] * debug) == code
    err = capsys.readouterr().err
    assert message in err
    assert ("Traceback" in err) == (debug and isinstance(error, Exception))
    assert err.startswith(message) or debug


def test_debug_shows_where_a_run_failed_and_nothing_else_does(tmp_path: Path) -> None:
    flags = ["--input=missing", f"--output={tmp_path / 'o'}"]
    plain, debug = command(*flags), command(*flags, "--debug")
    assert plain.returncode == debug.returncode == 2
    assert b"Traceback" not in plain.stderr
    assert b"in list_source\n" in debug.stderr
    assert plain.stderr in debug.stderr


def test_without_a_command_the_commands_are_listed() -> None:
    done = command(python=("-m", "pipelines"))
    assert done.returncode == 0
    assert re.findall(rb"^  ((?!dovetail)\w+) ", done.stdout, re.MULTILINE) == [
        b"shuffle",
        b"tokenize",
        b"prepare",
        b"split",
        b"verify",
        b"show",
    ]


@pytest.mark.parametrize("word", ["-h", "--help", "--help-all", "help"])
def test_asking_for_help_lists_the_commands(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert pipelines.__main__.main([word]) == 0
    assert "shuffle or mix files of records" in capsys.readouterr().out


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_signal_is_told_of_while_the_command_is_imported(more: list[str]) -> None:
    code = (
        "import os, signal, pipelines.__main__ as main\n"
        "main.importlib.import_module = lambda name: os.kill(os.getpid(), signal.SIGTERM)\n"
        f"main.main(['shuffle', *{more}])"
    )
    done = command(python=("-c", code))
    assert (done.returncode, done.stderr) == (128 + 15, b"stopped\n")
    error = {"type": "Stopped", "message": "stopped by SIGTERM", "exit_code": 143}
    assert (json.loads(done.stdout) if more else done.stdout) == ({"error": error} if more else b"")


@pytest.mark.parametrize(
    "words",
    [["--version"], ["version"], *([name, "--version"] for name in ("shuffle", "verify", "show"))],
)
def test_the_version_is_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = pipelines.__main__.main(words)
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert code == 0
    assert re.fullmatch(r"dovetail \d+\.\d+\S*\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("shufle", "did you mean shuffle?"),
        ("qqq", "one of shuffle, tokenize, prepare, split, verify, show"),
        ("--output=x", "shuffle"),
        ("-v", "shuffle"),
    ],
)
def test_an_unknown_command_names_the_nearest_or_all(
    word: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pipelines.__main__.main([word]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {word}: unknown command")
    assert err.count("\n") == 1
    assert hint in err


@pytest.mark.parametrize("word", ["help", "-h", "--help", "--help-all"])
def test_the_help_of_a_command_is_found_behind_the_word(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        pipelines.__main__.main([word, "shuffle"])
    assert not ended.value.code
    printed = capsys.readouterr().out
    assert printed.startswith("dovetail shuffle: ")
    assert ("--help-all shows all" in printed) == (word != "--help-all")


@pytest.mark.parametrize("name", ["verify", "show"])
def test_what_reads_a_dataset_needs_its_folder(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pipelines.__main__.main([name]) == 2
    assert capsys.readouterr().err == "error: DIR is missing; see --help\n"
    assert pipelines.__main__.main([name, ""]) == 2
    assert "error: DIR: expected the folder of a dataset, got an" in capsys.readouterr().err


def test_a_command_gets_the_flags_and_gives_its_exit_code(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "o"
    assert pipelines.__main__.main(["shuffle", f"--input={source}", f"--output={folder}"]) == 0
    assert pipelines.__main__.main(["verify", str(folder)]) == 0
    (folder / "data/train-00000-of-00001.txt").unlink()
    assert pipelines.__main__.main(["verify", str(folder)]) == 1
    assert pipelines.__main__.main(["verify", str(tmp_path)]) == 2
    assert "done: 50 records" in capsys.readouterr().err


def test_one_record_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.txt").write_bytes(b"x\n")
    folder = tmp_path / "o"
    assert pipelines.shuffle.main([f"--input={tmp_path / 'in.txt'}", f"--output={folder}"]) == 0
    assert pipelines.verify.main([str(folder)]) == 0
    said = capsys.readouterr().err
    assert "done: 1 record in 1 shard (2 bytes);" in said
    assert "matches its manifest (1 record, 2 bytes in 1 shard," in said


def test_the_summary_says_what_was_done_and_how_to_check_it(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert pipelines.shuffle.main([f"--input={source}", "--output=a dir", "--seed=5"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert f"50 records in 1 shard ({source.stat().st_size / 1000:.2f} kB);" in err
    assert err.index("starting 1 worker thread") < err.index(" done: ")
    assert re.search(r"written to a dir \(seed 5, epoch 0, digest [0-9a-f]{32}\)", err)
    assert re.search(r"peak memory [1-9]\d* MiB", err)
    told = re.search(r"verify it with: .*( verify 'a dir')\n", err)
    assert told
    assert command("verify", "a dir", python=("-m", "pipelines"), cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    "code",
    [
        "import pipelines.verify",
        "import pipelines.shuffle",
        "import pipelines.verify; pipelines.verify.main(['nowhere'])",
        "import pipelines.shuffle\ntry: pipelines.shuffle.main(['--help'])\nexcept SystemExit: pass",
    ],
)
def test_help_and_verify_do_not_wait_for_beam(code: str) -> None:
    last = "import sys; print('BEAM' if 'apache_beam' in sys.modules else 'NONE')"
    done = command(python=("-c", f"{code}\n{last}"))
    assert done.stdout.decode().splitlines()[-1] == "NONE"


def test_python_names_the_interpreter_where_no_script_is_installed(
    monkeypatch: pytest.MonkeyPatch,
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    pipelines.shuffle.main([f"--input={source}", f"--output={tmp_path / 'o'}"])
    assert f"{tmp_path}/python -m dovetail verify" in capsys.readouterr().err


def test_the_installed_command_finds_its_own_where_folders_of_the_users_are_called_alike(
    source: Path, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    for name in ("dovetail", "pipelines", "transforms"):
        write_tree(here / name, {"__init__.py": b"raise SystemExit('not ours')"})
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["dovetail"]
    module, name = entry.split(":")
    # what pip makes of an entry, which is no script of Python's: nothing but PYTHONPATH comes first
    script = f"import sys\nfrom {module} import {name}\nsys.exit({name}())"
    flags = [f"--input={source}", f"--output={tmp_path / 'o'}", "--workers=2"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, "shuffle", *flags],
        cwd=here,
        env={**os.environ, "PYTHONPATH": f".{os.pathsep}{ROOT}"},
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "o" / "manifest.json").exists()


def test_a_quiet_run_says_only_what_is_wrong(source: Path, tmp_path: Path) -> None:
    flags = [f"--input={source}", f"--output={tmp_path / 'o'}", "--quiet"]
    assert command(*flags).stderr == b""
    again = command(*flags)
    assert again.returncode == 2
    assert again.stderr.startswith(b"error: ")
    verify = ("-m", "dovetail", "verify")
    assert command(tmp_path / "o", "--quiet", python=verify).stderr == b""
    assert b"matches its manifest" in command(tmp_path / "o", python=verify).stderr


@pytest.mark.parametrize("package", ["transforms.shuffling.shuffle", "pipelines.runners.local"])
def test_importing_a_library_prints_nothing(package: str) -> None:
    done = command(
        python=("-c", f"import {package}; import logging; logging.warning('other news')")
    )
    assert done.returncode == 0
    lines = (done.stdout + done.stderr).decode().splitlines()
    assert [line for line in lines if "other news" not in line] == []
    assert len(lines) == 1


@pytest.mark.parametrize("buffered", ["", "1"])
def test_where_nothing_can_be_printed_an_error_says_what_was_done(
    source: Path, tmp_path: Path, buffered: str
) -> None:
    folder = tmp_path / "o"
    words = ("shuffle", f"--input={source}", f"--output={folder}", "--json", "--quiet")
    why = "error: standard output can't be written: No space left on device"
    for given, done in (
        (words, f"; the dataset in {folder} is complete"),
        (("show", str(folder)), ""),
        (("show", str(folder), "--json"), ""),
        (("verify", str(folder), "--json", "--quiet"), f"; {folder} matches its manifest"),
    ):
        with Path("/dev/full").open("wb") as full:
            ended = subprocess.run(
                [sys.executable, "-m", "pipelines", *given],
                stdout=full,
                stderr=subprocess.PIPE,
                env={**environment(), "PYTHONUNBUFFERED": buffered},
                cwd=ROOT,
                check=False,
            )
        assert (ended.returncode, ended.stderr.decode()) == (1, f"{why}{done}\n")
    assert pipelines.verify.verify(str(folder))[1] == []
