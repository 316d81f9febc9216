"""A command as a person runs it: its log, what it says of errors, exit codes and signals."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, NoReturn

from pipelines.recipes.flag_errors import SHORT, flag_of
from transforms.errors import DovetailError, RunError

LOG = logging.getLogger("dovetail")


def stderr_handler() -> logging.Handler:
    """Return what writes our log's lines to standard error, each with its time."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines("%(asctime)s %(message)s", "%H:%M:%S"))
    return handler


@contextlib.contextmanager
def heard_warnings() -> Iterator[list[str]]:
    """Hear meanwhile what our log warns of, for ``--json``."""
    heard: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    LOG.addHandler(handler)
    try:
        yield heard
    finally:
        LOG.removeHandler(handler)


class _Lines(logging.Formatter):
    """Lines of our log, of which warnings say that they are such."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # as logging calls it
        """Return the line."""
        if record.levelno == logging.WARNING:
            record.message = f"warning: {record.message}"
        return super().formatMessage(record)


def printable(text: str) -> str:
    """Return a text with what a terminal would obey escaped, but for ends of lines.

    What errors tell of may hold anything: paths, and what somebody's manifest says.
    """
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


@contextlib.contextmanager
def printing(*, done: str = "") -> Iterator[None]:
    """Print all that is printed meanwhile; what a reader who has gone means, ``run_main`` knows.

    Raises:
        RunError: standard output can't be written; says ``done``, what the run did all the same.
    """
    try:
        yield
        print(end="", flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        why = error.strerror or error
        raise RunError(f"standard output can't be written: {why}{done and f'; {done}'}") from error


def print_json(value: Mapping[str, Any], *, done: str = "") -> None:
    """Print one JSON object on a line of its own, as ``--json`` does; as of ``printing``."""
    text = json.dumps(_plain(value), allow_nan=False)
    with printing(done=done):
        print(text)


def _plain(value: Any) -> Any:
    """Return what JSON has in the place of arrays, bytes, times, and numbers that aren't finite."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def _say_error(kind: str, said: str, code: int, result: Mapping[str, Any] | None = None) -> int:
    """Print an error as ``--json`` does; return its exit code."""
    error = {"type": kind, "message": said, "exit_code": code}
    with contextlib.suppress(OSError, RunError):  # nobody may read it any more
        print_json({**(result or {}), "error": error})
    return code


def run_main(run: Callable[[Sequence[str]], Any], argv: Sequence[str] | None) -> int:
    """Run a command as a person does: messages to standard error, an exit code.

    2 for what the user can mend before work starts, another one for what goes wrong in the work.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    debug, as_json = _among(given, "debug"), _among(given, "as_json")
    handler = stderr_handler()
    LOG.addHandler(handler)
    LOG.setLevel(logging.WARNING if _among(given, "quiet") else logging.INFO)
    LOG.propagate = False
    if not debug:
        logging.getLogger().addHandler(logging.NullHandler())  # Beam warns of what it can't import
    _finished.clear()
    signals = {number: signal.signal(number, _stop) for number in _ENDING if not _ignored(number)}
    try:
        run(given)
    except DovetailError as error:
        if debug:
            traceback.print_exc()
        print(f"error: {printable(str(error))}", file=sys.stderr)
        if as_json:
            _say_error(type(error).__name__, str(error), error.exit_code, error.result)
        return error.exit_code
    except (KeyboardInterrupt, _StoppedBySignal) as stopped:
        with contextlib.suppress(OSError):  # the terminal may be gone
            print("stopped", file=sys.stderr)
        by = stopped.number if isinstance(stopped, _StoppedBySignal) else signal.SIGINT
        if as_json:
            _say_error("Stopped", f"stopped by {signal.Signals(by).name}", 128 + by)
        return 128 + by
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            # as shells have it for SIGPIPE; what is still to be flushed goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
        if debug:
            traceback.print_exc()
        said = printable(f"{type(error).__name__}: {error}")
        print(f"error: {said} (unexpected error; rerun with --debug)", file=sys.stderr)
        if as_json:
            _say_error(type(error).__name__, str(error), 1)
        return 1
    finally:
        LOG.removeHandler(handler)
        for number, former in signals.items():
            signal.signal(number, former)
    return 0


def _nobody_reads() -> bool:
    """Return whether standard output is a pipe whose reader has gone, as ``head`` does."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # no file, or closed
        watched = select.poll()
        watched.register(sys.stdout.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in watched.poll(0))
    return False


def _among(given: Sequence[str], switch: str) -> bool:
    """Return whether a switch is given, before anything is parsed: alone, or among short ones."""
    short = re.compile(f"-[hqv]*{SHORT[switch][1]}") if switch in SHORT else None
    return any(word == flag_of(switch) or (short and short.match(word)) for word in given)


def leave(code: int) -> NoReturn:
    """End the process at once: Python takes half a second to take Beam apart."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


class _StoppedBySignal(BaseException):
    """The process was told to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _ignored(number: signal.Signals) -> bool:
    """Return whether a signal is not to end us: the end of a session is ignored under nohup."""
    return number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN


_finished = threading.Event()


def finished() -> None:
    """From now on a signal comes too late: what was asked for is there, and is not taken back."""
    _finished.set()


def _stop(number: int, frame: FrameType | None) -> None:
    if _finished.is_set():
        return
    for every in _ENDING:  # a second one would end the clearing
        signal.signal(every, signal.SIG_IGN)
    raise _StoppedBySignal(number)
