"""Results to one HTML page that needs no network: templates filled by jinja2, with charts, sound and spectrograms."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uniaudio_cli import __version__
from uniaudio_cli.core.paths import atomic, show
from uniaudio_cli.evaluation import report, sentences
from uniaudio_cli.evaluation.results import ClipReview, Results
from uniaudio_cli.evaluation.systems import MissingLibrary

if TYPE_CHECKING:
    from markupsafe import Markup

    from uniaudio_cli.evaluation.page.media import Medium

# Clips with a player and a spectrogram, and clips that are listed at all; results.json has every one.
PLAYED, LISTED = 200, 2_000
# Labels of the largest confusion table.
CONFUSED = 40
SCORES = 3


@dataclass(frozen=True)
class ClipRow:
    """One clip of a page's list. `truth`: None where it is not known. `doubtful`: worth a look before others."""

    number: int
    file: str
    answer: str | None
    scores: Sequence[tuple[str, float]]
    doubt: float
    medium: Medium | None = None
    truth: str | None = None
    right: int = 0
    asked: int = 0
    fits_better: str | None = None
    words: str = ""
    group: str = ""
    doubtful: bool = False

    @property
    def verdict(self) -> str:
        """right, mixed or wrong; "" where the truth is not known."""
        if self.truth is None:
            return ""
        return "right" if self.right == self.asked else "mixed" if self.right else "wrong"


def write(results: Results, folder: Path, path: Path) -> None:
    """Write a report's page. `folder`: where the clips lie.

    Raises:
        MissingLibrary: matplotlib, Pillow or jinja2 is not installed. UniAudioError: the page cannot be written.
    """
    require()
    from uniaudio_cli.evaluation.page import plots

    rows = [_row(number, each) for number, each in enumerate(results.reviews[:LISTED])]
    cell = results.deepest
    name, ours = sentences.product(cell)
    labels = [label for label in ours.per_class if ours.per_class[label].n or ours.per_class[label].answered]
    write_page(
        path,
        "report.html",
        with_media(rows, folder),
        results=results,
        number=_Numbers(results.model_dump(mode="json")),
        sentences=sentences,
        design=report.design(results),
        footnotes=report.footnotes(results),
        cell=cell,
        place=results.cells.index(cell),
        system=name,
        ours=ours,
        labels=labels,
        confusion=_confusion(ours.confusion, labels) if len(labels) <= CONFUSED else None,
        accuracy=_markup(plots.accuracy(results)),
        reliability=_markup(plots.reliability(ours)) if ours.reliability else "",
        abstention=_markup(plots.abstention(ours)) if ours.abstention else "",
        settings=json.dumps(results.settings, indent=1, ensure_ascii=False),
        clips_total=len(results.reviews),
    )


def write_review(rows: Sequence[ClipRow], path: Path, title: str, about: str) -> None:
    """Write a page that lists labelled clips without their truth, the most doubtful first; raises as `write`.

    `rows`: their files as they are found from the working folder.
    """
    require()
    ordered = sorted(rows, key=lambda row: -row.doubt)[:LISTED]
    write_page(
        path, "review.html", with_media(ordered, Path()), title=title, about=about, clips_total=len(rows), system=title
    )


def write_page(path: Path, template: str, rows: Sequence[ClipRow] = (), **context: Any) -> None:
    """Fill a template and write it."""
    from uniaudio_cli.evaluation.page import media

    text = environment().get_template(template).render(
        rows=rows, played=sum(row.medium is not None and bool(row.medium.audio) for row in rows), media=media,
        version=__version__, scores=SCORES, **context,
    )  # fmt: skip
    with atomic(path, force=True) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


@cache
def environment() -> Any:
    """The templates, compiled once a process; everything that is put into them is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("uniaudio_cli.evaluation.page")
    made = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    made.filters["shown"] = show
    made.globals["source"] = lambda name: _markup(loader.get_source(made, name)[0])
    return made


def require() -> None:
    """Raise MissingLibrary where a library that pages need is not installed."""
    missing = [
        name
        for name, module in (("matplotlib", "matplotlib"), ("Pillow", "PIL"), ("jinja2", "jinja2"))
        if find_spec(module) is None
    ]
    if missing:
        raise MissingLibrary(f"a page needs {', '.join(missing)}: pip install 'uniaudio[eval]'")


def with_media(rows: Sequence[ClipRow], folder: Path) -> list[ClipRow]:
    """The rows, as many as there is room for with sound and picture."""
    from uniaudio_cli.evaluation.page.media import Room, medium

    room = Room()
    return [
        replace(row, medium=medium(folder / row.file, room)) if place < PLAYED else row
        for place, row in enumerate(rows)
    ]


class _Numbers:
    """Numbers of results.json as they are shown, each marked with the place it comes from."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def __call__(self, *keys: object, style: str = "percent") -> Markup:
        from markupsafe import Markup

        path = [key for each in keys for key in (each if isinstance(each, list) else [each])]
        value: Any = self.values
        for key in path:
            value = value[key]
        pointer = "/".join(str(key).replace("~", "~0").replace("/", "~1") for key in path)
        return Markup('<span data-at="{}" data-style="{}">{}</span>').format(pointer, style, shown(value, style))


STYLES: Mapping[str, Callable[[float], str]] = {
    "percent": lambda share: f"{100 * share:.1f}",
    "hundred": lambda share: f"{100 * share:.0f}",
    "points": lambda share: f"{100 * share:+.1f}",
    "p": "{:.2f}".format,
    "count": "{:,}".format,
}


def shown(value: float | None, style: str) -> str:
    """A number as a page shows it, by one of `STYLES`; "-" where there is none."""
    if value is None:
        return "-"
    if style == "points":
        return f"{100 * value:+.1f}"
    return {"percent": f"{100 * value:.1f}", "hundred": f"{100 * value:.0f}", "p": f"{value:.2f}"}.get(
        style, f"{value:,}"
    )


def _row(number: int, clip: ClipReview) -> ClipRow:
    return ClipRow(
        number=number,
        file=clip.file,
        answer=clip.answer,
        scores=[*clip.scores.items()],
        doubt=clip.doubt,
        truth=clip.truth,
        right=clip.right,
        asked=clip.asked,
        fits_better=clip.fits_better,
        words=clip.words,
        group=clip.group,
    )


def _confusion(confusion: Mapping[str, Mapping[str, int]], labels: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of a heat map: per true label the count, the share of its queries and the colours of every cell."""
    from uniaudio_cli.evaluation.page.plots import shade

    rows = []
    for truth in labels:
        row = confusion.get(truth, {})
        total = sum(row.values())
        cells = []
        for answer in labels:
            count = row.get(answer, 0)
            background, ink = shade(count / total if total else 0.0)
            cells.append({"answer": answer, "count": count, "background": background, "ink": ink})
        rows.append({"truth": truth, "cells": cells})
    return rows


def _markup(text: str) -> Markup:
    from markupsafe import Markup

    return Markup(text)
