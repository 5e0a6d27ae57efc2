"""The only decoding loop: a read prefix and a grammar in, ids that the grammar accepts out. Never knows audio."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from uniaudio_cli.llm.constraints import Grammar
from uniaudio_cli.llm.model import LanguageModel, Prefix
from uniaudio_cli.llm.ngram import NgramCache


def generate(
    lm: LanguageModel,
    prefix: Prefix,
    grammar: Grammar,
    temperature: float = 0.0,
    seed: int = 0,
    top_p: float = 1.0,
    cache: NgramCache | None = None,
) -> list[list[int]]:
    """What is written after every row of `prefix` until the grammar is finished; see `write`.

    Raises:
        UsageError: the LLM's context is full.
    """
    rows: list[list[int]] = [[] for _ in range(prefix.rows)]
    for step in write(lm, prefix, grammar, temperature, seed, top_p, cache):
        for row, chosen in zip(rows, step, strict=True):
            row += [] if chosen is None else [chosen]
    return rows


def write(
    lm: LanguageModel,
    prefix: Prefix,
    grammar: Grammar,
    temperature: float = 0.0,
    seed: int = 0,
    top_p: float = 1.0,
    cache: NgramCache | None = None,
) -> Iterator[list[int | None]]:
    """The next id of every row, step by step; None for a row that is finished.

    Greedy at temperature 0, else drawn from the likeliest allowed ids that together have `top_p` of the probability,
    with a CPU generator a row, all seeded with `seed`. A `cache` has as much of a say as the LLM: what counts is the
    mean of their log-probabilities among what is allowed. An id that is the only one allowed is taken without asking
    either, and read by the LLM together with the next one it is asked about.

    Raises:
        UsageError: the LLM's context is full.
    """
    writer = lm.writer(prefix)
    draws = [torch.Generator().manual_seed(seed) for _ in range(prefix.rows)]
    states = [grammar.start() for _ in draws]
    unread: list[list[int]] = [[] for _ in draws]
    written: list[list[int]] = [[] for _ in draws]
    while any(options := [grammar.allowed(state) for state in states]):
        step: list[int | None] = [allowed[0] if allowed else None for allowed in options]
        asked = {row: allowed for row, allowed in enumerate(options) if len(allowed) > 1}
        if asked:
            for row, logits in writer.logits(unread, asked).items():
                if cache is not None:
                    logits = (logits.double().log_softmax(dim=0) + cache.next(written[row], asked[row])) / 2
                step[row] = asked[row][_drawn(logits, temperature, top_p, draws[row])]
            unread = [[] for _ in draws]
        for row, chosen in enumerate(step):
            # A finished row is written on, for rows to stay equally long; nobody looks at it any more.
            unread[row].append(0 if chosen is None else chosen)
            if chosen is not None:
                written[row].append(chosen)
                states[row] = grammar.advance(states[row], chosen)
        yield step


def _drawn(logits: Tensor, temperature: float, top_p: float, draw: torch.Generator) -> int:
    """A place among logits [N]."""
    if temperature == 0:
        return int(logits.argmax())
    probabilities = (logits / temperature).softmax(0)
    if top_p < 1:
        ordered, places = probabilities.sort(descending=True)
        # As many as it takes: the sum before the last one kept is still short of top_p.
        probabilities[places[(ordered.cumsum(0) - ordered) >= top_p]] = 0
    return int(torch.multinomial(probabilities, 1, generator=draw))
