"""Our reading and writing against plain transformers, same weights, same ids, in one run: seconds and their ratio.

    python benchmarks/lm.py [--lm NAME] [--prompt 1024] [--new 32] [--rounds 3]

Reading: `LanguageModel.prefill` of one prompt against `model(ids, use_cache=True, logits_to_keep=1)`. Writing:
`generate` under a grammar of level-0 words against a loop of one-id `model(...)` calls with a cache. Rounds alternate;
the best of each side counts, since anything else on the machine only ever adds time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from uniaudio_cli.api import load_hearing
from uniaudio_cli.device import choose_device, choose_dtype
from uniaudio_cli.generate import generate
from uniaudio_cli.grammar import AudioGrammar
from uniaudio_cli.lm import LanguageModel, load_lm
from uniaudio_cli.models import resolve_lm


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@torch.inference_mode()
def plain_loop(lm: LanguageModel, ids: torch.Tensor, count: int) -> None:
    out = lm.model(input_ids=ids, use_cache=True, logits_to_keep=1)
    for _ in range(count):
        chosen = out.logits[:, -1].argmax(dim=-1, keepdim=True)
        out = lm.model(input_ids=chosen, past_key_values=out.past_key_values, use_cache=True, logits_to_keep=1)


@torch.inference_mode()
def plain_prefill(lm: LanguageModel, ids: torch.Tensor) -> None:
    lm.model(input_ids=ids, use_cache=True, logits_to_keep=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lm", default="smollm2-135m")
    parser.add_argument("--prompt", type=int, default=1024)
    parser.add_argument("--new", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    _, vocabulary = load_hearing("small")
    device = choose_device("auto")
    files = resolve_lm(options.lm)
    lm = load_lm(str(files.folder), files.name, device, choose_dtype("auto", device))
    random = torch.Generator().manual_seed(0)
    prompt = torch.randint(100, vocabulary.tokenizer.size, (options.prompt,), generator=random).tolist()
    tensor = torch.tensor([prompt], device=lm.device)
    grammar = AudioGrammar([vocabulary.code_ids(0)], [1], options.new, options.new, [])
    short = prompt[:32]
    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        f"read {options.prompt} ids": (lambda: lm.prefill([prompt]), lambda: plain_prefill(lm, tensor)),
        f"write {options.new} ids": (
            lambda: generate(lm, lm.prefill([short]), grammar),
            lambda: plain_loop(lm, tensor[:, :32], options.new - 1),
        ),
    }
    print(f"{lm.name}, {lm.device}, {torch.get_num_threads()} threads, best of {options.rounds}\n")
    print("| what | ours, s | plain transformers, s | ours / plain |\n|---|---|---|---|")
    for what, (ours, plain) in pairs.items():
        ours(), plain()
        times = [(seconds(ours), seconds(plain)) for _ in range(options.rounds)]
        a, b = (min(side) for side in zip(*times, strict=True))
        print(f"| {what} | {a:.2f} | {b:.2f} | {a / b:.2f} |")


if __name__ == "__main__":
    main()
