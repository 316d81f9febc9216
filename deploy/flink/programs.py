"""The programs of a cluster: got from the registries that pip, Maven and Go are configured for.

What comes is compared with pinned digests and kept in a cache, ``DOVETAIL_CACHE`` or
``~/.cache/dovetail``.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
FLINK = "1.19.3"
PRISM = "v2.77.0"
JOB_SERVER_CONTENT = "43fa53bb75f9679208b4acf5dbce10c2cfd78832c9e06afdcb1b1f92ba8266cb"
"""Of what Maven put into the job server, as ``content_digest`` sees it."""


OPERATOR = "1.10.0"
OPERATOR_DIGEST = "b1f44814e17514fa8395c61b329a3ee9087123a5bda5b21fe1a495d5182c30b6"


class Missing(Exception):
    """A program that has to be installed first."""


def cache() -> Path:
    """Return the folder in which programs are kept."""
    given = os.environ.get("DOVETAIL_CACHE")
    if given:
        return Path(given).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().resolve() / "dovetail"


def java() -> str:
    """Return the Java to run; raises Missing."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which(os.path.join(home, "bin", "java") if home else "java")
    if found is None:
        raise Missing("expected Java 17: install it, or set JAVA_HOME")
    return found


def flink() -> Path:
    """Return the folder with Flink's ``lib`` and ``bin``."""

    def make(into: Path) -> None:
        with tempfile.TemporaryDirectory() as there:
            call(
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--disable-pip-version-check", "--no-binary=:all:", "--require-hashes"),
                *("--requirement", str(HERE / "requirements.txt"), "--dest", there),
            )
            (archive,) = Path(there).iterdir()
            with tarfile.open(archive) as tar:
                tar.extractall(there, filter="data")
            shutil.move(Path(there, f"apache-flink-libraries-{FLINK}", "deps"), into)

    return kept(f"flink-{FLINK}", make)


def job_server() -> Path:
    """Return the jar that takes Beam's pipelines to Flink."""
    recipe = hashlib.sha256((HERE / "pom.xml").read_bytes()).hexdigest()[:12]

    def make(into: Path) -> None:
        if shutil.which("mvn") is None:
            raise Missing("expected Maven, to build Beam's job server: install it")
        with tempfile.TemporaryDirectory() as there:
            shutil.copy(HERE / "pom.xml", there)
            call("mvn", "--quiet", "--batch-mode", "--no-transfer-progress", "package", cwd=there)
            jar = Path(there, "target", "job-server.jar")
            found = content_digest(jar)
            if found != JOB_SERVER_CONTENT:
                raise Missing(
                    f"expected a job server whose content has the digest {JOB_SERVER_CONTENT}, "
                    f"Maven built one with {found}: its registry gives other files than the "
                    "tested ones"
                )
            shutil.move(jar, into)

    return kept(f"job-server-{recipe}.jar", make)


def prism() -> Path:
    """Return the Prism runner; Go's own sums say that it is what was published."""

    def make(into: Path) -> None:
        if shutil.which("go") is None:
            raise Missing("expected Go, to build Prism: install it")
        with tempfile.TemporaryDirectory() as there:
            module = f"github.com/apache/beam/sdks/v2/go/cmd/prism@{PRISM}"
            call("go", "install", module, environment={"GOBIN": there})
            shutil.move(Path(there, "prism"), into)

    return kept(f"prism-{PRISM}", make)


def operator() -> Path:
    """Return the Kubernetes operator's jar of its interface, which holds the schema of a cluster."""

    def make(into: Path) -> None:
        if shutil.which("mvn") is None:
            raise Missing("expected Maven, to get the Kubernetes operator's schema: install it")
        name = f"org.apache.flink:flink-kubernetes-operator-api:{OPERATOR}"
        with tempfile.TemporaryDirectory() as there:
            call(
                *("mvn", "--quiet", "--batch-mode", "--no-transfer-progress"),
                *("dependency:copy", f"-Dartifact={name}", f"-DoutputDirectory={there}"),
                cwd=there,
            )
            (jar,) = Path(there).glob("*.jar")
            found = hashlib.sha256(jar.read_bytes()).hexdigest()
            if found != OPERATOR_DIGEST:
                raise Missing(f"expected {name} with the digest {OPERATOR_DIGEST}, got {found}")
            shutil.move(jar, into)

    return kept(f"flink-operator-{OPERATOR}.jar", make)


def content_digest(jar: Path) -> str:
    """Return a digest of the files in a jar, but for those that say when and by whom it was made."""
    every = hashlib.sha256()
    with zipfile.ZipFile(jar) as archive:
        for name in sorted(set(archive.namelist())):
            if name.startswith("META-INF/maven/dovetail") or name == "META-INF/MANIFEST.MF":
                continue
            if not name.endswith("/"):
                one = hashlib.sha256(archive.read(name)).hexdigest()
                every.update(f"{one} {name}\n".encode())
    return every.hexdigest()


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """Return what lies in the cache under a name, made if it doesn't; it appears whole."""
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with locked(folder / f".{name}.lock"):
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as there:
                new = Path(there, name)
                make(new)
                new.rename(path)
    return path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def call(*command: str, cwd: str | None = None, environment: dict[str, str] | None = None) -> None:
    """Run a program; what it said goes into the error if it fails."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        said = done.stdout.decode(errors="replace").strip()[-2000:]
        raise Missing(f"{' '.join(command)} ended with code {done.returncode}: {said}")
