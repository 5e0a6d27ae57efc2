"""Charts of a page as SVG by matplotlib, without background; colours are the page's CSS variables."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

from uniaudio_cli.evaluation.results import Cell, Results, SystemResult
from uniaudio_cli.evaluation.sentences import WANTED, peer, product
from uniaudio_cli.evaluation.systems import NEAREST

# Stand-ins that matplotlib writes into the SVG, and what replaces them.
COLOURS = {f"#fe010{number}": f"var(--series-{number})" for number in range(4)}
COLOURS |= {"#fe0109": "currentColor", "#fe010a": "var(--line)"}
SERIES, INK, LINE = list(COLOURS)[:4], "#fe0109", "#fe010a"
MARKERS, DASHES = "osD^", ("-", "--", "-.", ":")
SIZE = (4.7, 3.1)  # inches of 72 points, so that a point is a pixel on a phone
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "uniaudio",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


def charted(cell: Cell) -> list[tuple[str, SystemResult]]:
    """The systems of a chart: the product, its peer and the nearest demonstration, or what there is."""
    found = dict([product(cell)])
    if other := peer(cell):
        found[other[0]] = other[1]
    if NEAREST in cell.systems:
        found[NEAREST] = cell.systems[NEAREST]
    return [*found.items()][: len(SERIES)]


def accuracy(results: Results) -> str:
    """Accuracy against shots with 95 % intervals, a series a system, and chance."""
    cells = sorted(results.cells, key=lambda cell: cell.shots)
    names = [name for name, _ in charted(results.deepest)]

    def draw(axes: Any) -> None:
        for number, name in enumerate(names):
            points = [(place, cell.systems[name].accuracy) for place, cell in enumerate(cells) if name in cell.systems]
            shift = 0.07 * (number - (len(names) - 1) / 2)
            values = [100 * each.value for _, each in points]
            reach = [
                [max(0.0, 100 * (each.value - each.low)) for _, each in points],
                [max(0.0, 100 * (each.high - each.value)) for _, each in points],
            ]
            axes.errorbar(
                [place + shift for place, _ in points],
                values,
                reach,
                color=SERIES[number],
                marker=MARKERS[number],
                linestyle=DASHES[number],
                markersize=6,
                linewidth=1.8,
                elinewidth=1.4,
                capsize=3,
                label=name,
            )
        chance = 100 * cells[0].chance
        axes.axhline(chance, color=INK, linewidth=1, linestyle=(0, (1, 2)))
        axes.annotate("chance", (1, chance), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=9)
        axes.set_xticks(range(len(cells)), [str(cell.shots) for cell in cells])
        axes.set(xlabel="clips shown of each label", ylabel="right, %", ylim=(0, 102), xlim=(-0.4, len(cells) - 0.6))
        axes.legend(loc="lower right", bbox_to_anchor=(1, 0.1 + chance / 100))
        axes.grid(axis="y")

    return _svg("accuracy", draw)


def reliability(system: SystemResult) -> str:
    """The share right against the probability given; the larger a point, the more answers it stands for."""

    def draw(axes: Any) -> None:
        bins = system.reliability
        axes.plot([0, 100], [0, 100], color=INK, linewidth=1, linestyle=(0, (1, 2)))
        axes.annotate("as sure as right", (30, 30), rotation=34, fontsize=9, va="bottom", ha="center")
        x, y = [100 * each.confidence for each in bins], [100 * each.accuracy for each in bins]
        axes.plot(x, y, color=SERIES[0], linewidth=1.8)
        most = max(each.n for each in bins)
        axes.scatter(x, y, s=[24 + 130 * each.n / most for each in bins], color=SERIES[0], zorder=3)
        for each in bins:
            spot = (100 * each.confidence, 100 * each.accuracy)
            axes.annotate(str(each.n), spot, (0, 9), textcoords="offset points", ha="center", fontsize=8)
        axes.set(xlabel="probability given, %", ylabel="right, %", xlim=(0, 104), ylim=(0, 112))
        axes.set_yticks(range(0, 101, 20))
        axes.grid(axis="y")

    return _svg("reliability", draw)


def abstention(system: SystemResult) -> str:
    """The share right against the share answered, from the surest clips to all."""

    def draw(axes: Any) -> None:
        x = [100 * each.coverage for each in system.abstention]
        y = [100 * each.accuracy for each in system.abstention]
        axes.plot(x, y, color=SERIES[0], linewidth=1.8)
        if point := system.covered.get(WANTED):
            spot = (100 * point.coverage, 100 * point.accuracy)
            axes.plot(*spot, color=SERIES[1], marker="D", markersize=8)
            text = f"{spot[1]:.0f} % right,\n{spot[0]:.0f} % answered"
            axes.annotate(text, spot, (-6, -12), textcoords="offset points", ha="right", va="top", fontsize=9)
        low = max(0.0, min(y) - 15)
        axes.set(xlabel="clips answered, %", ylabel="right of these, %", xlim=(0, 102), ylim=(low, 101))
        axes.grid(axis="y")

    return _svg("abstention", draw)


def shade(share: float) -> tuple[str, str]:
    """Background of a heat map's cell in cividis for `share` from 0 to 1, and black or white to write on it."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    red, green, blue, _ = (
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
        for channel in colormaps["cividis"](share)
    )
    bright = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return to_hex(colormaps["cividis"](share)), "#000" if bright > 0.18 else "#fff"


def _svg(name: str, draw: Any) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        draw(figure.subplots())
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _for_page(file.getvalue(), name)


def _for_page(text: str, name: str) -> str:
    """An SVG file as part of a page: its ids are its own, its colours the page's, and it grows with its column."""
    text = text[text.index("<svg") :]
    used: Sequence[str] = re.findall(r'(?:url\(|href=")#([^)"]+)', text)
    text = re.sub(r' id="([^"]+)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", text)
    text = re.sub(r'(url\(|href=")#', rf"\1#{name}-", text)
    for stand_in, colour in COLOURS.items():
        text = text.replace(stand_in, colour)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"font-family: [^;]*; |<style.*?</style>", "", text, flags=re.DOTALL)
    return re.sub(
        r'<svg [^>]*?(viewBox="[^"]+")[^>]*>', r'<svg \1 aria-hidden="true" focusable="false">', text, count=1
    )
