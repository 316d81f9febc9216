"""Run the blocks of a page, one after another: python run_page.py BLOCKS.json RESULTS.json

A program of its own, so that Python blocks see an empty ``__main__`` as a reader's do, and share it.
What a block prints goes to a file, standard error as well.
"""

from __future__ import annotations

import contextlib
import json
import linecache
import os
import subprocess
import sys
import time
import traceback
import types
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def printing_to(path: Path) -> Iterator[None]:
    """Send what this process and its children print to a file."""
    former = [os.dup(1), os.dup(2)]
    with path.open("wb") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, old in zip((1, 2), former, strict=True):
                os.dup2(old, number)
                os.close(old)


def run_python(code: str, name: str, main: types.ModuleType) -> int:
    """Run Python in a module; return the exit code of a script that did so."""
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    try:
        exec(compile(code, name, "exec"), main.__dict__)
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    """Run blocks until one ends otherwise than it should."""
    blocks = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    results = Path(sys.argv[2])
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    ran = []
    for block in blocks:
        printed = results.with_suffix(f".{block['line']}.txt")
        start = time.monotonic()
        with printing_to(printed):
            if block["language"] == "sh":
                command = ["bash", "-euo", "pipefail", "-c", block["text"]]
                code = subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode
            else:
                code = run_python(block["text"], f"{block['page']}:{block['line']}", module)
        text = printed.read_text("utf-8", "replace")
        seconds = time.monotonic() - start
        ran.append({"line": block["line"], "code": code, "printed": text, "seconds": seconds})
        results.write_text(json.dumps(ran), "utf-8")
        if code != block["expected"]:
            break


if __name__ == "__main__":
    main()
