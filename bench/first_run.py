"""The first run: a whole `dovetail tokenize` with nothing compiled, against the same once more.

    python bench/first_run.py --model=model.json [--laws=off,exact] [--rounds=3]

Each law in a cache of its own that is empty, then again with what that left there; wall and CPU seconds
(user and system, of all processes), the smallest of the rounds, and how many kernels were kept.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent / "examples" / "data" / "poems.jsonl"


def once(model: str, law: str, cache: str, folder: str) -> tuple[float, float]:
    """Run the command; return wall and CPU seconds."""
    shutil.rmtree(f"{folder}/out", ignore_errors=True)
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "dovetail", "tokenize", f"--input={EXAMPLE}", "--quiet"]
    command += [f"--tokenizer={model}", f"--sampling={law}", f"--output={folder}/out"]
    command += ["--workers=1"]
    subprocess.run(command, check=True, env=os.environ | {"NUMBA_CACHE_DIR": cache})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - begin, cpu


def main() -> None:
    """Print a line for each law."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--laws", default="off,exact,viterbi_sampling,nbest")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print("sampling method: first run, wall and CPU s; second run, wall and CPU s; kernels kept")
    for law in args.laws.split(","):
        first, second, kept = [], [], 0
        for _ in range(args.rounds):
            with tempfile.TemporaryDirectory() as folder:
                cache = f"{folder}/cache"
                first.append(once(args.model, law, cache, folder))
                kept = len(list(Path(cache).rglob("*.nbi")))
                second.append(once(args.model, law, cache, folder))
        words = [f"{min(wall):.1f} {min(cpu):.1f}" for wall, cpu in map(zip_up, (first, second))]
        print(f"{law}: {'; '.join(words)}; {kept}")


def zip_up(rounds: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Return wall seconds and CPU seconds apart."""
    return [wall for wall, _ in rounds], [cpu for _, cpu in rounds]


if __name__ == "__main__":
    main()
