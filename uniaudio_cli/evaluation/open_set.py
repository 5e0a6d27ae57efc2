"""Clips of a label against clips of none: each query with its own label's demonstrations, and without them.

Both times demonstrations of as many labels are left, so that the largest probability, which falls with their number,
has no disadvantage: where the clip is of a label, the one after its own is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from uniaudio_cli.codec.frozen.units import Array
from uniaudio_cli.evaluation.metrics import clustered_auroc
from uniaudio_cli.evaluation.results import Answer, OpenSetResult, Rate
from uniaudio_cli.inference.open_set import OpenSet

FEWEST_LABELS = 3  # else one label is left, whose probability is 1


def left_out(labels: Sequence[str], truth: str) -> tuple[str, str]:
    """The labels that are left out for a clip to be of a label, and of none: the one after its own, and its own."""
    ordered = sorted(labels)
    return ordered[(ordered.index(truth) + 1) % len(ordered)], truth


def similarities(demonstrations: Mapping[str, Sequence[Array]], clip: Array, truth: str) -> tuple[float, float]:
    """A clip's open-set score where it is of a label, and where it is of none.

    `demonstrations`: rows [F] of each label; `clip`: its row [F]; all of length 1.
    """
    known, unknown = (
        OpenSet.of({label: rows for label, rows in demonstrations.items() if label != without}, threshold=0.0)
        for without in left_out(list(demonstrations), truth)
    )
    return known.score(clip), unknown.score(clip)


def measure(answers: Sequence[Answer], seed: int = 0) -> OpenSetResult | None:
    """How well the open-set score and the largest probability tell the two apart; None without `similarities`.

    The probabilities of the labels that are left are divided by their sum.
    """
    scored = [(each, each.similarities) for each in answers if each.similarities is not None]
    if not scored:
        return None
    groups = [each.group for each, _ in scored]

    def rate(pairs: Sequence[tuple[float, float]]) -> Rate:
        known, unknown = np.array(pairs).T
        return Rate.of(clustered_auroc(known, unknown, groups, seed))

    return OpenSetResult(
        labels=min(len(each.scores) for each, _ in scored) - 1,
        similarity=rate([pair for _, pair in scored]),
        probability=rate([_largest_probabilities(each) for each, _ in scored]),
    )


def _largest_probabilities(answer: Answer) -> tuple[float, float]:
    known, unknown = (
        [p for label, p in answer.scores.items() if label != without]
        for without in left_out(list(answer.scores), answer.truth)
    )
    return max(known) / sum(known), max(unknown) / (sum(unknown) or 1.0)
