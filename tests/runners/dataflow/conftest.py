"""Fixtures of tests for Dataflow: a stand-in for it and its buckets, on this machine."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.conftest import logs  # noqa: F401  # fixtures that stand for here too
from tests.pipelines.support import environment
from tests.runners.dataflow.fake_dataflow import PROJECT, REGION, TOKEN
from tests.stores.conftest import forget_stores, serve, tree

PLANTED = "planted-secret-of-the-environment"
"""Stands in the environment of whoever submits a job."""


@dataclasses.dataclass(frozen=True)
class Dataflow:
    """The stand-in, and how to use it.

    Attributes:
        url: of the service.
        key: path of the service account's key.
        variables: environment of what is to use it.
    """

    url: str
    key: Path
    variables: Mapping[str, str]

    def ask(self, path: str, method: str = "GET", content: Any = None) -> Any:
        """Ask the service, with a token where that is needed."""
        request = urllib.request.Request(
            f"{self.url}{path}",
            method=method,
            data=None if content is None else json.dumps(content).encode(),
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def scenario(self, name: str) -> None:
        self.ask(f"/-/scenario/{name}")

    def job(self, name: str) -> dict[str, Any]:
        """Return the one job of a name, and what was asked for it."""
        (found,) = (job for job in self.ask("/-/jobs")["jobs"] if job["name"] == name)
        return dict(found)

    def names(self) -> set[str]:
        return {job["name"] for job in self.ask("/-/jobs")["jobs"]}

    def tokens(self) -> int:
        return int(self.ask("/-/jobs")["tokens"])

    def jobs_path(self, *more: str) -> str:
        return "/".join([f"/v1b3/projects/{PROJECT}/locations/{REGION}/jobs", *more])

    def see_through(self, name: str) -> int:
        """Ask for a job's state until it ends, as nobody else does; return it."""
        path = self.jobs_path(self.job(name)["id"])
        for _ in range(300):
            state = int(self.ask(path)["currentState"])
            if state in (3, 4, 5):
                return state
            time.sleep(0.1)
        raise AssertionError(f"{name} doesn't end")

    def flags(self, name: str) -> list[str]:
        """Return the flags of a job that is submitted to it."""
        return [
            "--runner=DataflowRunner",
            f"--region={REGION}",
            f"--dataflow_endpoint={self.url}",
            "--temp_location=gs://bucket/tmp",
            "--sdk_container_image=example/dovetail:1",
            f"--job_name={name}",
        ]

    def start(self, *words: object) -> subprocess.Popen[str]:
        """Start Python with words, as a person does who has credentials."""
        return subprocess.Popen(
            [sys.executable, *map(str, words)],
            env={**environment(), **self.variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run Python with words to its end."""
        process = self.start(*words)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture(scope="session")
def dataflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dataflow]:
    folder = tmp_path_factory.mktemp("dataflow")
    with serve("tests.stores.gcs_server") as gcs_port:
        variables = {
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{gcs_port}",
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
            "GOOGLE_APPLICATION_CREDENTIALS": str(folder / "key.json"),
            "AWS_SECRET_ACCESS_KEY": PLANTED,
            "HF_TOKEN": PLANTED,
            # whatever would leave this machine meets a closed door at once
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "NO_PROXY": "127.0.0.1,localhost",
            "NO_GCE_CHECK": "true",
            "DOVETAIL_RETRY_WAIT": "0.01",
        }
        with serve("tests.runners.dataflow.fake_dataflow", str(folder), **variables) as port:
            yield Dataflow(f"http://localhost:{port}", folder / "key.json", variables)


@pytest.fixture
def cloud(dataflow: Dataflow, monkeypatch: pytest.MonkeyPatch) -> Dataflow:
    """Let this process use the stand-in too, and every job run."""
    for name, value in dataflow.variables.items():
        monkeypatch.setenv(name, value)
    dataflow.scenario("run")
    forget_stores()
    return dataflow


@pytest.fixture
def folder(cloud: Dataflow) -> str:
    """Return the URL of a folder of one's own, in the bucket that is there."""
    return f"gs://bucket/{uuid.uuid4().hex}"


def shards(url: str) -> dict[str, bytes]:
    """Return a dataset's shards on a store."""
    return {name: data for name, data in tree(url).items() if name.startswith("data/")}


def secrets(key: Path) -> list[bytes]:
    """Return what must be found nowhere."""
    private = json.loads(key.read_text())["private_key"].splitlines()
    return [PLANTED.encode(), TOKEN.encode(), os.fsencode(key), *map(str.encode, private[1:-1])]
