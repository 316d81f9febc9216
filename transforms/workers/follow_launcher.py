"""Workers that end with their launcher."""

from __future__ import annotations

import os
import shutil
import threading
import time

import psutil

SOCKETS = "DOVETAIL_SOCKETS"
"""Among a worker's variables: the folder of the sockets by which it reaches its launcher."""

_lock = threading.Lock()
_following: set[int] = set()


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
    if sockets := os.environ.get(SOCKETS):  # a launcher that was killed couldn't take them away
        shutil.rmtree(sockets, ignore_errors=True)
    os._exit(1)
