"""Dataflow: what a job needs, and what is sensible where nobody said; looked at before work starts.

Everything that is set here is one of Beam's own flags, and a user's own value stands. Why each is so:
docs/how-to/dataflow.md.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from pipelines.recipes.wording import write_size
from pipelines.runners.beam_flags import beam_options, says
from pipelines.runners.clusters import S, refuse_unshared
from transforms.errors import UsageError
from transforms.kernels.planning.plan import GIB

_PACKAGES = ("google.cloud.dataflow", "google_auth_httplib2", "gcsfs")
_BUCKET = re.compile(r"gs://[a-z0-9][a-z0-9._-]+[a-z0-9](/.*)?")  # else Beam makes one of its own

_JOB = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")

CORES = 4
"""Of a machine; on each Dataflow runs one worker process."""
MEMORY = 3 * GIB
"""What a worker process may take where nobody said: enough for runs of half a GiB, few requests."""
PARALLELISM = 64
"""The most worker processes where nobody said."""
OVERHEAD = 2 * GIB
"""Of a machine's memory: Dataflow's own processes (up to 1 GB by its manual) and the system."""
_OF_CORE = {"highcpu": 1.0, "standard": 4.0, "highmem": 8.0}  # GiB, by the middle of a type's name
_OF_CORE_N1 = {"highcpu": 0.9, "standard": 3.75, "highmem": 6.5}


def settle_dataflow(
    settings: S, beam_flags: Sequence[str], urls: Iterable[tuple[str, str]]
) -> tuple[S, list[str]]:
    """Look at what a job is to do, and who asks for it; as of ``runners.settle_runner``."""
    given = beam_options(beam_flags)
    _require_packages()
    refuse_unshared(settings, urls, where="--runner=DataflowRunner")
    temp = _temp_location(settings)
    if not given["region"]:
        raise UsageError(
            "--region: expected the region of the machines, such as europe-west4; best the "
            "region of the buckets"
        )
    name = given["job_name"]
    if name and not _JOB.fullmatch(name):
        raise UsageError(
            f"--job_name={name}: expected lowercase letters, digits and dashes, a letter "
            "first and no dash last; or leave it out"
        )
    if not given["sdk_container_image"]:
        raise UsageError(
            "--sdk_container_image: expected an image with Dovetail installed, which Beam's "
            "own hasn't; build one with deploy/Dockerfile"
        )
    settings, flags = _choose_machines(settings, given)
    project = given["project"]
    if not given["no_auth"]:
        project = _check_credentials(given["gcp_oauth_scopes"], given["project"])
    experiments = given["experiments"] or []
    flags += [
        "--runner=DataflowRunner",
        f"--project={project}",
        f"--temp_location={temp}",
        # a list of what is installed here would be left in the bucket, with whatever it names
        "--experiments=disable_logging_submission_environment",
    ]
    for name, value in (
        ("autoscaling_algorithm", "THROUGHPUT_BASED"),
        ("number_of_worker_harness_threads", "1"),
        ("sdk_location", "container"),
    ):
        if not says(beam_flags, name):
            flags.append(f"--{name}={value}")
    if not any(one.startswith("shuffle_mode") for one in experiments):
        flags.append("--experiments=shuffle_mode=service")
    return settings, [*beam_flags, *flags]


def _require_packages() -> None:
    try:
        missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    except ModuleNotFoundError as error:  # of a package above
        missing = [str(error.name)]
    if missing:
        raise UsageError(
            f"--runner=DataflowRunner needs a package that is missing ({missing[0]}): "
            "pip install 'dovetail-data[dataflow]'"
        )


def _temp_location(settings: S) -> str:
    """Return the first place for temporary files; Beam leaves the graph there, for the service."""
    locations = settings.temp_location or []
    if not locations:
        raise UsageError(
            "--temp_location: expected gs://BUCKET/FOLDER, for the job's graph and temporary files"
        )
    if not _BUCKET.fullmatch(locations[0]):
        raise UsageError(
            f"--temp_location={locations[0]}: expected gs://BUCKET/FOLDER first, with a "
            "bucket name of at least three letters, because Dataflow reads the job's graph "
            "there"
        )
    return locations[0]


def _choose_machines(settings: S, given: dict[str, Any]) -> tuple[S, list[str]]:
    """Choose the machines' type by memory, and how many there may be at most.

    Raises:
        UsageError: no machine gives a process so much memory.
    """
    flags = []
    memory, machine = settings.memory, given["machine_type"]
    if machine is None:
        wanted = memory or MEMORY
        types = (f"n2-{family}-{CORES}" for family in ("standard", "highmem"))
        fits = [name for name in types if wanted <= (memory_of(name) or 0)]
        if not fits:
            most = memory_of(f"n2-highmem-{CORES}") or 0
            raise UsageError(
                f"--memory={write_size(wanted)}: expected at most {most / GIB:.1f}GiB, the "
                "memory per core of high-memory machines; pass less, or your own "
                "--machine_type"
            )
        machine = fits[0]
        flags.append(f"--machine_type={machine}")
    share = memory_of(machine)
    if share is not None and memory is not None and memory > share:
        raise UsageError(
            f"--memory={write_size(memory)} and --machine_type={machine}: expected at most "
            f"{share / GIB:.1f}GiB for each of its worker processes, one per core; pass "
            "less, or a machine with more memory per core"
        )
    memory = memory or min(MEMORY, share or MEMORY)
    cores, most = cores_of(machine) or CORES, given["max_num_workers"]
    asked = settings.parallelism or (most * cores if most else PARALLELISM)
    if not most:
        flags.append(f"--max_num_workers={math.ceil(asked / cores)}")
    return settings.model_copy(update={"memory": memory, "parallelism": asked}), flags


def cores_of(machine: str) -> int | None:
    """Return how many cores a type of machine has, by its name; None where that doesn't say.

    >>> cores_of("n2-standard-8"), cores_of("custom-4-8192")
    (8, None)
    """
    found = re.fullmatch(r"[a-z]\w*-[a-z]+-([0-9]+)", machine)
    return int(found[1]) if found else None


def memory_of(machine: str) -> int | None:
    """Return the bytes of each worker process on a machine, by the name of its type.

    >>> memory_of("n2-standard-4") / GIB, memory_of("custom-4-8192")
    (3.5, None)
    """
    series, _, rest = machine.partition("-")
    of_core = (_OF_CORE_N1 if series == "n1" else _OF_CORE).get(rest.partition("-")[0])
    cores = cores_of(machine)
    if of_core is None or cores is None:
        return None
    return max(int((cores * of_core * GIB - OVERHEAD) / cores), 0)


def _check_credentials(scopes: Sequence[str], project: str | None) -> str:
    """Return the project, the credentials' own where none is given, when they have given a token.

    Beam would go on as nobody where there are none, and fail at its first request.

    Raises:
        UsageError: there are none, or they are refused; or nobody says which project.
    """
    import google.auth
    import google.auth.transport.requests
    from google.auth.exceptions import GoogleAuthError

    try:
        credentials, own = google.auth.default(scopes=list(scopes))
        credentials.refresh(google.auth.transport.requests.Request())
    except GoogleAuthError as error:
        raise UsageError(
            "--runner=DataflowRunner: Google accepts no credentials of this machine "
            f"({error}); set GOOGLE_APPLICATION_CREDENTIALS, or run: gcloud auth "
            "application-default login"
        ) from None
    if not (project or own):
        raise UsageError(
            "--project: expected the Google Cloud project to run the job in; the credentials "
            "name none"
        )
    return str(project or own)
