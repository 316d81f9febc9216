"""Running a pipeline on this machine: Beam's FnApiRunner, watched."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import psutil
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

import transforms
from transforms.errors import RunError, WorkerError, from_traceback
from transforms.kernels.plan import Workers

_GRACE = 3.0  # seconds in which a pipeline may end by itself after a worker did
_LAST_WORK = 10.0  # seconds in which threads may come to notice that the run was given up
_BEAM_THREADS = ("beam_control", "run_worker")
_DEATH = "Worker subprocess exited with return code "
_LAST_LINE = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt)\b[^\n]*", re.MULTILINE)

WORKER_ENVIRONMENT = {
    # a folder of the user's called `pipelines` or `transforms` must not shadow ours
    "PYTHONSAFEPATH": "1",
    # freed buffers of a run serve the next one: fresh ones cost page faults, a third of the time
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MIMALLOC_PURGE_DELAY": "10000",
}


def run_local(
    build: Callable[[beam.Pipeline], Any],
    *,
    workers: Workers,
    log_file: Path,
    beam_flags: Sequence[str] = (),
    tick: Callable[[], None] = lambda: None,
    give_up: Callable[[], None] = lambda: None,
) -> None:
    """Run a pipeline to its end.

    Args:
        build: adds the transforms to a pipeline.
        workers: how many, in how many processes.
        log_file: takes what worker processes print.
        beam_flags: the user's own, for Beam.
        tick: is called about four times a second meanwhile.
        give_up: is called where the run shall end before its end; work on threads then ends soon.

    Raises:
        DovetailError: what a worker raised, once; WorkerError where a worker process died.
    """
    options = PipelineOptions(list(beam_flags), direct_num_workers=workers.count)
    token = secrets.token_hex(8)  # tells this run's workers from other processes
    if workers.processes:
        runner = FnApiRunner(default_environment=_subprocess_environment(log_file, token))
    else:
        if workers.count > 1:
            options = PipelineOptions(
                list(beam_flags),
                direct_num_workers=workers.count,
                direct_running_mode="multi_threading",
            )
        runner = FnApiRunner()
    pipeline = beam.Pipeline(runner=runner, options=options)
    build(pipeline)
    raised: list[BaseException] = []
    ended = threading.Event()

    def work() -> None:
        try:
            pipeline.run().wait_until_finish()
        except BaseException as error:
            raised.append(error)
        finally:
            ended.set()

    with _WorkerDeaths() as deaths:
        # its own thread: FnApiRunner waits for ever for a worker that was killed
        threading.Thread(target=work, name="pipeline", daemon=True).start()
        try:
            while not ended.wait(0.25):
                tick()
                if deaths.codes and not ended.wait(_GRACE):
                    break
        finally:
            if not ended.is_set():
                give_up()
            if not workers.processes:
                ended.wait(_LAST_WORK)
            elif not ended.is_set() or raised:
                _kill_workers(token)
                # Beam may be just starting another one
                for _ in range(int(_GRACE / 0.1)):
                    if ended.wait(0.1):
                        break
                    _kill_workers(token)
                _kill_workers(token)
    if raised:
        raise _translate(raised[0], deaths.codes) from raised[0]
    if deaths.codes:
        raise _worker_died(deaths.codes[0])


def _subprocess_environment(log_file: Path, token: str) -> SubprocessSDKEnvironment:
    paths = [str(Path(transforms.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    variables = {**WORKER_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    words = [
        "exec",
        "env",
        *(f"{name}={value}" for name, value in variables.items()),
        sys.executable,
        "-m",
        "transforms.worker",
        str(os.getpid()),
        token,
    ]
    command = f"{shlex.join(words)} >>{shlex.quote(str(log_file))} 2>&1"
    return SubprocessSDKEnvironment.from_command_string(command_string=command)


class _WorkerDeaths:
    """Hears of worker processes that end badly, which Beam reports in a thread of its own only."""

    def __init__(self) -> None:
        self.codes: list[int] = []

    def __enter__(self) -> _WorkerDeaths:
        self._before = threading.excepthook
        threading.excepthook = self._hear
        return self

    def __exit__(self, *_: object) -> None:
        threading.excepthook = self._before

    def _hear(self, args: threading.ExceptHookArgs) -> None:
        text = str(args.exc_value)
        if text.startswith(_DEATH):
            self.codes.append(int(text.removeprefix(_DEATH)))
        elif not self._follows_a_death(args):
            self._before(args)

    def _follows_a_death(self, args: threading.ExceptHookArgs) -> bool:
        """Tell the tracebacks of Beam's and gRPC's threads when a worker is gone."""
        thread = args.thread.name if args.thread else ""
        return thread.startswith(_BEAM_THREADS) or args.exc_type.__module__.startswith("grpc")


def _kill_workers(token: str) -> None:
    mine = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(token in word for word in child.cmdline()):
                child.kill()
                mine.append(child)
    psutil.wait_procs(mine, timeout=_GRACE)


def _translate(error: BaseException, death_codes: list[int]) -> BaseException:
    if not isinstance(error, Exception):
        return error
    text = str(error)
    found = from_traceback(f"{type(error).__module__}.{type(error).__qualname__}: {text}")
    if found is not None:
        return found
    if death_codes:
        return _worker_died(death_codes[0])
    lines = _LAST_LINE.findall(text)
    return RunError(f"a worker failed: {lines[-1] if lines else f'{type(error).__name__}: {text}'}")


def _worker_died(code: int) -> WorkerError:
    number = code - 128 if code > 128 else -code
    how = f"was killed by signal {number}" if number > 0 else f"ended with code {code}"
    why = "; the system kills so when memory runs out: give less --memory" if number == 9 else ""
    return WorkerError(f"a worker process {how}{why}")
