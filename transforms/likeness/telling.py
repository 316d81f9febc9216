"""What tells the sets apart: the features that speak most for either, by name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from transforms.kernels.arrays import F64, I64
from transforms.kernels.likeness.features import featurize
from transforms.kernels.likeness.naming import name_buckets
from transforms.kernels.likeness.spec import FeatureSpec

MOST = 20
"""Features that are named of either set."""

LOOKED_AT = 2000
"""Records of either set in which names are looked for."""


class Telling(BaseModel):
    """A feature that speaks for one of the sets.

    Attributes:
        name: an n-gram, ``name=value`` of a column, or a column's name.
        kind: ``characters``, ``words``, ``categories``, ``numbers``, ``embedding``.
        effect: the discriminator's weight times the difference of the feature's means.
        in_test, in_input: the shares of records that have it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: str
    effect: float
    in_test: float = Field(ge=0, le=1)
    in_input: float = Field(ge=0, le=1)


def strongest(effects: F64, mine: npt.NDArray[np.bool_]) -> I64:
    """Return some features of the largest effect, the largest first.

    Args:
        effects: float64[width], weight times difference of means.
        mine: bool[width], among which.
    """
    places = np.flatnonzero((effects > 0) & mine)
    return places[np.argsort(-effects[places], kind="stable")][: 3 * MOST]


def named(
    spec: FeatureSpec,
    places: I64,
    *,
    texts: pa.Array | None,
    columns: Mapping[str, pa.Array],
    effects: F64,
    shares: tuple[F64, F64],
) -> list[Telling]:
    """Return features by name, at most ``MOST``.

    Args:
        spec: which features there are.
        places: int64[k], of features, the most telling first.
        texts, columns: a sample of that set, in which names are looked for.
        effects: float64[width].
        shares: float64[width] each: in which share of the test set's records, of the input's, each is.
    """
    names = _names(spec, places, texts, columns)
    out: list[Telling] = []
    for place in places.tolist():
        kind = next(k for k, (begin, end) in spec.ranges.items() if begin <= place < end)
        name = names.get(place, "")
        if not name.strip() or _is_told(name, kind, out):
            continue
        found = Telling(
            name=name,
            kind=kind,
            effect=float(effects[place]),
            in_test=float(shares[0][place]),
            in_input=float(shares[1][place]),
        )
        out.append(found)
        if len(out) == MOST:
            break
    return out


def _is_told(name: str, kind: str, before: list[Telling]) -> bool:
    """Say whether an n-gram is part of one that was named before, or the other way round."""
    if kind not in {"characters", "words"}:
        return False
    mine = name.strip().lower()
    others = [one.name.strip().lower() for one in before if one.kind in {"characters", "words"}]
    return any(mine == other or (len(mine) > 1 and mine in other) for other in others)


def _names(
    spec: FeatureSpec, places: I64, texts: pa.Array | None, columns: Mapping[str, pa.Array]
) -> dict[int, str]:
    names: dict[int, str] = {}
    ranges = spec.ranges
    of_text = [
        place
        for kind in ("characters", "words")
        for place in places.tolist()
        if kind in ranges and ranges[kind][0] <= place < ranges[kind][1]
    ]
    if of_text and texts is not None:
        found = name_buckets(spec, texts, of_text)
        names |= {place: grams[0][0] for place, grams in found.items() if grams}
    begin = ranges.get("numbers", (0, 0))[0]
    for number, column in enumerate(spec.numbers):
        names |= {begin + 2 * number: column.name, begin + 2 * number + 1: f"no {column.name}"}
    if spec.embedding is not None:
        begin, end = ranges["embedding"]
        names |= {
            place: f"{spec.embedding.name}[{place - begin}]" for place in range(begin, end - 1)
        }
        names[end - 1] = f"no {spec.embedding.name}"
    return names | _categories(spec, columns)


def _categories(spec: FeatureSpec, columns: Mapping[str, pa.Array]) -> dict[int, str]:
    """Return the names of categories of some columns: the features of their values, one by one."""
    names: dict[int, str] = {}
    for name in spec.categories:
        values = columns[name].unique().drop_null()
        alone = FeatureSpec(
            characters=None,
            words=None,
            categories=(name,),
            category_buckets=spec.category_buckets,
            normed=spec.normed,
        )
        made = featurize(alone, None, {name: values})
        begin = spec.ranges["categories"][0]
        for row, value in enumerate(values.to_pylist()):
            for place in made.indices[made.indptr[row] : made.indptr[row + 1]].tolist():
                names.setdefault(begin + place, f"{name}={value}")
    return names
