"""What the tests of pages stand on: blocks are found, rules broken are noticed, outputs compared."""

from __future__ import annotations

import pytest

from tests.docs.blocks import Block, blocks_of, outputs_of_nothing, unseen_code, wrong_with
from tests.docs.loosely import missing

PAGE = """\
# Page
<!-- not run: needs a cluster -->
```sh
dovetail shuffle
```

- item

    <!-- output -->
    ```text
    shuffled 3 records
      ready
    ```
```
bare
```
"""


def test_blocks_are_found_with_their_marks() -> None:
    first, second, third = blocks_of(PAGE)
    assert first == Block("sh", "dovetail shuffle\n", 4, {"not run": "needs a cluster"})
    assert second == Block("text", "shuffled 3 records\n  ready\n", 11, {"output": ""})
    assert third == Block("", "bare\n", 15, {})


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (Block("", "", 1), "expected one of"),
        (Block("bash", "", 1), "expected one of"),
        (Block("sh", "", 1, {"not run": ""}), "a reason"),
        (Block("sh", "", 1, {"not-run": "why"}), "unknown"),
        (Block("text", "", 1, {"not run": "why"}), "for sh and python"),
        (Block("sh", "", 1, {"output": ""}), "for text"),
        (Block("text", "", 1, {"output": "x"}), "no text"),
        (Block("python", "no()\n", 1, {"part of": "examples/kernels.py"}), "lines of"),
    ],
)
def test_broken_rules_are_noticed(block: Block, said: str) -> None:
    assert said in (wrong_with(block) or "")


@pytest.mark.parametrize(
    ("above", "lines"),
    [
        ([Block("sh", "ls\n", 3)], []),
        ([Block("sh", "ls\n", 3, {"not run": "why"})], [9]),
        ([Block("python", "1\n", 3, {"part of": "examples/kernels.py"})], [9]),
        ([Block("sh", "ls\n", 3), Block("yaml", "a: 1\n", 6)], [9]),
        ([], [9]),
    ],
)
def test_an_output_follows_a_block_that_is_run(above: list[Block], lines: list[int]) -> None:
    output = Block("text", "a\n", 9, {"output": ""})
    assert list(outputs_of_nothing([*above, output])) == lines


@pytest.mark.parametrize(
    ("page", "lines"),
    [
        (PAGE, []),
        ("> ```sh\n> ls\n> ```", [1, 3]),
        ("text\n\n    ls\n", [3]),
        ("# head\n    ls\n", [2]),
        ("a line\n    that goes on\n", []),
        ("- item\n  goes on\n\n    second paragraph\n\n        ls\n", [6]),
        ("!!! note\n    text\n\n    more\n", []),
        ("1. one\n    - two\n\n        of two\n", []),
        ("```sh title\nls\n```sh\n", [1]),
        ("```text\na\n\n    b\n```\n", []),
    ],
)
def test_code_that_is_no_block_is_noticed(page: str, lines: list[int]) -> None:
    assert list(unseen_code(page)) == lines


def test_blocks_that_keep_the_rules_pass() -> None:
    assert (
        wrong_with(Block("sh", "", 1, {"not run": "needs a cluster", "slow": "a minute"})) is None
    )
    assert wrong_with(Block("text", "", 1, {"output": ""})) is None


@pytest.mark.parametrize(
    ("shown", "printed", "line"),
    [
        ("12:00:01 3 shards, 1.5 MB", "12:09:44 17 shards, 800 kB\n", None),
        ("a\n...\nc", "a\nb\nc\n", None),
        ("a\nc", "a\nb\nc\n", "c"),
        ("b\nc", "a\nb\n\nc\nd\n", None),
        ("a\n...\nb\nc", "a\nb\na\nb\nc\n", None),
        ("a\n...\nb\nc", "a\nb\nd\nc\n", "c"),
        ("a\n...\na", "a\nb\n", "a"),
        ("tokens 211,949", "tokens -1,234", "tokens 211,949"),
        ("c\na", "a\nb\nc\n", "a"),
        ("3 records", "3 rows", "3 records"),
        ("in 2 s", "in 700 ms", None),
        ("sha 0123abcd4567", "sha ffee00aa1122", None),
    ],
)
def test_outputs_are_compared_loosely(shown: str, printed: str, line: str | None) -> None:
    assert missing(shown, printed) == line
