"""A server that speaks S3, on this machine, and buckets in it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.pipelines.conftest import _quick_runs, logs  # noqa: F401  # fixtures that stand for here too
from tests.pipelines.support import environment
from transforms.storage import files as storage

# read when gcsfs is imported: else it asks by gRPC, which the emulator doesn't speak, for a minute
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"


class Server:
    """The S3 server, and what was asked of it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"{self.url}/-/{path}", timeout=60) as answer:
            return str(answer.read().decode())

    def forget(self) -> None:
        self._get("forget")

    def fill(self, bucket: str, count: int) -> None:
        """Put so many objects below ``in/``, without a request each."""
        self._get(f"fill/{bucket.removeprefix('s3://')}/{count}")

    def requests(self) -> list[str]:
        """Return the requests since ``forget``: method, path with query, range."""
        return self._get("requests").splitlines()


@contextlib.contextmanager
def serve(module: str, *words: str, **variables: str) -> Iterator[int]:
    """Run a module that serves and prints its port, with more environment variables."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**environment(), **variables},
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with serve("tests.stores.server") as port:
        yield Server(port)


@pytest.fixture(scope="session")
def gcs_port() -> Iterator[int]:
    with serve("tests.stores.gcs_server") as port:
        yield port


@pytest.fixture(scope="module")
def one_client() -> Iterator[None]:
    """Let the tests of a module share a client, which takes longer to make than most of them."""
    forget_stores()
    yield
    forget_stores()


@pytest.fixture
def new_client() -> Iterator[None]:
    """Let a test that changes where the store is, or who asks, have a client of its own."""
    forget_stores()
    yield
    forget_stores()


@pytest.fixture
def s3(server: Server, one_client: None, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Let this process, and those it starts, use the server as S3."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": server.url,
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "DOVETAIL_RETRY_WAIT": "0.01",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return server


def forget_stores() -> None:
    """Open stores anew when they are next used: with the environment of then."""
    storage.configure({"forget": True})
    storage.configure({})


@pytest.fixture
def bucket(s3: Server) -> str:
    """Return the URL of a bucket of one's own."""
    fs, path = storage.filesystem(f"s3://b-{uuid.uuid4().hex}")
    fs.raw.mkdir(path)
    s3.forget()
    return f"s3://{path}"


def put(url: str, files: dict[str, bytes]) -> str:
    """Write files below a folder of a store."""
    for name, data in files.items():
        fs, path = storage.filesystem(f"{url}/{name}")
        fs.raw.pipe_file(path, data)
    return url


def tree(url: str) -> dict[str, bytes]:
    """Return all files below a folder of a store."""
    fs, path = storage.filesystem(url)
    below = path.rstrip("/") + "/"
    return {name.removeprefix(below): bytes(fs.raw.cat_file(name)) for name in fs.raw.find(path)}


def unfinished(bucket: str) -> list[Any]:
    """Return the uploads that were begun in a bucket and neither completed nor aborted."""
    fs, path = storage.filesystem(bucket)
    answer = fs.raw.call_s3("list_multipart_uploads", Bucket=path)
    return list(answer.get("Uploads", []))
