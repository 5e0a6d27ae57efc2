"""Does `tts` say the right thing, and how well? Demonstrations of each digit in; accuracy and DNSMOS out.

    python benchmarks/speech.py [--data FSDD] [--voices george,jackson,us-m3] [--draws 1] [--suites paper,simple]
                                [--codec NAME] [--json FILE]

Of every digit a voice has takes to demonstrate, takes to judge by and takes held out from both (of FSDD five, five and
five). `--draws` draws the demonstrations anew. Beside the LLM stand real held-out takes, the codec alone on them, and
the LLM replaced by copying: the codes of the first demonstration that it was shown of that digit. Judges: the nearest
of the takes to judge by (DTW), Whisper forced to choose a digit, Whisper left free. us-m3 and gb-f3 are espeak-ng
voices of examples/.

`--suites`: files of benchmarks/questions, asked of the first voice: what the LLM answers as text (the ceiling for
speech), and what is heard where it thinks first, and where it does not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml
from torch import Tensor

import uniaudio_cli
from uniaudio_cli import audio
from uniaudio_cli.demos import Demonstration, choose
from uniaudio_cli.errors import UniAudioError
from uniaudio_cli.judges import NearestClip, WhisperJudge, dnsmos
from uniaudio_cli.metrics import accuracy, mean
from uniaudio_cli.models import resolve_judge
from uniaudio_cli.pipeline import Kit, Reply
from uniaudio_cli.task import load_task

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
HERE = Path(__file__).parent
SYNTHETIC = {"us-m3": "digits", "gb-f3": "digits-other-voice"}


@dataclass(frozen=True)
class Voice:
    """A speaker's takes, by digit. `shown`: what demonstrations are drawn from; `known`: what the nearest-clip judge
    goes by; `held`: neither."""

    shown: list[list[Path]]
    known: list[list[Path]]
    held: list[list[Path]]

    def demonstrations(self, seed: int) -> list[Demonstration]:
        every = [Demonstration(path, str(d), str(d)) for d, paths in enumerate(self.shown) for path in paths]
        return choose(every, load_task("spoken-answer").shots, seed)


def voice_of(name: str, data: Path) -> Voice:
    if name in SYNTHETIC:
        folder = HERE.parent / "examples" / "audio" / SYNTHETIC[name]
        takes = [sorted((folder / word).iterdir()) for word in WORDS]
        cuts = len(takes[0]) - 2, len(takes[0]) - 1
    else:
        takes = [[data / f"{digit}_{name}_{take}.wav" for take in range(15)] for digit in range(10)]
        cuts = 5, 10
    return Voice(*([each[part] for each in takes] for part in (slice(cuts[0]), slice(*cuts), slice(cuts[1], None))))


class Table:
    """Rows of answers by judges, and their DNSMOS."""

    def __init__(self, judges: dict[str, Callable[[Tensor], str | None]], rate: int, rated: bool) -> None:
        self.judges, self.rate, self.rated = judges, rate, rated
        self.right: dict[str, dict[str, list[bool]]] = {}
        self.mos: dict[str, list[float]] = {}
        self.same: list[bool] = []

    def judge(self, what: str, wav: Tensor | None, digit: int) -> None:
        row = self.right.setdefault(what, {name: [] for name in self.judges})
        for name, ask in self.judges.items():
            row[name].append(wav is not None and ask(wav) == WORDS[digit])
        if self.rated and wav is not None:
            self.mos.setdefault(what, []).append(dnsmos(wav, self.rate))

    def text(self, what: str, right: bool) -> None:
        self.right.setdefault(what, {}).setdefault("text", []).append(right)

    def print(self) -> None:
        names = list(self.judges)
        print(f"| what | n | {' | '.join(names)} | DNSMOS |\n|---|---|{'---|' * len(names)}---|")
        for what, row in self.right.items():
            n = len(next(iter(row.values())))
            cells = [str(accuracy(row[name])).split(" (")[0] if name in row else "" for name in names]
            if "text" in row:
                cells[0] = f"as text: {str(accuracy(row['text'])).split(' (')[0]}"
            print(f"| {what} | {n} | {' | '.join(cells)} | {summary(self.mos.get(what, []))} |")


def summary(values: list[float]) -> str:
    if len(values) < 2:
        return ""
    return "{:.2f} +- {:.2f}".format(*mean(values))


def literal(kit: Kit, table: Table, voice: Voice, seeds: range) -> None:
    """The ten digits, said by themselves."""
    for seed in seeds:
        session = kit.session(load_task("spoken-answer"), voice.demonstrations(seed), seed)
        for digit in range(10):
            wav = audio.read_wav(voice.held[digit][seed % len(voice.held[digit])], kit.codec.sample_rate)
            heard, copied = kit.hear(wav), session.about(str(digit))[0][1]
            table.judge("a held-out take", wav, digit)
            table.judge("the codec alone on it", kit.decode(heard.codes, seed)[:, : heard.samples], digit)
            table.judge("copying a demonstration", kit.decode(copied.codes, seed)[:, : copied.samples], digit)
            reply = session(str(digit), think=True)
            table.judge("`tts`, literal digit", reply.wav, digit)
            assert reply.codes is not None
            pairs = zip(reply.codes, copied.codes, strict=True)
            table.same += [a == b for row, other in pairs for a, b in zip(row, other, strict=False)]


def questions(kit: Kit, table: Table, voice: Voice, suites: list[str], seed: int) -> None:
    """Every question of the suites, answered by the LLM with and without thinking."""
    session = kit.session(load_task("spoken-answer"), voice.demonstrations(seed), seed)
    said: dict[str, Reply] = {}
    for suite in suites:
        asked = yaml.safe_load((HERE / "questions" / f"{suite}.yaml").read_text(encoding="utf-8"))["questions"]
        for question, digit in asked.items():
            answer = session.think(question)
            if answer not in said:  # what is thought of is spoken the same whatever was asked
                said[answer] = session(answer, think=True)
            table.text(f"{suite}: the LLM alone, in text", answer == str(digit))
            table.judge(f"{suite}: `tts --think`", said[answer].wav, digit)
            table.judge(f"{suite}: `tts --no-think`", session(question, think=False).wav, digit)
        print(f"{suite} done", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="FSDD [default: $UNIAUDIO_TEST_DATA/data/fsdd]")
    parser.add_argument("--voices", default="george,jackson,lucas,yweweler,us-m3,gb-f3")
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--suites", default="", help="comma-separated files of benchmarks/questions, or 'all'")
    parser.add_argument("--model", default="small")
    parser.add_argument("--codec")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-dnsmos", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    data = options.data or Path(os.environ.get("UNIAUDIO_TEST_DATA", "")) / "data" / "fsdd"
    voices = options.voices.split(",")
    if not set(voices) <= set(SYNTHETIC) and not data.is_dir():
        print("benchmarks/speech.py: give FSDD with --data or UNIAUDIO_TEST_DATA", file=sys.stderr)
        raise SystemExit(2)
    kit = uniaudio_cli.load(options.model, codec=options.codec)
    rate = kit.codec.sample_rate
    try:
        whisper = WhisperJudge(resolve_judge("whisper-tiny.en"), WORDS)
    except UniAudioError as problem:
        print(f"no ASR judge: {problem}", file=sys.stderr)
        whisper = None
    suites = ["paper", "arithmetic", "simple", "complex"] if options.suites == "all" else options.suites.split(",")
    found: dict[str, Table] = {}
    for number, name in enumerate(voices):
        voice = voice_of(name, data)
        clips = {WORDS[d]: [audio.read_wav(path, rate) for path in voice.known[d]] for d in range(10)}
        judges: dict[str, Callable[[Tensor], str | None]] = {"nearest clip": NearestClip(clips, rate)}
        if whisper:
            judges |= {"Whisper, ten digits": whisper, "Whisper, free": whisper.free}
        for key in (["questions"] if number == 0 and options.suites else []) + ["literal"]:
            table = found.setdefault(key, Table({}, rate, not options.no_dnsmos))
            table.judges = judges
            if key == "literal":
                literal(kit, table, voice, range(options.seed, options.seed + options.draws))
            else:
                questions(kit, table, voice, suites, options.seed)
        print(f"{name} done", file=sys.stderr)
    for key, table in found.items():
        print(f"\n{key}, voices {options.voices if key == 'literal' else voices[0]}, ", end="")
        print(f"{options.draws if key == 'literal' else 1} draws from seed {options.seed}; 95 % intervals\n")
        table.print()
        if table.same:
            print(f"\nsame codes as the demonstration: {accuracy(table.same)}")
    if options.json:
        rows = {key: {"right": table.right, "dnsmos": table.mos} for key, table in found.items()}
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
