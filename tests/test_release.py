"""What is released is checked: `make release-check` builds and tries it, here its checks are tried."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy import release
from tests.pipelines.support import ROOT

WHEEL = [
    *release.CODE,
    f"{release.NAME}.dist-info/licenses/LICENSE",
    f"{release.NAME}.dist-info/entry_points.txt",
]
SDIST = [
    f"{release.NAME}/{name}"
    for name in (*release.CODE, "LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml")
] + [f"{release.NAME}/constraints.txt"]


def test_a_whole_wheel_and_sdist_have_no_faults() -> None:
    assert release.wheel_faults(WHEEL) == []
    assert release.sdist_faults(SDIST) == []


@pytest.mark.parametrize(
    "name",
    ["transforms/py.typed", "LICENSE", "dovetail/__init__.py", "pipelines/recipes/cli.py"],
)
def test_a_missing_file_is_a_fault(name: str) -> None:
    assert len(release.wheel_faults([n for n in WHEEL if not n.endswith(name)])) == 1
    assert len(release.sdist_faults([n for n in SDIST if not n.endswith(name)])) == 1


@pytest.mark.parametrize("name", ["tests/test_docs.py", "dovetail/__pycache__/x.pyc"])
def test_what_does_not_belong_there_is_a_fault(name: str) -> None:
    assert f"doesn't belong there: {name}" in release.wheel_faults([*WHEEL, name])
    assert f"doesn't belong there: {name}" in release.sdist_faults([*SDIST, name])


def test_a_missing_subpackage_is_a_fault() -> None:
    kernels = {name for name in WHEEL if name.startswith("transforms/kernels/")}
    assert len(kernels) > 10
    assert len(release.wheel_faults(set(WHEEL) - kernels)) == len(kernels)


def test_a_run_of_all_checks_says_that_shared_data_is_missing(tmp_path: Path) -> None:
    begins = (ROOT / ".ci" / "run").read_text().partition("make test")[0]
    (tmp_path / "here" / ".ci").mkdir(parents=True)
    script = tmp_path / "here" / ".ci" / "run"
    script.write_text(begins)
    without = {k: v for k, v in os.environ.items() if k != "DOVETAIL_SHARED"}

    def said() -> str:
        return subprocess.run(
            ["bash", script], env=without, check=True, stdout=-1, text=True
        ).stdout

    assert said().startswith("skipped: the tests of shared data")
    assert said().count("\n") == 1
    (tmp_path / "shared").mkdir()
    assert said() == ""


def test_what_would_be_installed_beside_our_packages_is_a_fault() -> None:
    assert release.wheel_faults([*WHEEL, "utils/x.py"]) == [
        "is installed beside our packages: utils"
    ]


def test_changelog_and_citation_say_the_version() -> None:
    assert release.version_faults() == []


def test_an_old_changelog_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "VERSION", "9.9.9")
    assert [fault.split()[0] for fault in release.version_faults()] == [
        "CHANGELOG.md",
        "CITATION.cff",
    ]


def test_the_forms_and_the_workflow_are_yaml_that_github_takes() -> None:
    for path in sorted((ROOT / ".github" / "ISSUE_TEMPLATE").iterdir()):
        form = yaml.safe_load(path.read_text())
        assert {"name", "description", "body"} <= {*form}, path
        questions = [field for field in form["body"] if field["type"] != "markdown"]
        assert len({field["id"] for field in questions}) == len(questions), path
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    steps = workflow["jobs"]["checks"]["steps"]
    assert steps[-1]["run"] == ".ci/run"
    assert Path(ROOT, steps[-1]["run"]).is_file()
