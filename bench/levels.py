"""What a second level of the exchange costs, and what a small segment does: in CPU seconds.

The same file is shuffled with its plan as it is; by partitions first, which is forced; and cut into
many more buckets, so that there are many more segments, each of which is found, read and decoded by
itself. The differences are what ``scaling_model.py`` takes a level and a segment to cost. CPU seconds
of the whole process tree, as they depend less on what else the machine does than the clock.

    python bench/levels.py --bytes=1e9 --rounds=3
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import common

LAUNCH = "import levels; levels.launch()"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bytes", type=float, default=1e9, help="of the input (default 1e9)")
    parser.add_argument("--rounds", type=int, default=3, help="(default 3)")
    parser.add_argument("--input", help="a file of lines instead of one that is made")
    parser.add_argument("--first", type=int, default=16, help="partitions (default 16)")
    parser.add_argument("--finer", type=int, default=64, help="times the buckets (default 64)")
    common.add_work_arguments(parser)
    args = parser.parse_args()
    with common.work_folder(args) as folder:
        file = common.corpus(args, folder, args.bytes)
        size = file.stat().st_size
        kinds: dict[str, dict[str, int]] = {
            "one level": {},
            f"two levels, {args.first} partitions": {"first": args.first},
            f"one level, {args.finer} times the buckets": {"finer": args.finer},
        }
        cpu: dict[str, list[float]] = {kind: [] for kind in kinds}
        segments: dict[str, int] = {}
        for number in range(args.rounds):
            for kind, cut in kinds.items():
                common.say(f"round {number + 1}: {kind}")
                wanted = {
                    "file": str(file), "output": str(folder / "out"), "to": str(folder), **cut,
                }  # fmt: skip
                command = [sys.executable, "-c", LAUNCH, json.dumps(wanted)]
                cpu[kind].append(common.shuffled(command, file=file, output=folder / "out").cpu)
                common.say(f"{cpu[kind][-1]:.1f} CPU seconds")
                segments[kind] = int((folder / "segments").read_text())
        common.header("how", "segments, at most", "CPU seconds, least / median / most")
        for kind in kinds:
            common.row(kind, segments[kind], common.spread(cpu[kind], 1))
        one, two, finer = map(min, cpu.values())  # what else the machine does only adds to them
        few, _, many = segments.values()
        print(
            f"\n- a second level: {(two - one) / size * 1e9:.2f} CPU seconds per GB, by the least"
        )
        print(
            f"- a segment: {(finer - one) / (many - few) * 1e6:.0f} CPU microseconds, by the least"
        )


def launch() -> None:
    """Shuffle as the command line says (JSON), with a plan that is changed."""
    import pipelines.shuffle

    wanted: dict[str, Any] = json.loads(sys.argv[1])
    real = pipelines.shuffle.make_plan

    def make_plan(**given: Any) -> Any:
        plan = real(**given)
        finer = wanted.get("finer", 1)
        runs = -(-given["input_bytes"] // plan.run_bytes)
        Path(wanted["to"], "segments").write_text(str(runs * plan.buckets * finer))
        return dataclasses.replace(
            plan,
            first=wanted.get("first", 1),
            buckets=plan.buckets * finer,
            bucket_bytes=plan.bucket_bytes // finer,
        )

    with mock.patch.object(pipelines.shuffle, "make_plan", make_plan):
        pipelines.shuffle.run(
            [
                f"--input={wanted['file']}",
                f"--output={wanted['output']}",
                "--memory=1GiB",
                "--workers=2",
            ]
        )


if __name__ == "__main__":
    main()
