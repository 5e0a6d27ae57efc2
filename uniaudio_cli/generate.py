"""The only decoding loop: a read prefix and a grammar in, ids that the grammar accepts out. Never knows audio."""

from __future__ import annotations

import torch

from uniaudio_cli.grammar import Grammar
from uniaudio_cli.lm import LanguageModel, Prefix


def generate(lm: LanguageModel, prefix: Prefix, grammar: Grammar, temperature: float = 0.0, seed: int = 0) -> list[int]:
    """Write after `prefix` (one row) until the grammar is finished.

    Greedy at temperature 0, else sampled from the allowed ids with a CPU generator seeded with `seed`. An id that is
    the only one allowed is taken without asking the LLM, and read by it together with the next one it is asked about.

    Raises:
        UsageError: the LLM's context is full.
    """
    random = torch.Generator().manual_seed(seed)
    state = grammar.start()
    written: list[int] = []
    unread: list[int] = []
    while allowed := grammar.allowed(state):
        chosen = allowed[0]
        if len(allowed) > 1:
            if unread:
                prefix, unread = lm.extend(prefix, unread), []
            logits = prefix.logits[0, list(allowed)].cpu()
            if temperature > 0:
                chosen = allowed[int(torch.multinomial((logits / temperature).softmax(0), 1, generator=random))]
            else:
                chosen = allowed[int(logits.argmax())]
        written.append(chosen)
        unread.append(chosen)
        state = grammar.advance(state, chosen)
    return written
