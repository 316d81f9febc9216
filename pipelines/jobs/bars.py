"""How far stages are, in words and as live bars on a terminal."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.recipes.cli import LOG
from pipelines.recipes.wording import write_count, write_part, write_rate
from transforms.workers.progress import Stage

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

STAGE_WORDS: dict[Stage, str] = {
    "count": "surveying records",
    "score": "scoring records",
    "partition": "reading and shuffling",
    "split": "reading and splitting",
    "tokenize": "reading and tokenizing",
    "decode": "reading and decoding",
    "order": "ordering documents",
    "write": "writing shards",
    "verify": "checking files",
}
"""What each stage does, for people."""

_NARROW = 96  # columns; in fewer, bars are shown without how many records there are


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far a stage is.

    Attributes:
        stage: its name.
        done: bytes.
        total: bytes, None as long as nobody knows.
        records: how many are done.
        tokens: how many are done a second; 0 where none are made.
        rate: bytes a second, lately; over all of it when it is finished.
        seconds: until its end, None where nobody can tell; when it is finished, what it took.
    """

    stage: Stage
    done: int = 0
    total: int | None = None
    records: int = 0
    tokens: float = 0.0
    rate: float = 0.0
    seconds: float | None = None

    @property
    def finished(self) -> bool:
        """Whether all of a known total is done."""
        return self.total is not None and self.done >= self.total

    @property
    def fraction(self) -> float:
        """The part that is done, 0 to 1 though work that is done twice counts twice."""
        return min(1.0, self.done / self.total) if self.total else float(self.finished)

    @property
    def does(self) -> str:
        """What the stage does, for people."""
        return STAGE_WORDS[self.stage]

    def words(self) -> list[str]:
        """Say it: percent, bytes, records, rate, time; empty words where nothing is known."""
        records = write_count(self.records, "record") if self.records else ""
        rate = write_rate(self.rate)
        if self.tokens >= 1:
            rate = ", ".join(filter(None, [rate, f"{self.tokens:,.0f} tokens/s"]))
        if self.total is None:
            if not self.done:
                return [""] * 5
            return ["", write_part(self.done, self.done).partition("/")[2], records, rate, ""]
        done = min(self.done, self.total)
        time = ""
        if self.seconds is not None:
            minutes, seconds = divmod(round(self.seconds), 60)
            hours, minutes = divmod(minutes, 60)
            clock = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
            clock = clock if round(self.seconds) else "<0:01"
            time = f"took {clock}" if self.finished else f"{clock} left"
        return [
            f"{int(self.fraction * 100)}%",  # 100% is for what is finished
            write_part(done, self.total) if self.total else "",
            records,
            rate,
            time,
        ]


def on_terminal() -> bool:
    """Return whether a person watches standard error on something that can move its cursor."""
    # none at all where it was closed
    there = sys.stderr is not None and sys.stderr.isatty()
    return there and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


class Bars:
    """A live bar for each stage on standard error; a context, which leaves the last ones there.

    Our log's lines come out above the bars.
    """

    def __init__(self) -> None:
        from rich.console import Console  # late: most runs have no terminal
        from rich.live import Live

        self._standings: Sequence[Standing] = ()
        self._note = ""
        self._stderr = sys.stderr
        self._console = Console(file=sys.stderr, force_terminal=True, force_interactive=True)
        self._live = Live(
            console=self._console,
            get_renderable=self._drawn,
            auto_refresh=False,
            redirect_stdout=False,
        )

    def __enter__(self) -> Bars:
        self._live.start()
        self._route_log(self._stderr, sys.stderr)
        return self

    def __exit__(self, *_: object) -> None:
        self._route_log(sys.stderr, self._stderr)
        self._live.stop()

    @staticmethod
    def _route_log(before: object, after: object) -> None:
        for handler in LOG.handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is before:
                handler.setStream(after)

    def show(self, standings: Sequence[Standing], note: str = "") -> None:
        """Draw the bars anew, and a line below them where there is a note."""
        self._standings, self._note = standings, note
        self._live.refresh()

    def _drawn(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        table = self._table()
        return Group(table, Text(self._note)) if self._note else table

    def _table(self) -> Table:
        from rich.progress_bar import ProgressBar
        from rich.table import Column, Table

        narrow = self._console.width < _NARROW
        words = [Column(justify="right", no_wrap=True) for _ in range(4 if narrow else 5)]
        stage, bar = Column(no_wrap=True), Column(min_width=5, max_width=30)
        table = Table.grid(stage, bar, *words, padding=(0, 1))
        for one in self._standings:
            said = one.words()
            if narrow:
                del said[2]
            table.add_row(one.does, ProgressBar(1.0, one.fraction), *said)
        return table
