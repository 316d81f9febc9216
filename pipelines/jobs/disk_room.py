"""Room on the disks: what a run needs, and what is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipelines.inputs.preflight import Inputs
from pipelines.outputs.claim import Claim
from pipelines.recipes.settings import RunSettings
from pipelines.recipes.wording import write_bytes
from transforms.errors import UsageError
from transforms.kernels.planning.plan import spill_bytes
from transforms.storage import files as storage
from transforms.storage import layout

_SPILLS = "spill files"
_SPILL_COMPRESSED = 0.75  # of its size, cautiously: JSON of English text comes to a third of it


@dataclass(frozen=True)
class Need:
    """Room that a run needs.

    Attributes:
        flag: that says where.
        what: it is for.
        bytes: about how much.
        free: what is there, less what this run needs there for something else; None on a store.
        shared: something else of this run comes first there.
    """

    flag: str
    what: str
    bytes: int
    free: int | None
    shared: bool = False


def measure_room(
    inputs: Inputs,
    settings: RunSettings,
    claim: Claim,
    *,
    spills: bool,
    spill_compression: str = "none",
    written: float = 1.0,
    spilled: float = 1.0,
    output: int | None = None,
    given_back: float = 0.0,
    at_once: int = 0,
) -> list[Need]:
    """Compare what a run will write with what the disks have.

    Args:
        inputs: what is read.
        settings, claim: where is written.
        spills: whether spill files are.
        spill_compression: of them.
        written, spilled: how many times the inputs' bytes come out, and lie in spill files, about.
        output: bytes of the shards, about, where records come out as something else.
        given_back: share of the spill files that goes while shards are written, on disks that can.
        at_once: bytes of shards that lie there before what they were made of goes.
    """
    contents = inputs.contents
    if output is None:
        # what is compressed comes out about as it was; what isn't, no larger than it is
        output = contents.bytes if contents.form.compression == "none" else inputs.size
        output = int(output * written)
    needs = [(f"--output={settings.output}", "shards", claim.folder, output)]
    if spills:
        spill = spill_bytes(
            input_bytes=int(contents.bytes * spilled), records=int(contents.records * spilled)
        )
        if spill_compression != "none":
            spill = int(spill * _SPILL_COMPRESSED)
        flags = [f"--temp_location={location}" for location in settings.temp_location or ()]
        for flag, folder in zip(flags or [needs[0][0]], claim.spills, strict=True):
            needs.append((flag, _SPILLS, folder, spill // len(claim.spills)))
    free: dict[int, int] = {}
    if storage.is_local(claim.folder):  # a dataset that is replaced goes first
        there = claim.held.paths(layout.is_our_folder) if os.path.isdir(claim.folder) else ()
        ours = (os.path.join(claim.folder, path) for path in there if layout.is_our_file(path))
        replaced = sum(os.lstat(path).st_size for path in ours)
        usage = shutil.disk_usage(_existing(claim.folder))
        free[os.stat(_existing(claim.folder)).st_dev] = usage.free + replaced
    if given_back:
        shrinking = int(given_back * _shrinking(claim, [need[2:] for need in needs[1:]]))
        room = max(min(shrinking, output) - at_once, 0)
        flag, what, folder, need = needs[0]
        needs[0] = (
            flag,
            f"{what} beside spill files, which shrink" if room else what,
            folder,
            need - room,
        )
    out, taken = [], set[int]()
    for flag, what, folder, need in needs:
        if not storage.is_local(folder):  # nobody says how much a store takes
            out.append(Need(flag, what, need, None))
            continue
        place = _existing(folder)
        device = os.stat(place).st_dev
        have = free.setdefault(device, shutil.disk_usage(place).free)
        out.append(Need(flag, what, need, have, device in taken))
        taken.add(device)
        free[device] = have - need
    return out


def _shrinking(claim: Claim, spills: Iterable[tuple[str, int]]) -> int:
    """Return how many of the spill files' bytes lie on the output's disk, and can be given back."""
    if not storage.is_local(claim.folder):
        return 0
    device = os.stat(_existing(claim.folder)).st_dev
    places = [(_existing(folder), size) for folder, size in spills if storage.is_local(folder)]
    return sum(
        size
        for place, size in places
        if os.stat(place).st_dev == device and storage.punches_holes(place)
    )


def _existing(folder: str) -> str:
    """Return a folder, or the nearest one above it that is there."""
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    return folder


def require_room(needs: Sequence[Need]) -> None:
    """Raise UsageError where the disks have too little room."""
    for need in needs:
        if need.free is not None and need.bytes > need.free:
            smaller = ", or pass --spill_compression" if need.what == _SPILLS else ""
            raise UsageError(
                f"{need.flag}: expected about {write_bytes(need.bytes)} of free space for "
                f"{need.what}, got {write_bytes(max(need.free, 0))}, after what else the run "
                f"writes to that disk; free some space, or choose another disk{smaller}"
            )
