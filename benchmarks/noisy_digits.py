"""Pairs of noisy and clean digits: FSDD takes joined to 9 s, in rain, chainsaw and fire of ESC-10, at -5 to 15 dB.

    UNIAUDIO_TEST_DATA=FOLDER python benchmarks/noisy_digits.py OUT [--half test]
    uniaudio eval pairs OUT/judged --demos OUT/shown --shots 12 -o digits.json \
        --condition-regex '_(-?\\d+ dB)' --group-regex '^(.+)_'

FOLDER/data has fsdd and esc10. OUT/judged holds what is judged, OUT/shown four pairs a noise, of other speakers and
other recordings of the noise.
"""

from __future__ import annotations

import argparse
import os
import random
from pathlib import Path

import torch
from torch import Tensor

from uniaudio_cli.audio.io import read_wav, write_wav
from uniaudio_cli.evaluation.enhancement import RATE, mix_at_snr

SPEAKERS = {"development": ("jackson", "lucas"), "test": ("george", "yweweler")}
NOISES = ("rain", "chainsaw", "fire_crackling")
SNRS = (-5, 0, 5, 10, 15)
SECONDS, PAUSE = 9.1, 0.15


def speech(data: Path, speaker: str, number: int) -> Tensor:
    """Takes of a speaker, shuffled, with pauses between: float32 [1, T]."""
    takes = sorted((data / "fsdd").glob(f"*_{speaker}_*.wav"))
    random.Random(f"{speaker} {number}").shuffle(takes)
    parts: list[Tensor] = []
    while sum(part.shape[-1] for part in parts) < SECONDS * RATE:
        parts += [read_wav(takes.pop(), RATE), torch.zeros(1, int(PAUSE * RATE))]
    return torch.cat(parts, dim=-1)


def write_pair(folder: Path, name: str, clean: Tensor, noise: Path, snr: float) -> None:
    for side, wav in zip(("noisy", "clean"), mix_at_snr(clean, read_wav(noise, RATE), snr), strict=True):
        write_wav(folder / side / f"{name}.flac", wav, RATE, force=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--half", choices=sorted(SPEAKERS), default="test")
    parser.add_argument("--segments", type=int, default=1, help="of each speaker in each noise")
    options = parser.parse_args()
    data = Path(os.environ["UNIAUDIO_TEST_DATA"]) / "data"
    other = next(half for half in SPEAKERS if half != options.half)
    for place, kind in enumerate(NOISES):
        # Clips of one source recording have neighbouring names: the first are shown, the last are judged.
        noises = sorted((data / "esc10" / kind).glob("*.ogg"))
        for number in range(4):
            speaker = SPEAKERS[other][number % 2]
            clean = speech(data, speaker, 100 + 10 * place + number)
            write_pair(options.out / "shown", f"{kind}-{speaker}-{number}", clean, noises[4 * number], 5 * number - 5)
        for number in range(options.segments):
            for turn, speaker in enumerate(SPEAKERS[options.half]):
                clean = speech(data, speaker, 10 * place + number)
                noise = noises[-1 - 5 * (2 * number + turn)]
                for snr in SNRS:
                    write_pair(options.out / "judged", f"{kind}-{speaker}-{number}_{snr} dB", clean, noise, snr)


if __name__ == "__main__":
    main()
