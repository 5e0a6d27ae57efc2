"""Small LLMs for tests: a random two-layer LLaMA, and a stand-in whose logits follow a rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from tests.factories import seeded
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.llm.model import Prefix


def tiny_llama(vocab: int, context: int = 4096, seed: int = 0) -> Any:
    """transformers' LLaMA, 32 wide, two layers; its weights are large enough for every id of a context to matter."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.random.fork_rng():
        model = LlamaForCausalLM(config)
    seeded(model, seed)
    return model.eval()


class RuleLM:
    """What `LanguageModel` does, computed anew at every call: the next id's logits are `rule(ids so far)`.

    `contexts`: every prefilled context; `scored`: every context with a continuation of it that was scored.
    """

    name = "rule"

    def __init__(self, rule: Callable[[Sequence[int]], Tensor], context_length: int = 10_000) -> None:
        self.rule = rule
        self.context_length = context_length
        self.contexts: list[tuple[int, ...]] = []
        self.scored: list[list[int]] = []

    def prefill(self, contexts: Sequence[Sequence[int]]) -> Prefix:
        rows = [tuple(context) for context in contexts]
        longest = max(map(len, rows))
        if longest > self.context_length:
            raise UsageError("too long")
        self.contexts += rows
        return Prefix(rows, torch.ones(len(rows), longest, dtype=torch.int64), torch.stack([*map(self.rule, rows)]))

    def extend(self, prefix: Prefix, ids: Sequence[int]) -> Prefix:
        return self.prefill([(*row, *ids) for row in prefix.cache])

    def continue_with(self, prefix: Prefix, rows: Sequence[Sequence[int]]) -> Prefix:
        return self.prefill([(*prefix.cache[0], *row) for row in rows])

    def decoder(self, prefix: Prefix) -> RuleDecoder:
        return RuleDecoder(self, prefix)

    def score(
        self,
        prefix: Prefix,
        continuations: Sequence[Sequence[int]],
        among: Sequence[int] | None = None,
        soft: Sequence[Tensor | None] | None = None,
    ) -> list[list[Tensor]]:
        self.scored += [[*row, *each] for row in prefix.cache for each in continuations]
        asked = list(zip(continuations, soft or [None] * len(continuations), strict=True))
        return [[self._score(row, each, among, soft_of) for each, soft_of in asked] for row in prefix.cache]

    def score_after(
        self,
        prefix: Prefix,
        stems: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[int]],
        among: Sequence[int] | None = None,
        soft: Sequence[Tensor | None] | None = None,
    ) -> list[list[list[Tensor]]]:
        each = [self.score(self.extend(prefix, stem), continuations, among, soft) for stem in stems]
        return [[one[row] for one in each] for row in range(prefix.rows)]

    def _score(
        self,
        context: Sequence[int],
        continuation: Sequence[int],
        among: Sequence[int] | None,
        soft: Tensor | None = None,
    ) -> Tensor:
        ids, found = list(context), []
        for place, id in enumerate(continuation):
            logits = self.rule(ids)
            kept = logits if among is None else logits[list(among)]
            said = logits[id] if soft is None else (kept + soft[place]).logsumexp(0)
            found.append(said - kept.logsumexp(0))
            ids.append(id)
        return torch.stack(found)


class RuleDecoder:
    """What `Writer` does, for a `RuleLM`."""

    def __init__(self, lm: RuleLM, prefix: Prefix) -> None:
        self.lm, self.prefix = lm, prefix

    def logits(self, pending: Sequence[Sequence[int]], candidates: Mapping[int, tuple[int, ...]]) -> dict[int, Tensor]:
        if pending[0]:
            self.prefix = self.lm.prefill([(*row, *ids) for row, ids in zip(self.prefix.cache, pending, strict=True)])
        return {row: self.prefix.logits[row, list(ids)] for row, ids in candidates.items()}

    def likeliest(self, pending: Sequence[int]) -> int:
        if pending:
            self.prefix = self.lm.prefill([(*self.prefix.cache[0], *pending)])
        return int(self.prefix.logits[0].argmax())


def noise_rule(vocab: int, seed: int = 0) -> Callable[[Sequence[int]], Tensor]:
    """Logits that are new noise at every call."""
    generator = torch.Generator().manual_seed(seed)
    return lambda ids: 5 * torch.randn(vocab, generator=generator)


def bigram_rule(vocab: int) -> Callable[[Sequence[int]], Tensor]:
    """How often each id has followed the last one, smoothed."""

    def rule(ids: Sequence[int]) -> Tensor:
        counts = torch.full((vocab,), 0.1)
        for before, after in pairwise(ids):
            if before == ids[-1]:
                counts[after] += 1
        return counts.log()

    return rule
