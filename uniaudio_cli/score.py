"""How a label is read out: demonstrations once, then queries' ids in and log-probabilities per label out.

Both readouts ask the LLM only how likely ids are after a prefix that was read once for all queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from uniaudio_cli.lm import LanguageModel, Prefix

# A query's ids: per level that is asked apart, one row for each time it was heard. Wherever hearings are added up.
Query = Sequence[Sequence[Sequence[int]]]

# A word speaks for one label against another by at most these odds, so that no single word can rule a label out. And as
# words say things twice, a clip is as sure as this many of them, however long it is. Both were chosen on development
# episodes: see docs/LOG.md.
ODDS = 10.0
WORDS = 6.0


class Readout(Protocol):
    """What is left to do per query once the demonstrations are read."""

    def __call__(self, queries: Sequence[Query]) -> list[dict[str, float]]:
        """For each query its log-probability per label, normalised over the labels."""
        ...


@dataclass(frozen=True)
class LabelReadout:
    """P(label | demonstrations, query): the log-probability of each whole label after the query (the paper's way).

    A query is one level of rows that end where a label begins. Normalised over the candidates alone. Where one label's
    ids begin another's ("up", "upper"), all are given closed with the end marker, so that it competes fairly.
    """

    lm: LanguageModel
    prefix: Prefix
    continuations: Mapping[str, Sequence[int]]

    def __call__(self, queries: Sequence[Query]) -> list[dict[str, float]]:
        rows = [row for (heard,) in queries for row in heard]
        found = iter(self.lm.score_after(self.prefix, rows, list(self.continuations.values()))[0])
        replies = []
        for (heard,) in queries:
            each = torch.stack([torch.stack([score.sum() for score in next(found)]) for _ in heard])
            replies.append(normalised(dict(zip(self.continuations, each.mean(dim=0).tolist(), strict=True))))
        return replies


@dataclass(frozen=True)
class LikelihoodReadout:
    """P(query | the label's demonstrations): whose demonstrations make the query's audio words least surprising?

    For every level, one context per label that holds its demonstrations and nothing else; the query's ids are scored
    after each, among the ids that audio of that level can have. A noisy-channel reading with a uniform prior over
    labels, smoothed word by word (`mixed`).

    `contexts[k]`, `audio_ids[k]`, `weights[k]`: of the k-th level asked; its contexts in the order of `labels`. A level
    with twice the codes a second says everything twice, so it should weigh half.
    """

    lm: LanguageModel
    contexts: Sequence[Prefix]
    labels: Sequence[str]
    audio_ids: Sequence[Sequence[int]]
    weights: Sequence[float]

    def __call__(self, queries: Sequence[Query]) -> list[dict[str, float]]:
        totals = torch.zeros(len(queries), len(self.labels), dtype=torch.float64)
        lengths = torch.zeros(len(queries), dtype=torch.float64)
        for level, (contexts, among) in enumerate(zip(self.contexts, self.audio_ids, strict=True)):
            rows = [row for query in queries for row in query[level]]
            scores = self.lm.score(contexts, rows, among)
            owner = [number for number, query in enumerate(queries) for _ in query[level]]
            for place, number in enumerate(owner):
                weight = self.weights[level] / len(queries[number][level])
                totals[number] += weight * mixed(torch.stack([label[place] for label in scores]))
                lengths[number] += weight * len(rows[place])
        totals /= temperature(lengths)[:, None]
        return [normalised(dict(zip(self.labels, row.tolist(), strict=True))) for row in totals]


def temperature(words: Tensor) -> Tensor:
    """What scores of so many words are divided by: 24 words count as 6."""
    return (words / WORDS).clamp(min=1.0)


def mixed(logp: Tensor) -> Tensor:
    """log P per label and id [L, T] -> log-score per label [L]: P of each id mixed with what the other labels give it.

    A label's own P counts `ODDS` times as much as each of the others': of two labels that give an id P .9 and 0, the
    scores are log(9 / 11) and log(.9 / 11).
    """
    logp = logp.double()
    top = logp.max(dim=0).values
    p = (logp - top).exp()
    shared = ((ODDS - 1) * p + p.sum(dim=0)) / (ODDS - 1 + len(p))
    return (shared.log() + top).sum(dim=1)


def normalised(scores: Mapping[str, float]) -> dict[str, float]:
    """Log-scores -> log-probabilities that sum to one over the labels."""
    logp = torch.tensor(list(scores.values()), dtype=torch.float64).log_softmax(0).tolist()
    return dict(zip(scores, logp, strict=True))
