"""What is loaded before workers are forked is all that they need."""

from __future__ import annotations

import subprocess
import sys

_SCORES = """
import numpy as np
import pyarrow as pa
from transforms.kernels.compiled import told_of_compiling
from transforms.kernels.likeness.features import featurize
from transforms.kernels.likeness.scoring import Scorer
from transforms.kernels.likeness.spec import FeatureSpec
from transforms.likeness.load_kernels import load_kernels

load_kernels(False, False)
spec = FeatureSpec(categories=("kind",))
columns = {"kind": pa.array(["a", "b"])}
with told_of_compiling(lambda: print("compiled or loaded")):
    for texts in (["a", "é"], pa.array(["a", None], pa.large_string())):
        featurize(spec, texts, columns)
        scorer = Scorer(spec, np.zeros((1, spec.width)), np.array([[1.0, 0.0, 0.0, 1.0]]))
        scorer.score(texts, columns)
print("done")
"""


def test_after_loading_nothing_is_compiled_for_scores() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _SCORES], check=True, capture_output=True, text=True
    )
    assert ran.stdout == "done\n"
