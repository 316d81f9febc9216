"""Flink clusters: asked by their REST interface what they are, and told to end a job."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterable, Sequence
from typing import Any

from pipelines.recipes.cli import LOG
from pipelines.runners.beam_flags import beam_options, says
from pipelines.runners.clusters import S, refuse_unshared
from transforms.errors import UsageError

_TIMEOUT = 10.0  # seconds for an answer
_ENDED = {"FINISHED", "FAILED", "CANCELED", "SUSPENDED"}
_HERE = ("localhost", "127.0.0.1", "::1")
_CACHED = 8_000  # milliseconds that workers wait for a next stage, before new ones are started
_FORGOTTEN = 2_000  # milliseconds that Beam needs more, at most, to let go of a worker
_MEASURED = "1."  # with 2.x nobody measured what its grouping holds in memory


class Flink:
    """A cluster.

    Args:
        master: HOST:PORT or URL of its JobManager's REST interface.
    """

    def __init__(self, master: str) -> None:
        self.url = (master if "://" in master else f"http://{master}").rstrip("/")

    @property
    def is_here(self) -> bool:
        """Whether the master is this machine, so that its workers are taken to be here too."""
        return urllib.parse.urlsplit(self.url).hostname in _HERE

    def get(self, path: str) -> dict[str, Any]:
        """Ask for a resource.

        Raises:
            OSError: nobody answers, or what answers isn't Flink.
        """
        with urllib.request.urlopen(f"{self.url}/{path}", timeout=_TIMEOUT) as answer:
            try:
                return dict(json.load(answer))
            except (TypeError, ValueError) as error:
                raise OSError(f"expected JSON at {self.url}/{path}, got something else") from error

    def restart_delay(self) -> float | None:
        """Return after how many milliseconds a job that failed begins again; None for never."""
        with urllib.request.urlopen(f"{self.url}/jobmanager/config", timeout=_TIMEOUT) as answer:
            found = {entry["key"]: str(entry["value"]) for entry in json.load(answer)}
        kind = found.get("restart-strategy.type", found.get("restart-strategy", "none"))
        if kind in ("none", "off", "disable"):
            return None
        return _milliseconds(found.get(f"restart-strategy.{kind}.delay", "1 s"))

    def jobs(self, name: str) -> list[dict[str, Any]]:
        """Return the jobs of a name, in the words of Flink's own overview."""
        return [job for job in self.get("jobs/overview")["jobs"] if job["name"] == name]

    def cancel(self, name: str, *, patience: float = 30.0) -> bool:
        """End the jobs of a name and wait until they have; return whether they did."""
        end = time.monotonic() + patience
        while True:
            with contextlib.suppress(OSError):
                living = [job["jid"] for job in self.jobs(name) if job["state"] not in _ENDED]
                if not living:
                    return True
                for jid in living:
                    request = urllib.request.Request(f"{self.url}/jobs/{jid}", method="PATCH")
                    urllib.request.urlopen(request, timeout=_TIMEOUT).close()
            if time.monotonic() > end:
                return False
            time.sleep(0.2)

    def failure(self, name: str) -> str:
        """Return what Flink says of why a job failed, with its workers' tracebacks; "" for nothing."""
        with contextlib.suppress(OSError, KeyError, IndexError):
            found = self.get(f"jobs/{self.jobs(name)[0]['jid']}/exceptions")
            return str(found.get("root-exception") or "")
        return ""

    def progress(self, name: str) -> str:
        """Return how far a job is, in words; "" where nobody knows."""
        with contextlib.suppress(OSError, KeyError, IndexError):
            tasks = self.jobs(name)[0]["tasks"]
            return f"{tasks['finished']} of {tasks['total']} tasks finished, {tasks['running']} running"
        return ""


def settle_flink(
    settings: S, beam_flags: Sequence[str], urls: Iterable[tuple[str, str]]
) -> tuple[S, list[str]]:
    """Look at the cluster and at what it is to do; as of ``runners.settle_runner``."""
    given = beam_options(beam_flags)
    master = given["flink_master"]
    if not says(beam_flags, "flink_master") or master in ("[auto]", "[local]"):
        raise UsageError(
            "--flink_master: expected HOST:PORT of a cluster's REST interface; start one on "
            "this machine with deploy/flink/cluster.py, or leave out --runner to work "
            "without one"
        )
    flink = Flink(master)
    try:
        version = str(flink.get("config")["flink-version"])
        slots = int(flink.get("overview")["slots-total"])
        workers = flink.get("taskmanagers")["taskmanagers"]
        delay = flink.restart_delay()
    except (OSError, KeyError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        raise UsageError(
            f"--flink_master={master}: no Flink answers there ({why}); start the cluster, or "
            "pass HOST:PORT of its JobManager's REST interface"
        ) from None
    _require_version(given, beam_flags, version)
    _require_workers(given, here=flink.is_here)
    if given["job_endpoint"] and not _answers(given["job_endpoint"]):
        raise UsageError(
            f"--job_endpoint={given['job_endpoint']}: no job server answers there; start "
            "one, or leave out --job_endpoint, and this command starts its own"
        )
    if not given["flink_job_server_jar"] or not str(given["flink_job_server_jar"]).startswith(
        "http"
    ):
        _require_java()
    if not flink.is_here:
        refuse_unshared(settings, urls, where=f"--flink_master={master}")
    if not slots:
        raise UsageError(
            f"--flink_master={master}: the cluster has no TaskManager; start at least one"
        )
    if delay is None:
        LOG.warning(
            "the cluster doesn't restart jobs, so the first worker that dies ends the run; "
            "set restart-strategy.type: fixed-delay on the cluster"
        )
    asked = settings.parallelism or slots
    if asked > slots:
        raise UsageError(
            f"--parallelism={asked}: the cluster at {master} has {slots} slots; pass at most "
            "that many, or start more TaskManagers"
        )
    flags = [*beam_flags, f"--parallelism={asked}"]
    if not says(beam_flags, "flink_version") and _minor(version) in _published():
        flags.append(f"--flink_version={_minor(version)}")
    # a worker that is dead is kept too: the job has to begin again later than that
    if not says(beam_flags, "environment_cache_millis"):
        cached = min(_CACHED, (delay or 0.0) - _FORGOTTEN)
        flags.append(f"--environment_cache_millis={max(0, int(cached))}")
    if not says(beam_flags, "sdk_worker_parallelism"):
        # a process for each slot: Python's threads of one process would wait for each other
        most = max((int(worker["slotsNumber"]) for worker in workers), default=1)
        flags.append(f"--sdk_worker_parallelism={most}")
    return settings.model_copy(update={"parallelism": asked}), flags


def _require_workers(given: dict[str, Any], *, here: bool) -> None:
    """Raise UsageError where TaskManagers aren't told how to start Python workers, or wrongly."""
    kind, config = given["environment_type"], given["environment_config"] or ""
    if kind not in ("EXTERNAL", "PROCESS", "DOCKER"):
        raise UsageError(
            f"--environment_type{f'={kind}' if kind else ''}: expected how TaskManagers start Python "
            "workers: EXTERNAL, with --environment_config=localhost:50000, for a worker pool beside "
            "each; PROCESS, with the program; or DOCKER, with an image that holds Dovetail (Beam's own "
            "doesn't)"
        )
    problem = ""
    if kind == "EXTERNAL" and here and not _answers(config):
        problem = f"no pool of Python workers answers at {config or '(no place given)'}"
    if kind == "PROCESS" and not given["environment_options"]:
        try:
            program = str(json.loads(config)["command"])
        except (KeyError, TypeError, ValueError):
            raise UsageError(
                f"--environment_config={config}: expected what TaskManagers start, as JSON: "
                '{"command": "/path/of/the/program"}; deploy/flink/cluster.py prints all flags'
            ) from None
        if not os.access(program, os.X_OK):
            problem = f"{program} isn't a program"
    if here and problem:  # a forwarded port makes a master elsewhere look like this machine
        LOG.warning("--environment_config: %s on this machine; the TaskManagers need it", problem)


def _answers(endpoint: str) -> bool:
    """Return whether somebody listens at HOST:PORT."""
    host, _, port = endpoint.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_TIMEOUT).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True


def _require_version(given: dict[str, Any], beam_flags: Sequence[str], version: str) -> None:
    """Raise UsageError where the job server is for another Flink than the cluster's."""
    minor = _minor(version)
    if says(beam_flags, "flink_version") and given["flink_version"] != minor:
        raise UsageError(
            f"--flink_version={given['flink_version']}: the cluster at "
            f"{given['flink_master']} is Flink {version}; leave out the flag, or pass {minor}"
        )
    jar = given["flink_job_server_jar"]
    built = _flink_of(jar) if jar else None
    if built is not None and _minor(built) != minor:
        raise UsageError(
            f"--flink_job_server_jar={jar}: made for Flink {built}, but the cluster at "
            f"{given['flink_master']} is Flink {version}; pass the jar for {minor}"
        )
    published = _published()
    if not jar and not given["job_endpoint"] and minor not in published:
        raise UsageError(
            f"--flink_master={given['flink_master']}: the cluster is Flink {version}, and Beam has job "
            f"servers for {', '.join(published)}; run one of these, or pass --flink_job_server_jar"
        )
    if not version.startswith(_MEASURED):
        LOG.warning("Flink %s: memory needs were measured with Flink 1.x only", version)


def _flink_of(jar: str) -> str | None:
    """Return the version of Flink that a local job server holds, where it says so.

    Raises:
        UsageError: it isn't there, or no jar.
    """
    if "://" in jar:
        return None
    try:
        with zipfile.ZipFile(jar) as archive:
            text = archive.read(".flink-runtime.version.properties").decode()
    except KeyError:
        return None
    except (OSError, zipfile.BadZipFile) as error:
        raise UsageError(f"--flink_job_server_jar={jar}: expected a jar: {error}") from None
    lines = (line.partition("=") for line in text.splitlines())
    return next((value for name, _, value in lines if name == "project.version"), None)


def _require_java() -> None:
    home = os.environ.get("JAVA_HOME")
    if shutil.which(os.path.join(home, "bin", "java") if home else "java") is None:
        raise UsageError(
            "--runner=FlinkRunner: expected Java on this machine, which runs Beam's job "
            "server; install Java 11 or 17, or set JAVA_HOME"
        )


def _milliseconds(text: str) -> float:
    """Read a duration as Flink writes it.

    >>> _milliseconds("5 s"), _milliseconds("250 ms"), _milliseconds("PT5S"), _milliseconds("?")
    (5000.0, 250.0, 5000.0, 0.0)
    """
    found = re.fullmatch(r"(?:PT)?([0-9.]+) *(ms|s|min|m|h)?", text.strip(), re.IGNORECASE)
    if found is None:
        return 0.0
    units = {"ms": 1, "s": 1e3, "min": 6e4, "m": 6e4, "h": 3.6e6}
    return float(found[1]) * units[(found[2] or "ms").lower()]


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _published() -> list[str]:
    from apache_beam.options.pipeline_options import FlinkRunnerOptions

    return list(FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS)
