"""Several evaluations as one: accuracy and paired differences over the episodes of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import show
from uniaudio_cli.evaluation import metrics
from uniaudio_cli.evaluation.compare import read_answers
from uniaudio_cli.evaluation.manifest import Document
from uniaudio_cli.evaluation.results import Answer, Difference, Rate, Results, read_results
from uniaudio_cli.evaluation.summary import paired
from uniaudio_cli.evaluation.systems import PRODUCT


class PooledCell(Document):
    """The systems that ran in every report at one number of shots; differences are of one of them over each other."""

    shots: int
    episodes: int
    systems: dict[str, Rate]
    differences: tuple[Difference, ...]


class Pool(Document):
    """Reports pooled. `reports`: data and hash of the manifest of each. Every episode counts the same."""

    schema_version: Literal[1] = 1
    ways: int
    reports: tuple[tuple[str, str], ...]
    cells: tuple[PooledCell, ...]


def pool(folders: Sequence[Path], system: str = PRODUCT) -> Pool:
    """Pool the answers of report folders, at each number of shots that all of them have.

    Intervals resample the groups of all reports together. Groups of one name are one where their data has one name.

    Args:
        system: the row whose differences over the others are taken.

    Raises:
        UsageError: a folder is no report, two are of the same episodes, or they do not share ways, shots and `system`.
    """
    if len(folders) < 2:
        raise UsageError("give two or more report folders")
    results = [read_results(folder) for folder in folders]
    for place, (folder, result) in enumerate(zip(folders, results, strict=True)):
        if result.manifest in (other.manifest for other in results[:place]):
            raise UsageError(f"{show(folder)}: its episodes are pooled already")
    ways = {cell.ways for result in results for cell in result.cells}
    if len(ways) != 1:
        raise UsageError(f"the reports differ in their number of labels: {', '.join(map(str, sorted(ways)))}")
    answers: list[Answer] = []
    for folder, result in zip(folders, results, strict=True):
        answers += _apart(read_answers(folder), result, len(answers))
    shared = set.intersection(*({cell.shots for cell in result.cells} for result in results))
    if not shared:
        raise UsageError("the reports have no number of shots in common")
    return Pool(
        ways=ways.pop(),
        reports=tuple((result.data, result.manifest) for result in results),
        cells=tuple(_cell(shots, system, results, answers) for shots in sorted(shared)),
    )


def _apart(answers: Sequence[Answer], result: Results, start: int) -> list[Answer]:
    """Answers whose episodes are those of no other report, and whose groups are those of no other data."""
    return [
        each.model_copy(update={"group": f"{result.data}/{each.group}", "episode": start + each.episode})
        for each in answers
    ]


def _cell(shots: int, system: str, results: Sequence[Results], answers: Sequence[Answer]) -> PooledCell:
    cells = [next(cell for cell in result.cells if cell.shots == shots) for result in results]
    names = [name for name in cells[0].systems if all(name in cell.systems for cell in cells)]
    if system not in names:
        raise UsageError(f"at {shots} shots not every report has the row {system}; shared are {', '.join(names)}")
    of = {name: [each for each in answers if (each.system, each.shots) == (name, shots)] for name in names}
    return PooledCell(
        shots=shots,
        episodes=len(of[system]),
        systems={
            name: Rate.of(metrics.clustered_accuracy([one.correct for one in some], [one.group for one in some], 0))
            for name, some in of.items()
        },
        differences=tuple(
            Difference(system=system, reference=name, accuracy=paired(of[system], some))
            for name, some in of.items()
            if name != system
        ),
    )


def rows(found: Pool) -> list[tuple[str, ...]]:
    """Cells of a table: shots, system, accuracy, points that the chosen row gains over it."""
    table: list[tuple[str, ...]] = []
    for cell in found.cells:
        gains = {each.reference: each.accuracy.interval.signed for each in cell.differences}
        table += [
            (str(cell.shots), name, f"{100 * rate.value:.1f} %", gains.get(name, ""))
            for name, rate in cell.systems.items()
        ]
    return table
