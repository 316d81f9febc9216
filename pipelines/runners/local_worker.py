"""A worker process of a local run, started by ``worker_processes.py``."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import sys

from transforms.workers.follow_launcher import follow_launcher


def main(launcher: str) -> None:
    """Be Beam's worker process, under watch from its first moment on.

    All that takes time is imported before a line with environment variables is awaited.
    """
    follow_launcher(int(launcher))
    for number in (signal.SIGINT, signal.SIGHUP):  # for the launcher, which then ends us
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    from apache_beam.runners.worker import sdk_worker_main

    import transforms.datasets.read
    import transforms.datasets.write
    import transforms.datasets.write_manifest
    import transforms.shuffling.partition
    import transforms.shuffling.shuffle  # noqa: F401

    gc.freeze()  # modules stay: no collection has to look through them again
    line = sys.stdin.readline()
    if line:  # else the launcher doesn't need us
        os.environ.update(json.loads(line))
        sdk_worker_main.main([])


if __name__ == "__main__":
    main(*sys.argv[1:])
