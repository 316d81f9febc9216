"""Jobs for Dataflow, from the command to the dataset, against a stand-in that runs what is staged."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from apache_beam.utils import retry

import pipelines.shuffle
import pipelines.tokenize
from tests.pipelines.support import ROOT, make_lines, read_tree, write_tree
from tests.pipelines.tokenized import TEXTS, write_model
from tests.runners.dataflow.conftest import Dataflow, secrets, shards
from tests.runners.dataflow.test_dataflow_templates import LAUNCHER
from tests.stores.conftest import put, tree
from transforms.errors import RunError

pytestmark = pytest.mark.runners

CORPUS = {"a.txt": make_lines(3000), "b/c.txt": make_lines(2000, name="q")}
SHUFFLE = ("-m", "pipelines.shuffle")


def local(tmp_path: Path, *flags: str) -> dict[str, bytes]:
    """Return the shards that DirectRunner makes of the corpus on disk."""
    root = write_tree(tmp_path / "in", CORPUS)
    given = [flag.replace("IN", str(root)) for flag in flags]
    pipelines.shuffle.run([*given, f"--output={tmp_path / 'out'}"])
    found = read_tree(tmp_path / "out")
    return {name: data for name, data in found.items() if name.startswith("data/")}


def test_a_shuffle_is_submitted_run_and_byte_for_byte_that_of_directrunner(
    cloud: Dataflow, folder: str, tmp_path: Path
) -> None:
    put(f"{folder}/in", CORPUS)
    expected = local(tmp_path, "--input=IN", "--num_shards=3", "--seed=7")
    before = cloud.tokens()
    flags = f"--input={folder}/in", f"--output={folder}/out", "--num_shards=3", "--seed=7"
    done = cloud.run(*SHUFFLE, *cloud.flags("plain"), *flags)
    assert done.returncode == 0, done.stderr
    assert shards(f"{folder}/out") == expected
    assert set(tree(f"{folder}/out")) == {*expected, "manifest.json"}  # all else is cleared
    spilled = [name for name in tree("gs://uploaded/tmp") if name.startswith("dovetail-")]
    assert any(name.endswith(".pages") for name in spilled), "spill files lie in the bucket"
    assert not any(name.startswith("dovetail-") for name in tree("gs://bucket/tmp")), "and go"
    assert "done: 5,000 records" in done.stderr
    assert cloud.tokens() > before, "the key of the service account was asked for nothing"
    job = cloud.job("plain")
    assert job["currentState"] == 3
    check_chosen(job["asked"])
    staged = tree("gs://bucket/tmp")
    assert {name.rpartition("/")[2] for name in staged if name.startswith("plain.")} == {
        "pipeline.pb"
    }
    everything = [json.dumps(job).encode(), *tree(folder).values(), *staged.values()]
    for secret in secrets(cloud.key):
        assert not any(secret in data for data in everything)
        assert secret.decode() not in done.stderr


def check_chosen(asked: dict[str, Any]) -> None:
    """Check what was chosen for the job, as nobody said otherwise."""
    (pool,) = asked["environment"]["workerPools"]
    assert pool["machineType"] == "n2-standard-4"
    assert pool["autoscalingSettings"] == {"algorithm": 2, "maxNumWorkers": 16}
    assert pool["numThreadsPerWorker"] == 1
    assert pool["workerHarnessContainerImage"] == "example/dovetail:1"
    assert "shuffle_mode=service" in asked["environment"]["experiments"]


@pytest.mark.parametrize(
    "end", ["--stop=all_exhausted", "--max_bytes=90kB"], ids=["repeats", "bytes"]
)
def test_a_mixture_is_byte_for_byte_that_of_directrunner(
    cloud: Dataflow, folder: str, tmp_path: Path, end: str
) -> None:
    put(f"{folder}/in", CORPUS)
    mixed = "--weights=a=0.7,b=0.3", "--num_shards=2", end
    expected = local(tmp_path, "--input=a=IN/a.txt", "--input=b=IN/b", *mixed)
    done = cloud.run(
        *SHUFFLE,
        *cloud.flags(f"mixed-{len(end)}"),
        f"--input=a={folder}/in/a.txt",
        f"--input=b={folder}/in/b",
        f"--output={folder}/out",
        *mixed,
    )
    assert done.returncode == 0, done.stderr
    assert shards(f"{folder}/out") == expected
    left = {name for name in tree("gs://bucket/tmp") if name.startswith("dovetail-")}
    assert not left, "temporary files"


def test_tokenizing_goes_on_without_its_launcher(
    cloud: Dataflow, folder: str, tmp_path: Path
) -> None:
    texts = {
        "t.jsonl": b"".join(
            json.dumps({"text": TEXTS[i % len(TEXTS)] + str(i)}).encode() + b"\n"
            for i in range(200)
        )
    }
    model = write_model(tmp_path / "model.json")
    write_tree(tmp_path / "in", texts)
    put(f"{folder}/in", texts)
    put(folder, {"model.json": model.read_bytes()})
    law = "--sampling=exact", "--alpha=0.3", "--seed=3", "--num_shards=2"
    pipelines.tokenize.run(
        [f"--input={tmp_path / 'in'}", f"--tokenizer={model}", f"--output={tmp_path / 'out'}", *law]
    )
    expected = {k: v for k, v in read_tree(tmp_path / "out").items() if k.startswith("data/")}
    flags = [
        *cloud.flags("tokens"),
        f"--input={folder}/in",
        f"--tokenizer={folder}/model.json",
        f"--output={folder}/out",
        *law,
    ]
    done = cloud.run("-m", "pipelines.tokenize", *flags, "--no_wait")
    assert done.returncode == 0, done.stderr
    assert cloud.job("tokens")["currentState"] == 9, "somebody asked after the job"
    there = tree(f"{folder}/out")
    assert "manifest.json" not in there
    assert json.loads(there["_incomplete.json"])["patience"] == 900
    again = cloud.start("-m", "pipelines.tokenize", *flags, "--overwrite")
    assert again.stderr is not None
    waiting = next(line for line in again.stderr if "is still running" in line or "Error" in line)
    assert "waiting 900 s" in waiting
    assert cloud.see_through("tokens") == 3  # now it works, and what it writes changes
    _, said = again.communicate(timeout=120)
    assert again.returncode == 2, said
    assert "another run is writing there" in said
    assert shards(f"{folder}/out") == expected
    assert set(tree(f"{folder}/out")) == {*expected, "manifest.json"}


def test_a_flex_templates_launcher_leaves_a_job_that_the_service_can_run(
    cloud: Dataflow, folder: str, tmp_path: Path
) -> None:
    put(f"{folder}/in", CORPUS)
    expected = local(tmp_path, "--input=IN", "--num_shards=2")
    described = f"{folder}/staging/template_launches/1/job_object"
    given = {
        "job_name": "--job_name=from-a-template",
        "template_location": f"--template_location={described}",
        "temp_location": "--temp_location=gs://bucket/tmp",
        "staging_location": f"--staging_location={folder}/staging",
    }
    launcher = [given.get(flag[2:].partition("=")[0], flag) for flag in LAUNCHER]
    done = cloud.run(
        ROOT / "deploy" / "dataflow" / "flex_launcher.py",
        "--pipeline=shuffle",
        *launcher,
        f"--dataflow_endpoint={cloud.url}",
        "--overwrite=true",
        f"--input={folder}/in",
        f"--output={folder}/out",
        "--num_shards=2",
    )
    assert done.returncode == 0, done.stderr
    assert "from-a-template" not in cloud.names(), "the launcher created a job"
    assert shards(f"{folder}/out") == {}
    job = json.loads(tree(folder)[described.removeprefix(f"{folder}/")])
    job |= {"clientRequestId": "the-service's-own"}
    cloud.ask(cloud.jobs_path(), "POST", job)
    assert cloud.see_through("from-a-template") == 3
    assert shards(f"{folder}/out") == expected
    assert not any(name.startswith("dovetail-") for name in tree("gs://bucket/tmp"))
    assert set(tree(f"{folder}/out")) == {*expected, "manifest.json"}


def test_a_job_that_fails_says_why_and_leaves_nothing(cloud: Dataflow, folder: str) -> None:
    put(f"{folder}/in", CORPUS)
    flags = [f"--input={folder}/in", f"--output={folder}/out"]
    cloud.scenario("fail")
    done = cloud.run(*SHUFFLE, *cloud.flags("no-machines"), *flags)
    assert done.returncode == 1
    assert "error: the job failed: RuntimeError: the zone is out of machines" in done.stderr
    assert tree(f"{folder}/out") == {}
    cloud.scenario("run")
    done = cloud.run(*SHUFFLE, *cloud.flags("no-json"), *flags, "--check=json")
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert "is a bad record" in line
    assert f"{folder}/in/" in line
    assert tree(f"{folder}/out") == {}


def test_an_interrupt_cancels_the_job(cloud: Dataflow, folder: str) -> None:
    put(f"{folder}/in", CORPUS)
    cloud.scenario("stay")
    flags = [*cloud.flags("unwanted"), f"--input={folder}/in", f"--output={folder}/out"]
    process = cloud.start(*SHUFFLE, *flags)
    while process.poll() is None:
        if "unwanted" in cloud.names() and cloud.job("unwanted")["currentState"] == 2:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert cloud.job("unwanted")["currentState"] == 5, err
    assert tree(f"{folder}/out") == {}


def test_a_job_that_the_service_refuses_is_an_error_that_quotes_it(
    cloud: Dataflow, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry.Clock, "sleep", lambda self, seconds: None)  # Beam tries 4 times
    put(f"{folder}/in", CORPUS)
    cloud.scenario("refuse")
    flags = [*cloud.flags("refused"), f"--input={folder}/in", f"--output={folder}/out"]
    with pytest.raises(RunError, match=r"refused the job .*no machines left.*--project"):
        pipelines.shuffle.run(flags)
    assert tree(f"{folder}/out") == {}
