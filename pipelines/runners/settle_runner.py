"""Where the work is done: what differs between runners, and is looked at before work starts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipelines.recipes.flag_errors import flag_of
from pipelines.runners.clusters import CLUSTERS, S
from transforms.errors import UsageError
from transforms.workers.signs_of_life import DEAD

_HERE = "DirectRunner", "PrismRunner"
_FOR: dict[str, tuple[tuple[str, ...], str]] = {
    "parallelism": (CLUSTERS, ", or pass --workers"),
    "shared_filesystem": (("FlinkRunner",), ""),
    "no_wait": (("DataflowRunner",), ""),
    "workers": (_HERE, ", or pass --parallelism"),
    "direct_running_mode": (_HERE, ""),
}
"""Settings that do something on some runners alone: on which, and what to give instead."""


def patience_of(runner: str) -> float:
    """Return for how many seconds a run's workers may be silent without being taken for dead."""
    return 900.0 if runner == "DataflowRunner" else DEAD  # machines are found, and load an image


def settle_runner(
    settings: S, beam_flags: Sequence[str], urls: Iterable[tuple[str, str]]
) -> tuple[S, Sequence[str]]:
    """Ask a cluster what it is, if one is to do the work; return settings and Beam's flags, filled in.

    Args:
        settings: as given.
        beam_flags: the user's own, for Beam.
        urls: flag and value of all that workers read and write.

    Raises:
        UsageError: there is no such cluster, or it can't do the work as it was asked; names the flag.
    """
    for name, (runners, instead) in _FOR.items():
        default = type(settings).model_fields[name].default
        if getattr(settings, name) != default and settings.runner not in runners:
            raise UsageError(
                f"{flag_of(name)} is for --runner={' or '.join(runners)}, but this run uses "
                f"{settings.runner}; leave it out{instead}"
            )
    match settings.runner:
        case "FlinkRunner":
            from pipelines.runners.flink import settle_flink

            return settle_flink(settings, beam_flags, urls)
        case "DataflowRunner":
            from pipelines.runners.dataflow import settle_dataflow

            return settle_dataflow(settings, beam_flags, urls)
    return settings, beam_flags
