"""Which features records have: what of their texts is counted, and which of their columns are taken.

A record's features are a sparse vector. Its ranges, in this order, each there if it is asked for:
n-grams of characters, n-grams of words, categories, numbers, and an embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from transforms.errors import UsageError

Kinds = tuple[tuple[int, int, int], tuple[int, int, int]]
"""n-grams of characters, then of words: the shortest, the longest, and buckets; 0, 0, 0 for none."""

_LONGEST = 16  # characters or words of an n-gram
_MOST_BUCKETS = 1 << 24


@dataclass(frozen=True, kw_only=True)
class Ngrams:
    """Which n-grams are counted, and into how many buckets they are hashed.

    Attributes:
        shortest: characters, or words, of the shortest.
        longest: of the longest.
        buckets: a power of two.
    """

    shortest: int
    longest: int
    buckets: int = 1 << 18

    def __post_init__(self) -> None:
        if not 1 <= self.shortest <= self.longest <= _LONGEST:
            raise UsageError(
                f"expected n-grams of 1 to {_LONGEST}, the shortest first, got {self.shortest} to "
                f"{self.longest}"
            )
        if self.buckets.bit_count() != 1 or not 1 <= self.buckets <= _MOST_BUCKETS:
            raise UsageError(
                f"expected a power of two up to {_MOST_BUCKETS} as a number of buckets, got "
                f"{self.buckets}"
            )


@dataclass(frozen=True, kw_only=True)
class Number:
    """A column of numbers: its feature is (value - mean) / scale, beside one that is 1 where none is."""

    name: str
    mean: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """A column of vectors, all of one width: as so many columns of numbers."""

    name: str
    means: tuple[float, ...]
    scales: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """Which features records have.

    Attributes:
        characters: n-grams of a text's characters; None for none.
        words: n-grams of its words; None for none.
        normed: whether each kind's counts are divided by the root of their squares' sum.
        categories: columns of text, integers or booleans, hashed as ``name=value``.
        category_buckets: a power of two.
        numbers: columns of numbers.
        embedding: a column of vectors.
    """

    characters: Ngrams | None = Ngrams(shortest=1, longest=4)
    words: Ngrams | None = Ngrams(shortest=1, longest=2)
    normed: bool = True
    categories: tuple[str, ...] = ()
    category_buckets: int = 1 << 12
    numbers: tuple[Number, ...] = ()
    embedding: Embedding | None = None

    @property
    def has_text(self) -> bool:
        """Whether a text has any features."""
        return self.characters is not None or self.words is not None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it asks for, each once."""
        names = [*self.categories, *(number.name for number in self.numbers)]
        if self.embedding is not None:
            names.append(self.embedding.name)
        return tuple(dict.fromkeys(names))

    @property
    def ranges(self) -> dict[str, tuple[int, int]]:
        """Where each kind's features begin and end: ``characters``, ``words``, ``categories``,
        ``numbers`` (two each: the value, and whether none is there), ``embedding`` (its values, then
        whether none is there). Kinds without any are left out.
        """
        sizes = {
            "characters": 0 if self.characters is None else self.characters.buckets,
            "words": 0 if self.words is None else self.words.buckets,
            "categories": self.category_buckets if self.categories else 0,
            "numbers": 2 * len(self.numbers),
            "embedding": 0 if self.embedding is None else len(self.embedding.means) + 1,
        }
        out, begin = {}, 0
        for kind, size in sizes.items():
            if size:
                out[kind] = (begin, begin + size)
            begin += size
        return out

    @property
    def width(self) -> int:
        """The number of features."""
        return max((end for _, end in self.ranges.values()), default=0)

    @property
    def kinds(self) -> Kinds:
        """The n-grams, as compiled loops take them."""
        characters, words = (
            (0, 0, 0) if kind is None else (kind.shortest, kind.longest, kind.buckets)
            for kind in (self.characters, self.words)
        )
        return characters, words

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold, from which ``of_json`` makes the same again."""
        return asdict(self)

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> FeatureSpec:
        """Make a spec of what ``to_json`` gave. Raises TypeError, KeyError or UsageError for others.

        >>> spec = FeatureSpec(words=None, numbers=(Number(name="stars", mean=3.5),))
        >>> FeatureSpec.of_json(spec.to_json()) == spec
        True
        """
        given = dict(found)
        for kind in ("characters", "words"):
            if given.get(kind) is not None:
                given[kind] = Ngrams(**given[kind])
        if given.get("embedding") is not None:
            vectors = given["embedding"]
            given["embedding"] = Embedding(
                name=vectors["name"],
                means=tuple(vectors["means"]),
                scales=tuple(vectors["scales"]),
            )
        given["categories"] = tuple(given.get("categories", ()))
        given["numbers"] = tuple(Number(**number) for number in given.get("numbers", ()))
        return cls(**given)
