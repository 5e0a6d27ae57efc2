"""Remove rare level-0 words from a codec's vocabulary: a recipe and its codec in, a codec of fewer words out.

    python recipes/rare_words.py recipes/small-cpu-fine.yaml runs/small-cpu-fine/uniaudio-small.safetensors -o OUT
                                 [--below 0.0001] [--batches 800]

A word of fewer than one in 10,000 frames appears in hardly any demonstration. Frequencies are counted over crops of the
recipe's training audio, sampled by its kind weights, without augmentation. Frames with a removed word get the most
similar remaining one; all other codes are unchanged. OUT.safetensors is for inference, in float16; a recipe's `init`
can continue from it.
"""

from __future__ import annotations

import argparse
import copy
import sys
from pathlib import Path

import numpy as np
import torch

from uniaudio_cli.codec.checkpoint import load_codec, save_codec
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.training.data import Crops, PackedAudio, load_packed
from uniaudio_cli.training.recipe import Recipe, load_recipe


def shares(codec: Codec, packed: PackedAudio, recipe: Recipe, batches: int) -> np.ndarray:
    """Relative frequency of each level-0 word in the training audio, float64 [K]; the sum is 1."""
    crops = Crops(packed, "train", 16, recipe.crop_frames, recipe.kind_weights, 0.0, recipe.seed)
    counts = np.zeros(codec.config.sizes[0])
    for number in range(batches):
        batch = crops.batch(number)
        codes = codec.encode(torch.from_numpy(batch.clean))[0].numpy()
        lasts = packed.lengths[batch.clips, None] // packed.frame_length
        within = batch.frames[:, None] + np.arange(recipe.crop_frames) < lasts  # without the padding of short clips
        np.add.at(counts, codes[within], 1)
    return counts / counts.sum()


def without(codec: Codec, dropped: np.ndarray) -> Codec:
    """`codec` (loaded for inference) without the level-0 codes where `dropped`, bool [K], is true."""
    words, sizes = codec.config.words, codec.config.sizes
    if words[0] is None:
        raise UsageError("level 0 of this codec has no words of its own to drop")
    kept, fewer = np.flatnonzero(~dropped), copy.deepcopy(codec)
    fewer.config = codec.config.replace(
        sizes=(len(kept), *sizes[1:]), words=(tuple(words[0][n] for n in kept), *words[1:])
    )
    coarse = fewer.quantizer.levels()[0]
    coarse.set_projected(coarse.projection()[torch.from_numpy(kept)])
    return fewer


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("codec", type=Path)
    parser.add_argument("--output", "-o", type=Path, required=True, help="NAME.safetensors")
    parser.add_argument("--below", type=float, default=1e-4, help="least share of frames")
    parser.add_argument("--batches", type=int, default=800, help="batches of 16 crops")
    options = parser.parse_args()
    try:
        recipe, codec = load_recipe(options.recipe), load_codec(options.codec)
        frequency = shares(codec, load_packed(recipe.cache), recipe, options.batches)
        dropped = frequency < options.below
        fewer = without(codec, dropped)
        save_codec(fewer, options.output, inference=True, dtype=torch.float16)
    except UniAudioError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    never, share = int((frequency == 0).sum()), frequency[dropped].sum()
    print(f"level 0: {fewer.config.sizes[0]} of {len(frequency)} words kept, {never} of the others unused")
    print(f"{share:.2%} of frames get another word; written to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
