"""Results in plain sentences, for the terminal and the page: what is right, what to check and what to add."""

from __future__ import annotations

import math
from collections.abc import Sequence

from uniaudio_cli.core.paths import show
from uniaudio_cli.evaluation import baselines, open_set, peers
from uniaudio_cli.evaluation.results import Cell, ClipReview, Rate, Results, SystemResult
from uniaudio_cli.evaluation.systems import PRODUCT

PEERS = (*baselines.PEERS, *peers.NAMES)
# The share of right answers that the abstention sentence is about; the next one where all answers reach it.
WANTED, STRICTER = "0.95", "0.99"
NAMED = 5  # clips that a sentence names
MORE_HELPS = 0.02  # gain of the last step in shots from which more are advised


def product(cell: Cell) -> tuple[str, SystemResult]:
    """The product's row, or the first where it did not run."""
    return (PRODUCT, cell.systems[PRODUCT]) if PRODUCT in cell.systems else next(iter(cell.systems.items()))


def peer(cell: Cell) -> tuple[str, SystemResult] | None:
    """What a user would take instead: the best of the peers, else of the other rows."""
    name, _ = product(cell)
    others = {other: each for other, each in cell.systems.items() if other != name}
    among = {other: each for other, each in others.items() if other.startswith(PEERS)} or others
    return max(among.items(), key=lambda item: item[1].accuracy.value, default=None)


def headline(results: Results) -> str:
    """ "labels 91 of 100 new clips right (88 to 94)"."""
    _, ours = product(results.deepest)
    low, high = _hundred(ours.accuracy.low), _hundred(ours.accuracy.high)
    return f"labels {_hundred(ours.accuracy.value)} of 100 new clips right ({low} to {high})"


def beside(results: Results) -> str:
    """ "guessing: 20; YAMNet + logistic regression: 90"."""
    cell = results.deepest
    parts = [f"guessing: {_hundred(cell.chance)}"]
    if found := peer(cell):
        parts.append(f"{found[0]}: {_hundred(found[1].accuracy.value)}")
    return "; ".join(parts)


def abstaining(results: Results) -> str:
    """What can be answered with 95 % right."""
    _, ours = product(results.deepest)
    if not ours.abstention:
        return ""
    target = STRICTER if ours.accuracy.value >= float(WANTED) else WANTED
    name = f"{100 * float(target):.0f} %"
    if target not in ours.covered:
        return f"no threshold of its probability gets {name} right on these clips"
    point = ours.covered[target]
    # Cut, not rounded: 1.00 for .9987 would refuse every clip.
    least = f"{math.floor(point.threshold * 10_000) / 10_000:g}"
    return (
        f"at {name} right it answers {100 * point.coverage:.0f} % of clips, those with a probability of "
        f"{least} or more (--set abstain_below={least}; chosen on these clips)"
    )


def telling_unknown(results: Results) -> str:
    """How well clips of no label are told apart, or why that is not measured."""
    if found := results.open_set:
        return (
            f"clips of no label are told from clips of one with an AUROC of {_area(found.similarity)} by --unknown, "
            f"{_area(found.probability)} by the largest probability (0.5: not at all; each label left out in turn)"
        )
    readout = results.settings.get("task", {}).get("readout")
    if readout is None:  # labels by name
        return ""
    if readout != "similarity":
        return f"clips of no label: not measured, as readout {readout} has no --unknown"
    few = results.deepest.ways < open_set.FEWEST_LABELS
    return f"clips of no label: not measured, which takes {open_set.FEWEST_LABELS} labels" if few else ""


def more_shots(results: Results) -> str:
    """How accuracy rises with shots."""
    cells = sorted(results.cells, key=lambda cell: cell.shots)
    if len(cells) < 2:
        return ""
    values = [product(cell)[1].accuracy.value for cell in cells]
    steps = ", ".join(f"{cell.shots}: {_hundred(value)}" for cell, value in zip(cells, values, strict=True))
    gain = values[-1] - values[-2]
    last = f"the step from {cells[-2].shots} to {cells[-1].shots} gives {100 * gain:+.1f} points"
    advice = "more may help" if gain >= MORE_HELPS else "more of the same help little"
    return f"right by clips shown of each label: {steps}; {last}, so {advice}"


def to_check(results: Results) -> list[ClipReview]:
    """Clips whose label looks wrong, those furthest from it first."""
    found = [each for each in results.reviews if each.fits_better]
    return sorted(found, key=lambda each: each.scores.get(each.truth, 0.0) - each.scores[str(each.fits_better)])


def doubtful(results: Results) -> Sequence[ClipReview]:
    """Clips by doubt, the most doubtful first; those whose label looks wrong are named elsewhere."""
    return [each for each in results.reviews if not each.fits_better]


def cost(results: Results) -> str:
    """What it took, and on what."""
    spent = results.cost
    if not spent.answers:
        return ""
    memory = f", {spent.peak_megabytes / 1000:.1f} GB at the most" if spent.peak_megabytes else ""
    workers = f" in {spent.workers} processes" if spent.workers > 1 else ""
    return (
        f"{spent.answers} answers about {len(results.reviews)} clips took {_duration(spent.seconds)}{workers} "
        f"({_duration(spent.cpu_seconds)} of CPU, {spent.cores} cores there{memory})"
    )


def lines(results: Results) -> list[str]:
    """All of it, a line each, the most important first."""
    found = [f"{results.data}: {headline(results)}; {beside(results)}", more_shots(results), abstaining(results)]
    found.append(telling_unknown(results))
    found += [
        f"add clips of {show(each.label)}: {100 * each.recall:.0f} % of {each.n} right, {100 * each.share:.0f} % taken "
        f"for {show(each.taken_for)}{_listed('; it lacks clips such as', each.show)}"
        for each in results.advice[:3]
    ]
    found += [
        f"label to check: {show(each.file)} ({show(each.truth)}, fits {show(str(each.fits_better))})"
        for each in to_check(results)[:NAMED]
    ]
    found += [
        f"doubtful: {show(each.file)} ({', '.join(f'{show(label)} {p:.2f}' for label, p in _first_two(each))})"
        for each in doubtful(results)[:NAMED]
    ]
    return [line for line in [*found, cost(results)] if line]


def _first_two(clip: ClipReview) -> list[tuple[str, float]]:
    return [*clip.scores.items()][:2]


def _listed(before: str, files: Sequence[str]) -> str:
    return f"{before} {', '.join(map(show, files))}" if files else ""


def _hundred(share: float) -> str:
    return f"{100 * share:.0f}"


def _area(rate: Rate) -> str:
    return f"{rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}]"


def _duration(seconds: float) -> str:
    """ "41 s", "3 min 20 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s" if seconds < 10 else f"{rest} s"
