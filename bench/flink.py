"""Flink: time of a shuffle on a cluster of this machine over that of the DirectRunner, and its memory.

Starts a cluster with deploy/flink/cluster.py, shuffles a small file first, since a cluster has been
running when a job comes, then the inputs. Memory is the PSS of the cluster's processes, the Python
workers among them, and of the command, every half second: the peak of the sum, and of each kind.

    python bench/flink.py --inputs 4g.jsonl 1g.jsonl --memory=768m
    python bench/flink.py --inputs 4g.jsonl --direct
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import common
import machine
import psutil
from processes import ROOT, _field, environment

SCRIPT = ROOT / "deploy" / "flink" / "cluster.py"
KINDS = {
    "TaskManagerRunner": "TaskManagers",
    "worker.py": "Python workers",
    "StandaloneSessionCluster": "JobManager",
    "--job-port": "job server",
    "pipelines": "the command",
}


class Scales(threading.Thread):
    """Weighs process trees until told to stop."""

    def __init__(self, *pids: int) -> None:
        super().__init__(daemon=True)
        self._roots = [psutil.Process(pid) for pid in pids]
        self.stop = threading.Event()
        self.most: Counter[str] = Counter()

    def run(self) -> None:
        while not self.stop.wait(0.5):
            found: Counter[str] = Counter()
            for root in self._roots:
                try:
                    tree = [root, *root.children(recursive=True)]
                    words = [(one.pid, " ".join(one.cmdline())) for one in tree]
                except psutil.Error:
                    continue
                for pid, text in words:
                    kind = next(
                        (kind for word, kind in KINDS.items() if word in text), "supervisor"
                    )
                    found[kind] += _field(pid, "smaps_rollup", "Pss:")
            found["all"] = sum(found.values())
            self.most |= found


def call(what: str, folder: Path, *flags: str) -> str:
    command = [sys.executable, str(SCRIPT), what, f"--dir={folder}", *flags]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def shuffle(files: list[Path], output: Path, *flags: str, roots: tuple[int, ...] = ()) -> Any:
    """Run the command; return its seconds and the peaks."""
    inputs = [f"--input={file}" for file in files]
    command = [sys.executable, "-m", "pipelines", "shuffle", *inputs, f"--output={output}", *flags]
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment(), stdout=log, stderr=log)
        scales = Scales(process.pid, *roots)
        scales.start()
        code = process.wait()
        seconds = time.perf_counter() - begin
        scales.stop.set()
        scales.join()
        log.seek(0)
        said = log.read().decode(errors="replace")
    if code:
        raise SystemExit(f"{' '.join(command)}: exit code {code}\n{said[-3000:]}")
    wrote = sum(path.stat().st_size for path in (output / "data").iterdir())
    read = sum(file.stat().st_size for file in files)
    if abs(wrote - read) > len(files):
        raise SystemExit(f"wrote {wrote} bytes of {read}")
    own = float(said.split(" s, ")[0].rsplit(" ", 1)[1])
    digest = said.split("digest ")[1].split(",")[0]
    shutil.rmtree(output)
    return seconds, own, digest, scales.most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=Path, nargs="+", required=True)
    parser.add_argument("--memory", default="768m", help="of each TaskManager's Java")
    parser.add_argument("--worker_memory", default="512MiB", help="of each Python worker")
    parser.add_argument(
        "--direct", action="store_true", help="the DirectRunner with two workers too, in turns"
    )
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--workdir", type=Path, default=Path())
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the cluster has to be stopped
    machine.describe(given.workdir, terashuf=None)
    files = [file.resolve() for file in given.inputs]
    size = sum(file.stat().st_size for file in files)
    with tempfile.TemporaryDirectory(dir=given.workdir.resolve()) as there:
        folder, out = Path(there, "cluster"), Path(there, "out")
        call("start", folder, "--port=0", f"--memory={given.memory}", "--attempts=0")
        try:
            status = json.loads(call("status", folder))
            supervisor = int((folder / "supervisor.pid").read_text())
            flags = [*status["flags"], f"--memory={given.worker_memory}"]
            small = ROOT / "examples" / "data" / "poems.jsonl"
            shuffle([small], out, *flags)
            common.say("the cluster is warm")
            common.header("what", f"{size / 1e9:.1f} GB", *[""] * (given.rounds - 1))
            rows: dict[str, list[str]] = {}
            for _ in range(given.rounds):
                for what, value in one_round(files, out, given, flags, status, supervisor).items():
                    rows.setdefault(what, []).append(value)
            for what, values in rows.items():
                common.row(what, *values)
        finally:
            call("stop", folder)


def one_round(
    files: list[Path],
    out: Path,
    given: argparse.Namespace,
    flags: list[str],
    status: dict[str, Any],
    supervisor: int,
) -> dict[str, str]:
    """Shuffle on Flink, and elsewhere if that was asked for; return what the table says."""
    rows: dict[str, str] = {}
    seconds, _, digest, most = shuffle(files, out, *flags, roots=(supervisor,))
    job = look_back(f"http://localhost:{status['port']}/jobs")
    rows["the command on Flink, s"] = f"{seconds:.1f}"
    rows["the job on Flink, by Flink's own clock, s"] = f"{job:.1f}"
    for kind, peak in sorted(most.items()):
        rows[f"peak of {kind}, MiB"] = str(peak >> 20)
    if given.direct:
        workers = "--workers=2", "--direct_running_mode=multi_processing"
        memory = f"--memory={2 * int(given.worker_memory.removesuffix('MiB')) + 190}MiB"
        direct, here, same, _ = shuffle(files, out, *workers, memory)
        if same != digest:
            raise SystemExit(f"digests differ: {digest} on Flink, {same} on the DirectRunner")
        rows["the command on the DirectRunner, s"] = f"{direct:.1f}"
        rows["the run there, as it says, s"] = f"{here:.1f}"
        rows["job over run"] = f"{job / here:.2f}"
        rows["command over command"] = f"{seconds / direct:.2f}"
    return rows


def look_back(url: str) -> float:
    """Say which steps of the newest job took how long; return its seconds."""
    with urllib.request.urlopen(f"{url}/overview") as answer:
        newest = max(json.load(answer)["jobs"], key=lambda job: job["start-time"])
    with urllib.request.urlopen(f"{url}/{newest['jid']}") as answer:
        for one in json.load(answer)["vertices"]:
            begin = (one["start-time"] - newest["start-time"]) / 1000
            if one["duration"] > 2000:
                common.say(f"{begin:6.1f} +{one['duration'] / 1000:5.1f} s {one['name'][:90]}")
    return float(newest["duration"] / 1000)


if __name__ == "__main__":
    main()
