"""Flags that are Beam's: which there are, and which of them do something on a runner."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Container, Iterable, Sequence
from typing import Any

from pipelines.recipes.cli import LOG
from pipelines.recipes.flag_errors import FORMER
from pipelines.recipes.flag_parser import Parser
from transforms.errors import UsageError

_NEAR = 0.75  # how alike names have to be for one to be proposed in place of the other, up to 1

_PORTABLE = frozenset(
    {
        *("TypeOptions", "DebugOptions", "SetupOptions", "StandardOptions", "StreamingOptions"),
        *("PortableOptions", "JobServerOptions"),
    }
)
_GROUPS = {
    "DirectRunner": frozenset({"TypeOptions"}),
    "FlinkRunner": _PORTABLE,
    "PrismRunner": _PORTABLE,
}
"""Beam's groups of options that do something on a runner, beside its own; on other runners all are
taken to."""

_OF_WORKERS = frozenset(
    {
        *("default_sdk_harness_log_level", "sdk_harness_log_level_overrides"),
        *("max_cache_memory_usage_mb", "element_processing_timeout_minutes"),
    }
)
_ALONE = {
    "DirectRunner": frozenset(
        {
            *("profile_cpu", "profile_memory", "profile_location", "profile_sample_rate"),
            *("direct_runner_bundle_repeat", "direct_test_splits"),
            *("experiments", "pickle_library", "update_compatibility_version"),
        }
    ),
    "FlinkRunner": _OF_WORKERS,
    "PrismRunner": _OF_WORKERS,
}
"""Options that do, though not all of their group."""


def says(beam_flags: Sequence[str], name: str) -> bool:
    """Return whether a flag is among those for Beam."""
    return any(flag == f"--{name}" or flag.startswith(f"--{name}=") for flag in beam_flags)


def beam_options(beam_flags: Sequence[str]) -> dict[str, Any]:
    """Return the values of all of Beam's options, by name."""
    from apache_beam.options.pipeline_options import PipelineOptions

    return dict(PipelineOptions(list(beam_flags)).get_all_options())


@functools.cache
def _parser() -> tuple[Parser, dict[str, tuple[str, str]]]:
    """Return a parser of all of Beam's flags, and the group and the name of each flag's option."""
    from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser

    class BeamParser(Parser, _BeamArgumentParser):  # type: ignore[misc]  # Beam's classes are untyped
        pass

    beam = BeamParser(allow_abbrev=False, add_help=False, conflict_handler="resolve")
    found = {}
    for options in PipelineOptions.__subclasses__():
        before = set(beam._option_string_actions)
        options._add_argparse_args(beam)
        for flag in beam._option_string_actions.keys() - before:
            found[flag] = (options.__name__, beam._option_string_actions[flag].dest)
    return beam, found


def check_beam_flags(flags: list[str], ours: Iterable[str]) -> list[str]:
    """Check flags that aren't ours; return them as Beam spells them, with underscores.

    Args:
        flags: as given.
        ours: names of our flags, which are proposed too.

    Raises:
        UsageError: Beam doesn't know one, naming a near one; a value that doesn't fit.
    """
    for flag in flags:  # Beam has one for its own tests, by which all would be done
        if flag.split("=", 1)[0].replace("-", "_") == "__dry_run":
            raise UsageError(f"{flag}: unknown flag; did you mean --plan, which writes nothing?")
    if not flags:  # as most often: Beam needn't be imported
        return []
    beam, groups = _parser()
    flags = [_spelled(flag, groups) for flag in flags]
    try:
        _, unknown = beam.parse_known_args(flags)
    except UsageError as error:
        raise UsageError(f"{' '.join(flags)}: Beam doesn't accept this: {error}") from None
    if not unknown:
        return flags
    first = unknown[0]
    if not first.startswith("-"):
        raise UsageError(
            f"{first}: this argument belongs to no flag; --input=PATTERN takes one pattern, "
            f"--input several, as in --input a.jsonl {first}; quote patterns so that the "
            "shell leaves them alone"
        )
    # without the dashes, which would make all flags alike
    name = first.split("=", 1)[0].lstrip("-").replace("-", "_")
    names = {flag.lstrip("-"): flag for flag in (*groups, *ours)}
    names |= {old: f"--{new}" for old, new in FORMER.items() if old in names}
    near = difflib.get_close_matches(name, names, n=1, cutoff=_NEAR)
    hint = f"did you mean {names[near[0]]}?" if near else "see --help-all"
    raise UsageError(f"{first}: unknown flag; {hint}")


def _spelled(word: str, known: Container[str]) -> str:
    """Return a word with underscores in its flag, if that makes it one that is known.

    >>> _spelled("--job-name=a-b", {"--job_name"})
    '--job_name=a-b'
    """
    name, is_, value = word.partition("=")
    plain = f"--{name[2:].replace('-', '_')}"
    ours = name.startswith("--") and name not in known and plain in known
    return f"{plain}{is_}{value}" if ours else word


def without_effect(flags: Sequence[str], runner: str) -> list[str]:
    """Return those of Beam's flags that are given, and do nothing on a runner."""
    if runner not in _GROUPS or not flags:
        return []
    _, groups = _parser()
    mine = _GROUPS[runner] | {f"{runner}Options"}
    given = dict.fromkeys(flag.split("=", 1)[0] for flag in flags)
    return [
        flag
        for flag in given
        if flag in groups and groups[flag][0] not in mine and groups[flag][1] not in _ALONE[runner]
    ]


def warn_of_flags(flags: Sequence[str], runner: str) -> None:
    """Warn of flags for Beam that do nothing on the runner that does the work."""
    idle = without_effect(flags, runner)
    if idle:
        hint = "; --workers sets how many work on this machine" if "--num_workers" in idle else ""
        LOG.warning("%s: no effect with --runner=%s%s", ", ".join(idle), runner, hint)
