"""Labels written as rows: .jsonl, .csv or .json, JSON on stdout, a table on a terminal, and the closing summary."""

from __future__ import annotations

import csv
import heapq
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from uniaudio_cli.cli.console import note
from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.core.jsonl import json_line
from uniaudio_cli.core.paths import show

if TYPE_CHECKING:
    from uniaudio_cli.inference.results import ErrorResult, LabelResult

Row = Mapping[str, Any]
Write = Callable[[Row], None]

# Probability below which the summary counts a label as doubtful.
DOUBTFUL = 0.6
UNDECIDED = "undecided"  # what a clip without a label is counted and filed under
FIRST_TO_CHECK = 3
LABELS_COUNTED = 8
# Smallest probability of a second or third label in the table.
SHOWN = 0.005


def result_row(result: LabelResult | ErrorResult, seconds: float) -> dict[str, Any]:
    """What is written of a clip: file, label, scores, margin, seconds; or file, error."""
    from uniaudio_cli.inference.results import ErrorResult

    if isinstance(result, ErrorResult):
        return {"file": result.file, "error": result.error}
    scores = {label: round(p, 6) for label, p in result.scores.items()}
    row = {"file": result.file, "label": result.label, "scores": scores, "margin": round(result.margin, 6)}
    if result.similarity is not None:
        row["similarity"] = round(result.similarity, 6)
    return {**row, "seconds": seconds}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Whatever the system objects to becomes one line about `path`."""
    try:
        yield
    except OSError as problem:
        raise UniAudioError(f"{show(path)}: cannot be written ({problem.strerror or problem})") from problem


COLUMNS = ("file", "label", "margin", "seconds", "error")


@contextmanager
def csv_rows(path: Path, labels: Sequence[str], columns: Sequence[str] = COLUMNS) -> Iterator[Write]:
    """A line of CSV a row, each written at once and whole; a column for the score of every label."""
    columns = [*columns, *(f"score:{label}" for label in labels)]

    def line(cells: Sequence[object]) -> bytes:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(cells)
        return text.getvalue().encode("utf-8", "surrogateescape")

    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("wb", buffering=0)
    with file:

        def write(row: Row) -> None:
            flat = {**row, **{f"score:{label}": p for label, p in row.get("scores", {}).items()}}
            with writing(path):
                file.write(line([flat.get(column) for column in columns]))

        with writing(path):
            file.write(line(columns))
        yield write


@contextmanager
def json_rows(path: Path) -> Iterator[Write]:
    """One JSON array of all rows, each written at once; of a run that is stopped, of those there are."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("wb", buffering=0)
    with file:
        before = "[\n"

        def write(row: Row) -> None:
            nonlocal before
            with writing(path):
                file.write((before + json_line(row)).encode())
            before = ",\n"

        try:
            yield write
        finally:
            with writing(path):
                file.write((("" if before == ",\n" else before) + "\n]\n").encode())


@dataclass
class LabelSummary:
    """Counts per label, and the clips whose two likeliest labels lie closest."""

    labelled: int = 0
    doubtful: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    _closest: list[tuple[float, int, str]] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Count a row that has a label, or abstains."""
        (label, p), *others = row["scores"].items()
        self.labelled += 1
        self.doubtful += p < DOUBTFUL
        self.counts[UNDECIDED if row["label"] is None else row["label"]] += 1
        following = f", {others[0][0]} {others[0][1]:.2f}" if others else ""
        entry = (-row["margin"], -self.labelled, f"{show(row['file'])} ({show(label)} {p:.2f}{following})")
        if p < DOUBTFUL:
            push = heapq.heappush if len(self._closest) < FIRST_TO_CHECK else heapq.heappushpop
            push(self._closest, entry)

    def lines(self) -> list[str]:
        """The summary: empty for fewer than two clips."""
        if self.labelled < 2:
            return []
        counts = [f"{count} {show(label)}" for label, count in self.counts.most_common(LABELS_COUNTED)]
        more = len(self.counts) - len(counts)
        counts += [f"{more} other labels"] if more else []
        found = [f"labels: {', '.join(counts)}; {self.doubtful} of {self.labelled} below {DOUBTFUL:g}"]
        return [*found, *(f"check first: {name}" for _, _, name in sorted(self._closest, reverse=True))]

    def print(self, quiet: bool) -> None:
        """The summary on stderr."""
        for line in self.lines():
            note(line, quiet)


def print_table(rows: Sequence[Row]) -> None:
    """A table for people, the surest label first; names are shown from the clips' common folder."""
    folder = common_folder([Path(row["file"]) for row in rows])
    table = Table(title=f"clips in {show(folder)}" if folder else None, title_justify="left", title_style="dim")
    table.add_column("clip", overflow="fold")
    table.add_column("label", overflow="fold")
    table.add_column("p", no_wrap=True)
    table.add_column("next", overflow="fold")
    for row in sorted(rows, key=lambda row: -next(iter(row["scores"].values()))):
        (likeliest, p), *others = row["scores"].items()
        if row["label"] != likeliest:  # none, or unknown
            likeliest = f"{row['label'] or ''} ({likeliest}?)".lstrip()
        following = ", ".join(f"{other} {q:.2f}" for other, q in others[:2] if q >= SHOWN)
        name = Path(row["file"]).relative_to(folder) if folder else Path(row["file"])
        table.add_row(Text(show(name)), Text(likeliest), f"{p:.2f}", Text(following))
    Console().print(table)


def common_folder(files: Sequence[Path]) -> Path | None:
    """The innermost folder that all files lie in; None where there is none but the working folder or the root."""
    try:
        folder = Path(os.path.commonpath([file.parent for file in files]))
    except ValueError:  # absolute and relative paths
        return None
    return folder if len(folder.parts) > folder.is_absolute() else None
