"""Write the golden files beside this script: what a seeded codec of either architecture makes of one clip.

Run as `python -m tests.codec.architectures.make_golden`, only when a codec is meant to compute
other values than before.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests.factories import chirps, published_codec, small_codec
from uniaudio_cli.codec.model import Codec

FOLDER = Path(__file__).parent
CODECS = {"published": published_codec, "small": small_codec}
SEED = 1234


def golden(codec: Codec, wav: torch.Tensor) -> dict[str, np.ndarray]:
    """`wav`, `latent`, `codes_K`, `silent` (decoded without noise) and `noisy` (with the noise of `SEED`)."""
    codes = codec.encode(wav)
    with torch.inference_mode():
        latent = codec.encoder(codec.padded(wav))
    made = {
        "wav": wav,
        "latent": latent,
        "silent": codec.decode(codes, noise=False),
        "noisy": codec.decode(codes, SEED),
    }
    return {name: tensor.numpy() for name, tensor in made.items()} | {
        f"codes_{level}": its_codes.numpy() for level, its_codes in enumerate(codes)
    }


def margin(codec: Codec, wav: torch.Tensor) -> float:
    """The least by which a code was nearer than the next: what rounding may shift before a code changes."""
    with torch.inference_mode():
        levels = codec.quantizer(codec.encoder(codec.padded(wav))).levels
    best = [level.similarity.topk(2).values for level in levels]
    return min(float((nearest[..., 0] - nearest[..., 1]).min()) for nearest in best)


def main() -> None:
    clips = [chirps(7_000, seed).half().float() for seed in range(20)]
    for name, make in CODECS.items():
        codec = make()
        safe = [clip for clip in clips if margin(codec, clip) > 1e-3]
        wav = max(safe, key=lambda clip: sum(len(codes.unique()) for codes in codec.encode(clip)))
        np.savez_compressed(FOLDER / f"golden_{name}.npz", **golden(codec, wav))  # type: ignore[arg-type]
        print(f"{name}: {len(safe)} safe clips, codes {[codes.tolist() for codes in codec.encode(wav)]}")


if __name__ == "__main__":
    main()
