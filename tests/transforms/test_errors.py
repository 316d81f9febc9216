"""Errors: one tree, exit codes, one line each, and found again in what a runner says."""

from __future__ import annotations

import apache_beam as beam
import pytest

from tests.transforms.helpers import run
from transforms import errors

USAGE = (errors.UsageError, errors.InputError)
RUN = (
    errors.RunError,
    errors.DataError,
    errors.LosslessError,
    errors.StoreError,
    errors.PassingError,
    errors.WorkerError,
)


def subclasses(cls: type) -> set[type]:
    return {cls}.union(*map(subclasses, cls.__subclasses__()))


def test_every_error_of_the_module_is_under_one_root() -> None:
    types = {item for item in vars(errors).values() if isinstance(item, type)}
    declared, found = (
        {item for item in items if item.__module__ == errors.__name__}
        for items in (types, subclasses(errors.DovetailError))
    )
    assert declared == found == {errors.DovetailError, *USAGE, *RUN}


@pytest.mark.parametrize(
    ("parent", "child"),
    [
        (errors.DovetailError, errors.UsageError),
        (errors.UsageError, errors.InputError),
        (errors.DovetailError, errors.RunError),
        (errors.RunError, errors.DataError),
        (errors.RunError, errors.LosslessError),
        (errors.RunError, errors.StoreError),
        (errors.StoreError, errors.PassingError),
        (errors.RunError, errors.WorkerError),
    ],
)
def test_the_tree_is_as_drawn(parent: type, child: type) -> None:
    assert child.__bases__ == (parent,)


@pytest.mark.parametrize("cls", USAGE)
def test_what_the_user_can_mend_exits_with_2(cls: type[errors.DovetailError]) -> None:
    assert cls("x").exit_code == 2


@pytest.mark.parametrize("cls", RUN)
def test_what_went_wrong_in_the_work_exits_with_1(cls: type[errors.DovetailError]) -> None:
    assert cls("x").exit_code == 1


def test_a_message_is_one_line() -> None:
    assert str(errors.DataError("a\n  b\r\n\tc ")) == "a b c"


REPORTS = {
    "alone": "transforms.errors.{name}: {text}",
    "with the step": "transforms.errors.{name}: {text} [while running 'Write-ptransform-12']",
    "in a traceback": (
        "Traceback (most recent call last):\n"
        '  File "apache_beam/runners/common.py", line 1512, in process\n'
        "ValueError: {{not}} ours\n\nDuring handling of the above exception, another occurred:\n\n"
        "transforms.errors.{name}: {text} [while running 'ReadRecords/ReadSpans-ptransform-7']\n\n"
        "transforms.errors.RunError: a later one"
    ),
    "quoted once more": (
        "RuntimeError: Bundle failed: 'Traceback …\\ntransforms.errors.{name}: {text}\\n  File …'"
    ),
}


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
@pytest.mark.parametrize("cls", [*USAGE, *RUN])
def test_an_error_is_found_again_in_a_runners_report(
    cls: type[errors.DovetailError], report: str
) -> None:
    text = "file:///x/y.txt: expected 3 [lines]: got 'two'; run again"
    found = errors.from_traceback(report.format(name=cls.__name__, text=text))
    assert type(found) is cls
    assert str(found) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ValueError: no",
        "DataError: of somebody else",
        "other.errors.DataError: x",
        "transforms.errors: mentioned only",
    ],
)
def test_nothing_is_found_where_none_of_ours_is_in_it(text: str) -> None:
    assert errors.from_traceback(text) is None


def _refuse(element: int) -> int:
    raise errors.DataError(f"some/file: element {element} is bad; fix it")


@pytest.mark.parametrize("mode", ["in_memory", "multi_threading"])
def test_what_a_worker_raises_comes_out_of_beam_and_is_found(mode: str) -> None:
    with pytest.raises(Exception, match="some/file") as caught:
        run(
            lambda root: root | beam.Create([7]) | beam.Map(_refuse),
            direct_num_workers=2,
            direct_running_mode=mode,
        )
    # in one thread Beam raises the error itself, else a RuntimeError that quotes a traceback
    error = caught.value
    report = f"{type(error).__module__}.{type(error).__name__}: {error}"
    found = errors.from_traceback(report)
    assert type(found) is errors.DataError
    assert str(found) == "some/file: element 7 is bad; fix it"
