"""The model of a run: loaded early, what is said of it, and what memory it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.inputs.preflight import Inputs
from pipelines.jobs.compile_beside import CompileBeside
from pipelines.recipes.cli import LOG
from pipelines.recipes.flag_errors import Origin
from pipelines.recipes.model_recipe import ModelRecipe
from pipelines.recipes.settings import RunSettings
from pipelines.runners.choose_workers import choose_workers
from transforms.datasets.manifest import ControlEntry, TokensEntry
from transforms.datasets.token_counts import NAT, TokenCounts
from transforms.errors import UsageError
from transforms.kernels.planning.plan import Workers, files_room
from transforms.storage import files as storage
from transforms.workers.give_back import give_back

if TYPE_CHECKING:
    from transforms.tokenization.models.bos_eos import Role
    from transforms.tokenization.tokenizer import Tokenizer

_COMPILING = (
    "compiling kernels for this model and sampling method; this takes some seconds, once: later runs "
    "use the compiled code"
)
BYTES_PER_TOKEN = 3
"""Of text, about, for estimates: of English it is 4, of Chinese 3."""

# of memory, measured: what a worker takes beside payload (a row group that is written, buffers), what
# numba and kernels take of a process, and what a byte of a record does, by a unigram model and by the
# tokenizers package
_OF_WORKER, _OF_KERNELS, _COST, _COST_OF_OTHERS = 150 << 20, 90 << 20, 24, 128
_OF_ID = 1200  # what a process takes of memory for one of a model's ids, measured with 80,000
_OF_GIGATOKEN, _OF_ITS_ID = 64 << 20, 800  # and beside that, where gigatoken encodes (bench/bpe.py)


@dataclass(frozen=True)
class Loaded:
    """A model that was loaded.

    Attributes:
        tokenizer: of it.
        entry: what the manifest says of it.
        cost: in memory, of a byte of a record.
        common: arguments of BlockTokenizer and BlockDecoder by which workers load it.
        encoding: those of BlockTokenizer alone that say how texts are encoded.
    """

    tokenizer: Tokenizer
    entry: dict[str, Any]
    cost: int
    common: dict[str, Any]
    encoding: dict[str, Any]


def load_model(recipe: ModelRecipe, settings: RunSettings, *, decode: bool = False) -> Loaded:
    """Load a recipe's model, with all that its law needs, and keep it for ``load_once``.

    Raises:
        UsageError: it is no model, or can't be used as asked.
    """
    from transforms.kernels.compiled import told_of_compiling
    from transforms.tokenization.models.bpe import BPE
    from transforms.tokenization.models.model import Deterministic, Unigram
    from transforms.tokenization.sampling import OFF, Sampling
    from transforms.tokenization.tokenize import load_anew

    assert recipe.tokenizer is not None
    storage.configure(settings.storage_options)
    sampling = Sampling(
        law=recipe.sampling,
        alpha=recipe.alpha,
        nbest_size=recipe.nbest_size,
        dropout=recipe.dropout,
        proportion=recipe.proportion,
    )
    how: dict[str, Any] = {
        "whitespace": recipe.whitespace,
        "newline": recipe.newline_symbol,
        "raw": recipe.bytes,
        "pattern": recipe.tokenizer_pattern,
        "special_tokens": recipe.special_tokens,
        "bpe_engine": "reference" if decode else recipe.bpe_engine,
    }
    compared = None if decode or sampling == OFF else {"url": recipe.tokenizer, **how}
    if not storage.is_local(recipe.tokenizer):
        compared = None  # the other process would have to reach the store
    with CompileBeside(compared, memory=settings.memory) as beside:

        def compiling() -> None:
            LOG.info("%s", _COMPILING)
            beside.start()

        with told_of_compiling(compiling):
            tokenizer = load_anew(recipe.tokenizer, **how)
            found = tokenizer.model
            if recipe.bpe_engine != "auto" and not isinstance(found, BPE):
                raise UsageError(
                    f"--bpe_engine={recipe.bpe_engine}: {recipe.tokenizer} is {found.kind}, "
                    "not a BPE model; leave out --bpe_engine"
                )
            if not decode:
                tokenizer.prepare(sampling)
                beside.wait()
                tokenizer.prepare(OFF)  # the best segmentations are compared with
    tokenizer.require(sampling)
    entry = {"url": recipe.tokenizer, "kind": found.kind, "ids": found.size, "sha256": found.digest}
    if isinstance(found, Unigram) and found.vocabulary.unknown_as_bytes and not decode:
        entry["unknown_as"] = "bytes"
    engine = ""
    if isinstance(found, BPE) and not decode:
        engine = found.engine
        if recipe.sampling in ("off", "stochastok"):  # other laws draw by kernels of ours
            entry["engine"] = engine
        if found.why_reference:
            LOG.info(
                "%s; %s is used instead, which is many times slower", found.why_reference, engine
            )
    by_package = isinstance(found, Deterministic) and not engine.startswith("gigatoken")
    return Loaded(
        tokenizer,
        entry,
        _COST_OF_OTHERS if by_package and not decode else _COST,
        common={
            "model": recipe.tokenizer,
            "digest": found.digest,
            "whitespace": recipe.whitespace,
            "newline": recipe.newline_symbol,
            "pattern": recipe.tokenizer_pattern,
            "storage_options": settings.storage_options,
        },
        encoding={
            "raw": recipe.bytes,
            "special_tokens": recipe.special_tokens,
            "bpe_engine": recipe.bpe_engine,
            "engine": engine,
            "sampling": sampling,
        },
    )


def around_texts(tokenizer: Tokenizer, role: Role) -> str | None:
    """Say what the model's file puts before or behind texts; None where it is nothing."""
    special = tokenizer.model.special
    if not (special.before if role == "bos" else special.after):
        return None
    try:
        end = tokenizer.end(role)
    except UsageError:  # ids that the model doesn't have
        return None
    words = " ".join(token or f"id {id_}" for id_, token in zip(end.ids, end.tokens, strict=True))
    if "tokenizer.json" not in tokenizer.model.kind:  # a token, and no template that puts it
        return f"has the {role} {words}"
    return f"puts {words} {'before' if role == 'bos' else 'after'} each text"


def workers_for_model(
    settings: RunSettings,
    inputs: Inputs,
    model: dict[str, Any],
    engine: str,
    *,
    stores: bool,
    shared: bool,
) -> Workers:
    """Choose workers that hold a model, and let go here of what they alone need.

    Args:
        settings: how the work is done.
        inputs: what is read.
        model: as of ``Loaded.entry``.
        engine: that encodes by a BPE model.
        stores: whether anything lies on a store.
        shared: whether workers are forked from a process that has the model.
    """
    window, of_id = inputs.contents.window + _OF_WORKER + files_room(len(inputs.files)), _OF_ID
    if engine.startswith("gigatoken"):
        window, of_id = window + _OF_GIGATOKEN, _OF_ID + _OF_ITS_ID
    loaded = _OF_KERNELS + of_id * model["ids"]
    if not shared:
        window, loaded = window + loaded, 0
    workers = choose_workers(
        settings, inputs.contents.bytes, stores=stores, window=window, shared=loaded
    )
    if workers.processes:
        from transforms.tokenization.tokenize import forget

        forget()
        give_back()  # 40 MB of 80,000 pieces, which workers alone need
    return workers


def workers_for_rows(settings: RunSettings, inputs: Inputs, *, stores: bool) -> Workers:
    """Choose workers that read rows of ids, and need no model; else as of ``workers_for_model``."""
    window = inputs.contents.window + _OF_WORKER + files_room(len(inputs.files))
    return choose_workers(settings, inputs.contents.bytes, stores=stores, window=window)


def tokens_entry(
    model: dict[str, Any], recipe: ModelRecipe, counts: TokenCounts, *, decoded: bool = False
) -> TokensEntry:
    """Say what was counted."""
    sampled = recipe.sampling != "off"
    entropy = None
    if sampled and counts.surprise is not None:
        entropy = counts.surprise / NAT / max(counts.tokens, 1)
    compared = counts.best_tokens > 0
    by_gigatoken = model.get("engine", "").startswith("gigatoken")
    return TokensEntry(
        model=model,
        law=recipe.sampling,
        **law_numbers(recipe),
        decoded=decoded,
        records=counts.records,
        bytes=counts.bytes,
        tokens=counts.tokens,
        bytes_per_token=counts.bytes / max(counts.tokens, 1),
        best_bytes_per_token=counts.compared_bytes / counts.best_tokens if compared else None,
        unknown=counts.unknown,
        unknown_of=counts.unknown_of,
        entropy_per_token=entropy,
        lengths=list(counts.lengths),
        collisions=None if recipe.whitespace is None or decoded else counts.collisions,
        checked_records=counts.checked_records if by_gigatoken else None,
        checked_bytes=counts.checked_bytes if by_gigatoken else None,
        special_tokens=None if decoded else recipe.special_tokens,
        control_strings=None
        if decoded
        else {
            string: ControlEntry(records=records, times=times)
            for string, (records, times) in counts.control.items()
        },
    )


def law_numbers(recipe: ModelRecipe) -> dict[str, Any]:
    """Return the numbers of the law that was chosen, the defaults where none were given."""
    of_law = {
        "exact": ("alpha",),
        "viterbi_sampling": ("alpha",),
        "nbest": ("alpha", "nbest_size"),
        "bpe_dropout": ("dropout",),
        "stochastok": ("proportion",),
    }
    defaults = {"alpha": 0.1, "nbest_size": 64, "dropout": 0.1, "proportion": 0.1}
    given = {name: getattr(recipe, name) for name in of_law.get(recipe.sampling, ())}
    return {name: defaults[name] if value is None else value for name, value in given.items()}


def warn_of_a_changed_model(job: Any, origin: Origin) -> None:
    """Warn where the model that a manifest names isn't, by its bytes, the one that made its dataset."""
    made = origin.model.get("sha256")
    if made and job.model and origin.has(("tokenizer",)) and made != job.model["sha256"]:
        LOG.warning(
            "%s is not the model that made the dataset of --recipe=%s, so ids may differ: "
            "its SHA-256 is %s…, the dataset's model had %s…",
            job.recipe.tokenizer,
            origin.file,
            job.model["sha256"][:12],
            made[:12],
        )
