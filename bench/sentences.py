"""Count long sentences in README and docs: how hard the pages are to read.

    python bench/sentences.py            the share of long sentences, page by page
    python bench/sentences.py --list     and the sentences, longest first

Prose alone counts: no code, no headings, and of tables the cells that end with a full stop or have
four words of letters. Code is what is fenced (tests/docs lets no other code pass). A word is what
stands between blanks; an inline code span, a link's address and a figure with its unit count as one
word each.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
MOST_WORDS = 25
"""A sentence of more words is long."""

_FENCE = re.compile(r"^\s*(```|~~~)")
_NO_PROSE = re.compile(
    r"#|---|===|!!!|\?\?\?|\[\S+\]: \S+$"
)  # headings, rules, titles, links' addresses
_ITEM = re.compile(r"(?:[-*+]|\d+\.)\s+")
_TAG = re.compile(r"<!--.*?-->|</?[a-zA-Z][^>]*>")
_WORD = re.compile(r"[(\"'*_]*[a-zA-Z][a-zA-Z'-]*[.,;:!?)\"'*_]*")
_CODE = re.compile(r"`[^`]*`")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_END = re.compile(r"(?<=[.!?])[)\"'*_]*\s+(?=[\"'(*_`]*[A-Z0-9`])")
_ABBREVIATION = re.compile(r"\b(e\.g|i\.e|vs|etc|cf|approx|No|Dr|St)\.$")


def paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs, list items and cells of a page's prose, each on one line."""
    fenced = False
    lines: list[str] = []
    for raw in [*text.splitlines(), ""]:
        fence = _FENCE.match(raw) is not None
        fenced ^= fence
        if fenced and not fence:
            continue
        line = "" if fence else _without_tags(raw).strip()  # an indent is a list's or a note's
        table, item = line.startswith("|"), _ITEM.match(line)
        if not line or table or item or _NO_PROSE.match(line):
            if lines:
                yield " ".join(lines)
            lines = []
        if table:
            yield from filter(_is_prose, re.split(r"(?<!\\)\|", line))
        elif item:
            lines = [line[item.end() :]]
        elif line and not _NO_PROSE.match(line):
            lines.append(line)


def _without_tags(line: str) -> str:
    return "".join(
        part if part.startswith("`") else _TAG.sub("", part)
        for part in re.split(r"(`[^`]*`)", line)
    )


def _is_prose(cell: str) -> bool:
    """Return whether a cell of a table ends with a full stop, or has four words of letters."""
    found = sum(1 for word in _CODE.sub("", cell).split() if _WORD.fullmatch(word))
    return found > 3 or (found > 0 and cell.rstrip(" )\"'*_").endswith("."))


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a page."""
    for paragraph in paragraphs(text):
        yield from _sentences_of(_LINK.sub(r"\1", paragraph))


def _sentences_of(paragraph: str) -> Iterator[str]:
    spans = _CODE.findall(paragraph)  # in which a full stop ends nothing
    numbers = iter(range(len(spans)))
    held = ""
    for part in _END.split(_CODE.sub(lambda _: f"`{next(numbers)}`", paragraph)):
        held = f"{held} {part}".strip()
        if not _ABBREVIATION.search(held):
            yield re.sub(r"`(\d+)`", lambda m: spans[int(m[1])], held)
            held = ""
    if held:
        yield held


def words(sentence: str) -> int:
    """Count the words of a sentence; a code span is one."""
    return len(re.findall(r"\S*[\w`]\S*", _CODE.sub("`x`", sentence)))


def pages() -> list[Path]:
    """Return README and the pages of docs."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--list", action="store_true", help="print the long sentences")
    parser.add_argument("--most", type=float, default=100.0, help="fail above this percentage")
    parser.add_argument("pages", nargs="*", type=Path, help="default: README and all of docs")
    args = parser.parse_args()
    all_long = total = 0
    for page in args.pages or pages():
        found = list(sentences(page.read_text()))
        long = [sentence for sentence in found if words(sentence) > MOST_WORDS]
        share = 100 * len(long) / max(len(found), 1)
        name = page.resolve().relative_to(ROOT)
        print(f"{share:5.1f}%  {len(long):4} of {len(found):4}  {name}")
        for sentence in sorted(long, key=words, reverse=True) if args.list else ():
            print(f"        {words(sentence):3} {sentence}")
        all_long, total = all_long + len(long), total + len(found)
    share = 100 * all_long / max(total, 1)
    print(f"{share:5.1f}%  {all_long:4} of {total:4}  in all, over {MOST_WORDS} words")
    if share > args.most:
        sys.exit(1)


if __name__ == "__main__":
    main()
