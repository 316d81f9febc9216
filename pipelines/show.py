"""Look at a dataset: its manifest in short, and rows of it, decoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import BaseModel
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from pipelines.datasets.find_record import find_record
from pipelines.datasets.find_row import Place
from pipelines.datasets.flags import parse
from pipelines.datasets.in_short import in_short
from pipelines.datasets.manifests import AnyManifest, read_manifest
from pipelines.datasets.visible import SHOWN, TokenLines, escape, show_record
from pipelines.jobs.dataset_json import dataset_json
from pipelines.recipes.access import access
from pipelines.recipes.cli import leave, print_json, printing, run_main
from pipelines.recipes.fields import RUN, Modules, StorageOptions, make_flag
from pipelines.recipes.settings import JSON_HELP
from pipelines.recipes.wording import write_count
from transforms.datasets.manifest import Manifest, ShardEntry
from transforms.datasets.prepared import PreparedManifest
from transforms.errors import UsageError
from transforms.storage import layout

if TYPE_CHECKING:
    from pipelines.datasets.find_prepared import PreparedSplit
    from pipelines.datasets.token_texts import TokenTexts

EXAMPLES = """\
dovetail split -i examples/data/poems.jsonl --fractions=test=1% -o out/shown
dovetail show out/shown
dovetail show out/shown --split=test --row=12 --full
"""
NOTES = """\
On a terminal, tokens alternate in color; elsewhere, | stands between them. ⏎ marks the end of a line,
· a token that ends inside a character. Control characters are escaped.
"""
_ROWS = "rows"
_LENGTHS = "seq_lengths"
_FIRST = 3  # rows that are shown where none is asked for
_FIRST_IDS = 512  # that are shown where files don't say where a row begins


class _Flags(BaseModel):
    row: int | None = make_flag(
        None,
        _ROWS,
        "show only row N of the split, counted from 0 over its shards",
        ge=0,
        brief="show only row N, counted from 0",
    )
    split: str | None = make_flag(
        None,
        _ROWS,
        "which split to show (default train)",
        brief="split to show (default train)",
    )
    epoch: int | None = make_flag(
        None,
        _ROWS,
        "which epoch to show; by default the first",
        ge=0,
        brief="epoch to show (default: the first)",
    )
    format: str | None = make_flag(
        None,
        _ROWS,
        "which format's files to show; by default one that records where documents begin",
        brief="format to show, of several",
    )
    tokenizer: str | None = make_flag(
        None,
        _ROWS,
        "model that decodes the tokens, if it is no longer where the manifest says",
        metavar="FILE",
        brief="model that decodes, if it has moved",
    )
    full: bool = make_flag(
        False,
        _ROWS,
        "show rows whole, however long they are",
        brief="show rows whole, however long",
    )
    storage_options: StorageOptions | None = make_flag(
        None,
        RUN,
        "fsspec options for the stores, as JSON; see dovetail shuffle --help-all",
        metavar="JSON",
    )
    codec_module: Modules | None = make_flag(
        None,
        RUN,
        "Python modules that register your own codecs; see dovetail shuffle --help-all",
        metavar="MODULE,MODULE",
    )
    quiet: bool = make_flag(
        False, RUN, "log only warnings and errors; rows are printed all the same"
    )
    debug: bool = make_flag(False, RUN, "print tracebacks")
    as_json: bool = make_flag(False, RUN, JSON_HELP, brief="print one JSON object")


class _Console(Console):
    """A console that leaves it to ``run_main`` what a reader who has gone means."""

    def on_broken_pipe(self) -> None:
        """Raise what rich is handling just now."""
        raise  # noqa: PLE0704  # rich calls this while it handles the error


class _Shown(NamedTuple):
    """A row: what is said above it, what is shown of it, and the same for ``--json``."""

    head: str
    body: Iterator[Text]
    data: Mapping[str, Any]


def show(folder: str, flags: _Flags, console: Console) -> AnyManifest:
    """Print what there is to see of a dataset; return its manifest.

    Raises:
        DovetailError: there is none, it can't be read, or has no such row.
    """
    manifest = read_manifest(folder)
    colour = console.is_terminal and not console.no_color and console.color_system is not None
    lines = TokenLines(colour=colour, most=None if flags.full else SHOWN)
    if isinstance(manifest, PreparedManifest):
        parts = _prepared(manifest, folder, flags, lines)
    else:
        parts = _records(manifest, folder, flags, lines)
    if flags.as_json:
        rows = [part.data for part in parts]
        print_json({"command": "show", "folder": folder, **dataset_json(manifest), "shown": rows})
        return manifest
    if flags.row is None:
        for line in in_short(manifest, folder):
            _print(console, Text(escape(line)))
    for part in parts:
        if flags.row is None:
            _print(console, Text())
        _print(console, Text(escape(part.head), "bold"))
        for shown in part.body:
            _print(console, shown, indent=2)
    return manifest


def _print(console: Console, line: Text, *, indent: int = 0) -> None:
    """Print a line, wrapped on a terminal and nowhere else."""
    with printing():
        if console.is_terminal:
            console.print(Padding(line, (0, 0, 0, indent), expand=False))
        else:
            console.print(Text(" " * indent) + line, soft_wrap=True)


def _prepared(
    manifest: PreparedManifest, folder: str, flags: _Flags, lines: TokenLines
) -> Iterator[_Shown]:
    """Return what is shown of a prepared dataset; what isn't there is refused before it is iterated."""
    # late: they take numba along, which records that are shown as they are don't wait for
    from pipelines.datasets.find_prepared import choose_split
    from pipelines.datasets.token_texts import load_tokenizer

    chosen = choose_split(manifest, split=flags.split, epoch=flags.epoch, form=flags.format)
    special = {
        id_: token or f"<{name}>"
        for name, end in manifest.special.items()
        for id_, token in zip(end.ids, end.tokens, strict=False)
    }
    texts = load_tokenizer(
        manifest.model, manifest.recipe, special, folder=folder, instead=flags.tokenizer
    )
    if flags.row is None and chosen.rows is None:
        return _first_ids(folder, chosen, texts, flags=flags, lines=lines)
    return _prepared_rows(folder, chosen, texts, flags=flags, lines=lines)


def _first_ids(
    folder: str,
    chosen: PreparedSplit,
    texts: TokenTexts,
    *,
    flags: _Flags,
    lines: TokenLines,
) -> Iterator[_Shown]:
    """Yield the first ids of files that don't say where a row begins."""
    from pipelines.datasets.find_prepared import first_ids

    path, ids = first_ids(folder, chosen, None if flags.full else _FIRST_IDS)
    if ids:
        yield _Shown(
            f"the first {write_count(len(ids), 'id')} of {_of(chosen)} ({path}), which doesn't record "
            f"where documents begin{_undecoded(texts)}",
            _body(lines, ids, [len(ids)], texts, kept={}),
            {"split": chosen.split, "row": None, "path": path, "row_of_file": None}
            | {"epoch": chosen.epoch, "format": chosen.form}
            | _tokens(ids, [len(ids)], texts, flags)
            | {"filler": 0, "kept": {}},
        )


def _prepared_rows(
    folder: str,
    chosen: PreparedSplit,
    texts: TokenTexts,
    *,
    flags: _Flags,
    lines: TokenLines,
) -> Iterator[_Shown]:
    """Yield the rows that are asked for."""
    from pipelines.datasets.find_prepared import prepared_row

    for number in _numbers(flags.row, chosen.rows or 0):
        place, rows = prepared_row(folder, chosen, number)
        filler = int(rows.filler.sum())
        about = [f"{len(rows.ids):,} ids"]
        if filler:
            about.append(f"{filler:,} of filler")
        if rows.sources is not None and len(rows.sources):
            about.append(f"of source {_name_of(chosen.dataset.sources, int(rows.sources[0]))}")
        ids, lengths, kept = rows.ids.tolist(), rows.lengths.tolist(), _kept(rows.kept)
        data = _place(number, chosen.split, place) | {"epoch": chosen.epoch, "format": chosen.form}
        yield _Shown(
            f"{chosen.unit} {number:,} of {_of(chosen)} ({_at(place)}): {', '.join(about)}"
            + _undecoded(texts),
            _body(lines, ids, lengths, texts, kept=kept),
            data | _tokens(ids, lengths, texts, flags) | {"filler": filler, "kept": kept},
        )


def _of(chosen: PreparedSplit) -> str:
    epoch = f" of epoch {chosen.epoch}" if chosen.epoch is not None else ""
    return f"{chosen.split}{epoch}, {chosen.form}"


def _undecoded(texts: TokenTexts) -> str:
    return "" if texts.decodes else f", not decoded: {texts.why}"


def _body(
    lines: TokenLines,
    ids: Sequence[int],
    lengths: Sequence[int],
    texts: TokenTexts,
    *,
    kept: Mapping[str, Any],
) -> Iterator[Text]:
    yield from lines.documents(ids, lengths, texts)
    if kept:
        yield from show_record(dict(kept), SHOWN)


def _place(number: int, split: str | None, place: Place) -> dict[str, Any]:
    return {"split": split, "row": number, "path": place.path, "row_of_file": place.row}


def _tokens(
    ids: Sequence[int], lengths: Sequence[int], texts: TokenTexts, flags: _Flags
) -> dict[str, Any]:
    """Return ids and their texts for ``--json``, which alone they are decoded for."""
    tokens = texts.of(ids) if flags.as_json and texts.decodes else None
    return {"input_ids": ids, "lengths": lengths, "tokens": tokens}


def _kept(kept: Any) -> Mapping[str, Any]:
    return {} if kept is None or not len(kept) else dict(kept[0].as_py() or {})


def _name_of(sources: Sequence[str], number: int) -> str:
    return sources[number] if number < len(sources) else str(number)


def _records(manifest: Manifest, folder: str, flags: _Flags, lines: TokenLines) -> Iterator[_Shown]:
    """As ``_prepared``; rows of ids are decoded, other records are shown as they are."""
    split = _split_asked(manifest, flags.split)
    shards = [shard for shard in manifest.shards if layout.split_of(shard.path) == split]
    if flags.epoch not in (None, manifest.epoch):
        raise UsageError(
            f"--epoch={flags.epoch}: expected {manifest.epoch}, the dataset's only one"
        )
    if flags.format is not None:
        raise UsageError(
            f"--format={flags.format}: only prepared datasets have formats; leave it out"
        )
    return _record_rows(manifest, folder, split, shards, flags=flags, lines=lines)


def _record_rows(
    manifest: Manifest,
    folder: str,
    split: str | None,
    shards: Sequence[ShardEntry],
    *,
    flags: _Flags,
    lines: TokenLines,
) -> Iterator[_Shown]:
    """Yield the records that are asked for."""
    texts: TokenTexts | None = None
    for number in _numbers(flags.row, sum(shard.records for shard in shards)):
        place, found = find_record(folder, manifest, shards, number)
        data = _place(number, split, place)
        head = f"record {number:,} of {split} ({_at(place)})"
        ids = _ids_of(found, manifest)
        if ids is None or not isinstance(found, dict):
            body = show_record(found, None if flags.full else SHOWN)
            yield _Shown(head, body, {**data, "record": found})
            continue
        texts = texts or _texts_of(manifest, folder, flags.tokenizer)
        column = _token_column(manifest)
        head += f": {len(ids):,} ids{_undecoded(texts)}"
        kept = {name: value for name, value in found.items() if name != column}
        lengths = found.get(_LENGTHS)  # of packed rows that were shuffled
        if not isinstance(lengths, np.ndarray) or lengths.sum() != len(ids):
            lengths = np.array([len(ids)])
        row, sizes = ids.tolist(), lengths.tolist()
        yield _Shown(
            head,
            _body(lines, row, sizes, texts, kept=kept),
            {**data, **_tokens(row, sizes, texts, flags), "kept": kept},
        )


def _split_asked(manifest: Manifest, asked: str | None) -> str | None:
    """Return the split that is shown: train, or the first where there is none, if no other is asked for.

    Raises:
        UsageError: there is no such.
    """
    names = list(dict.fromkeys(layout.split_of(shard.path) for shard in manifest.shards))
    if asked is None:
        return "train" if "train" in names else next(iter(names), None)
    if asked not in names:
        only = ", the dataset's only one" if len(names) == 1 else ""
        raise UsageError(f"--split={asked}: expected {', '.join(map(str, names))}{only}")
    return asked


def _token_column(manifest: Manifest) -> str | None:
    """Return which column holds ids, None where none is known to."""
    tokens = manifest.tokens
    if tokens is not None:
        return None if tokens.decoded else str(manifest.recipe.get("token_column", "input_ids"))
    return manifest.tokenizers[0].column if manifest.tokenizers else None


def _ids_of(found: bytes | dict[str, Any], manifest: Manifest) -> Any:
    column = _token_column(manifest)
    ids = found.get(column) if isinstance(found, dict) and column is not None else None
    return ids if isinstance(ids, np.ndarray) else None


def _texts_of(manifest: Manifest, folder: str, instead: str | None) -> TokenTexts:
    """Return the tokenizer of a tokenized dataset, or of rows of ids that were shuffled."""
    from pipelines.datasets.token_texts import TokenTexts, load_tokenizer

    if manifest.tokens is not None:
        model = manifest.tokens.model
    else:
        models = {
            str(entry.model.get("sha256")): entry.model for entry in manifest.tokenizers or ()
        }
        if len(models) != 1:
            return TokenTexts(None, {}, "several tokenizers made them")
        [model] = models.values()
    special = {
        id_: token or f"<{role}>"
        for role in ("bos", "eos")
        if isinstance(end := model.get(role), dict)
        for id_, token in zip(end["ids"], end["tokens"], strict=False)
    }
    return load_tokenizer(model, manifest.recipe, special, folder=folder, instead=instead)


def _numbers(row: int | None, rows: int) -> Sequence[int]:
    return range(min(_FIRST, rows)) if row is None else [row]


def _at(place: Place) -> str:
    return f"{place.path}, {place.row:,}"


def run(argv: Sequence[str], **given: Any) -> AnyManifest:
    """Run the command; return the manifest.

    Args:
        argv: the dataset's folder, and flags.
        given: values that count as flags.

    Raises:
        DovetailError: there is no dataset, it can't be read, or has no such row.
    """
    folder, flags = parse(
        _Flags,
        argv,
        given,
        command="show",
        examples=EXAMPLES,
        notes=NOTES,
        common=("row", "split", "epoch", "format", "tokenizer", "full"),
    )
    console = _Console(highlight=False, markup=False, emoji=False)
    with access(flags.storage_options, flags.codec_module):
        return show(folder, flags, console)


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a person does; return the exit code."""
    return run_main(run, argv)


if __name__ == "__main__":
    leave(main())
