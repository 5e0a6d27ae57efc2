"""How a label is read out: demonstrations once, then a query's ids in and log-probabilities per label out.

Both readouts ask the LLM only `score(prefix, continuations)`, with the demonstrations' part read once for all queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from uniaudio_cli.lm import LanguageModel, Prefix


class Readout(Protocol):
    """What is left to do per query once the demonstrations are read."""

    def __call__(self, query: Sequence[int]) -> dict[str, float]:
        """The query's ids (what follows the shared prefix) -> log-probability per label, normalised over the labels."""
        ...


@dataclass(frozen=True)
class LabelReadout:
    """P(label | demonstrations, query): the log-probability of each whole label after the query (the paper's way).

    The labels are closed with the end marker, so that a label which begins another ("up", "upper") competes fairly,
    and normalised over the candidates alone.
    """

    lm: LanguageModel
    prefix: Prefix
    continuations: Mapping[str, Sequence[int]]

    def __call__(self, query: Sequence[int]) -> dict[str, float]:
        asked = self.lm.extend(self.prefix, query)
        scores = self.lm.score(asked, list(self.continuations.values()))[0]
        return normalised({label: float(s.sum()) for label, s in zip(self.continuations, scores, strict=True)})


@dataclass(frozen=True)
class LikelihoodReadout:
    """P(query | the label's demonstrations): whose demonstrations make the query's audio words least surprising?

    One context per label, which holds its demonstrations and nothing else; the query's ids are scored after each,
    among the ids that audio can have. A noisy-channel reading with a uniform prior over labels: see docs/LOG.md.
    """

    lm: LanguageModel
    contexts: Prefix
    labels: Sequence[str]
    audio_ids: Sequence[int]

    def __call__(self, query: Sequence[int]) -> dict[str, float]:
        scores = self.lm.score(self.contexts, [query], among=self.audio_ids)
        return normalised({label: float(row[0].sum()) for label, row in zip(self.labels, scores, strict=True)})


def normalised(scores: Mapping[str, float]) -> dict[str, float]:
    """Log-scores -> log-probabilities that sum to one over the labels."""
    logp = torch.tensor(list(scores.values()), dtype=torch.float64).log_softmax(0).tolist()
    return dict(zip(scores, logp, strict=True))
