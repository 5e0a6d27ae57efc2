"""Constrained decoding: ids after a prefilled prompt that a grammar accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

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
    ngram: NgramCache | None = None,
) -> list[list[int]]:
    """The ids after every row of `prefix` until the grammar is finished; see `generate_steps`.

    Raises:
        UsageError: the LLM's context is full.
    """
    rows: list[list[int]] = [[] for _ in range(prefix.rows)]
    for step in generate_steps(lm, prefix, grammar, temperature, seed, top_p, ngram):
        for row, chosen in zip(rows, step, strict=True):
            row += [] if chosen is None else [chosen]
    return rows


def generate_scored(lm: LanguageModel, prefix: Prefix, grammar: Grammar) -> tuple[list[int], float]:
    """The likeliest allowed id after a prefix of one row, step by step, and the log-probability of the whole.

    The probability is among all ids, not among the allowed ones: it is low where the LLM would write something else.

    Raises:
        UsageError: the LLM's context is full.
    """
    ids: list[int] = []
    state, total = grammar.start(), 0.0
    while allowed := grammar.allowed(state):
        if ids:
            prefix = lm.extend(prefix, ids[-1:])
        scores = prefix.logits[0].double().log_softmax(dim=0)[list(allowed)]
        chosen = int(scores.argmax())
        total += float(scores[chosen])
        ids.append(allowed[chosen])
        state = grammar.advance(state, allowed[chosen])
    return ids, total


def generate_freely(lm: LanguageModel, prefix: Prefix, most: int, is_end: Callable[[int], bool]) -> list[int]:
    """The likeliest ids after a prefix of one row, without a grammar, before the first end and `most` at most.

    Raises:
        UsageError: the LLM's context is full.
    """
    decoder, ids = lm.decoder(prefix), list[int]()
    while len(ids) < most and not is_end(chosen := decoder.likeliest(ids[-1:])):
        ids.append(chosen)
    return ids


def generate_steps(
    lm: LanguageModel,
    prefix: Prefix,
    grammar: Grammar,
    temperature: float = 0.0,
    seed: int = 0,
    top_p: float = 1.0,
    ngram: NgramCache | None = None,
) -> Iterator[list[int | None]]:
    """The next id of every row, step by step; None for a row that is finished.

    Greedy at temperature 0, else drawn from the likeliest allowed ids that together have `top_p` of the probability,
    with a CPU generator a row, all seeded with `seed`. With an `ngram` model, the mean of its log-probabilities and the
    LLM's among the allowed ids counts. An id that is the only one allowed needs no forward pass; it is fed to the LLM
    together with the next ids that do.

    Raises:
        UsageError: the LLM's context is full.
    """
    decoder = lm.decoder(prefix)
    draws = [torch.Generator().manual_seed(seed) for _ in range(prefix.rows)]
    states = [grammar.start() for _ in draws]
    pending: list[list[int]] = [[] for _ in draws]
    generated: list[list[int]] = [[] for _ in draws]
    while any(options := [grammar.allowed(state) for state in states]):
        step: list[int | None] = [allowed[0] if allowed else None for allowed in options]
        open_rows = {row: allowed for row, allowed in enumerate(options) if len(allowed) > 1}
        if open_rows:
            for row, logits in decoder.logits(pending, open_rows).items():
                if ngram is not None:
                    logits = (logits.double().log_softmax(dim=0) + ngram.next(generated[row], open_rows[row])) / 2
                step[row] = open_rows[row][_sample(logits, temperature, top_p, draws[row])]
            pending = [[] for _ in draws]
        for row, chosen in enumerate(step):
            # Finished rows are fed on, so that all rows stay equally long; their ids are ignored.
            pending[row].append(0 if chosen is None else chosen)
            if chosen is not None:
                generated[row].append(chosen)
                states[row] = grammar.advance(states[row], chosen)
        yield step


def _sample(logits: Tensor, temperature: float, top_p: float, draw: torch.Generator) -> int:
    """An index into logits [N]."""
    if temperature == 0:
        return int(logits.argmax())
    probabilities = (logits / temperature).softmax(0)
    if top_p < 1:
        ordered, places = probabilities.sort(descending=True)
        # The sum before the last one kept is still short of top_p.
        probabilities[places[(ordered.cumsum(0) - ordered) >= top_p]] = 0
    return int(torch.multinomial(probabilities, 1, generator=draw))
