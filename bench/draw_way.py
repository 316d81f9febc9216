"""Draw the way of the data for README, as SVG, from the stages that the commands report.

    python bench/draw_way.py            writes docs/images/way.svg

The names of the stages are those of ``transforms.workers.progress``: a picture that shows a stage which
no run has fails here.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

from transforms.workers.progress import STAGES

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "images" / "way.svg"

WAY = (
    ("read", "", ("lines, JSON lines", "Parquet, Arrow", "gzip, zstd, … · S3, GCS")),
    ("split", "split", ("by content", "or exact counts", "or like a test set")),
    ("tokenize", "tokenize", ("SentencePiece, BPE", "BytePiece", "sampled if you like")),
    ("shuffle, mix", "order", ("exact, in bounded", "memory; by records,", "bytes or tokens")),
    ("pack, write", "write", ("Parquet, Arrow", "Megatron, OLMo", "nanoGPT, llm.c")),
    ("prove", "verify", ("digests of what was", "read and written;", "manifest last")),
)
"""Each box: its title, the stage of a run that does it ("" where reading is a part of the next)."""

_WIDTH, _HEIGHT, _GAP, _TOP = 138, 92, 22, 30
_STYLE = "font-family='-apple-system,Segoe UI,Helvetica,Arial,sans-serif'"


def draw() -> str:
    """Return the picture as SVG."""
    unknown = {stage for _, stage, _ in WAY} - {"", *STAGES}
    if unknown:
        raise SystemExit(f"{__file__}: no run has a stage {', '.join(sorted(unknown))}")
    width, height = len(WAY) * (_WIDTH + _GAP) + _GAP, _HEIGHT + 2 * _TOP
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' {_STYLE} role='img'>",
        f"<title>{escape(', then '.join(title for title, *_ in WAY))}</title>",
        f"<rect width='{width}' height='{height}' rx='8' fill='#fbfbfd'/>",
    ]
    for place, (title, _, lines) in enumerate(WAY):
        left = _GAP + place * (_WIDTH + _GAP)
        parts.append(
            f"<rect x='{left}' y='{_TOP}' width='{_WIDTH}' height='{_HEIGHT}' rx='7' fill='#ffffff' "
            "stroke='#3f51b5' stroke-width='1.5'/>"
        )
        middle = left + _WIDTH / 2
        parts.append(_text(middle, _TOP + 24, title, size=15, weight=600, colour="#283593"))
        for row, line in enumerate(lines):
            parts.append(_text(middle, _TOP + 46 + 16 * row, line, size=11.5, colour="#37474f"))
        if place:
            x, y = left - _GAP + 3, _TOP + _HEIGHT / 2
            parts.append(
                f"<path d='M{x} {y} h{_GAP - 9} m-5 -5 l6 5 l-6 5' fill='none' stroke='#3f51b5' "
                "stroke-width='1.8'/>"
            )
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, *, size: float, colour: str, weight: int = 400) -> str:
    return (
        f"<text x='{x:g}' y='{y:g}' font-size='{size:g}' font-weight='{weight}' fill='{colour}' "
        f"text-anchor='middle'>{escape(text)}</text>"
    )


if __name__ == "__main__":
    PICTURE.write_text(draw())
    print(f"{PICTURE.relative_to(ROOT)} written")
