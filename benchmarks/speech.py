"""Does `tts` speak the right digit? Demonstrations of each digit in; accuracy by two judges out.

    python benchmarks/speech.py [--data FOLDER] [--voices george,jackson] [--codec NAME] [--json FILE]

The demonstrations are drawn from five takes of every digit by one speaker; the queries are the ten literal digits and
the paper's style of question ("1 + 1"). Judges: the nearest of the speaker's *other* takes (DTW), and Whisper forced to
choose a digit. Beside the LLM stands the codec alone: one of the takes, encoded and decoded.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import uniaudio_cli
from uniaudio_cli import audio
from uniaudio_cli.demos import Demonstration, choose
from uniaudio_cli.errors import UniAudioError
from uniaudio_cli.judges import NearestClip, WhisperJudge
from uniaudio_cli.metrics import accuracy
from uniaudio_cli.models import resolve_judge
from uniaudio_cli.task import load_task

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
QUESTIONS = {"0 + 1": 1, "1 + 1": 2, "2 + 1": 3, "0 * 2": 0, "3 - 1": 2, "the square root of 4": 2, "2 + 2": 4}
DEMONSTRATIONS, HELD_OUT = range(5), range(5, 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="FSDD [default: $UNIAUDIO_TEST_DATA/data/fsdd]")
    parser.add_argument("--voices", default="george,jackson")
    parser.add_argument("--model", default="small")
    parser.add_argument("--codec")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    folder = options.data or Path(os.environ.get("UNIAUDIO_TEST_DATA", "")) / "data" / "fsdd"
    if not folder.is_dir():
        print("benchmarks/speech.py: give FSDD with --data or UNIAUDIO_TEST_DATA", file=sys.stderr)
        raise SystemExit(2)
    kit = uniaudio_cli.load(options.model, codec=options.codec)
    rate = kit.codec.sample_rate
    try:
        whisper = WhisperJudge(resolve_judge("whisper-tiny.en"), WORDS)
    except UniAudioError as problem:
        print(f"no ASR judge: {problem}", file=sys.stderr)
        whisper = None
    hits: dict[tuple[str, str], list[bool]] = {}

    for voice in options.voices.split(","):
        takes = {(d, k): audio.read_wav(folder / f"{d}_{voice}_{k}.wav", rate) for d in range(10) for k in range(10)}
        nearest = NearestClip({WORDS[d]: [takes[d, k] for k in HELD_OUT] for d in range(10)}, rate)
        judges = {"nearest clip": nearest} | ({"Whisper tiny.en, closed set": whisper} if whisper else {})

        def judge(what: str, wav: object, digit: int, judges: dict = judges) -> None:
            for name, ask in judges.items():
                hits.setdefault((what, name), []).append(ask(wav) == WORDS[digit])

        demonstrations = [
            Demonstration(folder / f"{d}_{voice}_{k}.wav", str(d), str(d)) for k in DEMONSTRATIONS for d in range(10)
        ]
        task = load_task("spoken-answer")
        session = kit.session(task, choose(demonstrations, task.shots, options.seed), options.seed)
        for digit in range(10):
            heard = kit.hear(takes[digit, DEMONSTRATIONS[0]])
            judge("codec alone", kit.decode(heard.codes)[:, : heard.samples], digit)
            judge("tts, literal digit", session(str(digit), think=True).wav, digit)
            print(f"{voice}: {digit} done", file=sys.stderr)
        for question, digit in QUESTIONS.items():
            judge("tts, question", session(question, think=True).wav, digit)

    print(f"| what | judge | right (95 % interval), seed {options.seed} |\n|---|---|---|")
    for (what, name), right in hits.items():
        print(f"| {what} | {name} | {accuracy(right)} |")
    if options.json:
        rows = [{"what": w, "judge": j, "right": sum(r), "n": len(r)} for (w, j), r in hits.items()]
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
