"""Label readouts: demonstrations are prefilled once, then each clip's tokens become log-probabilities per label.

`LabelReadout` scores the label after the clip, as the paper does. `LikelihoodReadout` scores the clip after each
label's demonstrations, a noisy-channel model (Min et al. 2022, arXiv 2108.04106).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from uniaudio_cli.llm.model import LanguageModel, Prefix
from uniaudio_cli.llm.ngram import NgramCache

# No token changes the odds between two labels by more than ODDS, so that no single token decides; and as tokens repeat
# each other, a clip counts as EFFECTIVE_TOKENS of them at most. Both chosen on development episodes: docs/LOG.md.
ODDS = 10.0
EFFECTIVE_TOKENS = 8.0


@dataclass(frozen=True)
class TokenObservation:
    """One encoding of a clip on one level.

    `ids`: its LLM ids [T]. `soft_logprobs`: float [T, A], how probable each of the level's A ids is at each place given
    the codec's latent; None where only `ids` count.
    """

    ids: Sequence[int]
    soft_logprobs: Tensor | None = None


# What a readout scores of a clip. Of those by tokens: per scored level, one observation for each time offset, whose
# scores are averaged. Of the similarity readout: a feature by level.
Query = Any


class Readout(Protocol):
    """Scores queries against demonstrations that are prefilled already."""

    def __call__(self, queries: Sequence[Query]) -> list[dict[str, float]]:
        """Per query, the log-probability of each label, normalised over the labels."""
        ...


@dataclass(frozen=True)
class LabelReadout:
    """P(label | demonstrations, query): the log-probability of each whole label after the query (paper, section 3.3).

    A query is one level up to where a label begins. Where one label's ids begin another's ("up", "upper"), the caller
    closes every continuation with the end marker, so that the shorter label competes fairly.
    """

    lm: LanguageModel
    prefix: Prefix
    continuations: Mapping[str, Sequence[int]]

    def __call__(self, queries: Sequence[Query]) -> list[dict[str, float]]:
        rows = [observation.ids for (offsets,) in queries for observation in offsets]
        found = iter(self.lm.score_after(self.prefix, rows, list(self.continuations.values()))[0])
        results = []
        for (offsets,) in queries:
            each = torch.stack([torch.stack([score.sum() for score in next(found)]) for _ in offsets])
            results.append(normalised(dict(zip(self.continuations, each.mean(dim=0).tolist(), strict=True))))
        return results


@dataclass(frozen=True)
class LikelihoodReadout:
    """P(query | the label's demonstrations) with a uniform prior over labels.

    For each level, one context per label holds that label's demonstrations; the query is scored after each, among the
    ids that audio of the level can have, softly over all ids near the latent (`TokenObservation`). The LLM and an
    n-gram model of the label's demonstrations are averaged, and tokens are smoothed across labels.

    `contexts[k]`, `caches[k]`, `audio_ids[k]`, `weights[k]`: of the k-th level; contexts and caches in the order of
    `labels`. A level whose context is None is scored by the n-gram model alone: at finer levels the LLM adds nothing
    to it and costs most (docs/LOG.md).
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
            found = iter(self.scores(level, [observation for query in queries for observation in query[level]]))
            for number, query in enumerate(queries):
                share = weight / len(query[level])
                for observation in query[level]:
                    totals[number] += share * smooth_across_labels(next(found))
                    lengths[number] += share * len(observation.ids)
        totals /= temperature(lengths)[:, None]
        return [normalised(dict(zip(self.labels, row.tolist(), strict=True))) for row in totals]

    def scores(self, level: int, observations: Sequence[TokenObservation]) -> list[Tensor]:
        """Log-scores per label and token of every observation on a level: [L, T] each."""
        counted = [self.ngram_scores(level, observation) for observation in observations]
        context = self.contexts[level]
        if context is None:
            return counted
        scored = self.llm_scores(context, level, observations)
        return [average_logprobs(*both) for both in zip(scored, counted, strict=True)]

    def llm_scores(self, context: Prefix, level: int, observations: Sequence[TokenObservation]) -> list[Tensor]:
        """The LLM's log-probabilities [L, T] of each observation."""
        ids = [observation.ids for observation in observations]
        soft = [observation.soft_logprobs for observation in observations]
        scores = self.lm.score(context, ids, self.audio_ids[level], soft)
        return [torch.stack([label[place] for label in scores]) for place in range(len(observations))]

    def ngram_scores(self, level: int, observation: TokenObservation) -> Tensor:
        """The n-gram model's log-probabilities [L, T]."""
        return torch.stack([cache.score(observation.ids, observation.soft_logprobs) for cache in self.caches[level]])


def average_logprobs(llm: Tensor, ngram: Tensor) -> Tensor:
    """The mean of the LLM's and the n-gram model's log-probabilities."""
    return (llm.double() + ngram) / 2


def temperature(tokens: Tensor) -> Tensor:
    """What the sum over `tokens` scores is divided by: 32 tokens count as 8."""
    return (tokens / EFFECTIVE_TOKENS).clamp(min=1.0)


def smooth_across_labels(logp: Tensor) -> Tensor:
    """log P per label and token [L, T] -> log-score per label [L], each P mixed with the other labels' P.

    A label's own P counts `ODDS` times as much as each of the others'. Two labels that give a token P .9 and 0 score
    log(9 / 11) and log(.9 / 11).
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
