"""Command lines, made from the recipe's models."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, Literal, NoReturn, get_args, get_origin

from pydantic import BaseModel

from pipelines.recipes.flag_errors import ALSO, flag_of
from pipelines.recipes.values import join_patterns, write_size
from transforms.errors import DovetailError, UsageError
from transforms.version import VERSION

LOG = logging.getLogger("dovetail")


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        """Raise what went wrong."""
        raise UsageError(f"{message}; see --help")


def make_parser(
    *models: type[BaseModel],
    prog: str,
    description: str,
    epilog: str,
    groups: Sequence[str] = (),
) -> Parser:
    """Make a parser with a flag for each field of the models, in their groups.

    Args:
        models: that have the fields.
        prog, description, epilog: of the help.
        groups: that come first, in this order.
    """
    parser = Parser(
        prog=prog,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--version", action="version", version=f"dovetail {VERSION}")
    known = {title: parser.add_argument_group(title) for title in groups}
    for model in models:
        for name, field in model.model_fields.items():
            extra: Any = field.json_schema_extra
            if "in_files_only" in extra:
                continue
            title = extra["group"]
            group = known.get(title) or parser.add_argument_group(title)
            known[title] = group
            help_ = (field.description or "").replace("%", "%%")
            if field.deprecated:
                help_ = argparse.SUPPRESS
            if field.default is not None and field.default is not False and not field.is_required():
                shown = field.default
                if extra["metavar"] == "SIZE":
                    shown = write_size(shown)
                else:
                    shown = ",".join(shown) if isinstance(shown, list) else repr(shown)
                help_ += f" (default {shown})".replace("%", "%%")
            if field.annotation is bool:
                group.add_argument(flag_of(name), dest=name, action="store_true", help=help_)
            else:
                several = name in ("sources", "like")
                repeatable = several or name in ("temp_location", "extension")
                also = [f"--{name}"] if name in ALSO else []
                group.add_argument(
                    flag_of(name),
                    *also,
                    dest=name,
                    help=help_,
                    metavar=extra["metavar"] or _metavar(field.annotation),
                    action="append" if repeatable else "store",
                    nargs="+" if several else None,
                )
    return parser


def _metavar(annotation: Any) -> str | None:
    """Return what stands for a flag's value in its help, by its type; None where that doesn't say."""
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    inner = (_metavar(part) for part in get_args(annotation))
    return {int: "N", str: "NAME"}.get(annotation) or next(filter(None, inner), None)


def parse(parser: Parser, argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Parse our flags; return their values, and what isn't ours as it is.

    Raises:
        UsageError: a value that doesn't fit.
    """
    known, rest = parser.parse_known_args(list(argv))
    if "sources" in known:
        known.sources = join_patterns(known.sources)
    if "like" in known:
        known.like = list(itertools.chain(*known.like))
    return vars(known), rest


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


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on a line of its own, as ``--json`` does."""
    print(json.dumps(value, default=_plain))


def _plain(value: Any) -> Any:
    """Return what JSON has in the place of arrays, bytes and times."""
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        return value.tolist()
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def _say_error(kind: str, said: str, code: int, result: Mapping[str, Any] | None = None) -> int:
    """Print an error as ``--json`` does; return its exit code."""
    error = {"type": kind, "message": said, "exit_code": code}
    print_json({**(result or {}), "error": error})
    return code


def run_main(run: Callable[[Sequence[str]], Any], argv: Sequence[str] | None) -> int:
    """Run a command as a person does: messages to standard error, an exit code.

    2 for what the user can mend before work starts, another one for what goes wrong in the work.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    debug, as_json = "--debug" in given, "--json" in given
    handler = stderr_handler()
    LOG.addHandler(handler)
    LOG.setLevel(logging.WARNING if "--quiet" in given else logging.INFO)
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
