"""The end of a run on a cluster, by the pipeline itself: whoever submitted it may be gone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from transforms.errors import StoreError
from transforms.storage import files as storage
from transforms.storage import layout

_LOG = logging.getLogger(__name__)


@dataclass(eq=False, kw_only=True)
class Finish(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Clear up after WriteManifest, whose output it takes: temporary folders, then the marker.

    Uploads that killed workers began and never completed end too. Done twice it does nothing the second
    time. Where a folder can't be removed the marker stays, by which the next run finds it.

    Attributes:
        output: URL of the dataset's folder.
        run_id: whose marker stands there.
        folders: URLs of the run's temporary folders.
        made: local folders above them that the run made, innermost first; they go where they are empty.
        storage_options: of fsspec, for the stores; None leaves them as they are.
    """

    output: str
    run_id: str
    folders: Sequence[str]
    made: Sequence[str] = ()
    storage_options: dict[str, Any] | None = None

    def expand(self, written: Any) -> Any:
        """One step."""
        return written | "ClearUp" >> beam.Map(_clear_up, config=self)


def _clear_up(_: None, config: Finish) -> None:
    storage.configure(config.storage_options)
    if layout.owner(config.output) != config.run_id:
        return  # cleared already
    try:
        for folder in config.folders:
            storage.remove_temporary(folder)
        storage.remove_made(config.made)
        if layout.owner(config.output) != config.run_id:
            return  # somebody took it for dead while folders were removed
        layout.drop_uploads(config.output)  # of workers that were killed
        storage.remove_file(storage.join(config.output, layout.MARKER))
    except (StoreError, OSError) as error:
        _LOG.warning(
            "some temporary files could not be removed; the next run that writes this output "
            "removes them: %s",
            error,
        )
