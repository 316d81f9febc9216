"""A text made to be hard: what two implementations of one tokenizer may take in two ways.

It is the same on every machine: code points are named by number, not asked of a table of Unicode, whose
edition differs between packages as between versions of Python.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

_RANGES = (  # first-last/step: every block that is in use, each class of characters several times
    "0-17F/1 180-2AF/9 2B0-36F/11 370-3FF/7 400-52F/17 531-5F4/13 600-6FF/9 700-8FF/29 900-97F/7 "
    "980-DFF/37 E00-E5B/9 E80-FDA/31 1000-10FF/23 1100-11FF/31 1200-139F/53 13A0-167F/61 "
    "1680-180F/11 1810-1CFF/59 1D00-1DFF/19 1E00-1FFF/17 2000-206F/1 2070-20FF/7 2100-218F/5 "
    "2190-23FF/53 2400-24FF/13 2500-27BF/47 27C0-2BFF/97 2C00-2DFF/29 2E00-2FFF/31 3000-3030/1 "
    "3031-30FF/7 3100-33FF/43 3400-4DBF/997 4DC0-4DFF/31 4E00-9FFF/499 A000-ABFF/131 "
    "AC00-D7A3/997 D7B0-D7FB/37 E000-F8FF/3000 F900-FAFF/61 FB00-FDFF/37 FE00-FE6F/5 FE70-FEFF/29 "
    "FEFF-FFEF/7 FFF0-FFFF/1 10000-107FF/211 10800-10FFF/173 11000-11FFF/251 12000-1347F/701 "
    "14400-16FFF/907 17000-18CFF/2003 1AFF0-1B2FF/97 1BC00-1CFFF/331 1D000-1D3FF/127 "
    "1D400-1D7FF/67 1D800-1DFFF/401 1E000-1EEFF/151 1F000-1F0FF/83 1F100-1F2FF/41 1F300-1F6FF/67 "
    "1F700-1FAFF/71 1FB00-1FBFF/37 20000-2A6DF/9001 2A700-2EBE0/4001 2EBF0-2EE5D/300 "
    "2F800-2FA1D/173 30000-33479/2500 E0000-E007F/25 E0100-E01EF/60 F0000-FFFFD/30000 "
    "100000-10FFFD/30000 10FFFE-10FFFF/1"
)
_SPACES = [
    "",
    " ",
    "  ",
    "   ",
    "\t",
    "\n",
    "\r\n",
    "\n\n",
    " \n",
    "\n ",
    "\r",
    "\x0b",
    "\x0c",
    "\x85",
]
_WIDE_SPACES = "\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\u200b"
_WORDS = (  # ~~ is a space
    "the The THE tHe iPhone HTTPServer don't DON'T don\u2019t we've I'LL it's's 's 'S 're ~~'ve "
    "'\u017f O'Neill rock'n'roll '' 'tis x'd'm'll 0 7 42 007 1999 12345 1234567890 0000000 "
    "1,000.50 3.14159e-10 0x1F \u0661\u0662\u0663\u0664 \xbd\xb2\u2163\u2460 "
    "\uff11\uff12\uff13\uff14 v2.0 1st foo_bar a.b.c path/to/file // a/b !? ... \u2026 -- "
    "#!/bin/sh <>& $1 x=y+1; (a) [b] {c} \\n a\\b @me e@mail.com http://a.b/c?d=e&f=1#g ~`^| "
    "\u4eca\u5929\u5929\u6c14\u4e0d\u9519 \u65e5\u672c\u8a9e\u306e\u6587 \u30ab\u30bf\u30ab\u30ca "
    "\ud55c\uad6d\uc5b4 \u1112\u1161\u11ab \u4e2d~~English~~\u6587 \uff21\uff22\uff43 \u3002 "
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e9\u05c1\u05dc\u05d5\u05dd \u202eabc\u202c "
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0c15\u0c4d\u0c37 "
    "\xe9 e\u0301 \u1e9b\u0323 a\u0328\u0301\u0323 \u0301 ~~\u0301 \u0344 \u212b \u01c5 \u01c4 "
    "\u0130 \u0131 \xdf \u1e9e \ufb01 \ufdfa \u2126 \u03c2 \u304b\u3099 \u30cf\uff9f \uff76\uff9e "
    "\U0002f800 \u0958 \u0f73 \u1100\u1161\u11a8 \U0001f600 \U0001f44d\U0001f3fd "
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f \U0001f1e8\U0001f1f3\U0001f1fa "
    "1\ufe0f\u20e3 \U0001f3f4\U000e0067\U000e007f \xa9\ufe0e \x00 a\x00b \x00\x00 \x01 \x1f \x7f "
    "\ufeff \ufeffa a\ufeff \ufffd \ufffe \u2581 \u2581a a\u2581b \u2581\u2581 ~~\u2581 \u2581~~ "
    "\u0120 \u0120a \u010a \u0100\u0143 \u2582 \u2583 \xad a\xadb a\u200bb a\u200db \u200e \u061c "
    "<s> </s> <unk> <pad> <|endoftext|> <|im_start|>user [INST] <0x0A> <0xE2>"
)
_LONG = [
    *("a" * 300, "A" * 40, "ab" * 150, "\u5929" * 100, " " * 90, "\n" * 70, " \n" * 40, "\t" * 30),
    *(character * 50 for character in "0.=-'_\0\u0301\u2581\U0001f600"),
    *("Donaudampfschifffahrtskapit\xe4n" * 7, "aB" * 60, "a1" * 60, "-+" * 40),
]


@functools.cache
def _common() -> tuple[str, ...]:
    words = [word.replace("~~", " ") for word in _WORDS.split(" ")]
    texts = [_in_contexts(chr(point)) for point in _points()]
    for before, behind in pairwise(_SPACES):
        texts += [f"{before}{word}{behind}" for word in words[:30]]
    for word in words[30:]:
        texts += [f"{word}{word}", f"{word} {word} "]
    for space in _SPACES:
        texts += [f"a{space}{wide}{space}b{wide}" for wide in _WIDE_SPACES]
    texts += [f"{space}a{space}1{space}!{space}" for space in (*_SPACES, *_WIDE_SPACES)]
    texts += [*_SPACES, *_WIDE_SPACES, *words, *_LONG, *(f" {text} {text}x" for text in _LONG)]
    return tuple(dict.fromkeys(texts))


def _points() -> Iterator[int]:
    for part in _RANGES.split():
        first, last, step = re.split("[-/]", part)
        for point in range(int(first, 16), int(last, 16) + 1, int(step)):
            if not 0xD800 <= point < 0xE000:  # no characters
                yield point


def _in_contexts(character: str) -> str:
    c = character
    return f"{c}a {c}1{c}{c} A{c}b'{c} !{c}\n{c}  {c}"


def hard_texts(strings: Sequence[str], pieces: Sequence[str]) -> list[str]:
    """Return texts to be tried.

    Args:
        strings: what a model's file treats on its own: control strings, added and user-defined tokens.
        pieces: texts of some of its pieces: long digits and runs are where patterns differ.
    """
    texts = list(_common())
    for s in strings:
        texts += [s, f"a{s}b", f" {s} ", f"{s}{s}", f"a {s}\n 1{s}2", s[:-1], f"{s[:-1]}x{s}"]
        texts += [f"\n{s}  x", f"{s.upper()} {s}"]
        # which make another character of the last one, where text is composed before it is looked in
        texts += [f"{s}\u0301", f"{s}\u0338"]
    texts += pieces
    texts += [f"x {one}{other} {other}1" for one, other in pairwise(pieces)]
    return texts
