"""Drop the level-0 words that a codec hardly ever says: a recipe and its codec in, a codec of fewer words out.

    python recipes/rare_words.py recipes/small-cpu-fine.yaml runs/small-cpu-fine/uniaudio-small.safetensors -o OUT
                                 [--below 0.0001] [--batches 800]

A word that is said less than once in 10,000 frames is one that no demonstration will have. Counted over crops of the
recipe's training audio, by its kind weights, in no other voice and from no telephone. Frames that had such a word get
the next most similar one, and all other codes stay what they are. OUT.safetensors is for inference, in float16; a
recipe's `init` goes on from it.
"""

from __future__ import annotations

import argparse
import copy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from uniaudio_cli.codec.checkpoint.own import load_codec, save_codec
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.codec.training.data import FRAME, Crops, PackedAudio, load_packed
from uniaudio_cli.codec.training.recipe import Recipe, load_recipe
from uniaudio_cli.core.errors import UniAudioError, UsageError


def shares(codec: Codec, packed: PackedAudio, recipe: Recipe, batches: int) -> np.ndarray:
    """How often each word of level 0 is said in the training audio, float64 [K], in all 1."""
    crops = Crops(packed, "train", 16, recipe.crop_frames, recipe.kind_weights, 0.0, recipe.seed)
    counts = np.zeros(codec.config.sizes[0])
    for number in range(batches):
        batch = crops.batch(number)
        codes = codec.encode(torch.from_numpy(batch.clean))[0].numpy()
        lasts = packed.lengths[batch.clips, None] // FRAME
        within = batch.frames[:, None] + np.arange(recipe.crop_frames) < lasts  # not what short clips end with
        np.add.at(counts, codes[within], 1)
    return counts / counts.sum()


def without(codec: Codec, dropped: np.ndarray) -> Codec:
    """`codec` (ready for inference) less the level-0 codes whose place in `dropped`, bool [K], is true."""
    words, sizes = codec.config.words, codec.config.sizes
    if words[0] is None:
        raise UsageError("level 0 of this codec has no words of its own to drop")
    kept, fewer = np.flatnonzero(~dropped), copy.deepcopy(codec)
    fewer.config = replace(
        codec.config, sizes=(len(kept), *sizes[1:]), words=(tuple(words[0][n] for n in kept), *words[1:])
    )
    coarse = fewer.quantizer.levels()[0]
    coarse.use(coarse.projection()[torch.from_numpy(kept)])
    return fewer


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("codec", type=Path)
    parser.add_argument("--output", "-o", type=Path, required=True, help="NAME.safetensors")
    parser.add_argument("--below", type=float, default=1e-4, help="share of frames")
    parser.add_argument("--batches", type=int, default=800, help="of 16 crops")
    options = parser.parse_args()
    try:
        recipe, codec = load_recipe(options.recipe), load_codec(options.codec)
        said = shares(codec, load_packed(recipe.cache), recipe, options.batches)
        dropped = said < options.below
        fewer = without(codec, dropped)
        save_codec(fewer, options.output, inference=True, dtype=torch.float16)
    except UniAudioError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    never, share = int((said == 0).sum()), said[dropped].sum()
    print(f"level 0: {fewer.config.sizes[0]} of {len(said)} words kept, {never} of the others never said")
    print(f"{share:.2%} of frames get another word; written to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
