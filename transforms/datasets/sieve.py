"""Which of the files in a folder hold its records: those that Spark, Hadoop and Arrow would read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from transforms.formats import detection
from transforms.formats.detection import CANONICAL

NO_EXTENSION = "none"
"""What ``extensions`` call files whose name has none."""

_WORD = re.compile(r"\.[a-z][a-z0-9_+-]{0,15}")
_ROWS_OR_JSON = frozenset((".jsonl", ".parquet", ".arrow"))
# what the Hugging Face hub, its `datasets` library and people lay beside records
_PAPERS = re.compile(r"(readme|licen[cs]e|notice|copying|citation|changelog)([-_.].*)?")
_COMPANION = re.compile(
    r"(sha\d+|md5)sums?(\.txt)?"
    r"|dataset_infos?([-_.].*)?\.json|dataset_dict\.json|state\.json"
    r"|cache-[0-9a-f]{16}.*\.arrow"
)
_FIRST = frozenset("rlncsmd")  # letters with which their names begin
_NAMED = 100  # names that are remembered
_SHOWN = 4


class Sieve:
    """Lets records' files through, and remembers what it held back and of what kinds the others are.

    Held back are names that begin with ``_`` or ``.``, of files and of folders above them (but for
    partitions such as ``_year=2024``, as Spark has it), copies that Hadoop has not finished, and
    what is known to lie beside records: README, LICENSE, dataset_infos.json and such.

    Args:
        pattern: what the user gave.
        extensions: those that files have to have, as ``read_extension`` returns them; any if none.
        source: that the pattern is of.

    Attributes:
        bare: whether the pattern says nothing of the files' own names.
        held: how many files were held back.
        matched: how many files the pattern gave, as they are listed.
        names: of some of those, or of the folders that they are in.
        kinds: of the files that were let through, by extension; empty files have none.
        unasked: whether a file was given by name that doesn't have the extensions.
    """

    def __init__(self, pattern: str, extensions: Iterable[str] = (), *, source: str = "") -> None:
        self.pattern, self.source = pattern, source
        self.extensions = frozenset(extensions)
        self.held = self.matched = 0
        self.names: set[str] = set()
        self.unasked = False
        self.kinds: Counter[str] = Counter()
        self.aim("/*")

    def aim(self, wild: str) -> None:
        """Take what a glob says by name for meant: only a ``_`` finds a ``_``, only a dot a dot.

        Args:
            wild: the glob below its fixed folder, from a slash on.
        """
        self.bare = not wild.rpartition("/")[2].strip("*?.")
        self._marks = tuple(mark for mark in "._" if f"/{mark}" not in wild)
        marks = "".join(self._marks)
        self._marked = re.compile(f"(^|/)[{marks}]").search if marks else lambda name: None

    def take(self, name: str, size: int) -> None:
        """Let a file through that is given by name."""
        self.bare = False
        found = extension_of(name)
        self.unasked = bool(self.extensions) and not self._is_chosen(name, found)
        if size:
            self.kinds[found] += 1

    def lets(self, name: str, size: int) -> bool:
        """Say whether a file holds records, by its path below the folder."""
        base = name[name.rfind("/") + 1 :]
        if self._marked(name) and (aside := self._aside(name)):
            return self.hold(aside)
        found = extension_of(base)
        if self.bare and base[:1].lower() in _FIRST and _is_companion(base.lower(), found):
            return self.hold(name)
        if base.endswith("._COPYING_"):
            return self.hold(name)
        if self.extensions and not self._is_chosen(base, found):
            return self.hold(name)
        if size:
            self.kinds[found] += 1
        return True

    def hides(self, folder: str) -> bool:
        """Say whether nothing below a folder is records, by its path; asked where it can't be read.

        A disk has a ``lost+found`` that the superuser alone may read, and few patterns leave it out.
        """
        return self._aside(f"{folder}/") is not None or folder == "lost+found"

    def _aside(self, name: str) -> str | None:
        """Return a path up to the first folder that isn't meant, or all of it; None if it is meant."""
        begin = 0
        while begin >= 0:
            end = name.find("/", begin)
            part = name[begin : end if end >= 0 else None]
            if part.startswith(self._marks) and not (
                part.startswith("_") and ("=" in part or (end < 0 and not self.bare))
            ):
                return name[: end + 1] if end >= 0 else name
            begin = end + 1 if end >= 0 else -1
        return None

    def _is_chosen(self, base: str, found: str) -> bool:
        low = base.lower()
        return (found or NO_EXTENSION) in self.extensions or any(
            low.endswith(extension) for extension in self.extensions if extension != NO_EXTENSION
        )

    def hold(self, name: str) -> bool:
        """Remember that a file was held back, by its name or its folder's; return False."""
        self.held += 1
        if len(self.names) < _NAMED:
            self.names.add(name)
        return False

    @property
    def said(self) -> str:
        """What was held back, in words; empty if nothing was."""
        if not self.held:
            return ""
        names = sorted(self.names)
        more = ", …" if len(names) > _SHOWN else ""
        files = "1 file" if self.held == 1 else f"{self.held} files"
        return f"{self.pattern}: ignored {files}: {', '.join(names[:_SHOWN])}{more}"

    @property
    def mixed(self) -> bool:
        """Whether files are of several kinds, and the pattern doesn't say which."""
        return self.bare and len(kinds_of(self.kinds)) > 1


def _is_companion(base: str, found: str) -> bool:
    if _COMPANION.fullmatch(base):
        return True
    records = CANONICAL.get(found) in _ROWS_OR_JSON  # of readmes, say
    return not records and _PAPERS.fullmatch(base) is not None


def extension_of(name: str) -> str:
    """Return a file's extension in lower case, before a codec's suffix; empty where it has none.

    What stands behind the last dot and is no word, such as a number or a date, is no extension.

    >>> extension_of("a/part-0.JSONL.gz"), extension_of("part.0001"), extension_of("x.zst")
    ('.jsonl', '', '')
    """
    found = detection.extension_of(name)
    return found if _WORD.fullmatch(found) else ""


def read_extension(text: str) -> str:
    """Return an extension as names have it, from how one may write it.

    >>> read_extension("JSONL"), read_extension("*.csv.gz"), read_extension("none")
    ('.jsonl', '.csv.gz', 'none')
    """
    found = text.strip().lower().removeprefix("*").removeprefix(".")
    return found if found == NO_EXTENSION else f".{found}"


def kinds_of(extensions: Iterable[str]) -> set[str]:
    """Return what kinds of file have these extensions, each by one that stands for it."""
    return {CANONICAL.get(extension, extension) for extension in extensions}


def count_kinds(kinds: Counter[str]) -> str:
    """Say how many files there are of each extension.

    >>> count_kinds(Counter({".txt": 1, ".json": 2, "": 1}))
    '2 .json, 1 .txt, 1 without an extension'
    """
    names = sorted(kinds, key=lambda kind: (-kinds[kind], not kind, kind))
    return ", ".join(f"{kinds[kind]} {kind or 'without an extension'}" for kind in names)


def most_common(kinds: Counter[str]) -> list[str]:
    """Return the extensions of the kind that most files are of."""
    of: Counter[str] = Counter()
    for extension, count in kinds.items():
        of[CANONICAL.get(extension, extension)] += count
    most = min(of, key=lambda kind: (-of[kind], not kind, kind))
    return sorted(extension for extension in kinds if CANONICAL.get(extension, extension) == most)
