"""A Flink cluster on this machine, without Docker: ``python deploy/flink/cluster.py start|stop|status``.

One JobManager, Beam's job server, which takes pipelines to it, and some TaskManagers. What dies is
started again, but for the JobManager, whose end ends the cluster. TaskManagers start Python workers
of the environment that runs this script, so run it by the Python that has Dovetail installed.
Workers get the environment of the cluster: set the stores' credentials before ``start``.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import programs

_OPENS = [
    "--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
    "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    *(
        f"--add-opens=java.base/{name}=ALL-UNNAMED"
        for name in (
            *("java.lang", "java.net", "java.io", "java.nio", "sun.nio.ch", "java.lang.reflect"),
            *("java.text", "java.time", "java.util", "java.util.concurrent"),
            *("java.util.concurrent.atomic", "java.util.concurrent.locks"),
        )
    ),
]
_UP = 60.0  # seconds in which a cluster has to be up
_DOWN = 10.0  # seconds in which a process may end by itself
_AGAIN = 1.0  # seconds before a TaskManager is started again
_JOB_MANAGER_HEAP, _JOB_SERVER_HEAP = "320m", "320m"
# Java only hands references on: its better compiler would take Python's cores to save nothing
_LIGHT = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]


def main() -> int:
    """Do what is asked; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("do", choices=["start", "stop", "status", "supervise"])
    parser.add_argument("--dir", type=Path, default=programs.cache() / "flink-cluster")
    parser.add_argument(
        "--port", type=int, default=8081, help="of the REST interface; 0 for a free one"
    )
    parser.add_argument("--taskmanagers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=1, help="of each TaskManager")
    parser.add_argument("--memory", default="1024m", help="of each TaskManager's Java")
    parser.add_argument("--attempts", type=int, default=5, help="after failures, of a job")
    given = parser.parse_args()
    given.dir = given.dir.resolve()
    try:
        return {"start": start, "stop": stop, "status": status, "supervise": supervise}[given.do](
            given
        )
    except programs.Missing as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def start(given: argparse.Namespace) -> int:
    """Get what is needed, start a cluster that goes on by itself, wait until it is up."""
    programs.java()
    if _living(given.dir):
        print(f"error: a cluster is already running in {given.dir}; stop it first", file=sys.stderr)
        return 2
    flink, jar = programs.flink(), programs.job_server()
    given.dir.mkdir(parents=True, exist_ok=True)
    port, endpoint = given.port or _free_port(), _free_port()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", port))
        except OSError:
            print(f"error: --port={port} is in use; pass another --port", file=sys.stderr)
            return 2
    worker = _write_worker(given.dir, port)
    _write_configuration(given, port)
    words = {
        "--runner": "FlinkRunner",
        "--flink_master": f"localhost:{port}",
        "--job_endpoint": f"localhost:{endpoint}",
        "--environment_type": "PROCESS",
        "--environment_config": json.dumps({"command": str(worker)}),
    }
    state = {
        **{"port": port, "endpoint": endpoint, "flink": str(flink), "job_server": str(jar)},
        "taskmanagers": given.taskmanagers,
        "flags": [f"{k}={v}" for k, v in words.items()],
    }
    (given.dir / "state.json").write_text(json.dumps(state), encoding="utf-8")
    with (given.dir / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, __file__, "supervise", "--dir", str(given.dir)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (given.dir / "supervisor.pid").write_text(str(process.pid), encoding="utf-8")
    end = time.monotonic() + _UP
    while _overview(port).get("taskmanagers", 0) < given.taskmanagers or not _answers(endpoint):
        if process.poll() is not None or time.monotonic() > end:
            stop(given)
            print(f"error: the cluster didn't start; read its logs in {given.dir}", file=sys.stderr)
            return 1
        time.sleep(0.2)
    print(" ".join(map(shlex.quote, state["flags"])))
    return 0


def stop(given: argparse.Namespace) -> int:
    """End a cluster and wait until it has."""
    pid = _living(given.dir)
    if pid is None:
        print("no cluster is running", file=sys.stderr)
        return 0
    os.kill(pid, signal.SIGTERM)
    while _living(given.dir) is not None:
        time.sleep(0.1)
    (given.dir / "supervisor.pid").unlink(missing_ok=True)
    return 0


def status(given: argparse.Namespace) -> int:
    """Print the cluster's processes, its slots and the flags by which it is used, as JSON."""
    if _living(given.dir) is None:
        print("no cluster is running", file=sys.stderr)
        return 1
    state = _state(given.dir)
    overview = _overview(state["port"])
    processes = json.loads((given.dir / "processes.json").read_text(encoding="utf-8"))
    print(json.dumps({**state, "processes": processes, "overview": overview}, indent=1))
    return 0


def supervise(given: argparse.Namespace) -> int:
    """Run the cluster's processes until told to end."""
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: told.append(number))
    state = _state(given.dir)
    manager = _spawn(
        [
            *(
                programs.java(),
                *_LIGHT,
                f"-Xmx{_JOB_MANAGER_HEAP}",
                *_logging(given.dir, "jobmanager"),
            ),
            *(*_OPENS, "-cp", _class_path(state)),
            "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
            *("--configDir", str(given.dir / "conf"), "--executionMode", "cluster"),
        ]
    )
    commands = {"job_server": _job_server(state, given.dir)}
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for number in range(state["taskmanagers"]):
            name = f"taskmanager-{number}"
            commands[name] = _taskmanager(state, given.dir, name)
        while not told and manager.poll() is None:
            for name, command in commands.items():
                if name in running and running[name].poll() is not None:
                    print(f"{name} ended with code {running[name].returncode}", flush=True)
                    time.sleep(_AGAIN)
                    del running[name]
                if name not in running:
                    running[name] = _spawn(command)
            found = {name: process.pid for name, process in running.items()}
            _write_whole(
                given.dir / "processes.json", json.dumps({"jobmanager": manager.pid, **found})
            )
            time.sleep(0.1)
    finally:
        every = [*running.values(), manager]
        for process in every:
            process.terminate()
        for process in every:
            try:
                process.wait(_DOWN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    return 0


def _job_server(state: dict[str, Any], folder: Path) -> list[str]:
    return [
        *(programs.java(), *_LIGHT, f"-Xmx{_JOB_SERVER_HEAP}", "-jar", state["job_server"]),
        *("--flink-master", f"http://localhost:{state['port']}"),
        *("--job-host", "localhost", "--job-port", str(state["endpoint"])),
        *("--artifact-port", "0", "--expansion-port", "0"),
        *("--artifacts-dir", str(folder / "tmp" / "artifacts")),
    ]


def _class_path(state: dict[str, Any]) -> str:
    # Beam's classes stand beside Flink's own: those that come with a job are loaded anew for each, and
    # only where they aren't does a Python worker wait for a job's next stage
    return f"{state['flink']}/lib/*:{state['job_server']}"


def _taskmanager(state: dict[str, Any], folder: Path, name: str) -> list[str]:
    jvm, dynamic = _shares(state["flink"], folder)
    return [
        *(
            programs.java(),
            *_LIGHT,
            *jvm,
            "-XX:+ExitOnOutOfMemoryError",
            *_logging(folder, name),
            *_OPENS,
        ),
        *("-cp", _class_path(state), "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"),
        *("--configDir", str(folder / "conf"), *dynamic),
    ]


@functools.cache
def _shares(flink: str, folder: Path) -> tuple[list[str], list[str]]:
    """Ask Flink how its memory is shared out: arguments for Java, and for the TaskManager."""
    done = subprocess.run(
        [
            *(programs.java(), "-cp", f"{flink}/bin/bash-java-utils.jar:{flink}/lib/*"),
            *("org.apache.flink.runtime.util.bash.BashJavaUtils", "GET_TM_RESOURCE_PARAMS"),
            *("--configDir", str(folder / "conf")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    mark = "BASH_JAVA_UTILS_EXEC_RESULT:"
    found = [line.removeprefix(mark) for line in done.stdout.splitlines() if line.startswith(mark)]
    if len(found) < 2:
        raise programs.Missing(
            f"Flink can't divide the memory as asked: {done.stdout}{done.stderr}"
        )
    return found[0].split(), found[-1].split()


def _write_worker(folder: Path, port: int) -> Path:
    """Write the program that TaskManagers start for Python work."""
    from pipelines.runners.worker_processes import ENVIRONMENT

    (folder / "log").mkdir(exist_ok=True)
    (folder / "log").chmod(0o700)  # logs are for nobody else
    variables = {**ENVIRONMENT, "DOVETAIL_FLINK": f"http://localhost:{port}"}
    lines = ["#!/bin/sh", *(f"export {name}={value}" for name, value in variables.items())]
    python, program = shlex.quote(sys.executable), shlex.quote(str(programs.HERE / "worker.py"))
    # nobody reads what a worker prints: a full pipe would stop it
    log = shlex.quote(str(folder / "log" / "worker"))
    lines.append(f'exec {python} {program} "$@" </dev/null >{log}-$$.log 2>&1')
    path = folder / "worker"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def _write_configuration(given: argparse.Namespace, port: int) -> None:
    temporary = given.dir / "tmp"
    temporary.mkdir(exist_ok=True)
    values: dict[str, Any] = {
        "jobmanager.rpc.address": "localhost",
        "jobmanager.rpc.port": _free_port(),
        "jobmanager.bind-host": "localhost",
        "jobmanager.memory.process.size": "1024m",
        "rest.address": "localhost",
        "rest.bind-address": "localhost",
        "rest.port": port,
        "taskmanager.host": "localhost",
        "taskmanager.bind-host": "localhost",
        "taskmanager.numberOfTaskSlots": given.slots,
        # only references cross by Flink: little for it to hold, much less than its defaults
        "taskmanager.memory.process.size": given.memory,
        "taskmanager.memory.jvm-metaspace.size": "192m",
        "taskmanager.memory.jvm-overhead.min": "64m",
        "taskmanager.memory.jvm-overhead.max": "64m",
        "taskmanager.memory.framework.heap.size": "64m",
        "taskmanager.memory.framework.off-heap.size": "64m",
        "taskmanager.memory.task.off-heap.size": "96m",
        "taskmanager.memory.network.min": "64m",
        "taskmanager.memory.network.max": "64m",
        "taskmanager.memory.managed.size": "64m",
        # else each edge of a job wants 512 buffers, of which two jobs' worth have room
        "taskmanager.network.sort-shuffle.min-parallelism": 1_000_000,
        "io.tmp.dirs": str(temporary),
        "classloader.resolve-order": "parent-first",
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": given.attempts,
        # later than Beam forgets a Python worker that died; else the job begins again with that one
        "restart-strategy.fixed-delay.delay": "10 s",
        "heartbeat.timeout": 10000,
        "heartbeat.interval": 2000,
        "slot.request.timeout": 60000,
    }
    conf = given.dir / "conf"
    conf.mkdir(exist_ok=True)
    lines = (f"{name}: {json.dumps(value)}" for name, value in values.items())
    (conf / "config.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (conf / "log4j.properties").write_text(
        "rootLogger.level = INFO\n"
        "rootLogger.appenderRef.file.ref = File\n"
        "appender.file.name = File\n"
        "appender.file.type = FILE\n"
        "appender.file.fileName = ${sys:log.file}\n"
        "appender.file.layout.type = PatternLayout\n"
        "appender.file.layout.pattern = %d{HH:mm:ss,SSS} %-5p %-40c{1} - %m%n\n",
        encoding="utf-8",
    )


def _logging(folder: Path, name: str) -> list[str]:
    return [
        f"-Dlog.file={folder / 'log' / name}.log",
        f"-Dlog4j.configurationFile={folder / 'conf' / 'log4j.properties'}",
    ]


def _spawn(command: list[str]) -> subprocess.Popen[bytes]:
    """Start a process that ends with this one, however it ends."""
    libc = ctypes.CDLL(None)
    die_with_parent = 1
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: libc.prctl(die_with_parent, signal.SIGKILL),  # noqa: PLW1509  # no threads
    )


def _living(folder: Path) -> int | None:
    """Return the pid of a folder's supervisor, if it runs."""
    try:
        pid = int((folder / "supervisor.pid").read_text(encoding="utf-8"))
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        alive = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
            != "Z"
        )
    except (OSError, ValueError):
        return None
    return pid if alive and b"supervise" in command else None


def _state(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "state.json").read_text(encoding="utf-8")))


def _overview(port: int) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"http://localhost:{port}/overview", timeout=5) as answer:
            return dict(json.load(answer))
    except (OSError, ValueError):
        return {}


def _answers(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("localhost", port)) == 0


def _write_whole(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        new = path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(path)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
