"""The manifest of a dataset, whichever command made it."""

from __future__ import annotations

import json

from pydantic import ValidationError

from transforms.datasets.manifest import Manifest, require_versions
from transforms.datasets.prepared import PreparedManifest
from transforms.errors import DataError, StoreError, UsageError
from transforms.formats.detection import FileFormat
from transforms.storage import files as storage
from transforms.storage import layout

AnyManifest = Manifest | PreparedManifest


def read_manifest(folder: str) -> AnyManifest:
    """Read a dataset's manifest.

    Raises:
        UsageError: there is none, or the store doesn't give it.
        DataError: it can't be read, or is of another format version.
    """
    url = storage.join(folder, layout.MANIFEST)
    if (why := layout.why_not_read(folder, layout.MANIFEST)) is not None:
        raise DataError(f"{url}: {why}")
    try:
        with storage.open_read(url) as file:
            text = file.read() or b""
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise UsageError(
            f"{folder}: expected a folder with a {layout.MANIFEST}; without one there is no complete "
            "dataset"
        ) from None
    except StoreError as error:  # before any work, so it is the user's to mend
        raise UsageError(str(error)) from error
    except OSError as error:
        raise DataError(f"{url}: can't be read: {error}") from None
    try:
        content = json.loads(text)
        if not isinstance(content, dict) or content.get("format") != layout.FORMAT:
            raise DataError(
                f'{url}: not a manifest of Dovetail (it has no "format": "{layout.FORMAT}"); '
                "another program wrote it, so Dovetail can't read this dataset"
            )
        require_versions(content, url)  # first: another version may have other fields
        if "prepared" in content:
            return PreparedManifest.model_validate(content)
        manifest = Manifest.model_validate(content)
        FileFormat.told(manifest.kind, manifest.compression)
    except (ValueError, RecursionError) as error:
        if not isinstance(error, ValidationError):
            raise DataError(f"{url}: the manifest can't be read: {error}") from None
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise DataError(f"{url}: the manifest can't be read: {where}: {first['msg']}") from None
    return manifest
