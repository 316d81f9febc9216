"""The Kubernetes deployment, against the operator's own schema; nothing here runs on Kubernetes."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.pipelines.support import ROOT
from tests.runners.conftest import program

pytestmark = pytest.mark.runners

DEPLOYMENT = ROOT / "deploy" / "flink" / "kubernetes" / "session-cluster.yaml"
CRD = "META-INF/fabric8/flinkdeployments.flink.apache.org-v1.yml"
KINDS = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    with zipfile.ZipFile(program("operator")) as jar:
        (version,) = yaml.safe_load(jar.read(CRD))["spec"]["versions"]
    assert version["name"] == "v1beta1"
    return dict(version["schema"]["openAPIV3Schema"])


def misfits(value: Any, schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield what Kubernetes would refuse, or drop since the schema doesn't know it."""
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, int | str):
            yield f"{path}: {value!r}"
        return
    if not isinstance(value, KINDS[schema["type"]]):
        yield f"{path}: expected {schema['type']}, got {value!r}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: expected one of {schema['enum']}, got {value!r}"
    if isinstance(value, list):
        for place, item in enumerate(value):
            yield from misfits(item, schema["items"], f"{path}[{place}]")
    if isinstance(value, dict):
        yield from (
            f"{path}.{name}: missing" for name in schema.get("required", ()) if name not in value
        )
        for name, item in value.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            if inner:
                yield from misfits(item, inner, f"{path}.{name}")
            elif not schema.get("x-kubernetes-preserve-unknown-fields"):
                yield f"{path}.{name}: unknown"


def deployment() -> dict[str, Any]:
    return dict(yaml.safe_load(DEPLOYMENT.read_text()))


def spec_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return dict(schema["properties"]["spec"])


def test_the_deployment_fits_the_operators_schema(schema: dict[str, Any]) -> None:
    found = deployment()
    assert (found["apiVersion"], found["kind"]) == ("flink.apache.org/v1beta1", "FlinkDeployment")
    assert list(misfits(found["spec"], spec_schema(schema), "spec")) == []


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("flinkVersion",), "v9_9", "spec.flinkVersion: expected one of"),
        (("taskManagers",), {}, "spec.taskManagers: unknown"),
        (("taskManager", "replicas"), "4", "spec.taskManager.replicas: expected integer"),
        (
            ("taskManager", "podTemplate", "spec", "containers", 0, "arguments"),
            [],
            "spec.taskManager.podTemplate.spec.containers[0].arguments: unknown",
        ),
        (("flinkConfiguration", "heartbeat.timeout"), 2, "heartbeat.timeout: expected string"),
    ],
)
def test_the_check_sees_what_does_not_fit(
    schema: dict[str, Any], path: tuple[Any, ...], value: Any, expected: str
) -> None:
    spec = place = deployment()["spec"]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    assert any(expected in found for found in misfits(spec, spec_schema(schema), "spec"))
