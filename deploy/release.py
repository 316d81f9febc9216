"""Build the wheel and the sdist, check what they hold, and try each in a clean environment.

``python -m deploy.release``, or ``make release-check``. It needs the package ``build`` and the network:
pip gets the versions of ``constraints.txt``. The files stay in ``dist/``. It uploads nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterable
from pathlib import Path

from transforms.version import VERSION

ROOT = Path(__file__).parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
POEMS = ROOT / "examples" / "data" / "poems.jsonl"
PACKAGES = ("dovetail", "pipelines", "transforms")
NAME = f"dovetail_data-{VERSION}"
CODE = {
    "dovetail_command.py",
    *(f"{package}/py.typed" for package in PACKAGES),
    *(str(m.relative_to(ROOT)) for name in PACKAGES for m in (ROOT / name).rglob("*.py")),
}
"""What both hold: every module that is here."""
UNWANTED = re.compile(r"(^|/)(tests|bench|examples|deploy|__pycache__)/|\.pyc$")


def wheel_faults(names: Iterable[str]) -> list[str]:
    """Return what is wrong with a wheel that holds files of these names."""
    found = set(names)
    required = {*CODE, f"{NAME}.dist-info/licenses/LICENSE", f"{NAME}.dist-info/entry_points.txt"}
    roots = {*PACKAGES, "dovetail_command.py", f"{NAME}.dist-info"}
    return [
        *(f"is missing: {name}" for name in sorted(required - found)),
        *(f"doesn't belong there: {name}" for name in sorted(found) if UNWANTED.search(name)),
        *(
            f"is installed beside our packages: {r}"
            for r in {n.split("/")[0] for n in found} - roots
        ),
    ]


def sdist_faults(names: Iterable[str]) -> list[str]:
    """Return what is wrong with a source distribution that holds files of these names."""
    found = {name.removeprefix(f"{NAME}/") for name in names}
    required = {*CODE, "LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "constraints.txt"}
    return [
        *(f"is missing: {name}" for name in sorted(required - found)),
        *(f"doesn't belong there: {name}" for name in sorted(found) if UNWANTED.search(name)),
    ]


def version_faults() -> list[str]:
    """Return where the changelog and the citation don't say the version that is built."""
    newest = re.search(
        r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    cited = re.search(
        r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE
    )
    return [
        f"{name} says version {said and said[1]}, and transforms/version.py {VERSION}"
        for name, said in (("CHANGELOG.md", newest), ("CITATION.cff", cited))
        if said is None or said[1] != VERSION
    ]


def build(folder: Path) -> tuple[Path, Path]:
    """Build into this folder; return the wheel (which is built from the sdist) and the sdist."""
    for old in (ROOT / "build", folder):
        shutil.rmtree(old, ignore_errors=True)
    run(
        [sys.executable, "-m", "build", "--outdir", folder, ROOT],
        env={**os.environ, "PIP_CONSTRAINT": str(CONSTRAINTS)},
        quiet=True,
    )
    return folder / f"{NAME}-py3-none-any.whl", folder / f"{NAME}.tar.gz"


def try_installed(package: Path) -> None:
    """Install it into a new environment; there, shuffle the poems, verify them, compare the lines."""
    with tempfile.TemporaryDirectory() as name:
        there = Path(name)
        venv.create(there / "venv", symlinks=True, with_pip=True)
        python = there / "venv" / "bin" / "python"
        pip: list[str | Path] = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-compile",
            "--disable-pip-version-check",
        ]
        run([*pip, package, "-c", CONSTRAINTS], cwd=there)
        for folder in PACKAGES:  # a user's folders of these names must not shadow ours
            (there / folder).mkdir()
            (there / folder / "__init__.py").touch()
        dovetail = there / "venv" / "bin" / "dovetail"
        flags: list[str | Path] = [
            "--runner=DirectRunner",
            f"--input={POEMS}",
            "--output=out",
            "--num_shards=3",
        ]
        run([dovetail, "shuffle", *flags, "--workers=2"], cwd=there)
        run([dovetail, "verify", "out"], cwd=there)
        manifest = json.loads((there / "out" / "manifest.json").read_bytes())
        shards = [(there / "out" / shard["path"]).read_bytes() for shard in manifest["shards"]]
    if sorted(b"".join(shards).splitlines()) != sorted(POEMS.read_bytes().splitlines()):
        sys.exit(f"{package.name}: the shuffled lines aren't those of {POEMS}")


def run(
    command: list[str | Path],
    *,
    cwd: Path = ROOT,
    env: dict[str, str] | None = None,
    quiet: bool = False,
) -> None:
    """Run a command; end with its output where it fails."""
    print("+", *command, flush=True)
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=env or {k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{done.stdout or ''}\nexit code {done.returncode}: {' '.join(map(str, command))}")


def end_at(faults: list[str]) -> None:
    """End with exit code 1 where there are faults."""
    if faults:
        sys.exit("\n".join(faults))


def main() -> None:
    """Do all of it; end with exit code 1 at the first fault."""
    end_at(version_faults())
    wheel, sdist = build(ROOT / "dist")
    with zipfile.ZipFile(wheel) as opened:
        end_at([f"{wheel.name}: {fault}" for fault in wheel_faults(opened.namelist())])
    with tarfile.open(sdist) as archive:
        names = [member.name for member in archive if member.isfile()]
    end_at([f"{sdist.name}: {fault}" for fault in sdist_faults(names)])
    for kind, package in (("wheel", wheel), ("sdist", sdist)):
        try_installed(package)
        print(f"the {kind}'s main job gave back every line", flush=True)


if __name__ == "__main__":
    main()
