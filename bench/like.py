"""How right the weights of ``--like`` are, over seeds: the claims of its tests, and what they rest on.

Gaussians through bins as words, and poems and reviews in shares of 0.97 to 0.03 against 0.03 to 0.97:
the correlation of log weights with the truth, by how many standard errors weighted means of five
functions are off (bootstrap over contents), the effective sample size over the true one; of the mixture
also the AUC before, after a draw of a third of the effective size (80 at least), and of as many without
weights. Each as it is, with Platt's sigmoid alone, and with features that aren't scaled. Then the fit's
time and memory.

    python bench/like.py --shared=../shared --seeds=5
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import common
import machine
import numpy as np
from processes import ROOT

sys.path.insert(1, str(ROOT))  # the claims' own samples, which are the tests'

from tests.transforms.likeness.like_samples import (
    OF_NUMBERS,
    OF_TEXTS,
    Fitted,
    auc_after,
    draw,
    errors,
    fitted,
    gaussians,
    poems_and_reviews,
)
from transforms.likeness import fit_fold
from transforms.likeness.calibration import platt

VARIANTS = ("as it is", "sigmoid alone", "unscaled")


@contextmanager
def variant(name: str) -> Iterator[None]:
    """Fit without one of the parts."""
    calibrate, scale_of = fit_fold.calibrate, fit_fold.scale_of
    if name == "sigmoid alone":
        fit_fold.calibrate = platt
    if name == "unscaled":
        fit_fold.scale_of = lambda spec, matrix, seen, is_test: np.ones(matrix.width)
    try:
        yield
    finally:
        fit_fold.calibrate, fit_fold.scale_of = calibrate, scale_of


def tell(what: str, seed: int, name: str, found: Fitted, off: list[float], more: list[str]) -> None:
    true = np.exp(found.truth).sum() ** 2 / np.exp(2 * found.truth).sum()
    common.row(
        what,
        str(found.inputs),
        str(seed),
        name,
        f"{np.corrcoef(np.log(found.weights), found.truth)[0, 1]:.3f}",
        " ".join(f"{one:+.1f}" for one in off),
        f"{found.weighing.effective / true:.2f}",
        f"{found.weighing.mean:.2f}",
        *(more or ["", "", ""]),
    )


def bins(count: int, seed: int, name: str) -> None:
    sample, middles, truth = gaussians(count, seed=seed)
    with variant(name):
        found = fitted(sample, truth)
    off = [errors(found, function(middles)) for function in OF_NUMBERS.values()]
    tell("Gaussians", seed, name, found, off, [])


def mixture(shared: Path, count: int, seed: int, name: str) -> None:
    sample, _, truth = poems_and_reviews(shared, count, seed=seed)
    texts = sample.texts.to_pylist()
    with variant(name):
        found = fitted(sample, truth)
        draws = int(found.weighing.effective / 3)
        drawn = [found.weighing.units_of(found.scores), np.ones(found.inputs, np.uint64)]
        after = [f"{auc_after(found, draw(units, max(draws, 80))):.3f}" for units in drawn]
    off = [
        errors(found, np.array([float(function(text)) for text in texts]))
        for function in OF_TEXTS.values()
    ]
    tell("mixture", seed, name, found, off, [f"{found.report.auc:.3f}", *after])


def time_fit(shared: Path, count: int) -> None:
    sample, _, truth = poems_and_reviews(shared, count, seed=1)
    fitted(gaussians(300, seed=1)[0], truth)  # compiles
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    found = fitted(sample, truth)
    seconds = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    size = sum(len(text.encode()) for text in sample.texts.to_pylist())
    used = found.report.fitted
    print(
        f"\nfit: {len(sample.is_test):,} records, {size / 1e6:.1f} MB, of which "
        f"{used.input + used.test:,} were learned from: {seconds:.1f} s of the processor, scores too; "
        f"{peak / 1024:.0f} MiB more"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--shared", type=Path, required=True, help="has data/poems.jsonl, …")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--bins", type=int, default=6000, help="records of either set")
    parser.add_argument("--mixed", type=int, default=8000)
    parser.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS)
    args = parser.parse_args()
    machine.describe(Path(tempfile.gettempdir()), terashuf=None)
    common.header(
        "what",
        "records of either set",
        "seed",
        "variant",
        "correlation",
        "five means, standard errors off",
        "effective size over true",
        "mean of D/(1-D)",
        "AUC before",
        "after",
        "control",
    )
    for name in args.variants:
        for seed in range(1, args.seeds + 1):
            bins(args.bins, seed, name)
            mixture(args.shared, args.mixed, seed, name)
    time_fit(args.shared, 19_000)


if __name__ == "__main__":
    main()
