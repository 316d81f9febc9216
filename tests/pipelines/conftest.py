"""What every test here gets: temporary files of its own, and a process left as it was."""

from __future__ import annotations

import logging
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder in which runs put their logs, here and in processes started from here."""
    folder = tmp_path_factory.mktemp("tmp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def _same_process() -> Iterator[None]:
    """Take back what a command's ``main`` does to the process that it expects to own."""
    ours, root = logging.getLogger("dovetail"), logging.getLogger()
    handler = signal.getsignal(signal.SIGTERM)
    before = ours.level, ours.propagate, list(root.handlers)
    yield
    ours.setLevel(before[0])
    ours.propagate = before[1]
    root.handlers[:] = before[2]
    signal.signal(signal.SIGTERM, handler)


KNOWN_FAULTS = {
    "test_python_names_the_interpreter_where_no_script_is_installed": "one is, in the make targets",
    "test_a_dataset_in_the_making_is_no_input": "its marker is taken for a hidden file's neighbour",
    "test_a_pipe_in_a_folder_does_not_hang_the_run": "special files are opened like any other",
    "test_folders_of_the_users_that_are_called_as_our_packages_are_in_nobodys_way": "the launcher",
    "test_an_interrupted_run_leaves_nothing_though_its_work_goes_on_while_it_clears_up_or_later": (
        "a library's run on threads can't end them"
    ),
    "test_a_run_that_fails_ends_only_processes_of_its_own": "children are told apart by time alone",
    "test_a_worker_that_dies_ends_the_run_with_one_error_that_says_how": "names the old worker",
    "test_a_manifest_that_was_edited_is_found_out": "some edits of it go unseen",
    "test_a_manifest_of_another_format_version_is_refused_by_version": "new fields are named first",
    "test_an_empty_pattern_is_refused_by_the_flag_as_it_was_given": "shows the list of patterns",
}
"""What these tests ask for isn't mended yet; each is in the note on the issue."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the run pass with faults that are known, and show them as such."""
    for item in items:
        name = item.name.split("[")[0]
        if name in KNOWN_FAULTS:
            item.add_marker(pytest.mark.xfail(reason=KNOWN_FAULTS[name], strict=False))
