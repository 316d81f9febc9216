"""Whether what a manifest says of its sources, and of the bad records in them, adds up."""

from __future__ import annotations

from pipelines.datasets.manifests import AnyManifest
from pipelines.datasets.shard_files import extra, opened, sha256
from transforms.datasets.manifest import DigestEntry
from transforms.datasets.manifest_files import FileSums
from transforms.errors import DataError
from transforms.kernels.records.digest import Digest
from transforms.storage import layout


def check_sources(manifest: AnyManifest, sums: dict[str, FileSums]) -> list[str]:
    """Check that what the files say adds up to what their sources do."""
    problems = []
    for source in manifest.sources:
        problems += [
            f"manifest: {source.name}: {name}: two different numbers of records"
            for name in sums[source.name].unequal
        ]
        if sums[source.name].digest != digest_of(source.digest):
            problems.append(
                f"manifest: the files of source {source.name} don't add up to its digest"
            )
    return problems


def check_quarantine(manifest: AnyManifest, folder: str, sums: dict[str, FileSums]) -> list[str]:
    """Check that the files of bad records are what was written, and hold what was dropped."""
    problems = []
    for entry in manifest.quarantine:
        try:
            with opened(folder, entry.path) as file:
                if sha256(file) != entry.sha256:
                    problems.append(f"{entry.path}: its bytes differ (SHA-256)")
        except DataError as error:
            problems.append(str(error))
    problems += extra(folder, layout.QUARANTINE, {entry.path for entry in manifest.quarantine})
    kept = sum(entry.records for entry in manifest.quarantine)
    dropped = sum(source.dropped.records for source in manifest.sources if source.dropped)
    asked = manifest.recipe.get("on_bad_record") == "quarantine"
    if (asked or manifest.quarantine) and kept != dropped:
        problems.append(f"manifest: {dropped} records were dropped, {kept} are in quarantine")
    for source in manifest.sources:
        files = sums[source.name].dropped
        if files.records != (source.dropped.records if source.dropped else 0):
            problems.append(
                f"manifest: the bad records of the files of source {source.name} don't add "
                "up to its total"
            )
    return problems


def digest_of(entry: DigestEntry) -> Digest:
    """Return the digest that an entry says."""
    return Digest.from_json(entry.model_dump())
