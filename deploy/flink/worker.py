"""What a TaskManager starts for its Python work: Beam's worker, which ends with its TaskManager.

It plays the part of the container's own boot program: asks the runner where everything is, then is the
worker. A worker whose TaskManager was killed would otherwise live on, and hold its memory.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import sys
import threading
import time
import urllib.request
from typing import Any

_LOOK_EVERY = 5.0  # seconds between two looks at whether the job has ended
_ENDED = {"FINISHED", "FAILED", "CANCELED", "SUSPENDED"}


def main(argv: list[str]) -> None:
    """Be the worker of an id."""
    parent = os.getppid()
    threading.Thread(target=follow, args=(parent,), name="follow", daemon=True).start()
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--id", required=True)
    parser.add_argument("--provision_endpoint", required=True)
    given, _ = parser.parse_known_args(argv)

    import grpc
    from apache_beam.portability.api import (
        beam_provision_api_pb2,
        beam_provision_api_pb2_grpc,
        endpoints_pb2,
    )
    from google.protobuf import json_format, text_format

    with grpc.insecure_channel(given.provision_endpoint) as channel:
        grpc.channel_ready_future(channel).result(timeout=60)
        info = (
            beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
            .GetProvisionInfo(
                beam_provision_api_pb2.GetProvisionInfoRequest(),
                metadata=[("worker_id", given.id)],
                timeout=60,
            )
            .info
        )
    master, name = os.environ.get("DOVETAIL_FLINK"), job_name(info.pipeline_options)
    if master and name:
        threading.Thread(target=follow_job, args=(master, name), name="job", daemon=True).start()
    os.environ["WORKER_ID"] = given.id
    os.environ["PIPELINE_OPTIONS"] = json_format.MessageToJson(info.pipeline_options)
    for name, endpoint in (
        ("CONTROL", info.control_endpoint),
        ("LOGGING", info.logging_endpoint),
    ):
        descriptor = endpoints_pb2.ApiServiceDescriptor(url=endpoint.url)
        text = text_format.MessageToString(descriptor)
        os.environ[f"{name}_API_SERVICE_DESCRIPTOR"] = text
    sys.argv[1:] = []
    runpy.run_module("apache_beam.runners.worker.sdk_worker_main", run_name="__main__")


def follow(parent: int) -> None:
    """End this process when its parent has.

    Not by prctl's signal on a parent's death: that comes when the thread that started us ends, and
    Java's does long before the TaskManager.
    """
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def job_name(options: Any) -> str:
    """Return the name of the job that a worker is for; "" where nobody says."""
    for name in ("beam:option:job_name:v1", "job_name"):
        if name in options:
            return str(options[name])
    return ""


def follow_job(master: str, name: str) -> None:
    """End this process when its job has.

    Beam ends it itself, but for a job that began again while a step was just being opened: then it
    loses count of who uses a worker.
    """
    while True:
        time.sleep(_LOOK_EVERY)
        try:
            with urllib.request.urlopen(f"{master}/jobs/overview", timeout=10) as answer:
                jobs = json.load(answer)["jobs"]
        except (OSError, ValueError):
            continue
        states = [job["state"] for job in jobs if job["name"] == name]
        if states and all(state in _ENDED for state in states):
            time.sleep(_LOOK_EVERY)  # in which Beam ends it well
            os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
