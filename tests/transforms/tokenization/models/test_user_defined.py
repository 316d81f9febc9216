"""What users defined in a SentencePiece model is drawn as the package draws it."""

from __future__ import annotations

import functools
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import statistics
from tests.transforms.kernels.segmentation import segmentation_oracle as oracle
from tests.transforms.kernels.segmentation.test_segment_laws import law_p
from tests.transforms.tokenization.models.samples import sentencepiece_file
from transforms.tokenization.sampling import Sampling
from transforms.tokenization.tokenizer import Tokenizer

UNKNOWN, NORMAL, DEFINED = 2, 1, 4
TEXT = "a日本éa日本x"
NORMALS = {"a": -1.0, "日": -1.4, "本": -1.1, "é": -1.0, "éa": -1.2, "x": -1.0, "a日": -2.0}
DEFINES = ("日本", "本é", "日本é")
TRIALS = 40_000
ALPHAS = (0.1, 1.0)
CASES = 2 * len(ALPHAS)

require_chance = functools.partial(statistics.require_chance, cases=CASES)


def law_of(alpha: float, *, unit: str) -> dict[tuple[int, ...], float]:
    """The exact law where what users defined scores by characters or by bytes; ids are the oracle's."""
    lengths = {text: len(text if unit == "character" else text.encode()) for text in DEFINES}
    pieces = NORMALS | {text: 0.1 * (length - 1) for text, length in lengths.items()}
    model = oracle.Model(
        pieces=[piece.encode() for piece in pieces], log_probs=list(pieces.values())
    )
    return oracle.by_ids(model, oracle.exact(model, TEXT.encode(), alpha))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a model whose ids are the oracle's."""
    entries = [("<unk>", 0.0, UNKNOWN), *((text, p, NORMAL) for text, p in NORMALS.items())]
    entries += [(text, -3.0, DEFINED) for text in DEFINES]
    path = tmp_path_factory.mktemp("defined") / "u.model"
    path.write_bytes(sentencepiece_file(entries))
    return path


PACKAGE = """
import json, sys, sentencepiece
sentencepiece.set_random_generator_seed(5)
processor = sentencepiece.SentencePieceProcessor(model_file=sys.argv[1])
text, alpha, count = json.loads(sys.argv[2])
given = dict(enable_sampling=True, nbest_size=-1, alpha=alpha)
print(json.dumps([processor.encode(text, **given) for _ in range(count)]))
"""


def drawn_by_package(model: Path, alpha: float) -> list[list[int]]:
    """Return what sentencepiece draws, in a process whose generator nobody used before."""
    given = json.dumps([TEXT, alpha, TRIALS])
    found = subprocess.run(
        [sys.executable, "-c", PACKAGE, str(model), given],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return json.loads(found.stdout)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_package_and_we_draw_by_characters(model: Path, alpha: float) -> None:
    found = Tokenizer.load(str(model)).encode_batch(
        [TEXT] * TRIALS, sampling=Sampling(law="exact", alpha=alpha), seed=5
    )
    law = law_of(alpha, unit="character")
    drawn = {"ours": found.lists(), "the package's": drawn_by_package(model, alpha)}
    for whose, lists in drawn.items():
        p = law_p(lists, law)
        assert p is not None
        require_chance(p, what=f"{whose}, alpha {alpha}, seed 5")
    surprise = -math.log(law[tuple(found.lists()[0])])
    assert found.negative_log_probs[0] == pytest.approx(surprise)


def test_drawing_by_bytes_would_be_found(model: Path) -> None:
    """The control: in decoding, the package scores by bytes."""
    p = law_p(drawn_by_package(model, 1.0), law_of(1.0, unit="byte"))
    assert p is not None
    assert p < statistics.ALPHA / CASES


def test_nbest_draws_by_characters_too(model: Path) -> None:
    sampling = Sampling(law="nbest", alpha=1.0, nbest_size=1024)
    found = Tokenizer.load(str(model)).encode_batch([TEXT] * 50, sampling=sampling)
    law = law_of(1.0, unit="character")
    want = [-math.log(law[tuple(ids)]) for ids in found.lists()]
    np.testing.assert_allclose(found.negative_log_probs, want, rtol=1e-6)
