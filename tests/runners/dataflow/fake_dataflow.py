"""A stand-in for Dataflow's REST service on this machine, that does run the jobs it is given.

``python -m tests.runners.dataflow.fake_dataflow FOLDER`` prints its port; below FOLDER it leaves
``key.json``, a service account's key made for it alone. It hands tokens out for what that key signed,
and answers requests that bear such a token and no others. A job that the service could not accept is
refused. Of one that it does accept, the graph that lies staged in the bucket is run: its environments,
which name a container image, are swapped for Python here, and FnApiRunner does the rest.

``GET /-/jobs`` gives what was created, as JSON; ``/-/scenario/NAME`` says what happens to the next
ones: ``run``, ``stay`` (nothing ever comes of it, until it is cancelled), ``fail`` or ``refuse``.
Enumerations go as integers, times and paths as the service's own. No fake can prove that Dataflow
answers so.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
import traceback
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt
from google.cloud.dataflow import JobMessageImportance, JobState

PROJECT, REGION, TOKEN = "a-project", "europe-west4", "a-token-of-the-fake"
_JOBS = re.compile(rf"/v1b3/projects/{PROJECT}/locations/{REGION}/jobs(?:/([^/]+))?(?:/(\w+))?")
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?")
_LARGEST = 10_000_000  # bytes of a request that creates a job


class Refused(Exception):
    """The service would not accept this."""


class Job:
    """A job, and what became of it."""

    def __init__(self, number: int, asked: dict[str, Any], scenario: str) -> None:
        self.asked, self.scenario = asked, scenario
        self.id = f"2026-01-01_00_00_00-{number:019}"
        self.state = JobState.JOB_STATE_PENDING
        self.messages: list[tuple[int, str]] = []
        self.polls = 0

    @property
    def url(self) -> str:
        return str(self.asked["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"])

    def show(self) -> dict[str, Any]:
        """Return it as the service shows it."""
        return {
            "id": self.id,
            "projectId": PROJECT,
            "location": REGION,
            "name": self.asked["name"],
            "type": self.asked["type"],
            "clientRequestId": self.asked["clientRequestId"],
            "currentState": int(self.state),
        }

    def say(self, importance: JobMessageImportance, text: str) -> None:
        self.messages.append((int(importance), text))

    def poll(self) -> None:
        """Go on by a step: pending for one look, then running."""
        self.polls += 1
        if self.state == JobState.JOB_STATE_PENDING and self.polls > 1:
            self.state = JobState.JOB_STATE_RUNNING
            self.say(JobMessageImportance.JOB_MESSAGE_BASIC, "Worker pool started.")
            if self.scenario != "stay":
                threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        try:
            if self.scenario == "fail":
                raise RuntimeError("the zone is out of machines")
            run_staged(read_gs(self.url))
        except BaseException:
            self.say(JobMessageImportance.JOB_MESSAGE_ERROR, traceback.format_exc())
            self.state = JobState.JOB_STATE_FAILED
        else:
            self.state = JobState.JOB_STATE_DONE


def read_gs(url: str) -> bytes:
    """Read an object, as the service does with credentials of its own."""
    from gcsfs import GCSFileSystem

    data: bytes = GCSFileSystem(token="anon", use_listings_cache=False).cat_file(url)
    return data


def run_staged(staged: bytes) -> None:
    """Run a staged graph with Python here in place of the container images that it names."""
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.portability.api import beam_runner_api_pb2
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    graph = beam_runner_api_pb2.Pipeline.FromString(staged)
    for environment in graph.components.environments.values():
        environment.urn = "beam:env:embedded_python:v1"
        environment.payload = b""
        del environment.dependencies[:]
    FnApiRunner().run_via_runner_api(graph, PipelineOptions([])).wait_until_finish()


def check_job(asked: dict[str, Any]) -> None:
    """Raise Refused where the service could not run a job: of what its reference says it needs."""
    if not _NAME.fullmatch(asked.get("name", "")):
        raise Refused(f"name: {asked.get('name')!r}")
    environment = asked.get("environment", {})
    if not environment.get("tempStoragePrefix", "").startswith("storage.googleapis.com/"):
        raise Refused(f"tempStoragePrefix: {environment.get('tempStoragePrefix')!r}")
    pools = environment.get("workerPools", [])
    images = [image for pool in pools for image in pool.get("sdkHarnessContainerImages", [])]
    if len(pools) != 1 or not images or not all(image.get("containerImage") for image in images):
        raise Refused(f"workerPools: {pools}")
    if "use_runner_v2" not in environment.get("experiments", []):
        raise Refused("experiments: a Python job needs use_runner_v2")
    options = environment["sdkPipelineOptions"]["options"]
    staged = read_gs(options["pipelineUrl"])
    if hashlib.sha256(staged).hexdigest() != options["pipelineProtoHash"]:
        raise Refused("pipelineProtoHash: not that of what is staged")


class Service:
    """The jobs, and who may ask."""

    def __init__(self, folder: Path) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._folder = folder
        self._lock = threading.Lock()
        self.jobs: dict[str, Job] = {}
        self.scenario = "run"
        self.tokens = 0

    def write_key(self, port: int) -> None:
        """Leave the key of a service account whose tokens come from here."""
        private = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        content = {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "of-the-fake",
            "private_key": private.decode(),
            "client_email": f"dovetail@{PROJECT}.example",
            "client_id": "1",
            "token_uri": f"http://localhost:{port}/token",
        }
        (self._folder / "key.json").write_text(json.dumps(content))

    def give_token(self, body: bytes) -> dict[str, Any]:
        """Give a token to whom signed with the key."""
        public = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (assertion,) = urllib.parse.parse_qs(body.decode())["assertion"]
        try:
            claims = jwt.decode(assertion, certs=[public])
        except ValueError as error:
            raise Refused(str(error)) from None
        if not re.search("/auth/(cloud-platform|devstorage)", claims["scope"]):
            raise Refused(f"scope: {claims['scope']}")
        self.tokens += 1
        return {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}

    def create(self, body: bytes) -> dict[str, Any]:
        """Accept a job."""
        if len(body) > _LARGEST:
            raise Refused(f"a request of {len(body)} bytes")
        asked = json.loads(body)
        check_job(asked)
        if self.scenario == "refuse":
            raise Refused("the project has no machines left")
        with self._lock:
            job = Job(len(self.jobs), asked, self.scenario)
            self.jobs[job.id] = job
        return job.show()

    def answer(self, method: str, job: Job, of: str | None, body: bytes) -> dict[str, Any]:
        """Answer what is asked of a job."""
        if of == "messages":
            return {
                "jobMessages": [
                    {
                        "id": str(i),
                        "time": f"2026-01-01T00:00:{i:02}Z",
                        "messageText": text,
                        "messageImportance": importance,
                    }
                    for i, (importance, text) in enumerate(job.messages)
                ]
            }
        if of == "metrics":
            return {"metricTime": "2026-01-01T00:00:00Z", "metrics": []}
        if method == "PUT":
            wanted = JobState(json.loads(body)["requestedState"])
            if wanted == JobState.JOB_STATE_CANCELLED and job.state != JobState.JOB_STATE_DONE:
                job.state = wanted
        else:
            job.poll()
        return job.show()


def make_handler(service: Service) -> type[BaseHTTPRequestHandler]:
    """Return the handler of requests."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self, code: int, content: Any) -> None:
            data = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _error(self, code: int, status: str, text: str) -> None:
            self._reply(code, {"error": {"code": code, "status": status, "message": text}})

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = urllib.parse.urlsplit(self.path).path
            try:
                self._answer(path, body)
            except Refused as refused:
                self._error(400, "INVALID_ARGUMENT", str(refused))
            except Exception:
                self._error(500, "INTERNAL", traceback.format_exc())

        def _answer(self, path: str, body: bytes) -> None:
            if path == "/token":
                try:
                    self._reply(200, service.give_token(body))
                except Refused as refused:
                    said = {"error": "invalid_grant", "error_description": str(refused)}
                    self._reply(400, said)
            elif path == "/-/jobs":
                jobs = [{**job.show(), "asked": job.asked} for job in service.jobs.values()]
                self._reply(200, {"jobs": jobs, "tokens": service.tokens})
            elif path.startswith("/-/scenario/"):
                service.scenario = path.rpartition("/")[2]
                self._reply(200, {})
            elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._error(401, "UNAUTHENTICATED", "expected an OAuth 2 access token")
            elif (found := _JOBS.fullmatch(path)) is None:
                self._error(404, "NOT_FOUND", path)
            elif found[1] is None and self.command == "POST":
                self._reply(200, service.create(body))
            elif found[1] in service.jobs:
                job = service.jobs[found[1]]
                self._reply(200, service.answer(self.command, job, found[2], body))
            else:
                self._error(404, "NOT_FOUND", path)

        do_GET = do_POST = do_PUT = _serve  # noqa: N815  # names that the server looks for

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


def main(folder: str) -> None:
    service = Service(Path(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), make_handler(service))
    service.write_key(server.server_port)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
