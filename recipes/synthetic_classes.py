"""Synthetic clips for label tasks that no open corpus here covers: languages, accents, chords, bird-like calls.

    python -m recipes.synthetic_classes language FOLDER [--takes 6] [--seed 0]
    uniaudio eval FOLDER --task language-id --ways 5 --shots 1,5 --rule other

FOLDER gets LABEL/GROUP-TAKE.flac and a metadata.csv (file_name, label, group). Languages and accents are read by
espeak-ng; a group is a voice. Chords are sums of decaying partials, a group being an instrument's partials; bird-like
calls are drawn from a pattern of pitch and rhythm for each kind, in a background that is the group's. They tell whether
a task's settings are better or worse than others, and nothing about real speakers, instruments or birds.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from recipes.synthetic_moods import RATE, random_for, say, speak, write_clips

VOICES = ("m1", "m3", "m7", "f1", "f2", "f4", "m5", "f5")
LANGUAGES: Mapping[str, tuple[str, ...]] = {
    "english": ("the letter came this morning", "we will see them again on monday", "put it on the table over there"),
    "german": ("der Brief kam heute Morgen", "wir sehen sie am Montag wieder", "leg es dort auf den Tisch"),
    "french": ("la lettre est venue ce matin", "nous les reverrons lundi", "pose cela sur la table là-bas"),
    "spanish": ("la carta llegó esta mañana", "los veremos otra vez el lunes", "ponlo en la mesa de allí"),
    "italian": ("la lettera è arrivata stamattina", "li rivedremo lunedì", "mettilo sul tavolo laggiù"),
    "polish": ("list przyszedł dziś rano", "zobaczymy ich znowu w poniedziałek", "połóż to tam na stole"),
    "turkish": ("mektup bu sabah geldi", "onları pazartesi yine göreceğiz", "onu oradaki masaya koy"),
    "swahili": ("barua ilifika asubuhi hii", "tutawaona tena jumatatu", "iweke juu ya meza pale"),
}
CODES = dict(zip(LANGUAGES, ("en-us", "de", "fr-fr", "es", "it", "pl", "tr", "sw"), strict=True))
ACCENTS = {
    "american": "en-us",
    "british": "en-gb",
    "scottish": "en-gb-scotland",
    "caribbean": "en-029",
    "lancaster": "en-gb-x-gbclan",
}
CHORDS = {
    "major": (0, 4, 7),
    "minor": (0, 3, 7),
    "diminished": (0, 3, 6),
    "augmented": (0, 4, 8),
    "dominant seventh": (0, 4, 7, 10),
}
PARTIALS = {
    "organ": (1.0, 0.5, 0.25, 0.5, 0.1),
    "flute": (1.0, 0.2, 0.05, 0.02, 0.01),
    "reed": (1.0, 0.1, 0.7, 0.1, 0.5),
    "string": (1.0, 0.7, 0.5, 0.35, 0.25),
    "bell": (1.0, 0.6, 0.4, 0.3, 0.3),
}
# A call: seconds of a note, of the gap after it, notes, pitch at its start and end in Hz, depth and rate of a trill.
CALLS = {
    "chaffinch": (0.08, 0.04, 9, 5200, 3000, 0.0, 0.0),
    "cuckoo": (0.28, 0.18, 2, 720, 560, 0.0, 0.0),
    "wren": (0.5, 0.1, 3, 5600, 5200, 0.12, 28.0),
    "great tit": (0.14, 0.08, 6, 4300, 4200, 0.0, 0.0),
    "blackbird": (0.3, 0.15, 4, 2100, 2600, 0.06, 7.0),
}
BACKGROUNDS = ("wind", "stream", "road", "wood", "field")


def language(label: str, group: str, take: int, seed: int) -> np.ndarray:
    draw = random_for(seed, label, group, take)
    texts = LANGUAGES[label]
    return speak(
        texts[take % len(texts)], f"{CODES[label]}+{group}", 45 + draw.normal() * 5, 1, 165 + draw.normal() * 8
    )


def accent(label: str, group: str, take: int, seed: int) -> np.ndarray:
    draw = random_for(seed, label, group, take)
    texts = LANGUAGES["english"]
    text = texts[take % len(texts)]
    return speak(text, f"{ACCENTS[label]}+{group}", 45 + draw.normal() * 5, 1, 165 + draw.normal() * 8)


def chord(label: str, group: str, take: int, seed: int) -> np.ndarray:
    draw = random_for(seed, label, group, take)
    root = 55 + int(draw.integers(12))
    time = np.arange(int(1.5 * RATE)) / RATE
    wav = np.zeros_like(time)
    for step in CHORDS[label]:
        pitch = 440 * 2 ** ((root + step - 69) / 12)
        for n, size in enumerate(PARTIALS[group], 1):
            wav += size * draw.uniform(0.8, 1.2) * np.sin(2 * np.pi * n * pitch * time + draw.uniform(0, 6.28))
    return wav * np.exp(-time * draw.uniform(0.5, 2))


def bird(label: str, group: str, take: int, seed: int) -> np.ndarray:
    draw = random_for(seed, label, group, take)
    length, gap, notes, start, end, depth, rate = CALLS[label]
    stretch, shift = draw.uniform(0.85, 1.15), draw.uniform(0.93, 1.07)
    parts = [np.zeros(int(draw.uniform(0.1, 0.6) * RATE))]
    for note in range(notes):
        time = np.arange(int(length * stretch * draw.uniform(0.9, 1.1) * RATE)) / RATE
        place = np.linspace(0, 1, len(time)) if notes < 6 else np.full(len(time), note / notes)
        pitch = shift * (start + (end - start) * place) * (1 + depth * np.sin(2 * np.pi * rate * time))
        parts.append(np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * np.hanning(len(time)))
        parts.append(np.zeros(int(gap * stretch * RATE)))
    wav = np.concatenate([*parts, np.zeros(RATE // 4)])
    # The background is the group's: noise of its own slope and level.
    slope, level = random_for(seed, group).uniform((0.0, 0.02), (1.5, 0.15))
    spectrum = np.fft.rfft(draw.standard_normal(len(wav)))
    noise = np.fft.irfft(spectrum / np.maximum(1, np.arange(len(spectrum))) ** (slope / 2), len(wav))
    return wav + level * noise / noise.std()


Make = Callable[[str, str, int, int], np.ndarray]
KINDS: Mapping[str, tuple[Make, Sequence[str], Sequence[str]]] = {
    "language": (language, tuple(LANGUAGES), VOICES),
    "accent": (accent, tuple(ACCENTS), VOICES),
    "chord": (chord, tuple(CHORDS), tuple(PARTIALS)),
    "bird": (bird, tuple(CALLS), BACKGROUNDS),
}


def make(kind: str, folder: Path, takes: int, seed: int) -> int:
    """The clips and their list; how many there are."""
    clip, labels, groups = KINDS[kind]

    def at_one_peak(label: str, group: str, take: int) -> np.ndarray:
        wav = clip(label, group, take, seed)
        return 0.7 * wav / np.abs(wav).max()

    return write_clips(folder, labels, groups, takes, at_one_peak)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--takes", type=int, default=6, help="clips of each label in each group")
    parser.add_argument("--seed", type=int, default=0, help="seed of the clips")
    arguments = parser.parse_args(argv)
    if arguments.kind in ("language", "accent") and shutil.which("espeak-ng") is None:
        say("error: espeak-ng is not installed (an ordinary package: apt-get install espeak-ng)")
        return 1
    if (arguments.folder / "metadata.csv").exists():
        say(f"error: {arguments.folder}: holds clips already; name another folder")
        return 2
    count = make(arguments.kind, arguments.folder, arguments.takes, arguments.seed)
    print(f"{count} clips in {arguments.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
