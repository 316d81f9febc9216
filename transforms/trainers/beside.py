"""The small files beside a format's data, by what its shards are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from transforms.datasets.prepared import PreparedShard
from transforms.storage import layout
from transforms.trainers.contract import Dataset, Format


@runtime_checkable
class Listing(Protocol):
    """A format that lists its shards in files beside them."""

    def beside(
        self, dataset: Dataset, shards: Sequence[PreparedShard], folder: str
    ) -> Iterator[tuple[str, str]]:
        """Yield (name, text) of each such file.

        Args:
            dataset: what is true of the shards.
            shards: to be listed, in order.
            folder: in which the files lie, below the dataset's.
        """


def files_beside(
    form: Format,
    dataset: Dataset,
    shards: Iterable[PreparedShard],
    *,
    epoch: int | None,
    folder: str,
) -> Iterator[tuple[str, str]]:
    """Yield (path, text) of all that lies beside a format's ``data`` of one epoch.

    Args:
        form: the format.
        dataset: what is true of its files.
        shards: of the whole dataset; those of the splits that all epochs share are listed with each
            epoch's, though they lie elsewhere.
        epoch: whose; None where there is one, and for what all share.
        folder: in which the files lie, below the dataset's, with a slash at its end or "".
    """
    yield folder + layout.ABOUT, json.dumps(form.about(dataset), indent=1, sort_keys=True) + "\n"
    if not isinstance(form, Listing):
        return
    mine = [one for one in shards if one.format == form.name and one.epoch in (epoch, None)]
    mine.sort(key=lambda one: (one.epoch is None, one.split != "train", one.split, one.number))
    for name, text in form.beside(dataset, mine, folder):
        yield folder + name, text
