"""Make the clips in `examples/audio/`: speech by espeak-ng, sounds by numpy. Seeded: the same bytes on every run.

    .venv/bin/python examples/make_examples.py [FOLDER]

The clips are committed, so this is only needed to change them. Without espeak-ng the sounds alone are made.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from numpy.random import Generator
from numpy.typing import NDArray

from uniaudio_cli.audio.load_librosa import load_librosa

RATE = 16_000
LEVEL_DB = -23.0  # RMS over the active 20-ms frames
SNR_DB = 5.0
TAKES = 5
CLIPS, QUERIES = 6, 2  # of each sound

Wav = NDArray[np.floating]

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGIT_SECONDS = 0.72  # every take: one length makes generated clips of that length
VOICES = {"digits": ("us-m3", "en-us+m3", 45, TAKES), "digits-other-voice": ("gb-f3", "en-gb+f3", 55, 3)}

PHRASES = {"door": "please open the door", "station": "where is the station"}
NEW_PHRASES = {"morning": "good morning everyone", "monday": "see you on monday"}
NOISES, NEW_NOISE = ("rain", "wind", "engine", "babble"), "hiss"  # of the demonstrations, of the queries


def random_for(*names: object) -> Generator:
    """A generator of its own for each clip, the same on every machine."""
    return np.random.default_rng(zlib.crc32(" ".join(map(str, names)).encode()))


# ---- speech


def speak(text: str, voice: str, pitch: int, speed: int) -> Wav:
    """Words spoken by espeak-ng, without the silence around them."""
    command = ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(speed), "--stdout", text]
    data, rate = soundfile.read(io.BytesIO(subprocess.run(command, capture_output=True, check=True).stdout))
    wav = load_librosa().resample(data, orig_sr=rate, target_sr=RATE, res_type="soxr_hq")
    loud = np.flatnonzero(np.abs(wav) > 0.01 * np.abs(wav).max())
    margin = RATE // 50
    return faded(wav[max(0, loud[0] - margin) : loud[-1] + margin])


def digit(word: str, voice: str, pitch: int, take: int) -> Wav:
    """One take of a digit, at a pitch and speed of its own, padded to the length they all have."""
    random = random_for(word, voice, take)
    wav = speak(word, voice, pitch + int(random.integers(-6, 7)), 165 + int(random.integers(-12, 13)))
    length = round(DIGIT_SECONDS * RATE)
    if len(wav) > length:
        raise SystemExit(f"{word} of {voice} lasts {len(wav) / RATE:.2f} s, longer than DIGIT_SECONDS")
    return np.pad(levelled(wav), (0, length - len(wav)))


def babble(random: Generator, samples: int) -> Wav:
    """Four voices at once, none of them a voice of the phrases."""
    lines = (
        ("en-us+m7", "they came home late and talked about the weather for an hour"),
        ("en-gb+f2", "nobody knows where the keys are or who had them last night"),
        ("en-us+f4", "we could walk along the river and have lunch in the garden"),
        ("en-gb-x-rp+m1", "there were fourteen boxes under the stairs and all were full"),
    )
    voices = [levelled(speak(text, voice, 50, 170)) for voice, text in lines]
    starts = [int(random.integers(0, len(wav) - samples)) for wav in voices]
    return np.sum([wav[start : start + samples] for wav, start in zip(voices, starts, strict=True)], axis=0)


# ---- sounds


def shaped(random: Generator, samples: int, gain: Callable[[Wav], Wav]) -> Wav:
    """Noise whose spectrum is `gain` of the frequency in Hz, at RMS 1."""
    spectrum = np.fft.rfft(random.standard_normal(samples)) * gain(np.fft.rfftfreq(samples, 1 / RATE))
    wav = np.fft.irfft(spectrum, samples)
    return wav / np.sqrt(np.mean(wav**2))


def bump(centre: float, width: float) -> Callable[[Wav], Wav]:
    """A band around `centre` Hz."""
    return lambda hertz: np.exp(-(((hertz - centre) / width) ** 2))


def seconds(samples: int) -> Wav:
    return np.arange(samples) / RATE


def rain(random: Generator, samples: int) -> Wav:
    """Hiss above 1 kHz or so, and drops on it."""
    corner = random.uniform(800, 1_600)
    wav = 0.5 * shaped(random, samples, lambda hertz: hertz**2 / (hertz**2 + corner**2))
    for _ in range(int(random.uniform(60, 120) * samples / RATE)):
        start, length = int(random.integers(0, samples - 200)), int(random.integers(60, 200))
        time = seconds(length)
        drop = np.exp(-time * random.uniform(600, 1_200)) * np.sin(2 * np.pi * random.uniform(2_000, 5_500) * time)
        wav[start : start + length] += random.uniform(1, 4) * drop
    return wav


def siren(random: Generator, samples: int) -> Wav:
    """A tone that rises and falls, with overtones."""
    middle, depth, speed = random.uniform(750, 950), random.uniform(250, 380), random.uniform(0.8, 1.8)
    hertz = middle + depth * np.sin(2 * np.pi * (speed * seconds(samples) + random.random()))
    return np.tanh(2 * np.sin(2 * np.pi * np.cumsum(hertz) / RATE)) + 0.01 * random.standard_normal(samples)


def beep(random: Generator, samples: int) -> Wav:
    """Short equal tones with pauses."""
    time, hertz = seconds(samples), random.uniform(900, 2_000)
    on, period = random.uniform(0.08, 0.16), random.uniform(0.22, 0.4)
    gate = np.clip(np.minimum(time % period, on - time % period) / 0.005, 0, 1)
    return gate * (np.sin(2 * np.pi * hertz * time) + 0.2 * np.sin(6 * np.pi * hertz * time))


def engine(random: Generator, samples: int) -> Wav:
    """Many harmonics of a low note that wanders, with its rattle."""
    time = seconds(samples)
    hertz = random.uniform(45, 90) * (1 + random.uniform(-0.15, 0.15) * time + 0.02 * np.sin(2 * np.pi * 2.5 * time))
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    wav = np.sum([random.uniform(0.5, 1) / k**0.7 * np.sin(k * phase + random.uniform(0, 6)) for k in range(1, 26)], 0)
    return wav + 0.5 * (1 + np.sin(phase)) * shaped(random, samples, bump(600, 500))


def clapping(random: Generator, samples: int) -> Wav:
    """A few pairs of hands, each at its own pace."""
    wav = np.zeros(samples)
    for _ in range(int(random.integers(3, 6))):
        period, centre = random.uniform(0.2, 0.32), random.uniform(900, 1_900)
        start = random.uniform(0, period)
        while (at := int(start * RATE)) < samples:
            length = min(1_600, samples - at)
            burst = shaped(random, 1_600, bump(centre, 600))[:length]
            wav[at : at + length] += random.uniform(0.6, 1) * np.exp(-seconds(length) * 90) * burst
            start += period * random.uniform(0.9, 1.1)
    return wav + 0.01 * random.standard_normal(samples)


def wind(random: Generator, samples: int) -> Wav:
    """A low rush in gusts, and a whistle where it is strong."""
    gust = np.interp(seconds(samples), np.arange(0, 4, 0.3), random.uniform(0.25, 1, 14))
    low = shaped(random, samples, lambda hertz: 1 / (1 + (hertz / random.uniform(180, 320)) ** 2))
    whistle = shaped(random, samples, bump(random.uniform(450, 800), 60))
    return gust * low + 0.4 * gust**3 * whistle


def hiss(random: Generator, samples: int) -> Wav:
    """White noise."""
    return random.standard_normal(samples)


SOUNDS = {"rain": rain, "siren": siren, "beep": beep, "engine": engine, "clapping": clapping, "wind": wind}


def sound(name: str, take: int) -> Wav:
    """Clip number `take` of a sound, 1 to 1.4 s."""
    random = random_for(name, take)
    return levelled(faded(SOUNDS[name](random, int(random.uniform(1.0, 1.4) * RATE))))


# ---- levels, pairs, files


def faded(wav: Wav) -> Wav:
    """10 ms in and out."""
    ramp = np.minimum(1, np.arange(len(wav)) / (RATE / 100))
    return wav * ramp * ramp[::-1]


def level_db(wav: Wav) -> float:
    """RMS in dB full scale over the 20-ms frames within 30 dB of the loudest."""
    power = np.square(np.pad(wav, (0, -len(wav) % (RATE // 50))).reshape(-1, RATE // 50)).mean(axis=1)
    return float(10 * np.log10(power[power > power.max() / 1_000].mean()))


def levelled(wav: Wav) -> Wav:
    """`wav` at LEVEL_DB, or lower where it would peak above 0.9."""
    wav = wav * 10 ** ((LEVEL_DB - level_db(wav)) / 20)
    return wav * min(1, 0.9 / np.abs(wav).max())


def pair(text: str, noise: str) -> tuple[Wav, Wav]:
    """A phrase without and with a noise SNR_DB below it; the noisy clip is the clean one plus the noise."""
    clean = levelled(speak(text, "en-us+m3", 45, 175))
    kinds = {**SOUNDS, "babble": babble, "hiss": hiss}
    added = kinds[noise](random_for(text, noise), len(clean))
    return clean, clean + added * 10 ** ((LEVEL_DB - SNR_DB - level_db(added)) / 20)


def write(path: Path, wav: Wav) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.round(wav * 32_767).astype(np.int16)
    soundfile.write(path, samples, RATE, format="FLAC", subtype="PCM_16", compression_level=1.0)


def make_sounds(folder: Path) -> None:
    for name in SOUNDS:
        for take in range(1, CLIPS + QUERIES + 1):
            kind, number = ("sounds", take) if take <= CLIPS else ("sound-queries", take - CLIPS)
            write(folder / kind / name / f"{number}.flac", sound(name, take))


def make_speech(folder: Path) -> None:
    for kind, (name, voice, pitch, takes) in VOICES.items():
        for word in DIGITS:
            for take in range(1, takes + 1):
                write(folder / kind / word / f"{name}-{take}.flac", digit(word, voice, pitch, take))
    pairs = [("enhance", key, text, noise) for key, text in PHRASES.items() for noise in NOISES]
    pairs += [("enhance-queries", key, text, NEW_NOISE) for key, text in (PHRASES | NEW_PHRASES).items()]
    pairs += [("enhance-queries", key, text, NOISES[0]) for key, text in NEW_PHRASES.items()]
    for kind, key, text, noise in pairs:
        clean, noisy = pair(text, noise)
        write(folder / kind / "clean" / f"{key}-{noise}.flac", clean)
        write(folder / kind / "noisy" / f"{key}-{noise}.flac", noisy)


def check(folder: Path) -> None:
    """Stop at a clip that is too loud, too quiet or clipped; print what there is."""
    for kind in sorted(path for path in folder.iterdir() if path.is_dir()):
        clips = sorted(kind.rglob("*.flac"))
        wavs = [soundfile.read(clip)[0] for clip in clips]
        levels = [level_db(wav) for wav in wavs]
        for clip, wav, level in zip(clips, wavs, levels, strict=True):
            if not LEVEL_DB - 3 < level < LEVEL_DB + 3 or np.abs(wav).max() > 0.95:
                raise SystemExit(f"{clip}: level {level:.1f} dB, peak {np.abs(wav).max():.2f}")
        length, size = sum(map(len, wavs)) / RATE, sum(clip.stat().st_size for clip in clips)
        print(
            f"{kind.name:18} {len(clips):3} clips {length:5.1f} s {size / 1000:6.0f} kB, "
            f"{min(levels):.1f} to {max(levels):.1f} dB, peak {max(np.abs(wav).max() for wav in wavs):.2f}"
        )


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "audio"
    make_sounds(folder)
    if shutil.which("espeak-ng"):
        make_speech(folder)
    else:
        print("espeak-ng is not installed: only the sounds were made, speech stays as it is", file=sys.stderr)
    check(folder)


if __name__ == "__main__":
    main()
