"""Our reading and writing against plain transformers, same weights, same ids, in one run: ids a second and their ratio.

    python benchmarks/lm.py [--lm NAME] [--prompt 1024] [--new 32] [--rows 8] [--rounds 3]

Reading: `LanguageModel.prefill` of one prompt against `model(ids, use_cache=True, logits_to_keep=1)`. Writing, after a
prompt that is already read, in codes of all three levels: a loop of one-id `model(...)` calls with a growing cache and
all logits (plain), the same ids through `Writer` without a grammar (free), and `generate` under the grammar, with the
model's own weights and with 8 bits, one row and several. Rounds alternate; the best of each counts, since anything else
on the machine only ever adds time. `agree`: how many of the greedy ids are those that the model's own weights and the
whole head write.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable

import torch

from uniaudio_cli.api import load_codec_and_vocabulary
from uniaudio_cli.core.device import choose_device, choose_dtype
from uniaudio_cli.llm.constraints import AudioGrammar
from uniaudio_cli.llm.decoding import generate
from uniaudio_cli.llm.loading import load_lm
from uniaudio_cli.llm.model import LanguageModel, Prefix
from uniaudio_cli.models.registry import resolve_lm


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@torch.inference_mode()
def plain_loop(lm: LanguageModel, prefix: Prefix, count: int) -> None:
    """As a script would: the likeliest of all ids, fed back; `prefix` is not kept whole."""
    cache, chosen = copy.deepcopy(prefix.cache), prefix.logits.argmax(dim=-1, keepdim=True)
    for _ in range(count):
        out = lm.model(input_ids=chosen, past_key_values=cache, use_cache=True, logits_to_keep=1)
        chosen = out.logits[:, -1].argmax(dim=-1, keepdim=True)


@torch.inference_mode()
def plain_prefill(lm: LanguageModel, ids: torch.Tensor) -> None:
    lm.model(input_ids=ids, use_cache=True, logits_to_keep=1)


def free_loop(lm: LanguageModel, prefix: Prefix, allowed: tuple[int, ...], count: int) -> None:
    """What `generate` does, less the grammar: always the same ids to choose from."""
    decoder = lm.decoder(prefix)
    pending: list[list[int]] = [[] for _ in range(prefix.rows)]
    for _ in range(count):
        found = decoder.logits(pending, dict.fromkeys(range(prefix.rows), allowed))
        pending = [[allowed[int(logits.argmax())]] for logits in found.values()]


def naive(lm: LanguageModel, prefix: Prefix, grammar: AudioGrammar) -> list[int]:
    """The likeliest allowed id by the model's own weights and its whole head."""
    state, written = grammar.start(), []
    while allowed := grammar.allowed(state):
        written.append(allowed[int(prefix.logits[0, list(allowed)].argmax())])
        prefix = lm.extend(prefix, written[-1:])
        state = grammar.advance(state, written[-1])
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lm", default="smollm2-135m")
    parser.add_argument("--prompt", type=int, default=1024)
    parser.add_argument("--new", type=int, default=56, help="ids to write, in multiples of 7")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    codec, vocabulary = load_codec_and_vocabulary("small")
    device = choose_device("auto")
    files = resolve_lm(options.lm)
    exact = load_lm(str(files.folder), files.name, device, choose_dtype("auto", device))
    quick = LanguageModel(exact.model, exact.name, decode_bits=8)
    # Real audio words, as a prompt has them, in the order of levels.
    draw = torch.Generator().manual_seed(0)
    groups = options.prompt // 7 + 1
    codes = [
        torch.randint(size, (groups * n,), generator=draw)
        for size, n in zip(codec.config.sizes, (1, 2, 4), strict=True)
    ]
    prompt = vocabulary.ids(codes)[: options.prompt]
    tensor = torch.tensor([prompt], device=exact.device)
    levels = [vocabulary.code_ids(level) for level in range(3)]
    coarse = options.new // 7
    grammar = AudioGrammar(levels, codec.strides, coarse, coarse, [])
    prefix = exact.prefill([prompt])
    wide = exact.repeat(prefix, options.rows)
    count = 7 * coarse
    largest = tuple(id for (id,) in sorted(levels[2]))
    work: dict[str, tuple[int, Callable[[], object]]] = {
        f"read {options.prompt} ids, plain transformers": (options.prompt, lambda: plain_prefill(exact, tensor)),
        f"read {options.prompt} ids, ours": (options.prompt, lambda: exact.prefill([prompt])),
        "write, plain transformers": (count, lambda: plain_loop(exact, prefix, count)),
        "write, no grammar, own weights": (count, lambda: free_loop(exact, prefix, largest, count)),
        "write, grammar, own weights": (count, lambda: generate(exact, prefix, grammar)),
        "write, no grammar, 8 bits": (count, lambda: free_loop(quick, prefix, largest, count)),
        "write, grammar, 8 bits": (count, lambda: generate(quick, prefix, grammar)),
        f"write {options.rows} rows, plain transformers": (
            options.rows * count,
            lambda: plain_loop(exact, wide, count),
        ),
        f"write {options.rows} rows, grammar, 8 bits": (options.rows * count, lambda: generate(quick, wide, grammar)),
    }
    for _, each in work.values():
        each()
    times = [{what: seconds(each) for what, (_, each) in work.items()} for _ in range(options.rounds)]
    best = {what: min(round_[what] for round_ in times) for what in work}
    print(
        f"{exact.name}, {exact.device}, {torch.get_num_threads()} threads, {options.prompt} ids read, {count} written,"
    )
    print(f"best of {options.rounds}, seed 0\n\n| what | ids a second | times plain |\n|---|---|---|")
    base = ""
    for what, (ids, _) in work.items():
        base = what if what.endswith("plain transformers") else base
        print(f"| {what} | {ids / best[what]:.1f} | {best[base] / best[what]:.2f} |")
    for name in ("own weights", "8 bits"):
        cost = best[f"write, grammar, {name}"] / best[f"write, no grammar, {name}"] - 1
        print(f"\nthe grammar costs {100 * cost:+.1f} % ({name})")
    expected = naive(exact, prefix, grammar)
    for name, lm in (("own weights", exact), ("8 bits", quick)):
        agree = sum(a == b for a, b in zip(expected, generate(lm, prefix, grammar)[0], strict=True))
        print(f"agree: {agree} of {count} ids ({name})")


if __name__ == "__main__":
    main()
