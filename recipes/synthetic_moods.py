"""Synthetic moods of espeak-ng, NOT acted emotion: sentences by several voices, with pitch, rate and loudness by mood.

    python recipes/synthetic_moods.py FOLDER [--takes 12] [--seed 0]
    uniaudio eval FOLDER --task emotion --ways 5 --shots 1 --rule other --half test

FOLDER gets MOOD/VOICE-TAKE.flac and a metadata.csv (file_name, label, group: the voice). The cue that separates the
moods is given, so this measures whether a readout can use prosody at all; it says nothing about people. To keep it
from being trivial, every voice has its own pitch, pace and loudness, every clip is jittered around its mood, and no
two moods differ in one measure alone: neighbours overlap. Seeded: the same clips on every run with one version of
espeak-ng.
"""

from __future__ import annotations

import argparse
import csv
import io
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE = 16_000

# Pitch and rate by which a mood differs from the voice's own (espeak's units of 0 to 99, words a minute), pitch range
# (1 is espeak's own), and loudness (dB).
MOODS = {
    "neutral": (0.0, 1.0, 0.0, 0.0),
    "happy": (14.0, 1.6, 12.0, 2.0),
    "sad": (-10.0, 0.6, -30.0, -6.0),
    "angry": (6.0, 1.4, 28.0, 7.0),
    "fearful": (20.0, 0.7, 25.0, -5.0),
}
JITTER = (7.0, 0.25, 12.0, 2.5)  # of a clip around its mood; the range by this share
VOICE = (8.0, 0.15, 10.0, 3.0)  # of a voice around the others

VOICES = ("en-us+m1", "en-us+f2", "en-gb+m3", "en-gb+f1", "en-us+m7", "en-gb+f4", "en-gb-scotland+m4", "en-us+f5")
SENTENCES = (
    "the letter came this morning",
    "they are waiting at the station",
    "we will see them again on monday",
    "the door was open when I came",
    "there is nothing left in the box",
    "he said that he would call us",
    "the train leaves in ten minutes",
    "I have seen it with my own eyes",
    "my brother is coming home today",
    "put it on the table over there",
    "she asked about it yesterday",
    "the water was warm last night",
)


def random_for(*names: object) -> np.random.Generator:
    """A generator of its own for each name, the same on every machine."""
    return np.random.default_rng(zlib.crc32(" ".join(map(str, names)).encode()))


def speak(text: str, voice: str, pitch: float, spread: float, rate: float) -> np.ndarray:
    """[T] at RATE, without the silence around it; `spread`: of the pitch, as a share of espeak's own."""
    marked = f'<speak><prosody range="{100 * spread:.0f}%">{text}</prosody></speak>'
    command = ["espeak-ng", "-m", "-v", voice, "-p", f"{np.clip(pitch, 0, 99):.0f}", "-s", f"{max(80, rate):.0f}"]
    made = subprocess.run([*command, "-a", "60", "--stdout", marked], capture_output=True, check=True)
    wav, theirs = soundfile.read(io.BytesIO(made.stdout))
    wav = soxr.resample(wav, theirs, RATE)
    loud = np.flatnonzero(np.abs(wav) > 0.01 * np.abs(wav).max())
    return wav[max(0, loud[0] - RATE // 50) : loud[-1] + RATE // 50]


def clip(mood: str, voice: str, take: int, seed: int) -> np.ndarray:
    """One take: sentence and distance from mood and voice are drawn."""
    draw = random_for(seed, mood, voice, take)
    own, each = random_for(seed, voice).standard_normal(4), draw.standard_normal(4)
    pitch, spread, rate, gain = [
        at + a * scale + b * jitter
        for at, a, scale, b, jitter in zip(MOODS[mood], own, VOICE, each, JITTER, strict=True)
    ]
    text = SENTENCES[int(draw.integers(len(SENTENCES)))]
    wav = speak(text, voice, 45 + pitch, max(0.2, spread), 165 + rate)
    wav = wav * 10 ** ((gain - 6) / 20)
    return wav * min(1.0, 0.95 / np.abs(wav).max())


def make(folder: Path, takes: int, seed: int) -> int:
    """The clips and their list; how many there are."""
    return write_clips(folder, MOODS, VOICES, takes, lambda mood, voice, take: clip(mood, voice, take, seed))


def write_clips(
    folder: Path,
    labels: Iterable[str],
    groups: Sequence[str],
    takes: int,
    clip: Callable[[str, str, int], np.ndarray],
) -> int:
    """LABEL/GROUP-TAKE.flac of `clip(label, group, take)`, [T] at RATE, and metadata.csv; how many clips there are."""
    rows = []
    for label in labels:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for group in groups:
            for take in range(takes):
                name = f"{label}/{group.replace('+', '-')}-{take}.flac"
                wav = clip(label, group, take)
                soundfile.write(folder / name, np.round(wav * 32_767).astype(np.int16), RATE, subtype="PCM_16")
                rows.append((name, label, group))
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file_name", "label", "group"), *rows])
    return len(rows)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--takes", type=int, default=12, help="clips of each mood by each voice")
    parser.add_argument("--seed", type=int, default=0, help="seed of the clips")
    arguments = parser.parse_args(argv)
    if shutil.which("espeak-ng") is None:
        say("error: espeak-ng is not installed (an ordinary package: apt-get install espeak-ng)")
        return 1
    if (arguments.folder / "metadata.csv").exists():
        say(f"error: {arguments.folder}: holds clips already; name another folder")
        return 2
    print(f"{make(arguments.folder, arguments.takes, arguments.seed)} clips in {arguments.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
