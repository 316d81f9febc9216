"""What is looked at before work goes to a cluster: a server here answers as Flink's REST does."""

from __future__ import annotations

import json
import re
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import pipelines.shuffle
import pipelines.tokenize
from pipelines.outputs.claim import check_output, claim_output
from tests.pipelines.tokenized import write_model
from transforms.errors import UsageError
from transforms.workers import signs_of_life
from transforms.workers.signs_of_life import Beat


class Rest(BaseHTTPRequestHandler):
    """Answers as a cluster of two TaskManagers with two slots each."""

    def do_GET(self) -> None:
        answer = {
            "/config": {"flink-version": "1.19.3"},
            "/overview": {"slots-total": 4, "taskmanagers": 2},
            "/taskmanagers": {"taskmanagers": [{"slotsNumber": 2}, {"slotsNumber": 2}]},
            "/jobmanager/config": [
                {"key": "restart-strategy.type", "value": "fixed-delay"},
                {"key": "restart-strategy.fixed-delay.delay", "value": "5 s"},
            ],
        }.get(self.path)
        self.send_response(200 if answer else 404)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("0.0.0.0", 0), Rest)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.txt"
    path.write_text("a\nb\n")
    return path


def refused(*flags: object, run: object = pipelines.shuffle.run) -> str:
    with pytest.raises(UsageError) as caught:
        run([str(flag) for flag in flags])  # type: ignore[operator]
    return str(caught.value)


def on_flink(port: int, *, host: str = "127.0.0.1") -> list[str]:
    """Return flags; every address of 127.0.0.0/8 is this machine, but only one is taken for it."""
    return [
        *("--runner=FlinkRunner", f"--flink_master={host}:{port}", "--environment_type=EXTERNAL"),
        *("--environment_config=localhost:50000", f"--job_endpoint={host}:{port}"),
    ]


def jar_of(path: Path, version: str) -> Path:
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr(".flink-runtime.version.properties", f"project.version={version}\n")
    return path


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--parallelism=5"], "--parallelism=5: the cluster at .* has 4 slots"),
        (["--flink_version=1.20"], "--flink_version=1.20: .* is Flink 1.19.3; .* 1.19$"),
        (["--flink_version", "1.20"], "--flink_version=1.20: .* is Flink 1.19.3; .* 1.19$"),
        (["--environment_type="], "--environment_type: expected"),
        (
            ["--environment_type=NONE"],
            "--environment_type=NONE: expected how .* EXTERNAL, .* PROCESS",
        ),
        (
            ["--environment_type=PROCESS"],
            '--environment_config=.*: expected .* as JSON: {"command": ',
        ),
        (["--job_endpoint=localhost:1"], "--job_endpoint=localhost:1: no job server answers there"),
        (["--no_wait"], "--no_wait is for --runner=DataflowRunner"),
        (["--workers=2"], "--workers is for --runner=DirectRunner"),
        (["--memory=150MiB"], "--memory=150MiB is too little .* pass --memory=174MiB"),
        (["--memory=5MiB"], "--memory=5MiB is too little"),
        (
            ["--temp_location=memory://x"],
            "--temp_location=memory://x: memory:// is the memory of one",
        ),
        (["--flink_job_server_jar=none.jar"], "--flink_job_server_jar=none.jar: expected a jar"),
    ],
)
def test_what_a_cluster_can_not_do_is_refused_with_the_flag(
    port: int, source: Path, tmp_path: Path, more: list[str], expected: str
) -> None:
    out = tmp_path / "out"
    said = refused(f"--input={source}", f"--output={out}", *on_flink(port), *more)
    assert re.search(expected, said), said
    assert not out.exists()


def test_a_job_server_for_another_flink_is_refused(port: int, source: Path, tmp_path: Path) -> None:
    jar = jar_of(tmp_path / "server.jar", "1.18.1")
    flags = [*on_flink(port), f"--flink_job_server_jar={jar}"]
    said = refused(f"--input={source}", f"--output={tmp_path / 'out'}", *flags)
    assert said.startswith(f"--flink_job_server_jar={jar}: made for Flink 1.18.1, but the cluster")


@pytest.mark.parametrize("master", ["localhost:1", "no-such-host.invalid:8081"])
def test_a_master_that_nobody_answers_at_is_named(
    master: str, source: Path, tmp_path: Path
) -> None:
    flags = "--runner=FlinkRunner", f"--flink_master={master}", "--environment_type=EXTERNAL"
    said = refused(f"--input={source}", f"--output={tmp_path / 'out'}", *flags)
    assert said.startswith(f"--flink_master={master}: no Flink answers there (")


def test_what_answers_but_is_no_flink_is_named(source: Path, tmp_path: Path) -> None:
    class Other(Rest):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    flags = "--runner=FlinkRunner", f"--flink_master=localhost:{server.server_port}"
    said = refused(f"--input={source}", f"--output={tmp_path / 'out'}", *flags)
    server.shutdown()
    server.server_close()
    assert "no Flink answers there" in said


def test_a_path_that_workers_elsewhere_do_not_see_is_refused(
    port: int, source: Path, tmp_path: Path
) -> None:
    there = on_flink(port, host="127.0.0.2")
    out = f"--output={tmp_path / 'out'}"
    s3 = "--output=s3://bucket/out"
    assert refused(f"--input={source}", s3, *there).startswith(f"--input={source}: a path on this")
    assert refused("--input=s3://bucket/in", out, *there).startswith(f"{out}: a path on this")
    temp = f"--temp_location={tmp_path / 'tmp'}"
    assert refused("--input=s3://b/in", s3, temp, *there).startswith(f"{temp}: a path on this")
    model = write_model(tmp_path / "model.json")
    flags = "--input=s3://bucket/in", s3, f"--tokenizer={model}", *there
    said = refused(*flags, run=pipelines.tokenize.run)
    assert said.startswith(f"--tokenizer={model}: a path on this machine, which the workers of")


def test_a_shared_folder_is_not(
    port: int, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = on_flink(port, host="127.0.0.2")
    flags = f"--input={source}", f"--output={tmp_path / 'out'}", "--shared_filesystem", "--plan"
    pipelines.shuffle.run([*flags, *there])
    assert "of data for each of 4 workers" in capsys.readouterr().out


@pytest.mark.parametrize("flag", ["--parallelism=2", "--shared_filesystem"])
def test_flags_of_clusters_are_refused_without_one(flag: str, source: Path, tmp_path: Path) -> None:
    said = refused(f"--input={source}", f"--output={tmp_path / 'out'}", flag)
    assert said.startswith(f"{flag.partition('=')[0]} is for --runner=FlinkRunner")
    assert ("pass --workers" in said) == flag.startswith("--parallelism")


def test_a_run_whose_workers_live_is_not_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    marker = {"id": "0123456789ab", "run": "0123456789ab", "patience": 0.1}
    (output / "_incomplete.json").write_text(json.dumps(marker))
    (output / "_tmp-0123456789ab").mkdir()
    beat = Beat(str(output), "0123456789ab")
    beat.write()
    with monkeypatch.context() as patch:
        patch.setattr(signs_of_life, "sleep", lambda _: beat.write())
        with (
            pytest.raises(UsageError, match="its sign of life is recent"),
            claim_output(str(output), overwrite=False),
        ):
            pass
    assert json.loads((output / "_incomplete.json").read_text()) == marker
    check_output(str(output), overwrite=False)
    with claim_output(str(output), overwrite=False) as claim:
        assert claim.run_id != "0123456789ab"
        assert not (output / "_tmp-0123456789ab").exists()
