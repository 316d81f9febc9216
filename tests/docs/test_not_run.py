"""What can't be run here is at least code, and its commands have flags that there are."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import Block, blocks_of, name_of, pages
from tests.pipelines.support import ROOT

MAKING = {"shuffle", "tokenize", "prepare", "split"}


def _cases() -> Iterator[object]:
    for page in pages():
        for block in blocks_of(page.read_text("utf-8")):
            if "not run" in block.marks:
                yield pytest.param(page, block, id=f"{name_of(page)}:{block.line}")


def commands_of(text: str) -> list[list[str]]:
    """Return the words of each dovetail command of a shell block."""
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


@pytest.mark.parametrize(("page", "block"), list(_cases()))
def test_code_that_is_not_run_could_be(
    page: Path, block: Block, capsys: pytest.CaptureFixture[str]
) -> None:
    where = f"{page.relative_to(ROOT)}:{block.line}"
    if block.language == "python":
        compile(textwrap.dedent(block.text), where, "exec")
        return
    done = subprocess.run(
        ["bash", "-n"], input=block.text.encode(), capture_output=True, check=False
    )
    assert done.returncode == 0, f"{where}: {done.stderr.decode()}"
    for name, *flags in commands_of(block.text):
        if name in MAKING and not any("$" in flag or "recipe" in flag for flag in flags):
            importlib.import_module(f"pipelines.{name}").run([*flags, "--print_recipe"])
            assert capsys.readouterr().out


def test_commands_are_found_in_a_block() -> None:
    text = "FOO=1 dovetail shuffle -i 'a b' \\\n  -o out && dovetail verify out  # why\nls | cat\n"
    assert commands_of(text) == [["shuffle", "-i", "a b", "-o", "out"], ["verify", "out"]]
