"""Results as tables: rows of cells for a terminal, and Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from uniaudio_cli.evaluation.metrics import FEWEST_CLUSTERS, Interval
from uniaudio_cli.evaluation.results import Cell, Results, SystemResult
from uniaudio_cli.evaluation.sentences import product
from uniaudio_cli.evaluation.systems import PRODUCT


def design(results: Results) -> str:
    """One line: the data, and how the episodes were drawn."""
    half = "" if results.half == "all" else f", {results.half} half"
    drawn = f"{results.folds} folds x {results.rounds} rounds" if results.folds else "drawn one by one"
    return (
        f"{results.data}{half}: {results.clips} clips, {len(results.labels)} labels, {results.groups} groups; "
        f"{results.episodes} episodes a row, {drawn}, rule {results.rule}, seed {results.seed}"
    )


def footnotes(results: Results) -> list[str]:
    """What a reader has to know of the numbers."""
    clusters = {each.accuracy.clusters for cell in results.cells for each in cell.systems.values()}
    notes = []
    if any(clusters):
        notes.append(f"95 % intervals: bootstrap over {max(clusters)} groups.")
    if 0 in clusters:
        notes.append(
            f"Fewer than {FEWEST_CLUSTERS} groups: 95 % intervals hold for these groups alone, so each is listed."
        )
    notes += [f"not run: {name} ({reason})" for name, reason in results.skipped.items()]
    return notes


def header(cell: Cell, reference: str = PRODUCT) -> tuple[str, ...]:
    """The columns of `rows`."""
    return (f"{cell.ways}-way {cell.shots}-shot", "accuracy", "95 %", f"points over {reference}", "n")


def rows(cell: Cell, reference: str = PRODUCT) -> list[tuple[str, ...]]:
    """One row a system, and chance."""
    gains = {each.system: each.accuracy.interval for each in cell.differences if each.reference == reference}
    found = [
        (name, _percent(each), _bounds(each.accuracy.interval), _signed(gains.get(name)), str(each.accuracy.n))
        for name, each in cell.systems.items()
    ]
    return [*found, ("chance", f"{100 * cell.chance:.1f} %", "", "", "")]


def group_header(cell: Cell) -> tuple[str, ...]:
    """The columns of `group_rows`; none where intervals are bootstrapped over groups."""
    groups = sorted({group for each in cell.systems.values() for group in each.by_group})
    return (f"{cell.ways}-way {cell.shots}-shot, by group", *groups) if groups else ()


def group_rows(cell: Cell) -> list[tuple[str, ...]]:
    """System, then its accuracy and number of episodes in every group."""
    _, *groups = group_header(cell) or ("",)
    return [(name, *(_share(each.by_group.get(group)) for group in groups)) for name, each in cell.systems.items()]


def class_rows(results: Results) -> list[tuple[str, ...]]:
    """Label, precision, recall and number of queries of the product at the most shots."""
    _, ours = product(results.deepest)
    return [
        (
            label,
            *(f"{100 * share:.0f} %" if share is not None else "-" for share in (each.precision, each.recall)),
            str(each.n),
        )
        for label, each in ours.per_class.items()
    ]


def markdown(results: Results) -> str:
    """All cells as Markdown tables."""
    return "\n".join(_markdown(results))


def _markdown(results: Results) -> Iterator[str]:
    yield design(results)
    for cell in results.cells:
        yield ""
        yield from _table(header(cell), rows(cell))
        if names := group_header(cell):
            yield ""
            yield from _table(names, group_rows(cell))
    yield ""
    yield from footnotes(results)


def _table(names: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(names)} |"
    yield "|" + "---|" * len(names)
    yield from (f"| {' | '.join(line)} |" for line in lines)


def _percent(each: SystemResult) -> str:
    return f"{100 * each.accuracy.value:.1f} %"


def _bounds(interval: Interval) -> str:
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"


def _signed(interval: Interval | None) -> str:
    return "" if interval is None else interval.signed


def _share(counts: tuple[int, int] | None) -> str:
    return f"{100 * counts[0] / counts[1]:.1f} % ({counts[1]})" if counts else ""
