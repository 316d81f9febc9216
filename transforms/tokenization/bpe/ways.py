"""How a ``tokenizer.json`` brings text to pre-tokens, where that is known to the compiled scanners."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from transforms.kernels.arrays import I64, U8
from transforms.kernels.segmentation.bpe.cut import CL100K, GPT2, MARKS, NUMBERS, O200K, Rule, cut
from transforms.kernels.segmentation.bpe.rewrite import MARK, rewrite
from transforms.tokenization.models.texts import Normalized, Texts, whole_records

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_CL100K = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _SPACES
_O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTIONS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTIONS}?"
    r"|%s| ?[^\s\p{L}\p{N}]+[\r\n/]*|"
) + _SPACES
_OF_TIKTOKEN = (  # with possessive quantifiers, and all white space at the end as one
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
RULES = {
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": Rule(GPT2),
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": Rule(GPT2),
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s": Rule(GPT2),
    _CL100K % r"\p{N}{1,3}": Rule(CL100K, 3),
    _CL100K % r"\p{N}": Rule(CL100K, 1),
    _CL100K % r"\p{N}+": Rule(CL100K),
    _OF_TIKTOKEN: Rule(CL100K, 3, tail=True),
    _O200K % r"\p{N}{1,3}": Rule(O200K, 3),
    _O200K % r"\p{N}": Rule(O200K, 1),
}
"""The rule that cuts as a regular expression of tiktoken's does, every match of which is a pre-token."""

_RULES_OF_PACKAGE = RULES | {_OF_TIKTOKEN: Rule(CL100K, tail=True)}
"""The same by the tokenizers package: Oniguruma takes ``{1,3}+`` for any number of such groups."""


@dataclass(frozen=True)
class Way:
    """From text without added tokens to pre-tokens."""

    composed: bool = False
    """Whether text is brought to NFC first."""

    prefix: bytes = b""
    unless: bool = False
    marked: bool = False
    """As of ``rewrite``."""

    rules: tuple[Rule, ...] = field(default=())

    def normalize(self, texts: Texts) -> Normalized:
        """Bring records to pre-tokens; their NFC is somebody else's."""
        data, offsets = texts.data, texts.offsets
        if self.prefix or self.marked:
            data, offsets = rewrite(
                data, offsets, prefix=self.prefix, marked=self.marked, unless=self.unless
            )
        return apply(self.rules, *whole_records(Texts(data, offsets)))


def apply(rules: tuple[Rule, ...], data: U8, segments: I64, records: I64) -> Normalized:
    """Cut by each rule what the one before it left."""
    for rule in rules:
        segments, records = cut(rule, data, segments, records)
    return Normalized(data, segments, records)


class _Unknown(Exception):
    """A step that the scanners don't know."""


def known_way(document: dict[str, Any]) -> Way | None:
    """Return the way of a file as the package understood it, None where the scanners don't know it."""
    steps = _Steps()
    try:
        for step in _flat(document["normalizer"], "normalizers"):
            steps.normalize(step)
        for step in _flat(document["pre_tokenizer"], "pretokenizers"):
            steps.cut(step)
    except _Unknown:
        return None
    return Way(steps.composed, steps.prefix, steps.unless, steps.marked, tuple(steps.rules))


def _flat(step: dict[str, Any] | None, parts: str) -> list[dict[str, Any]]:
    if step is None:
        return []
    if step["type"] == "Sequence":
        return [each for part in step[parts] for each in _flat(part, parts)]
    return [step]


class _Steps:
    """What the steps so far come to."""

    def __init__(self) -> None:
        self.composed = self.unless = self.marked = self.last = False
        self.prefix = b""
        self.rules: list[Rule] = []

    def normalize(self, step: dict[str, Any]) -> None:
        """Add a step of the normalizer."""
        mark = MARK.decode()
        if step["type"] == "NFC" and not self.prefix and not self.marked:
            self.composed = True
        elif step["type"] == "Prepend" and step["prepend"] == mark and not self.prefix:
            self.prefix = MARK
        elif step["type"] == "Replace" and (step["pattern"], step["content"]) == (
            {"String": " "},
            mark,
        ):
            self.marked = True
        else:
            raise _Unknown

    def cut(self, step: dict[str, Any]) -> None:
        """Add a step of the pre-tokenizer."""
        first = not self.rules and not self.last
        if self.last:
            raise _Unknown
        match step["type"]:
            case "ByteLevel":
                if step["add_prefix_space"]:
                    self._put_first(b" ", first and not self.marked)
                if step["use_regex"]:
                    self.rules.append(Rule(GPT2))
                self.last = True
            case "Metaspace" if step["replacement"] == MARK.decode():
                if step["prepend_scheme"] != "never":
                    self._put_first(MARK, first)
                self.marked = True
                if step["split"]:
                    self.rules.append(Rule(MARKS))
            case "Digits":
                self.rules.append(Rule(NUMBERS, 1) if step["individual_digits"] else Rule(NUMBERS))
            case "Split":
                self._split(step)
            case _:
                raise _Unknown

    def _put_first(self, prefix: bytes, first: bool) -> None:
        if not first or self.prefix:
            raise _Unknown
        self.prefix, self.unless = prefix, True

    def _split(self, step: dict[str, Any]) -> None:
        way = step["behavior"], step["invert"]
        if self.marked and step["pattern"] == {"String": " "}:
            return  # there are none left
        rule = _RULES_OF_PACKAGE.get(step["pattern"].get("Regex", ""))
        if rule is None or way not in (("Isolated", False), ("Removed", True)):
            raise _Unknown
        self.rules.append(rule)
