"""The figure of a report: how far apart the sets were and are, their weights, what tells them apart."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from typing import Any

from transforms.likeness.report import LikeReport
from transforms.likeness.telling import Telling

_INPUT, _TEST, _WEIGHT = "#8a8f98", "#c8553d", "#2f6690"  # told apart in grey too
_SHOWN = 12  # n-grams of either set
_STYLE = {
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",  # letters stay letters: whoever looks has fonts for them
    "svg.hashsalt": "dovetail",
}


def figure(report: LikeReport) -> bytes:
    """Draw a report as SVG: the same bytes for the same report and the same matplotlib."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = io.BytesIO()
    with mpl.rc_context(), warnings.catch_warnings():
        # letters that matplotlib's own font lacks are measured as boxes, and shown by the viewer's
        warnings.filterwarnings("ignore", message="Glyph")
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        drawn = draw(report)
        FigureCanvasSVG(drawn).print_svg(out, metadata={"Date": None, "Creator": "Dovetail"})
    return out.getvalue()


def draw(report: LikeReport) -> Any:
    """Return matplotlib's figure of a report."""
    from matplotlib.figure import Figure

    tells = bool(report.toward_test or report.toward_input)
    figure = Figure(figsize=(9, 7.6 if tells else 3.6), layout="constrained")
    grid = figure.add_gridspec(2 if tells else 1, 2, height_ratios=[1, 1.35] if tells else [1])
    _draw_auc(figure.add_subplot(grid[0, 0]), report)
    _draw_weights(figure.add_subplot(grid[0, 1]), report)
    if tells:
        _draw_telling(figure.add_subplot(grid[1, 0]), report.toward_test, "Speaks for the test set")
        _draw_telling(figure.add_subplot(grid[1, 1]), report.toward_input, "Speaks for the input")
    return figure


def _draw_auc(axes: Any, report: LikeReport) -> None:
    what = "drawn" if report.draws is not None else "weighted"
    bars = [("input", report.auc_before, _INPUT), (what, report.auc_after, _WEIGHT)]
    for place, (_, value, color) in enumerate(bars):
        if value is None:
            axes.text(0.51, place, "not measured", va="center", color="#555555")
            continue
        axes.barh(place, value - 0.5, left=0.5, color=color, height=0.55)
        # beside a bar's end; inside of a long one
        if value > 0.85:
            axes.text(value - 0.01, place, f"{value:.3f}", va="center", ha="right", color="white")
        else:
            axes.text(max(value, 0.5) + 0.01, place, f"{value:.3f}", va="center")
    axes.set_yticks(range(len(bars)), [name for name, _, _ in bars])
    axes.set_ylim(1.6, -0.6)
    axes.set_xlim(0.45, 1.0)
    axes.axvline(0.5, color="black", linewidth=0.8)
    axes.set_xticks(
        [0.5, 0.6, 0.7, 0.8, 0.9, 1.0], ["0.5\nnot at all", ".6", ".7", ".8", ".9", "1\nalways"]
    )
    axes.set_title("Told apart from the test set (AUC)")


def _draw_weights(axes: Any, report: LikeReport) -> None:
    powers = [round(math.log2(size.at_least)) for size in report.sizes]
    records = [100 * size.records / report.records for size in report.sizes]
    axes.bar([p - 0.2 for p in powers], records, 0.4, color=_INPUT, label="of the records")
    shares = [100 * size.share for size in report.sizes]
    axes.bar([p + 0.2 for p in powers], shares, 0.4, color=_WEIGHT, label="of the whole weight")
    first, last = min(powers, default=0), max(powers, default=0)
    shown = range(first, last + 1, 1 + (last - first) // 9)
    axes.set_xticks(list(shown), [_power(p) for p in shown])
    axes.set_xlabel("weight, from this to twice this")
    axes.set_ylabel("percent")
    axes.legend(frameon=False)
    axes.set_title(
        f"Weights: {report.records:,} records are worth {report.effective:,.0f} "
        f"({report.effective_share:.1%})"
    )


def _draw_telling(axes: Any, found: Sequence[Telling], title: str) -> None:
    shown = found[:_SHOWN]
    for place, one in enumerate(shown):
        axes.plot([one.in_input, one.in_test], [place, place], color="#cccccc", zorder=1)
    places = range(len(shown))
    axes.scatter([one.in_input for one in shown], places, color=_INPUT, label="input", marker="s")
    axes.scatter([one.in_test for one in shown], places, color=_TEST, label="test set")
    axes.set_yticks(list(places), [_visible(one.name) for one in shown], parse_math=False)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    most = max([0.0, *(max(one.in_input, one.in_test) for one in shown)])
    axes.set_xlim(-0.02 * most, 1.05 * most or 1)
    axes.set_xlabel("share of records that have it")
    axes.set_title(title)
    if shown:
        axes.legend(frameon=False)


def _power(power: int) -> str:
    return f"{2**power:,}" if power >= 0 else f"1/{2**-power:,}"


def _visible(name: str) -> str:
    """Return a name in which nothing is invisible: neither spaces nor what ends a line."""
    out = repr(name)[1:-1].replace("\\\\", "\\").replace("\\'", "'").replace(" ", "␣")
    return out if len(out) <= 24 else out[:23] + "…"
