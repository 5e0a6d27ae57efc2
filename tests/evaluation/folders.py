"""Small folders of labelled clips."""

from __future__ import annotations

from pathlib import Path

from tests.factories import chirps
from uniaudio_cli.audio.io import write_wav

LABELS = ("one", "two", "three")


def clip_folder(folder: Path, takes: int = 4, samples: int = 4_000) -> Path:
    """Three labels by two speakers, LABEL/SPEAKER-TAKE.wav."""
    for number, label in enumerate(LABELS):
        for speaker in range(2):
            for take in range(takes):
                wav = chirps(samples, 100 * number + 10 * speaker + take)[0]
                write_wav(folder / label / f"{'ab'[speaker]}-{take}.wav", wav, 16_000)
    return folder
