"""A worker process of a local run: what it needs imported, and how it becomes Beam's.

``worker_processes.py`` says how workers come to be: forked from a process in which all of this has been
done already, or, where that can't be, each as an interpreter of its own, which runs this module.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping

from transforms.workers.follow_launcher import follow_launcher


def begin() -> None:
    """Leave a terminal's signals to the launcher, which then ends us, and log warnings."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")


def import_all() -> None:
    """Import what takes long, and every worker needs."""
    from apache_beam.runners.worker import sdk_worker_main  # noqa: F401

    import transforms.datasets.read
    import transforms.datasets.write
    import transforms.datasets.write_manifest
    import transforms.shuffling.partition
    import transforms.shuffling.shuffle  # noqa: F401


def work(variables: Mapping[str, str]) -> None:
    """Be Beam's worker to its end; the variables, of the environment, say how it finds its runner."""
    from apache_beam.runners.worker import sdk_worker_main

    os.environ.update(variables)
    sdk_worker_main.main([])


def main(launcher: str) -> None:
    """Be a worker in an interpreter of its own, under watch from its first moment on.

    All that takes time is imported before a line with environment variables is awaited.
    """
    follow_launcher(int(launcher))
    begin()
    import_all()
    gc.freeze()  # modules stay: no collection has to look through them again
    line = sys.stdin.readline()
    if line:  # else the launcher doesn't need us
        work(json.loads(line))


if __name__ == "__main__":
    main(*sys.argv[1:])
