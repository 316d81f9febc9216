"""From which size on two workers are faster than one, start-up included.

Each round runs one worker and two in turns over every size. The page cache is warm: a first round over
the smallest size is thrown away.

    python bench/workers.py --sizes=1e6,30e6,100e6,300e6,600e6 --rounds=3
"""

from __future__ import annotations

import argparse
import os

import common
from processes import Measured

COUNTS = (1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="1e6,30e6,100e6,300e6,600e6", help="bytes of input")
    parser.add_argument("--memory", default="2GiB", help="of all processes (default 2GiB)")
    parser.add_argument("--rounds", type=int, default=3, help="(default 3)")
    parser.add_argument("--flag", action="append", default=[], help="more for shuffle; repeatable")
    common.add_work_arguments(parser)
    args = parser.parse_args()
    sizes = [float(size) for size in args.sizes.split(",")]
    with common.work_folder(args) as folder:
        files = {size: common.corpus(args, folder, size) for size in sizes}
        print(f"- load of the machine before: {os.getloadavg()[0]:.1f}; {args.rounds} rounds")
        taken: dict[tuple[float, int], list[Measured]] = {}

        def run(size: float, count: int) -> Measured:
            flags = [f"--memory={args.memory}", f"--workers={count}", *args.flag]
            command = common.shuffle_command(files[size], folder / "out", *flags)
            return common.shuffled(command, file=files[size], output=folder / "out")

        for count in COUNTS:
            run(min(sizes), count)
        for number in range(args.rounds):
            for size in sizes:
                for count in COUNTS:
                    common.say(f"round {number + 1}: {size / 1e6:.0f} MB, {count}")
                    taken.setdefault((size, count), []).append(run(size, count))
    common.header(
        "MB",
        "one worker, seconds, least / median / most",
        "two",
        "two over one, of each round",
        *(f"{kind}: {name}" for kind in ("one", "two") for name in common.CPU),
    )
    for size in sizes:
        one, two = taken[size, 1], taken[size, 2]
        common.row(
            f"{size / 1e6:.0f}",
            common.spread([m.seconds for m in one]),
            common.spread([m.seconds for m in two]),
            common.spread([b.seconds / a.seconds for a, b in zip(one, two, strict=True)]),
            *common.cpu(one),
            *common.cpu(two),
        )


if __name__ == "__main__":
    main()
