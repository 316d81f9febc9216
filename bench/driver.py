"""Bounded: the launcher's own memory at what a large input would need, without the input.

References are all that travels through the launcher, and their number follows from the plan: each
spilled run sends a row of its table for each page, each shard gets a reference to each run. This
sends the references of runs that were never written through Beam as a shuffle does: see
simulation.py.

The launcher is weighed on its own (PSS, sampled, see processes.py); beside it stands the kernel's
high-water mark of its resident pages, which misses no peak but counts shared pages in full.

    python bench/driver.py --sizes 1e9 100e9
"""

from __future__ import annotations

import argparse
import json
import sys

import common
from processes import measure

LIMIT = 300e6
LAUNCH = "import simulation; simulation.launch()"  # not as __main__: workers import it too


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes", type=float, nargs="+", default=[1e9, 100e9], help="bytes (default 1e9 100e9)"
    )
    parser.add_argument("--memory", type=int, default=1024, help="MiB (default 1024)")
    parser.add_argument("--workers", type=int, default=2, help="(default 2)")
    parser.add_argument("--record_bytes", type=int, default=290, help="(default 290)")
    common.add_work_arguments(parser)
    args = parser.parse_args()
    with common.work_folder(args) as folder:
        print(f"- memory {args.memory} MiB, {args.workers} worker processes")
        common.header(
            "input, GB", "runs", "buckets", "shards", "tables of runs, MB", "references, MB",
            "launcher, MB", "over 300 MB", "high-water mark, MB", "whole tree, MB", "seconds",
        )  # fmt: skip
        for size in args.sizes:
            common.say(f"{size / 1e9:g} GB")
            wanted = {
                "size": int(size),
                "memory": args.memory << 20,
                "workers": args.workers,
                "record_bytes": args.record_bytes,
                "folder": str(folder),
            }
            found = measure([sys.executable, "-c", LAUNCH, json.dumps(wanted)], memory=True)
            figures = json.loads((folder / "figures.json").read_text())
            common.row(
                f"{size / 1e9:g}",
                *(figures[name] for name in ("runs", "buckets", "shards")),
                *(f"{figures[name] / 1e6:.1f}" for name in ("tables", "references")),
                f"{found.own / 1e6:.0f}",
                f"{found.own / LIMIT:.3f}",
                f"{found.high / 1e6:.0f}",
                f"{found.peak / 1e6:.0f}",
                f"{found.seconds:.1f}",
            )


if __name__ == "__main__":
    main()
