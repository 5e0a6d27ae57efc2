"""Synthetic moods of espeak-ng, NOT acted emotion: sentences by several voices, with pitch, rate and loudness by mood.

    python benchmarks/moods.py make FOLDER [--takes 12] [--seed 0]
    python benchmarks/moods.py table FOLDER [--half development] [--episodes 200] --out FILE.jsonl

FOLDER gets MOOD/VOICE-TAKE.flac and a metadata.csv (file_name, label, group: the voice). What tells the moods apart is
known, so this measures whether a readout can use prosody at all; it says nothing about people. To keep it from being
trivial every voice has its own pitch, pace and loudness, every clip is jittered around its mood, and no two moods
differ in one measure alone: neighbours overlap. Seeded: the same clips on every run with one espeak-ng.

`table`: 5-way 1-shot, demonstrations by other voices than the query's, read by the codec's level 0, by prosody and by
both, by the LLM and by the rules that need none. FILE gets a line an episode, and a run that was stopped goes on there.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import shutil
import subprocess
import sys
import zlib
from collections.abc import Sequence
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
    """One take: what is said, and how far from its mood and its voice, is drawn."""
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
    rows = []
    for mood in MOODS:
        (folder / mood).mkdir(parents=True, exist_ok=True)
        for voice in VOICES:
            for take in range(takes):
                name = f"{mood}/{voice.replace('+', '-')}-{take}.flac"
                wav = clip(mood, voice, take, seed)
                soundfile.write(folder / name, np.round(wav * 32_767).astype(np.int16), RATE, subtype="PCM_16")
                rows.append((name, mood, voice))
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file_name", "label", "group"), *rows])
    return len(rows)


def table(arguments: argparse.Namespace) -> None:
    """Ask the episodes that have no line yet, and print the table."""
    from uniaudio_cli.audio.prosody import PROSODY
    from uniaudio_cli.core.errors import UsageError
    from uniaudio_cli.data.episodes import episodes, half, load_items
    from uniaudio_cli.evaluation.baselines import RememberingKit, evaluate
    from uniaudio_cli.evaluation.metrics import accuracy, difference
    from uniaudio_cli.prompting.task import load_task, override_task

    kept = half(load_items(arguments.folder), arguments.half)
    plan = list(episodes(kept, 5, 1, arguments.episodes, arguments.seed, "other"))
    about = {key: str(getattr(arguments, key)) for key in ("half", "seed", "model", "lm", "codec")}
    file = arguments.out
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else [json.dumps(about)]
    if not lines or json.loads(lines[0]) != about:
        raise UsageError(f"{file}: is about something else; give another --out")
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    import uniaudio_cli

    kit = RememberingKit.of(uniaudio_cli.load(arguments.model, lm=arguments.lm, codec=arguments.codec, progress=say))
    tasks = {
        name: override_task(load_task("emotion"), levels=levels)
        for name, levels in (("level 0", (0,)), ("prosody", (PROSODY,)), ("prosody, level 0", (PROSODY, 0)))
    }
    with file.open("a", encoding="utf-8") as out:
        for number, episode in enumerate(plan[len(lines) - 1 :], len(lines) - 1):
            row = {}
            for name, task in tasks.items():
                found = evaluate(kit, task, [episode], ("likelihood",), number)
                row[name] = {method: bool(found.correct(method)[0]) for method in found.methods}
            out.write(json.dumps(row) + "\n")
            out.flush()
            if number % 10 == 9:
                say(f"{number + 1} of {len(plan)}")
    rows = list(map(json.loads, file.read_text(encoding="utf-8").splitlines()[1:]))
    print(f"Synthetic moods of espeak-ng, {arguments.half} half, seed {arguments.seed}, 5-way 1-shot, other voices\n")
    print("| words of | method | right | points over level 0 |\n|---|---|---|---|")
    for name in tasks:
        for method in rows[0][name]:
            right, plain = (np.array([row[which][method] for row in rows]) for which in (name, "level 0"))
            gain = "" if name == "level 0" else difference(right, plain).signed
            print(f"| {name} | {method} | {accuracy(right)} | {gain} |")
    print("| chance | | 20.0 % | |")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "table"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--takes", type=int, default=12, help="of each mood by each voice")
    parser.add_argument("--seed", type=int, default=0, help="of the clips, or of the episodes")
    parser.add_argument("--out", type=Path, default=Path("runs/moods.jsonl"))
    parser.add_argument("--half", choices=("development", "test"), default="development")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--model", default="small")
    parser.add_argument("--lm")
    parser.add_argument("--codec")
    arguments = parser.parse_args(argv)
    if arguments.what == "table":
        from uniaudio_cli.core.errors import UniAudioError

        try:
            table(arguments)
        except UniAudioError as error:
            say(f"error: {error}")
            return error.exit_code
        return 0
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
