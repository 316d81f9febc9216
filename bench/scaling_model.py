"""What a shuffle asks for at 100 GB, 1 TB, 10 TB and 100 TB: the tables of docs/explanation/scaling.md.

Plans come from the plan itself (``kernels/plan.py``), requests from ``kernels/levels.py``, which tests
hold against counted ones. Seconds are arithmetic on rates that were measured on two cores of one
machine, and on assumptions about other people's machines, which are printed beside. No run of these
sizes has been made.

    python bench/scaling_model.py
    python bench/scaling_model.py --node_price=0.5 --node_cores=32 --network=2e9
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import NamedTuple

import common
from request_model import PART, Requests, count_requests

from transforms.kernels.planning.plan import GIB, MIB, Plan, Workers, make_plan, share_memory
from transforms.kernels.records.blocks import footprint

GB, TB = 10**9, 10**12

# measured; see "Scaling" in docs/explanation/measurements.md
SHUFFLE_CPU = 6.0  # core seconds per GB: fast.py, (33.6 - 4.0 of start-up) / 4 GB less its segments
BUSY = 0.80  # of its cores that such a run kept busy: 29.6 / (2 * (21.1 - 2.7))
LEVEL_CPU = 3.0  # core seconds per GB of a second level, levels.py
SEGMENT_CPU = 600e-6  # core seconds to cut, find, read and decode a segment, levels.py
REQUEST_CPU = 3.4e-3  # core seconds of the client a request, store_requests.py
FROM_STORE_CPU = 1.0  # core seconds per GB that comes from a store, beside
TO_STORE_CPU = 3.0  # core seconds per GB that goes to one
# assumed
RECORD = 300  # bytes
GET, PUT = 0.4e-6, 5e-6  # dollars a request, S3's list price; removing is free
LATENCY = 0.05  # seconds that a store takes to answer
IN_FLIGHT = 12  # requests of a worker, as transforms/shuffling/file_ranges.py has it
READ_BLOCK = 4 * MIB  # of input, a request; transforms/storage/store_files.py


@dataclass(frozen=True)
class Nodes:
    """Machines of one kind, all that work.

    Attributes:
        count: how many.
        cores, memory: of each; memory in bytes, that --memory may have.
        network, disk: bytes a second that each moves to and from a store, or its own disks.
        price: dollars an hour.
        on_store: input, spill files and output lie on a store, not on the node's own disk.
    """

    count: int
    cores: int
    memory: int
    network: float
    disk: float
    price: float
    on_store: bool

    @property
    def workers(self) -> Workers:
        """The bundles that run at once, and what each may hold."""
        one = share_memory(
            self.memory, count=self.cores, processes=self.cores, stores=self.on_store
        )
        return Workers(one.count * self.count, one.processes * self.count, one.payload)


class Case(NamedTuple):
    """A size, who does it, and ``--num_shards``."""

    size: int
    nodes: Nodes
    num_shards: int | None = None


@dataclass(frozen=True)
class Estimate:
    """What a run takes, by the model.

    Attributes:
        plan: of the run.
        requests: for spill files; the rest beside.
        read, written: requests in all, input and output included.
        cpu: core seconds.
        seconds: from start to end; ``bound`` says by what.
        spill: bytes of spill files, at most at once.
        dollars: of nodes and of requests.
    """

    plan: Plan
    requests: Requests
    read: float
    written: float
    cpu: float
    seconds: float
    bound: str
    spill: float
    dollars: tuple[float, float]


def estimate(size: int, nodes: Nodes, num_shards: int | None = None) -> Estimate:
    """Work a run out."""
    plan = make_plan(
        input_bytes=size,
        workers=nodes.workers,
        num_shards=num_shards,
        spill_on_store=nodes.on_store,
    )
    records = size // RECORD
    held = footprint(records, size)
    spilled = size + 16 * records
    requests = count_requests(
        footprint=held,
        spilled=spilled,
        records=records,
        run_bytes=plan.run_bytes,
        page_bytes=plan.page_bytes,
        chunk_bytes=plan.chunk_bytes * held // size,
        buckets=plan.buckets,
        partitions=plan.partitions,
        first=plan.first,
        bundles=nodes.workers.count,
    )
    levels = 2 if plan.first > 1 else 1
    cpu = size / GB * (SHUFFLE_CPU + LEVEL_CPU * (levels - 1)) + requests.segments * SEGMENT_CPU
    if not nodes.on_store:
        by = {
            "CPU": cpu / (nodes.count * nodes.cores * BUSY),
            "disk": 2 * (size + levels * spilled) / (nodes.count * nodes.disk),
        }
        bound = max(by, key=lambda what: by[what])
        spill = spilled * (1 + (nodes.cores / plan.first if levels == 2 else 0))
        dollars = by[bound] / 3600 * nodes.count * nodes.price
        return Estimate(plan, requests, 0, 0, cpu, by[bound], bound, spill, (dollars, 0.0))
    read = requests.read + size / READ_BLOCK + size / plan.span_bytes
    written = requests.written + size / PART
    looked = requests.looked + 3 * size / plan.span_bytes + 2 * plan.partitions
    moved_in, moved_out = size + levels * spilled, size + levels * spilled
    cpu += (read + looked) * REQUEST_CPU
    cpu += (moved_in * FROM_STORE_CPU + moved_out * TO_STORE_CPU) / GB
    by = {
        "CPU": cpu / (nodes.count * nodes.cores * BUSY),
        "network": (moved_in + moved_out) / (nodes.count * nodes.network),
        "requests": requests.read * LATENCY / (nodes.workers.count * IN_FLIGHT),
    }
    bound = max(by, key=lambda what: by[what])
    # what one worker does alone: the tables of the first level's runs
    alone = requests.tables / levels * LATENCY / IN_FLIGHT
    seconds = by[bound] + alone
    return Estimate(
        plan,
        requests,
        read + looked,
        written,
        cpu,
        seconds,
        bound,
        spilled * levels,
        (
            seconds / 3600 * nodes.count * nodes.price,
            (read + looked) * GET + written * PUT,
        ),
    )


def largest(run_bytes: int, *, on_store: bool) -> float:
    """Return up to how many bytes one level is taken, with runs of this size and memory for tables."""
    payload = run_bytes * 5
    low, high = GB, 10**17
    while high - low > low // 1000:
        size = (low + high) // 2
        plan = make_plan(
            input_bytes=size, workers=Workers(16, 16, payload), spill_on_store=on_store
        )
        low, high = (size, high) if plan.first == 1 else (low, size)
    return low


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--node_cores", type=int, default=16, help="(default 16)")
    parser.add_argument("--node_memory", type=float, default=96, help="GiB (default 96)")
    parser.add_argument("--node_price", type=float, default=1.373, help="dollars an hour")
    parser.add_argument("--network", type=float, default=1e9, help="bytes a second of a node")
    parser.add_argument(
        "--disk", type=float, default=1.5e9, help="bytes a second of a node's disks"
    )
    args = parser.parse_args()

    def nodes(count: int, *, on_store: bool) -> Nodes:
        memory = int(args.node_memory * GIB)
        return Nodes(
            count, args.node_cores, memory, args.network, args.disk, args.node_price, on_store
        )

    cases = [
        Case(100 * GB, nodes(1, on_store=False)),
        Case(TB, nodes(1, on_store=False)),
        Case(TB, nodes(4, on_store=True)),
        Case(10 * TB, nodes(16, on_store=True), 10_240),
        Case(100 * TB, nodes(40, on_store=True), 102_400),
    ]
    print_cases(args, cases)
    print_limits()
    print_comparison(estimate(*cases[-1]))


def print_cases(args: argparse.Namespace, cases: list[Case]) -> None:
    """Print what each size takes."""
    print(
        f"A node: {args.node_cores} cores, --memory={args.node_memory:g}GiB, "
        f"{args.network / GB:g} GB/s to and from the store or {args.disk / GB:g} GB/s to and from its "
        f"disks, {args.node_price} dollars an hour."
    )
    common.header(
        "input", "nodes", "files are on", "shards", "spill run, MiB", "buckets", "levels",
        "segment, KiB", "spill files, TB", "read requests, millions", "write requests, millions",
    )  # fmt: skip
    found = [(case.size, case.nodes, estimate(*case)) for case in cases]
    for size, nodes, it in found:
        plan = it.plan
        sizes = it.spill / (2 if plan.first > 1 and nodes.on_store else 1)
        mean = sizes * (2 if plan.first > 1 else 1) / it.requests.segments / 1024
        common.row(
            name(size),
            nodes.count,
            "a store" if nodes.on_store else "its disks",
            f"{plan.shards:,}",
            f"{plan.run_bytes >> 20:,}",
            f"{plan.buckets:,}",
            f"two, {plan.first} partitions" if plan.first > 1 else "one",
            f"{mean:,.0f}",
            f"{it.spill / TB:.2f}",
            f"{it.read / 1e6:.1f}" if nodes.on_store else "-",
            f"{it.written / 1e6:.1f}" if nodes.on_store else "-",
        )
    common.header(
        "input", "nodes", "files are on", "core hours", "limited by", "hours",
        "dollars for nodes", "dollars for requests",
    )  # fmt: skip
    for size, nodes, it in found:
        common.row(
            name(size),
            nodes.count,
            "a store" if nodes.on_store else "its disks",
            f"{it.cpu / 3600:,.1f}",
            it.bound,
            f"{it.seconds / 3600:.2f}",
            *(f"{dollars:,.2f}" for dollars in it.dollars),
        )


def print_limits() -> None:
    """Print up to where one level is taken."""
    common.header(
        "memory for data of a worker", "spill run", "one level on disks up to", "on a store up to"
    )
    for mib in (256, 1024, 5120):
        run = mib * MIB // 5
        sizes = [largest(run, on_store=on_store) for on_store in (False, True)]
        common.row(f"{mib:,} MiB", f"{run >> 20:,} MiB", *(f"{size / TB:.2f} TB" for size in sizes))


def print_comparison(it: Estimate) -> None:
    """Print 100 TB beside what Exoshuffle published."""
    common.header("100 TB, 40 nodes of 16 cores", "seconds", "dollars")
    common.row("Exoshuffle-CloudSort, measured by its authors", "5,378", 97)
    seconds = f"{round(it.seconds / 100) * 100:,}"
    common.row("Dovetail, this model", seconds, round(sum(it.dollars)))


def name(size: int) -> str:
    """Write a size."""
    return f"{size // TB} TB" if size >= TB else f"{size // GB} GB"


if __name__ == "__main__":
    main()
