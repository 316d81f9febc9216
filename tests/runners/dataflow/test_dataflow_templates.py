"""The Flex templates: parameters that exist, patterns that take what is documented, the launcher."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.dataflow import templates
from deploy.dataflow.flex_launcher import PIPELINES, make_parser, to_command
from pipelines.recipes import flag_parser
from pipelines.recipes.flag_errors import FLAGS, flag_of, validate
from pipelines.runners.beam_flags import check_beam_flags
from pipelines.runners.worker_processes import ENVIRONMENT
from tests.pipelines.support import ROOT, environment

FILES = {name: ROOT / "deploy" / "dataflow" / f"{name}.json" for name in PIPELINES}
PARAMETERS = [
    (name, parameter)
    for name, file in FILES.items()
    for parameter in json.loads(file.read_text())["parameters"]
]
LAUNCHER = (  # what Dataflow's launcher gives beside the parameters
    "--job_name=ours",
    "--machine_type=n2-standard-4",
    "--network=default",
    "--project=a-project",
    "--region=europe-west4",
    "--runner=DataflowRunner",
    "--sdk_container_image=example/dovetail:1",
    "--service_account_email=somebody@a-project.example",
    "--staging_location=gs://bucket/staging",
    "--subnetwork=regions/europe-west4/subnetworks/default",
    "--temp_location=gs://bucket/temp",
    "--template_location=gs://bucket/staging/template_launches/1/job_object",
)
ALSO = {  # values that flags take, beside each parameter's own example
    "max_bad": ["10", "1 %"],
    "memory": ["512MiB", "2GB", "1.5G", "4 GiB", "1073741824", "3072mib"],
    "max_bytes": ["1.5TB"],
    "input": ["gs://b/a.txt", "web=gs://b/web/*.jsonl", "s3://b/x", "https://example.org/x.txt"],
    "output": ["gs://b", "s3://b/deep/er"],
    "separator": ["\\t", "\\0", "\\xff", ";", "\\\\"],
    "weights": ["web=1", "a-b_c=0.5, d=0.5"],
    "keep_fields": ["*", "id", "id,a b"],
    "text_field": ["content"],
    "max_tokens": ["5000", "1.5M", "2t"],
    "rows": ["10K"],
    "split": ["test=1000", "a=1%, b=2.5 %"],
    "output_format": ["parquet"],
    "alpha": ["0", "1", ".5", "2.", "1e-3"][:3],
    "overwrite": ["false"],
    "whitespace": ["cpm"],
    "seed": ["0", "18446744073709551615"],
    "fractions": ["train=98%, validation=2 %", "a=1/3,b=.5", "test=1e-3"],
    "counts": ["a=1_000"],
}
NOT = {
    "input": ["corpus/*.txt", "/tmp/x", "-"],
    "output": ["out", "/tmp/out"],
    "recipe": ["mix.yaml"],
    "memory": ["much", "-1GiB"],
    "max_bad": ["5 of them", "about 1%", "%"],
    "weights": ["web", "web=", "0.5"],
    "seed": ["-1", "1.5", ""],
    "max_tokens": ["-1", "many"],
    "split": ["validation", "=1%", "test=some"],
    "fractions": ["train", "=0.1", "test=some", "test=-0.1"],
    "counts": ["train", "test=0.5", "test=1%", "test=all"],
    "sdk_container_image": ["", "dovetail", "an image/x"],
    "overwrite": ["yes", ""],
    "spill_compression": ["none|lz4", "gs"],
    "separator": ["ab", ""],
}

NEEDED = {"sources": ["gs://b/a"], "output": "gs://b/o", "tokenizer": "gs://b/t"}
COMPANY = {
    "weights",
    "temperature",
    "repeats",
    "interleave",
    "weigh_by",
    "stop",
    "newline_symbol",
    "bos_token",
    "eos_token",
    *("vocab_size", "split_by", "split_seed", "sample_splits"),
    *("packing", "long", "eos_at_cuts", "pack_window", "layout", "megatron", "header"),
}  # mean something with others only
_LIKE = {"like": ["gs://b/t"], "weights_column": "w"}
BESIDE: dict[str, dict[str, Any]] = {  # what others of split mean something with, its splits aside
    **{name: {"shuffle": True} for name in ("seed", "epoch")},
    **{name: _LIKE for name in ("features", "fit_records", "fit_bytes", "max_weight")},
    **{name: {"weights_column": "w"} for name in ("like", "like_model")},
    "stratify": {"counts": "test=5"},
    "weights_column": {"like": ["gs://b/t"]},
    "draw": {"like": ["gs://b/t"], "fractions": None},
    "draw_column": {"like": ["gs://b/t"], "fractions": None, "draw": 5},
}


def parser_of(pipeline: str) -> Any:
    return flag_parser.make_parser(*PIPELINES[pipeline], prog="dovetail", about="")


def identify(value: Any) -> str:
    return value if isinstance(value, str) else str(value["name"])


@pytest.mark.parametrize("name", PIPELINES)
def test_the_files_are_what_the_flags_say(name: str) -> None:
    assert FILES[name].read_text() == templates.to_text(name), "run `make templates`"


@pytest.mark.parametrize("name", PIPELINES)
def test_the_models_are_those_of_the_command(name: str) -> None:
    command = importlib.import_module(f"pipelines.{name}")
    with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
        told: list[Any] = []
        real = flag_parser.CommandParser.format_help
        patch.setattr(
            flag_parser.CommandParser, "format_help", lambda self: told.append(self) or real(self)
        )
        command.run(["--help"])
    (parser,) = told
    assert set(parser_of(name)._option_string_actions) == set(parser._option_string_actions)


@pytest.mark.parametrize("name", PIPELINES)
def test_every_flag_is_a_parameter_or_left_out_for_a_reason(name: str) -> None:
    found = {parameter["name"] for pipeline, parameter in PARAMETERS if pipeline == name}
    fields = {
        field
        for model in PIPELINES[name]
        for field, told in model.model_fields.items()
        if not told.deprecated
    }
    flags = {FLAGS.get(field, field) for field in fields - templates.LEFT_OUT.keys()}
    assert found == flags | {"pipeline", "sdk_container_image"}
    assert {f"--{flag}" for flag in found} <= {
        *parser_of(name)._option_string_actions,
        *make_parser()._option_string_actions,
        "--sdk_container_image",  # Beam's own
    }
    check_beam_flags(["--sdk_container_image=example/dovetail:1"], ())  # which it knows


def test_what_is_left_out_is_there_and_one_parameter_has_one_entry() -> None:
    fields = {name for models in PIPELINES.values() for m in models for name in m.model_fields}
    assert templates.LEFT_OUT.keys() <= fields
    every = [(name, parameter["name"]) for name, parameter in PARAMETERS]
    assert len(set(every)) == len(every)


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS, ids=identify)
def test_a_parameter_says_all_that_the_service_asks(name: str, parameter: dict[str, Any]) -> None:
    assert parameter["helpText"]
    assert parameter["label"]
    assert isinstance(parameter["isOptional"], bool)
    assert parameter["paramType"] in (
        *("TEXT", "NUMBER", "BOOLEAN", "ENUM"),
        *("GCS_READ_FILE", "GCS_WRITE_FOLDER"),
    )
    assert (parameter["paramType"] == "ENUM") == ("enumOptions" in parameter)
    assert "- is standard input" not in parameter["helpText"]


def matches(pattern: str, value: str) -> list[bool]:
    """Ask Python and POSIX, as grep has it."""
    posix = subprocess.run(
        ["grep", "-qE", "--", pattern],
        check=False,
        input=value.encode() + b"\n",
        env={"LC_ALL": "C.UTF-8"},
    )
    assert posix.returncode in (0, 1), pattern
    return [re.search(pattern, value) is not None, posix.returncode == 0]


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS, ids=identify)
def test_patterns_take_the_documented_values_and_so_do_flags(
    name: str, parameter: dict[str, Any]
) -> None:
    (pattern,) = parameter["regexes"]
    assert pattern[0] + pattern[-1] == "^$"
    key = parameter["name"]
    _, _, example = parameter["helpText"].rpartition(". Example: ")
    options = [option["value"] for option in parameter.get("enumOptions", ())]
    for value in [example, *options, *ALSO.get(key, ())]:
        assert matches(pattern, value) == [True, True], value
        if key not in ("pipeline", "sdk_container_image"):
            check_flag(name, key, value)
    for value in NOT.get(key, ()):
        assert matches(pattern, value) == [False, False], value


def check_flag(pipeline: str, key: str, value: str) -> None:
    """Raise where a value isn't one of a flag's."""
    words = to_command([f"--pipeline={pipeline}", f"--{key}={value}"])
    assert words[0] == pipeline
    values, rest = flag_parser.parse(parser_of(pipeline), words[1:])
    assert not rest
    if value == "false":
        assert not values
        return
    ((field, given),) = values.items()
    (model,) = (model for model in PIPELINES[pipeline] if field in model.model_fields)
    needed = {name: NEEDED[name] for name in model.model_fields.keys() & NEEDED.keys()}
    beside = {"fractions": "dev=0.1"} | BESIDE.get(key, {}) if pipeline == "split" else {}
    if "fractions" in model.model_fields:
        needed |= beside
    if key not in COMPANY:
        validate(model, needed | {field: given})


def test_the_launchers_flags_are_known_and_switches_are_taken_as_text() -> None:
    given = [
        "--pipeline=shuffle",
        *LAUNCHER,
        "--overwrite=true",
        "--input=gs://b/a",
        "--memory=2GiB",
    ]
    words = to_command(given)
    assert words == ["shuffle", *LAUNCHER, "--overwrite", "--input=gs://b/a", "--memory=2GiB"]
    values, beam_flags = flag_parser.parse(parser_of("shuffle"), words[1:])
    check_beam_flags(beam_flags, ())
    assert values["overwrite"] is True
    assert values["runner"] == "DataflowRunner"
    assert values["temp_location"] == ["gs://bucket/temp"]
    assert "--job_name=ours" in beam_flags
    assert "--overwrite" not in to_command(["--pipeline=shuffle", "--overwrite=false"])
    dashed = ["--eos-at-cuts=true", "--keep-source=false", "--text-field=true"]
    words = to_command(["--pipeline=prepare", *dashed])
    assert words == ["prepare", "--eos_at_cuts", "--text-field=true"]


def test_the_commands_in_the_documentation_would_be_taken() -> None:
    text = (ROOT / "docs" / "how-to" / "dataflow.md").read_text().replace("\\\n", " ")
    text = text.replace("$IMAGE", "example/dovetail:1")
    commands = [line for line in text.splitlines() if line.startswith("gcloud") and " run " in line]
    assert len(commands) == 2
    separated = re.findall(r"--parameters='\^~\^([^']+)'", text)
    for command in [*commands, *separated]:
        given = dict(
            pair.split("=", 1)
            for part in re.findall(r"--parameters=(\S+)", command) or [command]
            for pair in part.split("~" if command in separated else ",")
        )
        pipeline = given.get("pipeline", "shuffle")
        known = {parameter["name"]: parameter for name, parameter in PARAMETERS if name == pipeline}
        for key, value in given.items():
            assert matches(known[key]["regexes"][0], value) == [True, True], (key, value)
        if command in commands:
            required = {name for name, one in known.items() if not one["isOptional"]}
            assert required <= set(given)
    (direct,) = (line for line in text.splitlines() if line.startswith("dovetail shuffle"))
    words = shlex.split(direct.replace("PROJECT", "p").replace("IMAGE", "i").replace("BUCKET", "b"))
    values, beam_flags = flag_parser.parse(parser_of("shuffle"), words[2:])
    check_beam_flags(beam_flags, ())
    assert values["runner"] == "DataflowRunner"
    assert "--region=europe-west4" in beam_flags


def test_an_empty_name_of_the_text_is_tokenizes_alone() -> None:
    of = {name: p["regexes"][0] for name, p in PARAMETERS if p["name"] == "text_field"}
    for name in ("shuffle", "prepare"):
        assert matches(of[name], "") == [False, False]
    assert matches(of["tokenize"], "") == [True, True]
    check_flag("tokenize", "text_field", "")


@pytest.mark.parametrize("name", PIPELINES)
def test_the_launcher_is_a_file_beside_which_nothing_hides_a_module(
    name: str, tmp_path: Path
) -> None:
    file = ROOT / "deploy" / "dataflow" / "flex_launcher.py"
    beside = {path.stem for path in file.parent.iterdir() if path.suffix == ".py"}
    assert not beside & sys.stdlib_module_names
    done = subprocess.run(
        [sys.executable, str(file), f"--pipeline={name}", "--version"],
        cwd=tmp_path,
        check=False,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("dovetail ")


def test_a_flag_stands_for_its_field() -> None:
    assert flag_of("sources") == "--input"  # what the templates' names rely on


def test_the_image_has_what_the_templates_and_workers_need() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    pins = (ROOT / "constraints.txt").read_text()
    (beam,) = re.findall(r"^ARG BEAM=(.+)$", text, re.MULTILINE)
    assert f"apache-beam=={beam}\n" in pins
    ignored = (ROOT / ".dockerignore").read_text().split()
    for copied in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        for path in copied.split()[:-1]:
            assert (ROOT / path).exists(), path
            assert f"!{path.split('/')[0]}" in ignored
    assert "flex_launcher.py" in text
    for name, value in ENVIRONMENT.items():  # what workers here have too
        assert f"{name}={value}" in text.split(), name
    assert not re.search(
        r"(?i)(secret|token|passw|credential|key)\s*=", text.replace("TOKENIZERS_", "")
    )
