"""Nobody but the user reaches a local run: it listens on unix sockets in a folder of its own."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import (
    beam_artifact_api_pb2,
    beam_artifact_api_pb2_grpc,
    beam_runner_api_pb2,
)
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    StateServicer,
    WorkerHandlerManager,
)

from pipelines.runners.remote import _worker_pool
from pipelines.runners.sockets import _Server, socket_folder
from pipelines.runners.worker_processes import WorkerProcesses
from tests.pipelines.support import ROOT, environment, make_lines, run
from transforms.errors import RunError
from transforms.storage import files as storage
from transforms.workers.follow_launcher import SOCKETS

KINDS = {
    "alone": ["--workers=1"],
    "one thread": ["--workers=1", "--direct_running_mode=multi_threading"],
    "one process": ["--workers=1", "--direct_running_mode=multi_processing"],
    "threads": ["--workers=2", "--direct_running_mode=multi_threading"],
    "processes": ["--workers=2"],
}


def listening() -> tuple[set[str], dict[str, int]]:
    """Return the network addresses that this process and its children take calls at, and the unix
    sockets with the mode of the folder that each one is in.
    """
    network, unix = set(), {}
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            all_ = process.net_connections(kind="all")
        except psutil.NoSuchProcess:  # it was done, and its fork server has heard of it
            continue
        for found in all_:
            if found.family == socket.AF_UNIX:
                if found.laddr:
                    unix[found.laddr] = stat.S_IMODE(os.stat(os.path.dirname(found.laddr)).st_mode)
            elif found.status == psutil.CONN_LISTEN or not found.raddr:
                network.add(f"{found.laddr.ip}:{found.laddr.port} of {process.name()}")
    return network, unix


@pytest.mark.parametrize("kind", KINDS)
def test_a_local_run_listens_on_nothing_but_sockets_in_a_folder_of_the_users_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / "in").write_bytes(make_lines(50))
    before = listening()
    seen: list[tuple[set[str], dict[str, int]]] = []

    def look_first(real: Any) -> Any:
        def looking(*args: Any) -> Any:
            seen.append(listening())
            return real(*args)

        return looking

    # threads work here; processes have worked when they are ended, and the server is there still
    monkeypatch.setattr(storage, "open_write", look_first(storage.open_write))
    monkeypatch.setattr(WorkerProcesses, "end", look_first(WorkerProcesses.end))
    run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}", *KINDS[kind])
    network = set().union(*(network for network, _ in seen)) - before[0]
    unix = {path: mode for _, unix in seen for path, mode in unix.items() if path not in before[1]}
    assert network == set()
    assert set(unix.values()) <= {0o700}
    served = set() if kind in ("alone", "one thread") else {"control", "data", "state"}
    assert {os.path.basename(path) for path in unix} == served
    assert not [path for path in unix if os.path.exists(os.path.dirname(path))]


def test_whoever_reaches_the_sockets_gets_no_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    place = beam_runner_api_pb2.ArtifactFilePayload(path=str(tmp_path / "secret"))
    artifact = beam_runner_api_pb2.ArtifactInformation(
        type_urn=common_urns.artifact_types.FILE.urn, type_payload=place.SerializeToString()
    )
    with socket_folder() as folder:
        server = _Server(folder, StateServicer(), WorkerHandlerManager({}, None))
        try:
            for name in ("control", "data", "state"):
                with grpc.insecure_channel(f"unix:{folder}/{name}") as channel:
                    files = beam_artifact_api_pb2_grpc.ArtifactRetrievalServiceStub(channel)
                    asked = beam_artifact_api_pb2.GetArtifactRequest(artifact=artifact)
                    with pytest.raises(grpc.RpcError) as raised:
                        list(files.GetArtifact(asked))
                    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
        finally:
            server.close()


@pytest.mark.parametrize("given", [[], ["--environment_type=LOOPBACK"]])
def test_prism_finds_its_workers_by_a_socket(given: list[str]) -> None:
    before = listening()
    options = PipelineOptions(given)
    portable = options.view_as(PortableOptions)
    with _worker_pool(options):
        network, unix = listening()
        assert network <= before[0]
        (path,) = unix.keys() - before[1].keys()
        assert unix[path] == 0o700
        assert portable.environment_type == "EXTERNAL"
        assert portable.environment_config == f"unix:{path}"
    assert not os.path.exists(os.path.dirname(path))


def test_workers_that_the_user_has_for_prism_stay_so() -> None:
    before = listening()
    words = ["--environment_type=EXTERNAL", "--environment_config=localhost:50000"]
    options = PipelineOptions(words)
    with _worker_pool(options):
        assert listening() == before
        assert options.view_as(PortableOptions).environment_config == "localhost:50000"


@pytest.fixture
def _long_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    yield
    assert list(long.iterdir()) == []


@pytest.mark.usefixtures("_long_temporary")
def test_sockets_lie_elsewhere_where_the_folder_for_temporary_files_has_a_long_path() -> None:
    with socket_folder() as folder:
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        assert os.path.dirname(folder) == "/tmp"
    assert not os.path.exists(folder)


@pytest.mark.parametrize("name", ["a%41b", "a#b", "a?b", "a,b"])
def test_sockets_lie_elsewhere_where_their_address_would_be_misread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
    with socket_folder(str(tmp_path / name / "wanted")) as folder:
        assert os.path.dirname(folder) == "/tmp"
    assert not os.path.exists(folder)


def test_a_folder_that_somebody_else_made_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    with socket_folder(str(tmp_path / "theirs")) as folder:
        assert folder != str(tmp_path / "theirs")
    assert (tmp_path / "theirs").exists()


def test_where_no_place_takes_sockets_the_error_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def mkdir(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(RunError, match=r"Permission denied.*set TMPDIR"), socket_folder():
        pass


def test_workers_take_away_the_sockets_of_a_launcher_that_was_killed(tmp_path: Path) -> None:
    folder = tmp_path / "sockets"
    folder.mkdir()
    (folder / "control").touch()
    launcher = subprocess.Popen(["sleep", "60"])
    program = (
        "import sys, time; from transforms.workers import follow_launcher as follow;"
        "follow.follow_launcher(int(sys.argv[1]));"
        "print('ready', flush=True); time.sleep(60)"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", program, str(launcher.pid)],
        cwd=ROOT,
        env={**environment(), SOCKETS: str(folder)},
        stdout=subprocess.PIPE,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"ready\n"
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    worker.wait(60)
    worker.stdout.close()
    assert not folder.exists()
