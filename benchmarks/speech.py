"""Does `tts` say the right thing, and how well? Demonstrations of each digit in; accuracy and DNSMOS out.

    python benchmarks/speech.py [--data FSDD] [--half development | --voices george,en-gb+f3] [--draws 2]
                                [--suites all] [--codec NAME] [--out FILE]

A draw takes fifteen takes of every digit of a voice: five demonstrate, five judge, of five one is held out from both.
Beside `tts` stand its LLM without the n-gram cache, the demonstration itself, a held-out take, the codec alone on that,
and the LLM replaced by copying: the codes of the demonstration that it was shown of that digit. Judges: the nearest of
the takes to judge by (DTW), Whisper forced to choose a digit, Whisper left free. Voices are those of FSDD and, with a
plus in their name, espeak-ng's. Choose with `--half development`: other voices than the table's.

`--suites`: files of benchmarks/questions, asked of the first voice: what the LLM answers as text (the ceiling for
speech), and what is heard where it thinks first, and where it does not. With --out, a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml
from kept import Kept
from torch import Tensor

import uniaudio_cli
from uniaudio_cli.audio.io import read_wav, write_wav
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.evaluation.judges import NearestClip, WhisperJudge, dnsmos
from uniaudio_cli.evaluation.metrics import accuracy, mean
from uniaudio_cli.inference.pipeline import Kit, Session
from uniaudio_cli.models import registry as models
from uniaudio_cli.prompting.task import load_task, override_task

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
HERE = Path(__file__).parent
VOICES = {
    "development": "jackson,lucas,en-us+m3,en-us+f2",
    "test": "george,yweweler,en-gb+f3,en-gb-scotland+f4",
}
SUITES = ("paper", "arithmetic", "simple", "complex")
# Takes 0 to 19 of FSDD served for choosing before there were halves of voices.
FIRST, TAKES = 20, 15
SHOWN, KNOWN, HELD = slice(0, 5), slice(5, 10), slice(10, 15)
TTS, ALONE = "`tts`, literal digit", "its LLM alone"
JUDGES = ("nearest clip", "Whisper, ten digits", "Whisper, free")

Row = dict[str, Any]


def takes_of(voice: str, digit: int, draw: int, data: Path, folder: Path) -> list[Path]:
    """The takes of a digit in a draw; those of espeak-ng are made in `folder`.

    Raises:
        UsageError: there are none, or espeak-ng is not installed.
    """
    numbers = range(FIRST + TAKES * draw, FIRST + TAKES * (draw + 1))
    if "+" in voice:
        return [_said(voice, WORDS[digit], number, folder) for number in numbers]
    paths = [data / f"{digit}_{voice}_{number}.wav" for number in numbers]
    if missing := [path for path in paths if not path.is_file()]:
        raise UsageError(f"{missing[0]}: no such file; give FSDD with --data or UNIAUDIO_TEST_DATA, and fewer --draws")
    return paths


def _said(voice: str, word: str, number: int, folder: Path) -> Path:
    """A take by espeak-ng, pitch and speed a little different in each."""
    path = folder / voice / f"{word}-{number}.wav"
    if not path.exists():
        if not shutil.which("espeak-ng"):
            raise UsageError(f"voice {voice} needs espeak-ng; install it, or name others with --voices")
        sys.path.insert(0, str(HERE.parent / "examples"))
        import make_examples
        import torch

        made = make_examples.digit(word, voice, 50, number).astype("float32")
        write_wav(path, torch.from_numpy(made)[None], make_examples.RATE)
    return path


class Bench:
    """What the rows are made with; nothing is loaded for rows that are there already."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.data = options.data or Path(os.environ.get("UNIAUDIO_TEST_DATA", "")) / "data" / "fsdd"
        codec = models.resolve_codec(options.codec or models.resolve_model(options.model).codec)
        about = {"model": options.model, "codec": codec.identity, "judge": options.judge, "seed": options.seed}
        self.kept = Kept(options.out, about)

    @cached_property
    def kit(self) -> Kit:
        return uniaudio_cli.load(self.options.model, codec=self.options.codec)

    @cached_property
    def whisper(self) -> WhisperJudge:
        return WhisperJudge(models.resolve_judge(self.options.judge), WORDS)

    @cache  # noqa: B019
    def takes(self, voice: str, digit: int, draw: int) -> list[Path]:
        return takes_of(voice, digit, draw, self.data, self.folder)

    @cache  # noqa: B019
    def session(self, voice: str, draw: int) -> Session:
        shown = [Demonstration(path, str(d), str(d)) for d in range(10) for path in self.takes(voice, d, draw)[SHOWN]]
        task, seed = load_task("spoken-answer"), self.options.seed + draw
        return self.kit.session(task, self.kit.picked(task, shown, task.shots, seed), seed)

    @cache  # noqa: B019
    def by_llm(self, voice: str, draw: int) -> Session:
        """The same, and the LLM writes by itself."""
        session = self.session(voice, draw)
        alone = override_task(session.task, generation=replace(session.task.generation, cache=0))
        return self.kit.session(alone, session.demonstrations, session.seed)

    @cache  # noqa: B019
    def nearest(self, voice: str, draw: int) -> NearestClip:
        rate = self.kit.codec.sample_rate
        known = {d: self.takes(voice, d, draw)[KNOWN] for d in range(10)}
        return NearestClip({WORDS[d]: [read_wav(p, rate) for p in paths] for d, paths in known.items()}, rate)

    def judged(self, wav: Tensor, voice: str, draw: int, digit: int) -> Row:
        """What the judges make of an answer."""
        asked: tuple[Callable[[Tensor], str | None], ...]
        asked = (self.nearest(voice, draw), self.whisper, self.whisper.free)
        row: Row = {name: ask(wav) == WORDS[digit] for name, ask in zip(JUDGES, asked, strict=True)}
        return row | {"DNSMOS": dnsmos(wav, self.kit.codec.sample_rate)}

    def literal(self, voice: str, draw: int, digit: int) -> dict[str, Row]:
        """One digit, said by itself: a row for each of what stands beside each other."""
        kit, session, seed = self.kit, self.session(voice, draw), self.options.seed + draw
        ((_, copied),) = session.about(str(digit))
        (shown,) = (each.audio for each in session.demonstrations if each.text == str(digit))
        held = kit.read(self.takes(voice, digit, draw)[HELD][0], session.task)
        heard, reply = kit.hear(held), session(str(digit), think=True)
        alone = self.by_llm(voice, draw)(str(digit), think=True)
        assert reply.wav is not None
        assert alone.wav is not None
        wavs = {
            "the demonstration": kit.read(shown, session.task),
            "a held-out take": held,
            "the codec alone on it": kit.decode(heard.codes, seed)[:, : heard.samples],
            "copying the demonstration": kit.decode(copied.codes, seed)[:, : copied.samples],
            ALONE: alone.wav,
            TTS: reply.wav,
        }
        rows = {what: self.judged(wav, voice, draw, digit) for what, wav in wavs.items()}
        for what, answer in ((ALONE, alone), (TTS, reply)):
            pairs = zip(answer.codes or (), copied.codes, strict=True)
            rows[what]["same"] = [a == b for r, o in pairs for a, b in zip(r, o, strict=False)]
        return rows

    def question(self, voice: str, question: str, digit: int) -> dict[str, Row]:
        """A question, thought about in text, and answered aloud with and without thinking."""
        session = self.session(voice, 0)
        thought, plain = session.think(question), session(question, think=False).wav
        assert plain is not None
        return {
            "the LLM alone, in text": {"in text": thought == str(digit)},
            "`tts --think`": self.judged(self.said(voice, thought), voice, 0, digit),
            "`tts --no-think`": self.judged(plain, voice, 0, digit),
        }

    @cache  # noqa: B019
    def said(self, voice: str, text: str) -> Tensor:
        """What is thought of is spoken the same whatever was asked."""
        wav = self.session(voice, 0)(text, think=True).wav
        assert wav is not None
        return wav


def table(found: Sequence[dict[str, Row]], columns: Sequence[str]) -> str:
    """Rows by what they are of, in Markdown; shares with Wilson's interval."""
    lines = [f"| what | n | {' | '.join(columns)} | DNSMOS |\n|---|---|{'---|' * len(columns)}---|"]
    for what in dict.fromkeys(what for each in found for what in each):
        rows = [each[what] for each in found if what in each]
        cells = [str(accuracy([r[c] for r in rows])).split(" (")[0] if c in rows[0] else "" for c in columns]
        rated = [row["DNSMOS"] for row in rows if "DNSMOS" in row]
        mos = "{:.2f} +- {:.2f}".format(*mean(rated)) if len(rated) > 1 else ""
        lines.append(f"| {what} | {len(rows)} | {' | '.join(cells)} | {mos} |")
    return "\n".join(lines)


def measure(options: argparse.Namespace, folder: Path) -> None:
    bench = Bench(options, folder)
    voices = (options.voices or VOICES[options.half]).split(",")
    literal = []
    for voice in voices:
        for draw in range(options.draws):
            for digit in range(10):
                name = f"literal {voice} {draw} {digit}"
                literal.append(bench.kept.once(name, lambda v=voice, n=draw, d=digit: bench.literal(v, n, d)))
            print(f"{voice}, draw {draw} done", file=sys.stderr)
    print(f"\nliteral digits, voices {', '.join(voices)}, {options.draws} draws, seed {options.seed}; 95 % intervals\n")
    print(table(literal, JUDGES))
    for what in (ALONE, TTS):
        same = [each for row in literal for each in row[what]["same"]]
        print(f"\nsame codes as the demonstration's, {what}: {accuracy(same)}")
    suites = SUITES if options.suites == "all" else tuple(filter(None, options.suites.split(",")))
    for suite in suites:
        asked = yaml.safe_load((HERE / "questions" / f"{suite}.yaml").read_text(encoding="utf-8"))["questions"]
        rows = []
        for question, digit in asked.items():
            name = f"{voices[0]} {suite}: {question}"
            rows.append(bench.kept.once(name, lambda q=question, d=digit: bench.question(voices[0], q, d)))
        print(f"\n{suite}, voice {voices[0]}, seed {options.seed}; 95 % intervals\n")
        print(table(rows, ("in text", *JUDGES)))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="FSDD [default: $UNIAUDIO_TEST_DATA/data/fsdd]")
    parser.add_argument("--half", choices=list(VOICES), default="test", help="whose voices")
    parser.add_argument("--voices", help="these instead")
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--suites", default="", help="comma-separated files of benchmarks/questions, or 'all'")
    parser.add_argument("--model", default="small")
    parser.add_argument("--codec")
    parser.add_argument("--judge", default="whisper-tiny.en", help="the speech recogniser: a preset or a folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, metavar="FILE", help="keep every judgement there, and go on with it")
    options = parser.parse_args(argv)
    if options.draws < 1:
        parser.error("--draws: 1 or more")
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure(options, Path(folder))
    except UniAudioError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
