"""How a label is read out: demonstrations once, then queries' ids in and log-probabilities per label out.

Both readouts ask the LLM only how likely ids are after a prefix that was read once for all queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from uniaudio_cli.llm.model import LanguageModel, Prefix
from uniaudio_cli.llm.ngram import NgramCache

# A word speaks for one label against another by at most these odds, so that no single word can rule a label out. And
# as words say things twice, a clip is as sure as this many of them, however long it is. Both were chosen on development
# episodes: see docs/LOG.md.
ODDS = 10.0
EFFECTIVE_TOKENS = 8.0


@dataclass(frozen=True)
class TokenObservation:
    """What was heard once of a clip, as the LLM reads it. `near`: how probable every id of the level is in the place of
    each of `ids`, log-probabilities [T, A]; None where only the ids count."""

    ids: Sequence[int]
    near: Tensor | None = None


# Per level that is asked apart, what was said each time it was heard. Wherever hearings are added up.
Query = Sequence[Sequence[TokenObservation]]


class Readout(Protocol):
    """What is left to do per query once the demonstrations are read."""

    def __call__(self, queries: Sequence[Query]) -> list[dict[str, float]]:
        """For each query its log-probability per label, normalised over the labels."""
        ...


@dataclass(frozen=True)
class LabelReadout:
    """P(label | demonstrations, query): the log-probability of each whole label after the query (the paper's way).

    A query is one level, read to where a label begins. Normalised over the candidates alone. Where one label's
    ids begin another's ("up", "upper"), all are given closed with the end marker, so that it competes fairly.
    """

    lm: LanguageModel
    prefix: Prefix
    continuations: Mapping[str, Sequence[int]]

    def __call__(self, queries: Sequence[Query]) -> list[dict[str, float]]:
        rows = [said.ids for (heard,) in queries for said in heard]
        found = iter(self.lm.score_after(self.prefix, rows, list(self.continuations.values()))[0])
        replies = []
        for (heard,) in queries:
            each = torch.stack([torch.stack([score.sum() for score in next(found)]) for _ in heard])
            replies.append(normalised(dict(zip(self.continuations, each.mean(dim=0).tolist(), strict=True))))
        return replies


@dataclass(frozen=True)
class LikelihoodReadout:
    """P(query | the label's demonstrations): whose demonstrations make the query's audio words least surprising?

    For a level, one context per label that holds its demonstrations and nothing else; the query is scored after each,
    among the ids that audio of that level can have. A noisy-channel reading with a uniform prior over labels: what is
    scored is not the one word that the codec took a frame for, but all that are near it (`TokenObservation`). The LLM and a cache
    of what the label's demonstrations said word for word have an equal say, and no word decides (`mixed`).

    `contexts[k]`, `caches[k]`, `audio_ids[k]`, `weights[k]`: of the k-th level asked; contexts and caches in the order
    of `labels`. A level without a context (None) is left to the cache: at a finer level the LLM adds nothing to it
    and has most to read. A level with twice the codes a second says everything twice, so it should weigh half.
    """

    lm: LanguageModel
    contexts: Sequence[Prefix | None]
    caches: Sequence[Sequence[NgramCache]]
    labels: Sequence[str]
    audio_ids: Sequence[Sequence[int]]
    weights: Sequence[float]

    def __call__(self, queries: Sequence[Query]) -> list[dict[str, float]]:
        totals = torch.zeros(len(queries), len(self.labels), dtype=torch.float64)
        lengths = torch.zeros(len(queries), dtype=torch.float64)
        for level, weight in enumerate(self.weights):
            found = iter(self.scores(level, [said for query in queries for said in query[level]]))
            for number, query in enumerate(queries):
                each = weight / len(query[level])
                for said in query[level]:
                    totals[number] += each * smooth_across_labels(next(found))
                    lengths[number] += each * len(said.ids)
        totals /= temperature(lengths)[:, None]
        return [normalised(dict(zip(self.labels, row.tolist(), strict=True))) for row in totals]

    def scores(self, level: int, heard: Sequence[TokenObservation]) -> list[Tensor]:
        """The words' log-scores by label of everything heard on a level: [L, T] each."""
        cached = [self.remembered(level, said) for said in heard]
        context = self.contexts[level]
        if context is None:
            return cached
        return [average_logprobs(*both) for both in zip(self.read(context, level, heard), cached, strict=True)]

    def read(self, context: Prefix, level: int, heard: Sequence[TokenObservation]) -> list[Tensor]:
        """What the LLM makes of it."""
        ids, near = [said.ids for said in heard], [said.near for said in heard]
        scores = self.lm.score(context, ids, self.audio_ids[level], near)
        return [torch.stack([label[place] for label in scores]) for place in range(len(heard))]

    def remembered(self, level: int, said: TokenObservation) -> Tensor:
        """What the cache makes of one hearing."""
        return torch.stack([cache.score(said.ids, said.near) for cache in self.caches[level]])


def average_logprobs(llm: Tensor, cache: Tensor) -> Tensor:
    """The log-scores of the LLM and of the cache as one: their mean."""
    return (llm.double() + cache) / 2


def temperature(words: Tensor) -> Tensor:
    """What scores of so many words are divided by: 32 words count as 8."""
    return (words / EFFECTIVE_TOKENS).clamp(min=1.0)


def smooth_across_labels(logp: Tensor) -> Tensor:
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
