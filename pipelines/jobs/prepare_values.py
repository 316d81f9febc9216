"""What a recipe of prepare says, as the kernels, the splitting and the formats take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from pipelines.jobs.special_ids import SpecialIds
from pipelines.recipes.prepare_recipe import PrepareRecipe
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.recipes.wording import write_size
from transforms.errors import UsageError
from transforms.kernels.packing.rows import Packing
from transforms.kernels.planning.plan import Workers
from transforms.kernels.schedules.mixture import Mixture
from transforms.kernels.schedules.staged import Stage, Until
from transforms.kernels.splitting.first_contents import footprint
from transforms.kernels.splitting.plan import SplitPlan
from transforms.splitting.parse_splits import parse_splits
from transforms.trainers.contract import Dataset, Format

_COPIES = 3  # of a window's ids: as they are read, joined, and laid into rows
_OF_DOCUMENT = 128  # bytes of memory that packing takes for each in a window, beside its ids


def mix(recipe: PrepareRecipe, sources: Sequence[str], epoch: int) -> tuple[Stage, ...]:
    """Return the stages of train, one where none were asked for.

    Args:
        recipe: what is asked.
        sources: those that are read, sorted.
        epoch: of train.
    """
    common: dict[str, Any] = {
        "sources": tuple(sources),
        "weigh_by": recipe.weigh_by,
        "max_records": recipe.max_records,
        "max_tokens": recipe.max_tokens,
        "seed": recipe.seed,
        "epoch": epoch,
    }

    def numbers(given: Mapping[str, Any] | None) -> tuple[Fraction, ...] | None:
        return None if given is None else tuple(Fraction(given.get(name, 1)) for name in sources)

    if recipe.stages is None:
        mixture = Mixture(
            **common,
            weights=numbers(recipe.weights),
            repeats=numbers(recipe.repeats),
            temperature=recipe.temperature,
            interleave=recipe.interleave,
            stop=recipe.stop,
        )
        return (Stage(mixture),)
    return tuple(_stage(stage, common, numbers(stage.weights)) for stage in recipe.stages)


def _stage(
    stage: StageRecipe, common: dict[str, Any], weights: tuple[Fraction, ...] | None
) -> Stage:
    mixture = Mixture(**common, weights=weights, interleave=stage.interleave, stop=stage.stop)
    if stage.until is None:
        return Stage(mixture)
    ((unit, count),) = stage.until.given.items()
    return Stage(mixture, Until(unit, count))  # type: ignore[arg-type]


def split(recipe: PrepareRecipe) -> SplitPlan | None:
    """Return which records are whose; None where all are train's."""
    if recipe.split is None:
        return None
    rest = recipe.split_name
    parts = parse_splits(recipe.split, rest=rest)
    return SplitPlan(parts=parts, rest=rest, seed=recipe.split_seed)


def require_room_to_count(
    plan: SplitPlan, workers: Workers, *, flags: bool = False, labels: int = 1
) -> None:
    """Raise UsageError where counting contents takes more memory than a worker has beside its work.

    Args:
        plan: that counts.
        workers: what they have.
        flags: shares and counts have flags of their own.
        labels: that are told apart, at most.
    """
    needed, room = footprint(plan, labels=labels), workers.payload // 2
    if needed > room:
        counted = [part for part in plan.parts if part.count is not None]
        counts = ",".join(f"{part.name}={part.asked}" for part in counted)
        share = f"{'--fractions=' if flags else ''}{counted[0].name}=1%"
        raise UsageError(
            f"--{'counts' if flags else 'split'}={counts}: choosing this many records takes "
            f"{write_size(needed)} in each worker, which has {write_size(room)}; pass a "
            f"share such as {share}, which takes none, or more --memory or fewer --workers"
        )


def require_room_to_pack(
    packing: Packing, *, tokens: float, documents: float, id_bytes: int, workers: Workers
) -> None:
    """Raise UsageError where a window of best_fit takes more memory than a worker has for its work.

    Args:
        packing: how.
        tokens, documents: of train, about; a window holds no more.
        id_bytes: of an id in memory.
        workers: what they have.
    """
    from transforms.packing.parts import OF_DOCUMENT  # late: it takes numba along

    places = tokens + documents * (packing.special + OF_DOCUMENT)
    share = min(packing.window / max(places, 1), 1.0)
    needed = share * (tokens * _COPIES * id_bytes + documents * _OF_DOCUMENT)
    if packing.kind == "best_fit" and needed > workers.payload:
        raise UsageError(
            f"--pack_window={packing.window}: packing this many tokens at once takes about "
            f"{write_size(int(needed))} in each worker, which has "
            f"{write_size(workers.payload)}; pass a smaller window (some thousand times "
            "--sequence_length), more --memory or fewer --workers"
        )


def pack(recipe: PrepareRecipe, special: SpecialIds) -> Packing:
    """Return how documents become rows."""
    return Packing(
        kind=recipe.packing_kind,
        length=recipe.sequence_length,
        begin=None if special.begin is None else special.begin.ids[0],
        end=None if special.end is None else special.end.ids[0],
        end_at_cuts=recipe.eos_at_cuts,
        long=recipe.long or "split",
        window=recipe.window,
    )


def options_of(recipe: PrepareRecipe) -> dict[str, Any]:
    """Return the formats' own flags, those that have a say."""
    from transforms.trainers.of_manifest import OPTIONS  # late: they take numba along

    found = {name: getattr(recipe, name) for name in OPTIONS}
    return {name: value for name, value in found.items() if value is not None}


def format_all(recipe: PrepareRecipe, dataset: Dataset) -> tuple[Format, ...]:
    """Return the formats that are asked for.

    Raises:
        UsageError: one of them can't be written of such a dataset, or two can't share its rows.
    """
    from transforms.trainers.compatible import require_together
    from transforms.trainers.formats import format_named

    found = tuple(format_named(name) for name in recipe.output_format)
    require_together(found, dataset)
    return found
