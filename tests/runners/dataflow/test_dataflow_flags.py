"""What is said before any work of a job for Dataflow, and what is chosen where nobody said."""

from __future__ import annotations

import importlib.util
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import pipelines.shuffle
import pipelines.tokenize
from pipelines.outputs.claim import claim_output
from pipelines.recipes.settings import RunSettings
from pipelines.runners import dataflow
from pipelines.runners.dataflow import cores_of, memory_of, settle_dataflow
from pipelines.runners.settle_runner import patience_of
from tests.runners.dataflow.conftest import Dataflow
from tests.stores.conftest import forget_stores, put, tree
from transforms.errors import UsageError
from transforms.kernels.planning.plan import GIB
from transforms.workers import signs_of_life

FLAGS = {
    "--runner": "DataflowRunner",
    "--region": "europe-west4",
    "--sdk_container_image": "example/dovetail:1",
    "--temp_location": "gs://bucket/tmp",
    "--project": "a-project",
    "--input": "gs://bucket/in/*.txt",
    "--output": "gs://bucket/out",
}


def flags(**changed: str | None) -> list[str]:
    given = {**FLAGS, **{f"--{name}": value for name, value in changed.items()}}
    return [name if not v else f"{name}={v}" for name, v in given.items() if v is not None]


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let there be no credentials, and no request that leaves this machine."""
    forget_stores()
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"region": None}, r"^--region: expected"),
        ({"sdk_container_image": None}, r"^--sdk_container_image: expected .*deploy/Dockerfile"),
        ({"temp_location": None}, r"^--temp_location: expected gs://BUCKET/FOLDER"),
        ({"temp_location": "/tmp/x"}, r"^--temp_location=/tmp/x: a path on this machine"),
        ({"temp_location": "s3://b/x"}, r"^--temp_location=s3://b/x: expected gs://BUCKET"),
        ({"temp_location": "gs://A_b/x"}, r"^--temp_location=gs://A_b/x: expected gs://BUCKET"),
        ({"input": "in/*.txt"}, r"^--input=in/\*\.txt: a path on this machine"),
        ({"input": "file:///in.txt"}, r"^--input=file:///in.txt: a path on this machine"),
        ({"output": "out"}, r"^--output=out: a path on this machine.*hdfs://\)$"),
        (
            {"shared_filesystem": ""},
            r"^--shared_filesystem is for --runner=FlinkRunner, .* Dataflow",
        ),
        (
            {"workers": "4"},
            r"^--workers is for --runner=DirectRunner or .*--parallelism",
        ),
        ({"job_name": "Mine"}, r"^--job_name=Mine: expected lowercase letters"),
        ({"memory": "8GiB"}, r"^--memory=8GiB: expected at most 7\.5GiB"),
        (
            {"memory": "4GiB", "machine_type": "n2-standard-8"},
            r"^--memory=4GiB and --machine_type=n2-standard-8: expected at most 3\.8GiB",
        ),
        ({}, r"Google accepts no credentials .*GOOGLE_APPLICATION_CREDENTIALS"),
    ],
    ids=lambda value: "-".join(value) or "nothing" if isinstance(value, dict) else "",
)
def test_what_a_job_lacks_is_said_before_anything_is_written(
    changed: dict[str, str | None], said: str
) -> None:
    # the store that is named doesn't answer: whatever asked it would fail otherwise
    with pytest.raises(UsageError, match=said) as raised:
        pipelines.shuffle.run(flags(**changed))
    assert raised.value.exit_code == 2


def test_a_model_on_this_machine_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^--tokenizer=model.json: a path on this machine"):
        pipelines.tokenize.run(flags(tokenizer="model.json"))


def test_waiting_is_asked_of_dataflow_only() -> None:
    with pytest.raises(UsageError, match=r"--no_wait is for --runner=DataflowRunner, .* Direct"):
        pipelines.shuffle.run(["--input=a", "--output=b", "--no_wait"])


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if "google_auth" in name else real(name)
    )
    with pytest.raises(
        UsageError, match=r"google_auth_httplib2.*pip install 'dovetail-data\[dataflow\]'"
    ):
        pipelines.shuffle.run(flags())


def test_a_key_that_is_not_known_is_refused_before_anything_is_written(
    cloud: Dataflow, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(f"{folder}/in", {"a.txt": b"a\n"})
    forget_stores()
    content = json.loads(cloud.key.read_text())
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    content["private_key"] = other.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    key = tmp_path / "other.json"
    key.write_text(json.dumps(content))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    given = flags(input=f"{folder}/in", output=f"{folder}/out", dataflow_endpoint=cloud.url)
    with pytest.raises(
        UsageError, match=r"Google accepts no credentials .*invalid_grant"
    ) as raised:
        pipelines.shuffle.run(given)
    assert content["private_key"].splitlines()[1] not in str(raised.value)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(cloud.key))
    forget_stores()
    assert tree(f"{folder}/out") == {}


def test_standard_input_is_refused(cloud: Dataflow, folder: str) -> None:
    given = flags(input="-", output=f"{folder}/out", dataflow_endpoint=cloud.url)
    with pytest.raises(
        UsageError,
        match=(
            r"--input=-: the workers of DataflowRunner can't read this "
            r"machine's standard input"
        ),
    ):
        pipelines.shuffle.run(given)
    assert tree(f"{folder}/out") == {}


def test_the_credentials_project_is_taken_where_none_is_given(cloud: Dataflow) -> None:
    settings = RunSettings(output="gs://bucket/out", temp_location=["gs://bucket/tmp"])
    given = ["--region=europe-west4", "--sdk_container_image=example/dovetail:1"]
    _, found = settle_dataflow(settings, given, [])
    assert "--project=a-project" in found
    _, found = settle_dataflow(settings, [*given, "--project=another"], [])
    assert "--project=another" in found


@pytest.mark.parametrize(
    ("settings", "given", "chosen", "parallelism", "memory"),
    [
        ({}, [], ["--machine_type=n2-standard-4", "--max_num_workers=16"], 64, 3 * GIB),
        ({"memory": "3.5GiB"}, [], ["--machine_type=n2-standard-4"], 64, int(3.5 * GIB)),
        ({"memory": "4GiB"}, [], ["--machine_type=n2-highmem-4"], 64, 4 * GIB),
        ({"parallelism": 10}, [], ["--max_num_workers=3"], 10, 3 * GIB),
        ({}, ["--max_num_workers=5"], [], 20, 3 * GIB),
        ({}, ["--machine_type=n2-standard-16"], ["--max_num_workers=4"], 64, 3 * GIB),
        ({}, ["--machine_type=n1-standard-1"], ["--max_num_workers=64"], 64, int(1.75 * GIB)),
        ({"memory": "9GiB"}, ["--machine_type=custom-2-30720"], [], 64, 9 * GIB),
    ],
)
def test_machines_follow_from_memory_and_parallelism(
    settings: dict[str, Any],
    given: list[str],
    chosen: list[str],
    parallelism: int,
    memory: int,
) -> None:
    asked = RunSettings(output="gs://b/o", temp_location=["gs://bucket/tmp"], **settings)
    base = ["--region=r", "--sdk_container_image=i", "--project=p", "--no_auth", *given]
    settled, found = settle_dataflow(asked, base, [])
    assert settled.parallelism == parallelism
    assert settled.memory == memory
    added = found[len(base) :]
    assert found[: len(base)] == base
    assert set(chosen) <= set(added)
    machines = {flag for flag in added if flag.startswith(("--machine_type", "--max_num"))}
    if any(flag.startswith("--machine_type") for flag in given):
        assert not any(flag.startswith("--machine_type") for flag in machines)
    if any(flag.startswith("--max_num") for flag in given):
        assert not any(flag.startswith("--max_num") for flag in machines)


def test_a_users_own_choices_stand() -> None:
    asked = RunSettings(output="gs://b/o", temp_location=["gs://bucket/tmp"])
    own = [
        "--autoscaling_algorithm=NONE",
        "--number_of_worker_harness_threads=2",
        "--sdk_location=default",
        "--experiments=shuffle_mode=appliance",
    ]
    base = ["--region=r", "--sdk_container_image=i", "--project=p", "--no_auth", *own]
    _, found = settle_dataflow(asked, base, [])
    added = found[len(base) :]
    names = {flag.partition("=")[0] for flag in own} - {"--experiments"}
    assert not {flag.partition("=")[0] for flag in added} & names
    assert not any("shuffle_mode" in flag for flag in added)


def test_a_machines_process_has_what_its_core_has_less_the_systems() -> None:
    # by Google's tables: n2-standard 4 GiB a core, n2-highmem 8, n1-standard 3.75
    assert memory_of("n2-standard-4") == (16 - 2) * GIB // 4
    assert memory_of("e2-highmem-8") == (64 - 2) * GIB // 8
    assert memory_of("n1-standard-4") == (15 - 2) * GIB // 4
    assert memory_of("custom-4-8192") is None
    assert memory_of("a-machine-of-tomorrow") is None
    assert cores_of("n2-highmem-16") == 16
    assert (memory_of("n2-standard-4") or 0) >= dataflow.MEMORY


def test_a_run_that_is_left_alone_is_taken_for_dead_after_its_patience_only(
    cloud: Dataflow, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, clock = "0123456789ab", [0.0]
    marker = {"id": run, "run": run, "patience": patience_of("DataflowRunner")}
    there = {"_incomplete.json": json.dumps(marker).encode(), f"_tmp-{run}/alive": b"1"}
    put(folder, there)

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        if clock[0] == 895:
            put(folder, {f"_tmp-{run}/alive": b"2"})

    monkeypatch.setattr(signs_of_life, "_LOOK", 179.0)
    monkeypatch.setattr(signs_of_life, "monotonic", lambda: clock[0])
    monkeypatch.setattr(signs_of_life, "sleep", sleep)
    with pytest.raises(UsageError, match=rf"sign of life is recent.*dovetail-{run}"):
        claim_output(folder, overwrite=False).__enter__()
    assert tree(folder) == {**there, f"_tmp-{run}/alive": b"2"}
    with claim_output(folder, overwrite=False) as claim:
        assert clock[0] == 895 + 900
        assert f"_tmp-{run}/alive" not in tree(folder)
        assert claim.run_id != run
    assert tree(folder) == {}


def test_counters_are_those_of_all_steps_that_are_committed() -> None:
    from google.cloud.dataflow import MetricStructuredName, MetricUpdate

    from pipelines.runners.dataflow_job import counters

    def metric(name: str, value: int, namespace: str = "dovetail", **more: str) -> MetricUpdate:
        context = {"namespace": namespace, "step": "s1", **more}
        structured = MetricStructuredName(name=name, origin="user", context=context)
        return MetricUpdate(name=structured, scalar=value)

    found = counters(
        [
            metric("partition_bytes", 5),
            metric("partition_bytes", 7),
            metric("partition_bytes", 900, tentative="true"),
            metric("write_records", 3),
            metric("write_records", 11, namespace="apache_beam"),
        ]
    )
    assert found == {"partition_bytes": 12, "write_records": 3}


def test_the_stand_in_lets_nobody_in_without_a_token(cloud: Dataflow) -> None:
    request = urllib.request.Request(f"{cloud.url}{cloud.jobs_path('x')}")
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request)
    assert raised.value.code == 401
