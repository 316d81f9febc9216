"""The report: its words say what numbers mean, and its figure is the same for the same report."""

from __future__ import annotations

import re
import xml.dom.minidom
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from transforms.kernels.likeness.weights import ONE, counted, weigh
from transforms.likeness.figure import figure
from transforms.likeness.fit import FitReport
from transforms.likeness.model import Sizes
from transforms.likeness.report import LABELS, LikeReport, make_report, words
from transforms.likeness.telling import Telling

SIZES = Sizes(input=3000, test=2000, input_contents=2900, test_contents=1900)


def telling(name: str, kind: str = "characters") -> Telling:
    return Telling(name=name, kind=kind, effect=0.5, in_test=0.9, in_input=0.1)


def fitted(auc: float, **changes: Any) -> FitReport:
    fields: dict[str, Any] = {
        "auc": auc,
        "loss": 0.4,
        "sample": SIZES,
        "fitted": SIZES,
        "toward_test": [telling("summer"), telling("a\nb $x$ <&> \x00")],
        "toward_input": [telling("冬天")],
    }
    return FitReport(**fields | changes)


def report_of(
    auc: float | None = 0.8, *, scores: list[int] | None = None, **more: Any
) -> LikeReport:
    scores = scores or [ONE // 2] * 900 + [ONE // 4] * 100
    limit = more.pop("max_weight", None)
    weighing = weigh(*counted(np.array(scores, np.uint32)), max_weight=limit)
    return make_report(weighing, fitted=None if auc is None else fitted(auc), **more)


def said(report: LikeReport) -> str:
    return " ".join(words(report))


def test_labels_are_always_spoken_of() -> None:
    for auc in (None, 0.5, 0.8, 1.0):
        assert words(report_of(auc))[-1] == LABELS
    assert "only if labels depend on inputs" in LABELS


def test_weights_are_said_to_be_near_1_only_where_they_are() -> None:
    assert "nothing to fix, and weights are near 1." in said(report_of(0.5))
    odd = report_of(0.5, scores=[ONE // 2] * 990 + [ONE // 100 * 97] * 10)
    assert odd.effective_share < 0.5
    assert "near 1 are a matter of chance: do without them." in said(odd)
    assert "and weights are near 1" not in said(odd)


@pytest.mark.parametrize(
    ("auc", "verdict", "words_of_it"),
    [
        (0.47, "alike", "there is nothing to fix"),
        (0.549, "alike", "there is nothing to fix"),
        (0.56, "different", "can be told apart (AUC 0.560"),
        (0.98, "different", "can be told apart (AUC 0.980"),
        (0.995, "apart", "hardly overlap"),
    ],
)
def test_each_verdict_has_its_own_words(auc: float, verdict: str, words_of_it: str) -> None:
    report = report_of(auc)
    assert report.verdict == verdict
    assert words_of_it in said(report)
    others = {"nothing to fix", "hardly overlap"} - {words_of_it.removeprefix("there is ")}
    assert not any(other in said(report) for other in others)


def test_chance_is_no_difference_where_there_is_little_to_see() -> None:
    few = Sizes(input=60, test=60, input_contents=60, test_contents=60)
    weighing = weigh(np.array([ONE // 2], np.uint32), np.array([60]))
    report = make_report(weighing, fitted=fitted(0.6, sample=few, fitted=few))
    assert report.verdict == "alike"
    assert "nothing to fix, as far as so few records show (60 of a set)" in said(report)


def test_few_heavy_records_are_spoken_of() -> None:
    report = report_of(scores=[ONE // 100] * 990 + [ONE - ONE // 100] * 10)
    assert "rest on few records" in said(report)
    assert re.search(r"the heaviest hundredth has 99% of the whole weight", said(report))
    assert "rest on few records" not in said(report_of())


def test_what_the_input_lacks_is_spoken_of() -> None:
    report = report_of(0.995, scores=[10] * 1000)
    assert report.covered < 0.001
    assert "no weights can make up for that" in said(report)


def test_clipping_and_draws_are_spoken_of() -> None:
    report = report_of(max_weight=Fraction(1), auc_after=0.52, draws=700)
    assert "900 records were cut down to a weight of 1 (--max_weight)" in said(report)
    assert "700 draws are many for that" in said(report)
    assert "tells what was drawn from the test set with an AUC of 0.520: hardly at all" in said(
        report
    )
    assert "the weighted input" in said(report_of(auc_after=0.7))
    assert "it is still not like the test set" in said(report_of(auc_after=0.7))


def test_a_sample_that_was_cut_is_spoken_of() -> None:
    cut = SIZES.model_copy(update={"input": 1000})
    weighing = weigh(np.array([ONE // 2], np.uint32), np.array([60]))
    report = make_report(weighing, fitted=fitted(0.8, fitted=cut))
    assert "learned from 1,000 of 3,000 records of the input's sample" in said(report)


def test_a_model_that_was_given_tells_of_weights_alone() -> None:
    text = said(report_of(None))
    assert "A fitted model was given" in text
    assert "AUC" not in text


def test_nothing_to_weigh_is_said() -> None:
    report = make_report(weigh(np.zeros(0, np.uint32), np.zeros(0, np.int64)))
    assert "There was nothing to weigh." in words(report)
    assert figure(report)


def test_a_report_is_json_and_comes_back() -> None:
    report = report_of(auc_after=0.6, draws=3, max_weight=Fraction(2))
    assert LikeReport.model_validate_json(report.model_dump_json()) == report


def test_the_figure_is_the_same_again_and_well_formed() -> None:
    report = report_of(auc_after=0.55, draws=100)
    drawn = figure(report)
    assert figure(report) == drawn
    assert b"<dc:date>" not in drawn
    texts = [
        "".join(child.data for child in node.childNodes if child.nodeType == node.TEXT_NODE)
        for node in xml.dom.minidom.parseString(drawn).getElementsByTagName("text")
    ]
    for shown in ("summer", "冬天", r"a\nb␣$x$␣<&>␣\x00", "0.800", "0.550"):
        assert shown in texts, shown


@pytest.mark.parametrize("auc", [None, 0.5, 1.0])
def test_there_is_a_figure_of_every_report(auc: float | None) -> None:
    xml.dom.minidom.parseString(figure(report_of(auc)))
