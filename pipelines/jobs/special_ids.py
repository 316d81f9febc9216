"""EOS, BOS and pad of a prepared dataset: found before any work, refused where they can't be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.jobs.load_model import around_texts
from pipelines.jobs.sample_tokens import Sampled
from pipelines.recipes.prepare_recipe import PrepareRecipe
from transforms.datasets.manifest import EndEntry, TokenizerEntry
from transforms.errors import UsageError

if TYPE_CHECKING:
    from transforms.tokenization.models.bos_eos import End, SpecialRole
    from transforms.tokenization.tokenizer import Tokenizer

ROLES: tuple[SpecialRole, ...] = ("eos", "bos", "pad")
_SIDE = {"eos": "end", "bos": "begin"}  # of a document


@dataclass(frozen=True, kw_only=True)
class SpecialIds:
    """What is known of a dataset's special ids.

    Attributes:
        entries: of eos, bos and pad, those that there are, as the manifest has them.
        begin, end: what packing puts before and behind each document.
        notes: what of it is to be said before work.
    """

    entries: Mapping[SpecialRole, EndEntry]
    begin: EndEntry | None = None
    end: EndEntry | None = None
    notes: tuple[str, ...] = ()

    def id_of(self, role: SpecialRole) -> int | None:
        """Return the id of a role; None where there is none, or where it is several."""
        entry = self.entries.get(role)
        return entry.ids[0] if entry is not None and len(entry.ids) == 1 else None


def write_special(entry: EndEntry) -> str:
    """Write a special token as people read it.

    >>> write_special(EndEntry(ids=[2], tokens=["</s>"], found="--eos_token"))
    '</s> (id 2), by --eos_token'
    """
    named = zip(entry.ids, entry.tokens, strict=True)
    words = (f"{token} (id {id_})" if token else f"id {id_}" for id_, token in named)
    return f"{' '.join(words)}, by {entry.found}"


def of_model(tokenizer: Tokenizer, recipe: PrepareRecipe) -> SpecialIds:
    """Find the special ids of a model, and those that packing puts.

    Raises:
        UsageError: there isn't one that is asked for or needed; says what to give.
    """
    from transforms.tokenization.models.bos_eos import choose_end

    def found(role: SpecialRole, needed_by: str = "") -> End | None:
        asked = getattr(recipe, f"{role}_token")
        try:
            return choose_end(tokenizer.model, role, asked, needed_by=needed_by)
        except UsageError:
            if asked is not None or needed_by:
                raise
            return None

    needs: dict[SpecialRole, str] = {
        "eos": "--document_end=eos" if recipe.document_end == "eos" else "",
        "bos": "--add_bos" if recipe.add_bos else "",
    }
    entries: dict[SpecialRole, EndEntry] = {}
    try:
        for role in ROLES:
            if end := found(role, needs.get(role, "")):
                entries[role] = EndEntry(**end.entry())
    except UsageError as error:
        if recipe.document_end == "eos" and "--document_end" in str(error):
            raise UsageError(f"{error}; or pass --document_end=none to add nothing") from None
        raise
    end_of_documents = entries.get("eos")
    if recipe.document_end == "none":
        end_of_documents = None
    elif recipe.document_end != "eos":
        asked = _id_of(tokenizer, recipe.document_end)
        end_of_documents = EndEntry(
            ids=[asked], tokens=[tokenizer.model.token(asked)], found="--document_end"
        )
    begin = entries["bos"] if recipe.add_bos else None
    _require_one(begin, end_of_documents)
    _refuse_doubled(tokenizer, begin, end_of_documents)
    return SpecialIds(
        entries=entries,
        begin=begin,
        end=end_of_documents,
        notes=tuple(_of_file(tokenizer, recipe, end_of_documents)),
    )


def without_model(recipe: PrepareRecipe, made_by: TokenizerEntry | None, size: int) -> SpecialIds:
    """Take the special ids of rows of ids from flags, or from what their manifest says.

    Args:
        recipe: what is asked.
        made_by: who made the ids, where a manifest says it.
        size: how many ids there can be.

    Raises:
        UsageError: one is needed that isn't said, or isn't said by its id.
    """
    entries: dict[SpecialRole, EndEntry] = {}
    model = {} if made_by is None else made_by.model
    for role in ROLES:
        asked = getattr(recipe, f"{role}_token")
        if asked is not None:
            entries[role] = _by_id(asked, f"--{role}_token", size)
        elif role in model:
            entries[role] = EndEntry.model_validate(model[role])
    end = entries.get("eos")
    if recipe.document_end == "none":
        end = None
    elif recipe.document_end != "eos":
        end = _by_id(recipe.document_end, "--document_end", size)
    elif end is None:
        raise UsageError(
            "--document_end=eos: the EOS of these ids is unknown; pass --tokenizer, "
            "--eos_token=ID, or --document_end=none to add nothing"
        )
    begin = entries.get("bos") if recipe.add_bos else None
    if recipe.add_bos and begin is None:
        raise UsageError("--add_bos: expected --bos_token=ID with it, or --tokenizer")
    _require_one(begin, end)
    return SpecialIds(entries=entries, begin=begin, end=end)


def refuse_doubled(
    special: SpecialIds, made: Sequence[TokenizerEntry], sampled: Mapping[str, Sampled]
) -> None:
    """Raise UsageError where rows of ids begin or end already as packing would have them once more.

    Args:
        special: what packing puts.
        made: who made the rows, as far as manifests say it.
        sampled: what some rows of each source are like.
    """
    for role, entry, flag, instead in (
        ("eos", special.end, "--document_end", "pass --document_end=none"),
        ("bos", special.begin, "--add_bos", "leave it out"),
    ):
        if entry is None:
            continue
        by_name = [
            source
            for one in made
            if role in one.model and one.model[role]["ids"] == entry.ids
            for source in one.sources
        ]
        seen = [
            source
            for source, sample in sampled.items()
            if sample.filled and getattr(sample, _SIDE[role]) == sample.filled
        ]
        if named := sorted({*by_name, *seen}):
            raise UsageError(
                f"{flag}: the rows of {', '.join(named)} {_SIDE[role]} with "
                f"{' '.join(entry.tokens) or 'id'} ({entry.ids[0]}) already, so documents "
                f"would have it twice; {instead}"
            )


def _by_id(text: str, flag: str, size: int) -> EndEntry:
    if not (text.isascii() and text.isdigit()):
        raise UsageError(
            f"{flag}={text}: expected an id in digits, because the model is unknown; pass "
            "--tokenizer, or the id"
        )
    if int(text) >= size:
        raise UsageError(
            f"{flag}={text}: expected an id below {size}, the number of ids with added tokens"
        )
    return EndEntry(ids=[int(text)], tokens=[""], found=flag)


def _require_one(begin: EndEntry | None, end: EndEntry | None) -> None:
    """Raise UsageError where several ids would stand before or behind a document."""
    for flag, role, entry in (("--add_bos", "bos", begin), ("--document_end", "eos", end)):
        if entry is not None and len(entry.ids) != 1:
            raise UsageError(
                f"{flag}: expected one id, but {entry.found} gives {len(entry.ids)}: "
                f"{' '.join(entry.tokens)}; pass --{role}_token"
            )


def _id_of(tokenizer: Tokenizer, asked: str) -> int:
    """Return the id of what documents end in; raise UsageError where the model has no such."""
    model = tokenizer.model
    id_ = int(asked) if asked.isascii() and asked.isdigit() else model.token_id(asked)
    if id_ is None or not 0 <= id_ < model.size:
        raise UsageError(
            f"--document_end={asked}: {model.name} has no such token; expected eos, none, a token as "
            f"its file writes it, or an id from 0 to {model.size - 1}"
        )
    return id_


def _refuse_doubled(tokenizer: Tokenizer, begin: EndEntry | None, end: EndEntry | None) -> None:
    """Raise UsageError where the model itself puts around texts what packing puts around documents."""
    for text in ("", "a"):
        ids = tokenizer.encode(text)
        for flag, entry, place in (("--add_bos", begin, 0), ("--document_end", end, -1)):
            if ids and entry is not None and ids[place] == entry.ids[0]:
                raise UsageError(
                    f"{flag}: {tokenizer.model.name} {'begins' if place == 0 else 'ends'} "
                    f"texts with {write_special(entry)} already ({text!r} becomes {ids}), so "
                    "documents would have it twice; "
                    f"{'leave it out' if place == 0 else 'pass --document_end=none'}"
                )


def _of_file(tokenizer: Tokenizer, recipe: PrepareRecipe, end: EndEntry | None) -> list[str]:
    """Say what the model's file puts around texts, and whether it is put here."""
    notes = []
    if not recipe.add_bos and (words := around_texts(tokenizer, "bos")):
        notes.append(f"the model's file {words}; documents don't get it unless you pass --add_bos")
    if end is None and (words := around_texts(tokenizer, "eos")):
        notes.append(f"the model's file {words}; --document_end=none leaves it out")
    return notes
