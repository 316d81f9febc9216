"""Engines that the suite runs on: a Flink cluster of this machine, and Prism."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.pipelines.support import ROOT, environment
from tests.stores.conftest import Server, gcs_port, server  # noqa: F401  # fixtures
from transforms.storage import files as storage

SCRIPT = ROOT / "deploy" / "flink" / "cluster.py"
SECRET = "never-to-be-written-down"  # what must not be found anywhere


class Cluster:
    """A Flink cluster, by the script that a user would start it with.

    Attributes:
        folder: with its logs.
        flags: by which a command uses it.
        environment: of its workers, and for commands.
    """

    def __init__(self, folder: Path, environment_: Mapping[str, str], *flags: str) -> None:
        self.folder, self.environment = folder, dict(environment_)
        self._call("start", "--port=0", *flags)
        self.flags = [str(flag) for flag in self.status()["flags"]]

    def _call(self, what: str, *flags: str) -> str:
        done = subprocess.run(
            [sys.executable, str(SCRIPT), what, f"--dir={self.folder}", *flags],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 2:
            unavailable(done.stderr)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self._call("status")))

    def stop(self) -> None:
        self._call("stop")

    def ask(self, path: str) -> Any:
        port = json.loads((self.folder / "state.json").read_text())["port"]
        with urllib.request.urlopen(f"http://localhost:{port}/{path}", timeout=30) as answer:
            return json.load(answer)

    def process(self, name: str) -> psutil.Process:
        # not by the script, which takes a while: what is to be killed may have ended by then
        return psutil.Process(json.loads((self.folder / "processes.json").read_text())[name])

    def workers(self, name: str) -> list[psutil.Process]:
        """Return the Python workers of a TaskManager."""
        return [one for one in self.process(name).children(recursive=True) if is_worker(one)]

    def wait_until_whole(self) -> None:
        """Wait until every TaskManager that died is there again."""
        wait_for(lambda: self.ask("overview")["taskmanagers"] == 2, "the TaskManagers")

    def wait_for_no_worker(self) -> None:
        """Wait until no worker is left: they last some seconds longer than their job."""
        wait_for(lambda: not workers_of(self.folder), "the end of the workers")


def is_worker(process: psutil.Process) -> bool:
    try:
        return any(part.endswith("deploy/flink/worker.py") for part in process.cmdline())
    except psutil.Error:
        return False


def workers_of(folder: Path) -> list[psutil.Process]:
    """Return a cluster's workers wherever they are, orphans too: those that write to its logs."""
    found = []
    for process in psutil.process_iter():
        try:
            if is_worker(process) and os.readlink(f"/proc/{process.pid}/fd/1").startswith(
                str(folder)
            ):
                found.append(process)
        except OSError:
            continue
    return found


def wait_for(condition: Callable[[], bool], what: str, *, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


def unavailable(why: str) -> None:
    """Skip where an engine can't be had; where all has to be tested, fail."""
    if os.environ.get("CI") or os.environ.get("DOVETAIL_CI"):
        pytest.fail(f"an engine is missing: {why}")
    pytest.skip(f"an engine is missing: {why}")


@pytest.fixture(scope="session")
def stores(server: Server, gcs_port: int) -> dict[str, str]:  # noqa: F811
    """Return the environment in which processes find a store of S3's and one of Google's protocol."""
    return {
        **environment(),
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": server.url,
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{gcs_port}",
        "DOVETAIL_RETRY_WAIT": "0.01",
    }


def program(name: str) -> str:
    """Return the path of a program that ``deploy/flink/programs.py`` gets, or skip where it can't."""
    done = subprocess.run(
        [sys.executable, "-c", f"import programs; print(programs.{name}())"],
        cwd=SCRIPT.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        unavailable(done.stderr.strip().rpartition("\n")[2])
    return done.stdout.strip()


@pytest.fixture(scope="session")
def flink(stores: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Give a cluster of two TaskManagers with two slots each."""
    folder = tmp_path_factory.mktemp("flink")
    cluster = Cluster(folder, stores, "--taskmanagers=2", "--slots=2")
    try:
        yield cluster
    finally:
        cluster.stop()
        wait_for(lambda: not workers_of(folder), "the end of the workers")


@pytest.fixture(scope="session")
def prism() -> list[str]:
    """Return the flags by which a command uses Prism."""
    return ["--runner=PrismRunner", f"--prism_location={program('prism')}"]


@pytest.fixture
def in_stores(stores: dict[str, str]) -> Iterator[None]:
    """Let this process use the stores too."""
    storage.configure({"forget": True})
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stores.items():
            patch.setenv(name, value)
        storage.configure({})
        yield
    storage.configure({"forget": True})
    storage.configure({})


class Running:
    """A command that runs."""

    def __init__(self, *words: object, environment_: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *map(str, words)],
                env=dict(environment_),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    def said(self) -> str:
        return self._log.read_text()

    def end(self, *, code: int = 0) -> str:
        """Wait for it; return what it said."""
        found = self.process.wait(300)
        assert found == code, self.said()
        return self.said()
