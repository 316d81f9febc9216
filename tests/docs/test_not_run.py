"""What can't be run here is at least code, and its commands have flags that there are."""

from __future__ import annotations

import contextlib
import importlib
import re
import shlex
import subprocess
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pipelines.__main__ import COMMANDS
from tests.docs.blocks import Block, blocks_of, name_of, pages
from tests.pipelines.support import ROOT
from transforms.errors import UsageError

READING = {"verify", "show"}


def _cases() -> Iterator[object]:
    for page in pages():
        for block in blocks_of(page.read_text("utf-8")):
            if "not run" in block.marks:
                yield pytest.param(page, block, id=f"{name_of(page)}:{block.line}")


def commands_of(text: str) -> list[list[str]]:
    """Return the words of each dovetail command of a shell block; a variable is a word, too."""
    text = re.sub(r"\$\{?(\w+)\}?", r"\1", text)
    lines = text.replace("\\\n", " ").splitlines()
    found = []
    for line in filter(re.compile(r"\bdovetail ").search, lines):
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words = list(lexer)
        while "dovetail" in words:
            words = words[words.index("dovetail") + 1 :]
            end = next((i for i, word in enumerate(words) if re.fullmatch("[|&;<>]+", word)), None)
            found.append(words[:end])
    return found


class _FlagsAreTaken(Exception):
    pass


def _stop(*_: Any) -> NoReturn:
    raise _FlagsAreTaken


def check_command(name: str, flags: Sequence[str]) -> None:
    """Give flags to a command, which ends before it reads a dataset or a recipe's file.

    Raises:
        UsageError: it doesn't take them.
    """
    assert name in COMMANDS
    module = importlib.import_module(f"pipelines.{name}")
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(_FlagsAreTaken):
        if name in READING:
            patch.setattr(module, "access", _stop)
            module.run(flags)
        else:
            patch.setattr("pipelines.jobs.command.read_recipe", _stop)
            module.run([*flags, "--print_recipe"])


@pytest.mark.parametrize(("page", "block"), list(_cases()))
def test_code_that_is_not_run_could_be(page: Path, block: Block) -> None:
    where = f"{page.relative_to(ROOT)}:{block.line}"
    if block.language == "python":
        compile(textwrap.dedent(block.text), where, "exec")
        return
    done = subprocess.run(
        ["bash", "-n"], input=block.text.encode(), capture_output=True, check=False
    )
    assert done.returncode == 0, f"{where}: {done.stderr.decode()}"
    for name, *flags in commands_of(block.text):
        check_command(name, flags)


def test_commands_are_found_in_a_block() -> None:
    text = "FOO=1 dovetail shuffle -i 'a b' \\\n  -o out && dovetail verify out  # why\nls | cat\n"
    assert commands_of(text) == [["shuffle", "-i", "a b", "-o", "out"], ["verify", "out"]]


@pytest.mark.parametrize(
    ("flags", "wrong"),
    [
        ("shuffle --input=a --output=b --seed=3", "--sede=3"),
        ("shuffle --input=$FILES --output=s3://${BUCKET}/out", "--sede=3"),
        ("prepare --recipe=mix.yaml --output=b", "--sede=3"),
        ("verify out", "--fast"),
        ("show out --row=3", "--rows=3"),
    ],
)
def test_wrong_flags_of_a_command_are_noticed(flags: str, wrong: str) -> None:
    ((name, *right),) = commands_of(f"dovetail {flags}")
    check_command(name, right)
    with pytest.raises(UsageError, match=wrong):
        check_command(name, [*right, wrong])


def test_commands_that_there_are_not_are_noticed() -> None:
    with pytest.raises(AssertionError):
        check_command("verfy", ["out"])
