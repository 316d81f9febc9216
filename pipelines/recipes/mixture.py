"""What a mixture asks for, checked: its fields with each other and with the sources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from pipelines.recipes.flag_errors import Misfit, Path
from pipelines.recipes.values import DEFAULT_SOURCE
from transforms.errors import nearest
from transforms.kernels.schedules.weights import LEAST_TEMPERATURE

WAYS = ("weights", "temperature", "repeats")
"""The ways to say how much of each source; a recipe has one of them at most."""

FIELDS = (*WAYS, "interleave", "weigh_by", "stop", "max_records", "max_bytes", "max_tokens")
_TEMPERATURES = LEAST_TEMPERATURE, Decimal(10**6)  # n^(1/T) has to stay a number one can hold
_REPEATS = 10**6
_HINT = (
    "; an --input without a name belongs to the source default: write --input=NAME=PATTERN, "
    "where a name has letters, digits, _ and -, a letter first"
)
Fields = Mapping[str, Any]
"""Fields of a recipe, read already: ``FIELDS`` and ``sources``."""


def check_mixture(fields: Fields) -> None:
    """Check what can be known before the inputs are looked at.

    Raises:
        Misfit: one field is impossible, or two of them together.
    """
    given = [name for name in WAYS if fields[name] is not None]
    if len(given) > 1:
        raise Misfit("pass only one of them", *(_place(fields, name) for name in given))
    if fields["weights"] is not None:
        _check_names(fields, "weights", all_of_them=True)
        _check_numbers(fields, "weights", fields["weights"].values())
    if fields["repeats"] is not None:
        _check_names(fields, "repeats", all_of_them=False)
        one = [Decimal(1)] * len(fields["sources"].keys() - fields["repeats"])
        _check_numbers(fields, "repeats", [*fields["repeats"].values(), *one], most=_REPEATS)
    temperature, (low, high) = fields["temperature"], _TEMPERATURES
    if temperature is not None and not low <= temperature <= high:
        raise Misfit(
            f"expected a number above 0, from {low} to {high}, got {temperature}",
            _place(fields, "temperature"),
        )
    _check_rules(fields)


def measured_by(fields: Fields, unit: str) -> list[str]:
    """Return the fields by which ``bytes`` or ``tokens`` are counted."""
    weighed = ["weigh_by"] if fields["weigh_by"] == unit else []
    return weighed + ([f"max_{unit}"] if fields[f"max_{unit}"] is not None else [])


def check_measure(fields: Fields, *, bytes_are: str = "bytes of records") -> None:
    """Raise Misfit where both bytes and tokens are to be counted."""
    by_bytes, by_tokens = measured_by(fields, "bytes"), measured_by(fields, "tokens")
    if by_bytes and by_tokens:
        raise Misfit(
            f"one run counts {bytes_are} or tokens, not both",
            _place(fields, by_bytes[0]),
            _place(fields, by_tokens[0]),
        )


def _check_rules(fields: Fields) -> None:
    """Check the fields that say how weights are met against there being any."""
    rules = (("interleave", "random"), ("weigh_by", "records"), ("stop", None))
    asked = [name for name, default in rules if fields[name] != default]
    if asked and fields["repeats"] is not None:
        raise Misfit(
            {
                "interleave": "repeats are arranged uniformly; leave --interleave out",
                "weigh_by": "repeats are counted in passes, not weighed; leave --weigh_by out",
                "stop": "repeats end by themselves; leave --stop out",
            }[asked[0]],
            _place(fields, asked[0]),
            _place(fields, "repeats"),
        )
    if asked and fields["weights"] is None and fields["temperature"] is None:
        raise Misfit(
            "expected --weights or --temperature with it, got neither: sources without weights are "
            "shuffled as one, each record once",
            _place(fields, asked[0]),
        )
    left_out = [name for name, weight in (fields["weights"] or {}).items() if weight == 0]
    # one stage of several goes by its own sources, and can't do without naming the others
    if fields["stop"] == "all_exhausted" and left_out and not fields.get("stages"):
        raise Misfit(
            f"{left_out[0]} has a weight of zero and would never be exhausted; remove the "
            "source, or use first_exhausted",
            _place(fields, "stop"),
            _place(fields, "weights", left_out[0]),
        )


def _check_names(fields: Fields, field: str, *, all_of_them: bool) -> None:
    sources = fields["sources"]
    for name in fields[field]:
        if name not in sources:
            raise Misfit(
                f"expected names of the sources {', '.join(sources)}, got {name}"
                f"{nearest(name, sources)}{_HINT if DEFAULT_SOURCE in sources else ''}",
                _place(fields, field, name),
            )
    missing = [name for name in sources if name not in fields[field]]
    if missing and all_of_them:
        raise Misfit(
            f"expected a number for every source, got none for {', '.join(missing)}; 0 leaves a "
            "source out",
            _place(fields, field),
        )


def _check_numbers(
    fields: Fields, field: str, numbers: Iterable[Decimal], *, most: int | None = None
) -> None:
    for name, number in fields[field].items():
        if number < 0 or (most is not None and number > most):
            limits = "0 or more" if most is None else f"0 to {most}"
            raise Misfit(f"expected {limits} for {name}, got {number}", _place(fields, field, name))
    if not any(numbers):
        raise Misfit("expected at least one above 0, got none", _place(fields, field))


def _place(fields: Fields, field: str, *inner: str) -> tuple[Path, str]:
    """Return a field's path and its value as a flag has it."""
    value = fields[field]
    if isinstance(value, Mapping):
        value = ",".join(f"{name}={number}" for name, number in value.items())
    return (field, *inner), str(value)
