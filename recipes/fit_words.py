"""Give a codec's finer levels new words: a trained codec in, the same networks with another vocabulary out.

    python recipes/fit_words.py uniaudio-small --lm qwen2.5-coder-0.5b --words WORDS --packed data/packed \
        --sizes 225,2048,8192 -o runs/words/uniaudio-small.safetensors

Level by level, codes are fitted to what the codec's encoder leaves to them (k-means), words are matched to codes by
ridge regression on the words' standardised embeddings and linear assignment, in turns, and the codes are moved again
with the table held to a linear map of the embeddings. Level 0 keeps its table; its words are the first ones left, as
any words fit fewer codes than the embeddings have dimensions. The result is a trainable checkpoint for `init` of
`recipes/small-cpu-codes.yaml`. Two levels of 2,048 and 8,192 codes take half an hour on one core.

With --tables-stay, words are only matched to the codes as they are, and `-o` is the configuration (.json) with the new
words: sound and codes do not change. That is how `uniaudio-small` got words that Qwen2.5 and SmolLM2 share.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from uniaudio_cli.codec.checkpoint import load_codec, save_codec
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.models.registry import resolve_codec
from uniaudio_cli.training.data import Crops, load_packed
from uniaudio_cli.training.initialise import Lexicon, load_lexicon
from uniaudio_cli.training.words import read_blocklist, standardised

BLOCKLIST = Path(__file__).with_name("blocklist.txt")
LETTERS = range(3, 13)
DIRECTIONS = 48  # the strongest of the latents, in which codes are fitted
ROUNDS, MATCHES, MOVES = 6, 4, 5
FIRST_RIDGE, RIDGE = 0.02, 0.003


def pool(lexicon: Lexicon, words: Sequence[str], taken: set[str]) -> list[str]:
    """The words that are one id of the LLM, of 3 to 12 letters, neither blocked nor taken, in order."""
    bad = read_blocklist(BLOCKLIST)
    fits = (word for word in sorted(set(words)) if word.isascii() and word.islower() and len(word) in LETTERS)
    return [word for word in fits if not bad(word) and word not in taken and len(lexicon.tokenizer.word_ids(word)) == 1]


def embeddings(lexicon: Lexicon, words: Sequence[str]) -> Tensor:
    """Standardised embeddings with a column of ones: float32 [words, dimensions + 1]."""
    ids = [lexicon.tokenizer.word_ids(word)[0] for word in words]
    found = torch.from_numpy(standardised(lexicon.embeddings)[ids].astype(np.float32))
    return torch.cat([found, torch.ones(len(found), 1)], dim=1)


def residuals(codec: Codec, packed: Path, batches: int, crop_frames: int = 12, batch_size: int = 16) -> Tensor:
    """What level 0 leaves of the latents of training crops: float32 [crops, D, F]."""
    crops = Crops(load_packed(packed), "train", batch_size, crop_frames, {}, 3.0, 0)
    first = codec.quantizer.levels()[0]
    found = []
    with torch.inference_mode():
        for number in range(batches):
            latent, coarse = codec.latents(torch.from_numpy(crops.batch(number).clean))
            found.append(latent - first(coarse).quantized.repeat_interleave(first.stride, -1)[..., : latent.shape[-1]])
    return torch.cat(found).clone()


def nearest(table: Tensor, frames: Tensor) -> Tensor:
    """The code of each frame by cosine, as the quantizer chooses: int64 [N]."""
    directions = torch.nn.functional.normalize(table)
    return torch.cat([(part @ directions.T).argmax(1) for part in frames.split(8192)])


def ridge(rows: Tensor, targets: Tensor, weights: Tensor, strength: float) -> Tensor:
    """Weighted ridge regression, float32 [columns of rows, columns of targets]."""
    a, y, w = rows.double(), targets.double(), weights.double()[:, None]
    gram = a.T @ (w * a)
    penalty = strength * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
    return torch.linalg.solve(gram + penalty, a.T @ (w * y)).float()


def means(frames: Tensor, codes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The mean frame of each code and their number, float32 [K, D] and [K]."""
    count = torch.bincount(codes, minlength=size).float()
    total = torch.zeros(size, frames.shape[1]).index_add_(0, codes, frames)
    return total / count.clamp(min=1)[:, None], count


def fit_codes(frames: Tensor, start: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    """K-means from `start`; further codes, and unused ones, begin at frames far from theirs. float32 [size, D]."""

    def far(table: Tensor, count: int) -> Tensor:
        error = ((frames - table[nearest(table, frames)]) ** 2).sum(1).double().numpy()
        return frames[rng.choice(len(frames), count, replace=False, p=error / error.sum())]

    table = start[:size].clone() if size <= len(start) else torch.cat([start, far(start, size - len(start))])
    for number in range(ROUNDS):
        mean, count = means(frames, nearest(table, frames), size)
        used = count > 0
        table[used] = ((count[:, None] * mean + 2 * table) / (count[:, None] + 2))[used]
        if number < ROUNDS - 2 and not used.all():
            table[~used] = far(table, int((~used).sum()))
    return table


def match(table: Tensor, count: Tensor, rows: Tensor, first: Tensor) -> Tensor:
    """A row (word) for every code, each once: int64 [K]. `first`: the map that the first assignment is made with."""
    chosen, weight = torch.empty(0, dtype=torch.int64), first
    for _ in range(MATCHES):
        placed = rows @ weight
        cost = ((placed**2).sum(1)[None] - 2 * table @ placed.T) * count[:, None].sqrt()  # frequent codes count more
        chosen = torch.from_numpy(linear_sum_assignment(cost.numpy())[1])
        weight = ridge(rows[chosen], table, count, RIDGE)
    return chosen


def fit_level(frames: Tensor, start: Tensor, size: int, rows: Tensor, kept: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Words (rows of the pool) and the map of a level: int64 [size], float32 [dimensions + 1, D].

    `kept`: [n, 2], codes of `start` and the rows of their present words, where the pool has them.
    """
    directions = torch.linalg.eigh((frames.T @ frames).double())[1][:, -DIRECTIONS:].float()
    flat, rng = frames @ directions, np.random.default_rng(seed)
    table = fit_codes(flat, start @ directions, size, rng)
    _, count = means(flat, nearest(table, flat), size)
    shared = kept[kept[:, 0] < size]
    first = ridge(rows[shared[:, 1]], table[shared[:, 0]], count[shared[:, 0]] + 1, FIRST_RIDGE)
    chosen = match(table, count + 1, rows, first)
    weight = ridge(rows[chosen], table, count + 1, RIDGE)
    for _ in range(MOVES):
        table = rows[chosen] @ weight
        mean, count = means(flat, nearest(table, flat), size)
        weight = ridge(rows[chosen], torch.where(count[:, None] > 0, mean, table), count + 0.3, RIDGE / 3)
    return chosen, weight @ directions.T


def translate(codec: Codec, lexicon: Lexicon, words: Sequence[str], frames: Tensor, sizes: Sequence[int]) -> Codec:
    """The codec with the same networks and level-0 table, in words of the pool `words`; finer levels of `sizes`."""
    if len(words) < sum(sizes):
        raise UsageError(f"{sum(sizes)} codes take as many words, and {len(words)} are left of the list")
    levels = codec.quantizer.levels()
    rows, free = embeddings(lexicon, words), np.ones(len(words), dtype=bool)
    chosen: list[list[str]] = [[]]
    maps: list[Tensor] = []
    rest = frames
    for number, size in enumerate(sizes[1:], start=1):
        level, open_rows = levels[number], np.flatnonzero(free)
        pooled = torch.nn.functional.avg_pool1d(rest, level.stride, level.stride)
        flat = pooled.transpose(1, 2).reshape(-1, rest.shape[1])
        place = {words[row]: position for position, row in enumerate(open_rows)}
        present = codec.config.words[number] or ()
        kept = torch.tensor([(code, place[word]) for code, word in enumerate(present) if word in place])
        picked, weight = fit_level(flat, level.projection(), size, rows[open_rows], kept.reshape(-1, 2), number)
        used = open_rows[picked.numpy()]
        free[used] = False
        chosen.append([words[row] for row in used])
        maps.append(weight)
        table = rows[used] @ weight
        vectors = table[nearest(table, flat)].reshape(len(rest), -1, rest.shape[1]).transpose(1, 2)
        rest = rest - vectors.repeat_interleave(level.stride, -1)
    chosen[0] = [words[row] for row in np.flatnonzero(free)[: sizes[0]]]
    config = codec.config.replace(
        words=tuple(tuple(level) for level in chosen),
        sizes=tuple(sizes),
        embedding_dim=rows.shape[1] - 1,
        llm=lexicon.name,
    )
    made = Codec(config)
    for name in ("encoder", "decoder", "coarse_encoder"):
        if getattr(codec, name) is not None:
            getattr(made, name).load_state_dict(getattr(codec, name).state_dict())
    own = embeddings(lexicon, chosen[0]).double()
    exact = torch.linalg.lstsq(own, levels[0].projection().double(), driver="gelsd").solution.float()
    for level, names, weight in zip(made.quantizer.levels(), chosen, [exact, *maps], strict=True):
        level.codebook.weight.data.copy_(embeddings(lexicon, names)[:, :-1])
        level.cb_proj.weight.data.copy_(weight[:-1].T)
        level.cb_proj.bias.data.copy_(weight[-1])
    return made


def rename(codec: Codec, lexicon: Lexicon, words: Sequence[str]) -> list[list[str]]:
    """Words of the pool for the codes as they are, each once; level 0 keeps those of its words that the pool has."""
    rows, free = embeddings(lexicon, words), np.ones(len(words), dtype=bool)
    levels = codec.quantizer.levels()
    renamed: dict[int, list[str]] = {}
    for number in sorted(range(1, len(levels)), key=lambda level: -len(codec.config.words[level] or ())):
        table, open_rows = levels[number].projection(), np.flatnonzero(free)
        directions = torch.linalg.eigh((table.T @ table).double())[1][:, -DIRECTIONS:].float()
        place = {words[row]: position for position, row in enumerate(open_rows)}
        kept = [(code, place[word]) for code, word in enumerate(codec.config.words[number] or ()) if word in place]
        codes, own = torch.tensor(kept).T
        flat, even = table @ directions, torch.ones(len(table))
        first = ridge(rows[open_rows][own], flat[codes], even[codes], FIRST_RIDGE)
        used = open_rows[match(flat, even, rows[open_rows], first).numpy()]
        free[used] = False
        renamed[number] = [words[row] for row in used]
    spare = {words[row] for row in np.flatnonzero(free)}
    old = codec.config.words[0] or ()
    rest = iter(sorted(spare - set(old), key=lambda word: lexicon.tokenizer.word_ids(word)[0]))
    renamed[0] = [word if word in spare else next(rest) for word in old]
    return [renamed[number] for number in range(len(levels))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("codec", help="preset or checkpoint")
    parser.add_argument("--lm", required=True, help="whose words: a preset or folder")
    parser.add_argument("--words", type=Path, required=True, help="word list, one a line")
    parser.add_argument("--taken", type=Path, help="word list of what the levels leave free")
    parser.add_argument("--packed", type=Path, help="packed audio, the cache of a recipe")
    parser.add_argument("--tables-stay", action="store_true", help="match words only; write the configuration")
    parser.add_argument("--sizes", default="225,2048,8192")
    parser.add_argument("--batches", type=int, default=120)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    files = resolve_codec(args.codec)
    codec = load_codec(files.weights, files.config, files.words)
    lexicon = load_lexicon(args.lm)
    taken = set(args.taken.read_text(encoding="utf-8").split()) if args.taken else set()
    words = pool(lexicon, args.words.read_text(encoding="utf-8").split(), taken)
    if args.tables_stay:
        config = codec.config.replace(words=tuple(map(tuple, rename(codec, lexicon, words))))
        args.output.write_text(json.dumps(config.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")
        return
    sizes = [int(size) for size in args.sizes.split(",")]
    made = translate(codec, lexicon, words, residuals(codec, args.packed, args.batches), sizes)
    save_codec(made, args.output, codebook_dtype=torch.float16, force=True)


if __name__ == "__main__":
    main()
