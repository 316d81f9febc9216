"""Tokenize files of text with a unigram or a BPE model, sampled or not, or with any tokenizer.json."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.inputs.made_by import describe as describe_tokenizers
from pipelines.inputs.preflight import inspect_inputs, refuse_memory, spool_stdin, uses_stores
from pipelines.jobs.build import finish, memory_for, read_records, write_manifest, write_shards
from pipelines.jobs.command import Command
from pipelines.jobs.disk_room import Need, measure_room
from pipelines.jobs.execute import Planned
from pipelines.jobs.load_model import (
    BYTES_PER_TOKEN,
    around_texts,
    law_numbers,
    load_model,
    tokens_entry,
    warn_of_a_changed_model,
    workers_for_model,
)
from pipelines.jobs.plan_report import describe_room, describe_sources, describe_workers
from pipelines.jobs.summary import end_lines, summarize, write_law
from pipelines.outputs.claim import Claim
from pipelines.recipes.cli import LOG, leave
from pipelines.recipes.help import COMMANDS
from pipelines.recipes.settings import RunSettings
from pipelines.recipes.tokenize_recipe import TOKENIZE, TokenizeRecipe
from pipelines.recipes.wording import write_count
from pipelines.runners.early_start import Call, EarlyStart
from transforms.datasets.manifest import Manifest, TokenizerEntry, now
from transforms.errors import InputError, UsageError
from transforms.formats import parquet
from transforms.formats.kept import Kept
from transforms.formats.writing import ShardFormat
from transforms.kernels.planning.plan import count_shards
from transforms.storage import files as storage
from transforms.workers.progress import Stage

if TYPE_CHECKING:
    from transforms.tokenization.models.bos_eos import Role
    from transforms.tokenization.tokenizer import Tokenizer

EXAMPLES = """\
python examples/train_model.py out/novel.model  # a small model to try it with
dovetail tokenize -i examples/data/botchan.txt --text_field='' \\
  --tokenizer=out/novel.model -o out/ids
dovetail tokenize -i examples/data/reviews.jsonl --keep_fields=id,label \\
  --tokenizer=out/novel.model --sampling=exact --alpha=0.2 -o out/sampled
dovetail tokenize --decode -i out/ids --tokenizer=out/novel.model -o out/text
"""
NOTES = """\
The shards, in the order of their names, keep the order of the input. Other flags go to Apache Beam.
To check a dataset at any time, run: dovetail verify DIR
"""


@dataclass(frozen=True)
class Job(Planned):
    """A run that tokenizes, planned: what ``build`` needs to know.

    ``model`` is what the manifest says of it; ``cost`` is in memory, of a byte of a record.
    """

    recipe: TokenizeRecipe
    work: Any
    form: ShardFormat
    extension: str
    model: dict[str, Any]
    cost: int

    @property
    def shards(self) -> int:
        """How many shards there will be at most: by default one per 64 MiB of input."""
        return self.recipe.num_shards or count_shards(4 * self.inputs.contents.bytes)

    @property
    def stage(self) -> Stage:
        """What the work is called."""
        return "decode" if self.recipe.decode else "tokenize"


def _prepare(
    recipe: TokenizeRecipe, settings: RunSettings, claim: Claim, early: EarlyStart
) -> tuple[Job, Sequence[Need]]:
    """Look at everything that can be looked at before work starts, the model too, and plan."""
    early.begin(settings, claim.log_file)
    # a store's client has threads, and codecs of the user's own are the launcher's
    shared = storage.is_local(recipe.tokenizer) and not recipe.codec_module
    warm = Call("pipelines.tokenize:choose_work", (recipe, settings))
    work, model, cost = early.call(warm, shared=shared)()
    reading = spool_stdin(recipe.reading, settings, claim)
    inputs = inspect_inputs(reading, settings, claim, keep=recipe.keep_fields or ())
    contents = inputs.contents
    if recipe.decode:
        _require_tokens(contents.schema, recipe)
        _warn_of_another(inputs.tokenizers, recipe, model["sha256"])
        form = replace(contents.form, kind="lines", schema=None, compression="none")
        form = replace(form, records_are="texts")
        extension = ".jsonl"
    else:
        if contents.schema is not None:
            raise InputError(
                "--text_field='': the input holds rows; expected the name of one of their "
                f"columns: {', '.join(contents.schema.names[:8])}"
            )
        schema = _schema(work.schema, contents.kept, recipe)
        form = replace(contents.form, schema=schema, records_are="rows")
        extension = contents.extension
    stores = uses_stores(recipe.reading, settings)
    workers = workers_for_model(
        settings, inputs, model, getattr(work, "engine", ""), stores=stores, shared=shared
    )
    refuse_memory(recipe.reading, settings, workers, tokenizer=recipe.tokenizer)
    job = Job(
        recipe,
        settings,
        inputs,
        workers,
        claim,
        now(),
        work,
        form,
        extension,
        model,
        cost,
        warm=warm if shared else None,
    )
    return job, measure_room(inputs, settings, claim, spills=False, output=_output_bytes(job))


def _schema(tokens: pa.Schema, kept: Kept | None, recipe: TokenizeRecipe) -> pa.Schema:
    """Return the schema of the shards.

    Raises:
        UsageError: a column to be kept has the name of that of the tokens, or can't be written.
    """
    if kept is None or kept.schema is None:
        return tokens
    if recipe.token_column in kept.schema.names:
        raise UsageError(
            f"--keep_fields=*: the input has a column {recipe.token_column} too; pass another "
            "--token_column"
        )
    schema = pa.schema([*tokens, *kept.schema])  # what a schema's own metadata say isn't true of it
    if recipe.output_format == "parquet":
        parquet.check_writable(schema)
    return schema


def choose_work(recipe: TokenizeRecipe, settings: RunSettings) -> tuple[Any, dict[str, Any], int]:
    """Load the model; return what is done to blocks, then ``model`` and ``cost`` as of Job.

    The model stays loaded, for work in this process and in those that are forked from it.
    """
    from transforms.tokenization.models.bos_eos import ROLES
    from transforms.tokenization.tokenize import BlockDecoder, BlockTokenizer

    found = load_model(recipe, settings, decode=recipe.decode)
    tokenizer, model = found.tokenizer, found.entry
    ends: dict[str, Any] = {}
    for role in ROLES:
        if getattr(recipe, f"add_{role}"):
            end = tokenizer.end(role, getattr(recipe, f"{role}_token"))
            model[role], ends[role] = end.entry(), end.ids
        elif not recipe.decode and (line := _not_added(tokenizer, role)):
            LOG.info("%s", line)
    common = {**found.common, "column": recipe.token_column}
    if recipe.decode:
        return BlockDecoder(**common), model, found.cost
    dtype = recipe.token_dtype or tokenizer.dtype.name
    if tokenizer.dtype.name == "uint32" and dtype == "uint16":
        raise UsageError(
            f"--token_dtype=uint16: expected uint32, as the model has {tokenizer.model.size:,} ids"
        )
    work = BlockTokenizer(
        **common,
        **found.encoding,
        seed=recipe.seed,
        epoch=recipe.epoch,
        add_bos=recipe.add_bos,
        add_eos=recipe.add_eos,
        **ends,
        dtype=dtype,
    )
    return work, model, found.cost


def _not_added(tokenizer: Tokenizer, role: Role) -> str | None:
    """Say that the model's file puts bos or eos around texts, where nobody asked for it; None else."""
    words = around_texts(tokenizer, role)
    return (
        f"the model's file {words}; it isn't added unless you pass --add_{role}" if words else None
    )


def _require_tokens(schema: pa.Schema | None, recipe: TokenizeRecipe) -> None:
    """Raise InputError where the input has no column of tokens."""
    column = recipe.token_column
    found = schema.field(column).type if schema is not None and column in schema.names else None
    if found is None or not (
        hasattr(found, "value_type") and pa.types.is_integer(found.value_type)
    ):
        have = "lines" if schema is None else f"columns {', '.join(schema.names[:8])}"
        raise InputError(
            f"--decode and --token_column={column}: expected rows with a column of lists of integers, "
            f"the input has {have}"
        )


def _warn_of_another(
    made_by: Sequence[TokenizerEntry], recipe: TokenizeRecipe, sha256: str
) -> None:
    """Warn where ids shall be decoded by another model than the one that made them."""
    others = [
        made
        for made in made_by
        if made.column == recipe.token_column and made.model["sha256"] != sha256
    ]
    for line in describe_tokenizers(others):
        LOG.warning(
            "--tokenizer=%s (SHA-256 %s…) is not the model that made the ids: %s",
            recipe.tokenizer,
            sha256[:12],
            line,
        )


def build(root: Any, job: Job) -> None:
    """Wire the pipeline: read, tokenize, write, prove."""
    from transforms.datasets.map_shards import MapIntoShards

    recipe, inputs = job.recipe, job.inputs
    shards, spans, mapped = root | MapIntoShards(
        reading=read_records(
            job,
            span_bytes=max(-(-inputs.size // job.shards), 1),
            stage=job.stage,
            format=recipe.reading.format,
            check="none" if recipe.bytes or recipe.decode else "utf8",
            record_limit=min(job.workers.payload // job.cost, 1 << 30),
            memory=memory_for(job, job.cost),
            text_field=recipe.reading.text_field,
            kept=inputs.contents.kept,
            validate=None if recipe.decode else job.work.validate,
        ),
        work=job.work,
        writing=write_shards(job, form=job.form, extension=job.extension),
        shards=job.shards,
    )
    tokens = functools.partial(tokens_entry, job.model, recipe, decoded=recipe.decode)
    written = (spans, shards, mapped) | write_manifest(job, form=job.form, tokens=tokens)
    finish(written, job)


def _output_bytes(job: Job) -> int:
    """Return about how many bytes the shards will have: ids don't compress."""
    read, width = job.inputs.contents.bytes, 2 if job.model["ids"] <= 1 << 16 else 4
    if job.recipe.decode:
        return read * BYTES_PER_TOKEN // width
    kept = read if job.recipe.keep_fields else 0  # at most
    return read * width // BYTES_PER_TOKEN + kept


def describe(job: Job, needs: Sequence[Need]) -> str:
    """Return the plan as text."""
    numbers = law_numbers(job.recipe)
    lines = [
        *describe_sources(job.inputs.contents.amounts),
        *(f"unified     {note}" for note in job.inputs.contents.notes),
        f"model       {job.recipe.tokenizer}, {job.model['kind']} of {job.model['ids']:,} ids",
        *([f"engine      {job.model['engine']}"] if "engine" in job.model else []),
        *(f"{line.replace(': ', ' ' * 9, 1)}" for line in end_lines(job.model)),
        *([] if job.recipe.decode else [f"sampling    {write_law(job.recipe.sampling, numbers)}"]),
        f"output      {job.form.kind}, compression {job.form.compression}; {_most_shards(job)}",
        describe_workers(job.workers),
    ]
    kept = job.inputs.contents.kept
    if kept is not None and kept.schema is not None:
        kinds = kept.kinds or [""] * len(kept.schema)
        columns = [
            f"{field.name} ({'JSON text' if kind == 'json' else field.type})"
            for field, kind in zip(kept.schema, kinds, strict=True)
        ]
        lines.append(f"kept        {', '.join(columns)}")
    lines += describe_room(needs)
    return "\n".join(lines)


def _sum_up(job: Job) -> str:
    ids = write_count(job.model["ids"], "id")
    by = f", with {job.model['engine']}" if "engine" in job.model else ""
    does = "decoding" if job.recipe.decode else "tokenizing"
    law = "" if job.recipe.decode else f", sampling {job.recipe.sampling}"
    return f"{does} by {job.model['kind']} of {ids}{by}{law}; {_most_shards(job)}"


def _most_shards(job: Job) -> str:
    return f"at most {write_count(job.shards, 'shard')}"


COMMAND = Command(
    TOKENIZE,
    about=COMMANDS["tokenize"],
    examples=EXAMPLES,
    notes=NOTES,
    docs="docs/how-to/tokenize.md",
    prepare=_prepare,
    describe=describe,
    sum_up=_sum_up,
    build=build,
    totals=lambda job: {job.stage: job.inputs.size},  # shards are written while it is read
    manifest=Manifest,
    summarize=summarize,
    expect=lambda job: {"shards_at_most": job.shards},
    compare=warn_of_a_changed_model,
    urls=["tokenizer"],
)
run, main = COMMAND.run, COMMAND.main

if __name__ == "__main__":
    leave(main())
