"""Whatever the logits, what is generated parses and decodes: random ones by the thousand, and the LLM's own.

    python benchmarks/random_logits.py [--count 10000] [--real 200] [--codec NAME]

Every generation is checked: the ids are read back as codes, the codes written as the same ids, each level has exactly
its share of codes, the length is within the bounds asked for, and the codec makes a finite wav of exactly that length
of them. Random logits are normal with a deviation of 5, so that greedy and sampled ids are all over the vocabulary; the
settings take turns. The LLM's own are sampled at temperature 1 after the example digits.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import uniaudio_cli
from uniaudio_cli.api import Kit
from uniaudio_cli.data.demonstrations import choose, load_demonstrations
from uniaudio_cli.llm.constraints import GRAMMARS, AudioGrammar
from uniaudio_cli.llm.decoding import generate
from uniaudio_cli.llm.model import Prefix
from uniaudio_cli.prompting.prompt import Text
from uniaudio_cli.prompting.task import load_task, override_task
from uniaudio_cli.prompting.vocabulary import Layout

DEMOS = Path(__file__).parent.parent / "examples" / "audio" / "digits"
ROWS = 25


class Noise:
    """An LLM of random logits that is its own decoding state."""

    def __init__(self) -> None:
        self.draw = torch.Generator().manual_seed(0)

    def decoder(self, prefix: Prefix) -> Noise:
        return self

    def logits(self, pending: Sequence[Sequence[int]], candidates: Mapping[int, tuple[int, ...]]) -> dict[int, Tensor]:
        return {row: 5 * torch.randn(len(ids), generator=self.draw) for row, ids in candidates.items()}


LAYOUTS: tuple[Layout, ...] = ("flattened", "interleaved")


def check(kit: Kit, rows: list[list[int]], grammar: AudioGrammar, levels: tuple[int, ...], layout: Layout) -> None:
    """Raise where one is not what it should be."""
    strides = [kit.codec.strides[level] for level in levels]
    fixed = grammar.most * strides[0] if grammar.least == grammar.most else None
    for ids in rows:
        written = ids[: len(ids) - len(grammar.end)]
        codes = kit.vocabulary.codes(written, fixed, levels, layout)
        assert kit.vocabulary.ids(codes, levels, layout) == written
        coarse = len(codes[0])
        assert grammar.least <= coarse <= grammar.most
        assert [len(row) for row in codes] == [coarse * strides[0] // stride for stride in strides]
        wav = kit.encoder.decode(codes)
        assert wav.shape == (1, coarse * strides[0] * kit.codec.hop_length)
        assert wav.isfinite().all()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--real", type=int, default=200)
    parser.add_argument("--model", default="small")
    parser.add_argument("--codec")
    options = parser.parse_args()
    kit = uniaudio_cli.load(options.model, codec=options.codec)
    end = kit.vocabulary.tokenizer.encode(" >")[:1]
    settings = itertools.cycle(
        itertools.product(
            LAYOUTS,
            ((0, 1, 2), (0, 1), (0,)),
            ((6, 6), (1, 12)),
            ((0.0, 1.0), (1.0, 1.0), (2.0, 0.9)),
        )
    )
    noise: Any = Noise()
    prefix = Prefix(None, torch.ones(ROWS, 1), torch.zeros(ROWS, 1))
    made: Counter[str] = Counter()
    started = time.perf_counter()
    for _ in range(math.ceil(options.count / ROWS)):
        layout, levels, (least, most), (temperature, top_p) = next(settings)
        codes = [kit.vocabulary.code_ids(level) for level in levels]
        grammar = GRAMMARS[layout](codes, [kit.codec.strides[level] for level in levels], least, most, end)
        rows = generate(noise, prefix, grammar, temperature, made.total(), top_p)
        check(kit, rows, grammar, levels, layout)
        made[f"random logits, {layout}"] += len(rows)
    for layout in LAYOUTS if options.real else ():
        task = override_task(load_task("spoken-answer"), layout=layout)
        speaker = kit.speaker(choose(load_demonstrations(DEMOS, "text"), task.shots, 0), task)
        generator = speaker.generator
        while made[f"{kit.lm.name}, {layout}"] < options.real / 2:
            digit = speaker.texts[made.total() % len(speaker.texts)]
            after, grammar = generator.prefill_prompts([Text(digit)] * 8, examples_for=digit)
            ngram = generator.ngram_model(grammar, digit)
            rows = generate(kit.lm, after, grammar, 1.0, made.total(), ngram=ngram)
            check(kit, rows, grammar, task.levels, layout)
            made[f"{kit.lm.name}, {layout}"] += 8
    print(f"in {time.perf_counter() - started:.0f} s\n")
    print("| logits | generations | parse, decode, right length |\n|---|---|---|")
    for what, count in made.items():
        print(f"| {what} | {count} | {count} |")


if __name__ == "__main__":
    main()
