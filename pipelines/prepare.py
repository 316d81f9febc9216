"""Prepare files of text, or rows of ids, for a trainer: split, mix, tokenize, pack, in one run."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.inputs.preflight import (
    refuse_memory,
    spool_stdin,
    uses_stores,
)
from pipelines.inputs.sample_records import ids_column_in
from pipelines.jobs.disk_room import Need
from pipelines.jobs.prepare_job import Job
from pipelines.outputs.claim import Claim
from pipelines.recipes.prepare_recipe import PrepareRecipe
from pipelines.recipes.recipe import Settings
from pipelines.runners.early_start import Call, EarlyStart
from transforms.errors import UsageError
from transforms.storage import files as storage

EXAMPLES = """\
examples:
  dovetail prepare --input='corpus/*.jsonl' --tokenizer=tokenizer.json --sequence_length=4096 \\
      --output=ready
  dovetail prepare --input=web='web/**' --input=books='books/*.parquet' --weights=web=0.7,books=0.3 \\
      --weigh_by=tokens --max_tokens=100B --split=validation=0.5% --tokenizer=llama/tokenizer.json \\
      --packing=best_fit --sequence_length=4096 --output_format=megatron,parquet --output=ready
  dovetail prepare --input=corpus --tokenizer=spm.model --sampling=exact --alpha=0.2 --epochs=4 \\
      --output_format=megatron --output=ready
  dovetail prepare --input=tokens --packing=best_fit --sequence_length=2048 --output=rows
  dovetail prepare --recipe=ready/manifest.json --output=again

Every document ends in the model's EOS unless --document_end says otherwise. Look first with --plan.
Check a dataset at any time with: dovetail verify DIR; look into it with: dovetail show DIR
"""

_COST_OF_IDS = 12  # in memory, of a byte of a row of ids


def _prepare(
    recipe: PrepareRecipe, settings: Settings, claim: Claim, early: EarlyStart
) -> tuple[Job, Sequence[Need]]:
    """Look at everything that can be looked at before work starts, the model too, and plan."""
    early.begin(settings, claim.log_file)
    recipe = recipe.without_zero_weights()
    warm: Call | None = None
    shared = recipe.tokenizer is None or (
        storage.is_local(recipe.tokenizer) and not recipe.codec_module
    )
    loaded: Loaded | None = None
    if recipe.tokenizer is not None:
        warm = Call(f"{__name__}:choose_work", (recipe, settings))
        loaded = early.call(warm, shared=shared)()
    reading = spool_stdin(recipe.reading, settings, claim)
    of_ids = not recipe.of_text and ids_column_in(reading, recipe.token_column)
    if of_ids:
        reading = recipe.reading_ids.model_copy(update={"sources": reading.sources})
        warm = None
    inputs = _inspect(recipe, reading, settings, claim, of_ids=of_ids)
    if of_ids:
        found = _of_ids(recipe, inputs, loaded, reading, settings)
    elif loaded is None:
        raise UsageError(
            "--tokenizer is missing: the input is text; rows of ids would have a column "
            f"{recipe.token_column} (--token_column)"
        )
    else:
        found = _of_texts(inputs, loaded, reading, early, shared=shared)
    stores = uses_stores(reading, settings)
    workers = _choose_workers(settings, inputs, found, of_ids, stores=stores, shared=shared)
    if recipe.tokenizer is not None:
        refuse_memory(reading, settings, workers, tokenizer=recipe.tokenizer)
    else:
        refuse_memory(reading, settings, workers)
    ...
