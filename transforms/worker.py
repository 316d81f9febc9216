"""What every worker process does beside its work."""

from __future__ import annotations

import gc
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time

import psutil

SOCKETS = "DOVETAIL_SOCKETS"
"""Among a worker's variables: the folder of the sockets by which it reaches its launcher."""

_lock = threading.Lock()
_following: set[int] = set()
_sockets: list[str] = []


def follow_launcher(pid: int | None) -> None:
    """End this process soon after the launcher ends, however it ends.

    A worker whose launcher was killed would go on to the end of its bundle, writing files that
    nobody clears. Does nothing in the launcher itself, without a pid, or the second time.
    """
    if pid is None or pid == os.getpid():
        return
    with _lock:
        if pid in _following:
            return
        _following.add(pid)
    threading.Thread(target=_follow, args=(pid,), name="follow-launcher", daemon=True).start()


def _follow(pid: int) -> None:
    try:
        launcher = psutil.Process(pid)
        while launcher.is_running() and launcher.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.2)
    except psutil.NoSuchProcess:
        pass
    if _sockets:  # a launcher that was killed couldn't take them away
        shutil.rmtree(_sockets[0], ignore_errors=True)
    os._exit(1)


def main(launcher: str) -> None:
    """Be Beam's worker process, under watch from its first moment on.

    All that takes time is imported before a line with environment variables is awaited.
    """
    follow_launcher(int(launcher))
    for number in (signal.SIGINT, signal.SIGHUP):  # for the launcher, which then ends us
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    from apache_beam.runners.worker import sdk_worker_main

    import transforms.partition
    import transforms.read
    import transforms.shuffle
    import transforms.write  # noqa: F401

    gc.freeze()  # modules stay: no collection has to look through them again
    line = sys.stdin.readline()
    if line:  # else the launcher doesn't need us
        variables = json.loads(line)
        _sockets.append(variables.pop(SOCKETS))
        os.environ.update(variables)
        sdk_worker_main.main([])


if __name__ == "__main__":
    main(*sys.argv[1:])
