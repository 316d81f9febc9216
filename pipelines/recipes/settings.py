"""Settings: how and where the work is done. Nothing in them changes a byte of any shard."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from pipelines.recipes.fields import INPUT, OUTPUT, RUN, RecipePart, StorageOptions, make_flag
from pipelines.recipes.values import (
    as_list,
    as_text,
    as_written,
    check_exchange,
    check_paths,
    parse_kind,
    parse_memory,
)
from transforms.datasets.max_bad import MostBad

_FILE = "recipe in a file"
_CLUSTERS, _FLINK, _DATAFLOW = "FlinkRunner and DataflowRunner", "FlinkRunner", "DataflowRunner"
_Memory = Annotated[
    int, BeforeValidator(parse_memory, json_schema_input_type=int | str), Field(ge=1)
]
_Locations = Annotated[
    list[str],
    BeforeValidator(as_list, json_schema_input_type=list[str] | str),
    AfterValidator(check_paths),
]


class RunSettings(RecipePart):
    """How and where the work is done, whatever it is."""

    output: Annotated[str, AfterValidator(check_paths)] = make_flag(
        ...,
        OUTPUT,
        "folder for the dataset, local or on a store: manifest.json, and the shards in data/",
        metavar="DIR",
        min_length=1,
        brief="folder for the dataset",
    )
    max_bad: Annotated[str, BeforeValidator(as_text), as_written(MostBad.parse)] | None = make_flag(
        None,
        INPUT,
        "with --on_bad_record=skip or quarantine: end the run if more bad records than this "
        "are left out. It is a number, or a share of all records, such as 0.1%. By default, "
        "the run ends only if all records are bad",
        metavar="N|P%",
    )
    overwrite: bool = make_flag(
        False,
        OUTPUT,
        "replace a dataset that is already in the output folder. It is removed when the work "
        "begins, after all checks, so a run that fails later leaves neither",
        brief="replace the dataset in the output folder",
    )
    runner: Literal["DirectRunner", "FlinkRunner", "PrismRunner", "DataflowRunner"] = make_flag(
        "DirectRunner",
        RUN,
        "where the work runs: DirectRunner or PrismRunner on this machine; FlinkRunner or "
        "DataflowRunner on a cluster, with Beam's own flags for it (docs/how-to/flink.md, "
        "docs/how-to/dataflow.md). The output is the same",
        metavar="NAME",
    )
    memory: _Memory | None = make_flag(
        None,
        RUN,
        "memory for all processes together, such as 2GiB; by default half of the memory of the "
        "machine or its control group. On a cluster: memory for each worker process, by "
        "default 1GiB (3GiB on Dataflow)",
        metavar="SIZE",
        brief="memory for the run, such as 4GiB (default: half)",
    )
    parallelism: int | None = make_flag(
        None,
        _CLUSTERS,
        "number of worker processes on the cluster; by default one per slot (on Dataflow at most "
        "64)",
        ge=1,
        le=100_000,
    )
    shared_filesystem: bool = make_flag(
        False,
        _FLINK,
        "say that the cluster's workers have the local paths that you pass, under the same "
        "names, as on a shared disk",
    )
    no_wait: bool = make_flag(
        False,
        _DATAFLOW,
        "exit once Dataflow has accepted the job; the job verifies and publishes its output by "
        "itself",
    )
    temp_location: _Locations | None = make_flag(
        None,
        RUN,
        "folder for spill files, about as large as the input; by default inside the output folder. "
        "Repeat it to spread them over several disks",
        metavar="DIR",
        min_length=1,
    )
    storage_options: StorageOptions | None = make_flag(
        None,
        RUN,
        'fsspec options for the stores, as JSON, for all or by protocol: {"s3": {"anon": true}}. '
        "Put secrets in the environment, not here",
        metavar="JSON",
    )
    workers: int | None = make_flag(
        None,
        RUN,
        "number of workers on this machine; 0 means one per core. By default one for a small "
        "input, else as many as cores and memory allow",
        ge=0,
        brief="workers (default: by input size, cores, memory)",
    )
    direct_running_mode: Literal["in_memory", "multi_threading", "multi_processing"] | None = (
        make_flag(
            None,
            RUN,
            "how workers run on this machine: in_memory, multi_threading or multi_processing. By "
            "default multi_processing for several workers, else in_memory",
            metavar="MODE",
        )
    )
    plan: bool = make_flag(
        False,
        RUN,
        "print what the run would read, write and need; write nothing, and exit",
        brief="print what the run would do, and exit",
    )
    quiet: bool = make_flag(False, RUN, "print only warnings and errors")
    debug: bool = make_flag(
        False,
        RUN,
        "print tracebacks, and the runner's own log",
        brief="say more: tracebacks, and the runner's log",
    )


class Settings(RunSettings):
    """How and where a shuffle is done."""

    exchange: Annotated[str, AfterValidator(check_exchange)] | None = make_flag(
        None, RUN, "has no effect: records always pass through files", deprecated=True
    )
    spill_compression: Annotated[Literal["none", "lz4", "zstd"], BeforeValidator(parse_kind)] = (
        make_flag("none", RUN, "compression of spill files, which saves disk space and costs time")
    )


JSON_HELP = "print the result, or the error, as one JSON object on standard output"
"""Help of ``--json``, which every command has."""


class RecipeFlags(RecipePart):
    """Which file the recipe is in, and what else to do with it than to run it."""

    recipe: str | None = make_flag(
        None,
        _FILE,
        "YAML file with any of these flags as fields (input is named sources), or a dataset's "
        "manifest.json, to make that dataset again; local or on a store. Flags override the "
        "file",
        metavar="FILE",
        min_length=1,
    )
    print_recipe: bool = make_flag(
        False,
        _FILE,
        "print the recipe (the file with the flags over it) as --recipe reads it, and exit",
    )
    print_schema: bool = make_flag(
        False, _FILE, "print the JSON Schema of recipe files, for editors, and exit"
    )
    as_json: bool = make_flag(False, RUN, JSON_HELP, brief="print one JSON object")
