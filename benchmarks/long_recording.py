"""Events in a long recording: segments of `uniaudio classify --segments` against a truth that the script makes.

    python benchmarks/long_recording.py make OUT --clips FOLDER [--minutes 60] [--shots 3] [--seed 0]
    python benchmarks/long_recording.py score OUT/truth.csv SEGMENTS.jsonl [MORE.jsonl ...]

`make` joins clips of a folder of label folders to OUT/mix.flac: events of one to five seconds whose peaks are at -3 to
-15 dB, over pink noise at -45 dB, with gaps of up to 6 s; a quarter of the events follow without a gap. OUT/demos has
`--shots` clips a label, of recordings that are not in the mix (ESC-10 names several clips after one recording).
OUT/short.flac is the first ten seconds. `score` prints two F1 scores: of labels in segments of one second (as DCASE's
segment-based F1) and of events, where a found segment of the right label overlaps the true one by half of their union.
What has the label "unknown" is no event. A file of --window-scores counts as fixed windows: every second one, so that
they do not overlap, each with its own label.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from uniaudio_cli.audio.io import read_wav

RATE = 16_000
LONGEST, SHORTEST = 5.0, 1.0
NOISE_DB, QUIET = -45.0, 1e-3


@dataclass(frozen=True)
class Event:
    """A labelled stretch, in seconds."""

    start: float
    end: float
    label: str


def recording(path: Path) -> str:
    """What clips of one recording have in common: ESC-10 ends their names in -A, -B and so on."""
    return re.sub(r"-[A-Z]$", "", path.stem)


def split(folder: Path, shots: int, seed: int) -> tuple[list[tuple[str, Path]], list[tuple[str, Path]]]:
    """(demonstrations, others) as (label, clip); no recording is on both sides."""
    demos, others = [], []
    for label in sorted(each for each in folder.iterdir() if each.is_dir()):
        clips = sorted(path for path in label.iterdir() if path.is_file())
        random.Random(f"{seed} {label.name}").shuffle(clips)
        first = {recording(path): path for path in reversed(clips)}
        shown = [path for path in clips if first[recording(path)] == path][:shots]
        used = {recording(path) for path in shown}
        demos += [(label.name, path) for path in shown]
        others += [(label.name, path) for path in clips if recording(path) not in used]
    return demos, others


def sounding(wav: np.ndarray) -> np.ndarray:
    """`wav` without the silence that pads clips at both ends."""
    loud = np.flatnonzero(np.abs(wav) > QUIET * max(float(np.abs(wav).max()), 1e-9) * 10)
    return wav[loud[0] : loud[-1] + 1] if len(loud) else wav[:0]


def pink(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise whose power falls by 3 dB an octave, root mean square 1; in blocks of a minute."""
    blocks = []
    for start in range(0, samples, 60 * RATE):
        size = min(60 * RATE, samples - start)
        spectrum = np.fft.rfft(rng.normal(size=size)) / np.sqrt(np.maximum(np.fft.rfftfreq(size), 1e-4))
        block = np.fft.irfft(spectrum, size)
        blocks.append(block / np.sqrt(np.mean(block**2)))
    return np.concatenate(blocks).astype(np.float32)


def make(arguments: argparse.Namespace) -> None:
    out, drawn = arguments.out, random.Random(arguments.seed)
    demos, others = split(arguments.clips, arguments.shots, arguments.seed)
    for label, path in demos:
        target = out / "demos" / label / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    length = int(arguments.minutes * 60 * RATE)
    mix = 10 ** (NOISE_DB / 20) * pink(length, np.random.default_rng(arguments.seed))
    labels = sorted({label for label, _ in others})
    events: list[Event] = []
    at = RATE
    while True:
        label = drawn.choice(labels)
        wav = sounding(read_wav(drawn.choice([path for name, path in others if name == label]), RATE)[0].numpy())
        size = min(len(wav), int(drawn.uniform(SHORTEST, LONGEST) * RATE))
        gap = 0.0 if drawn.random() < 0.25 else drawn.uniform(0, 6)
        if size < SHORTEST * RATE:
            continue
        if at + size + RATE > length:
            break
        start = drawn.randrange(len(wav) - size + 1)
        level = 10 ** (drawn.uniform(-12, 0) / 20)
        piece = wav[start : start + size]
        mix[at : at + size] += 0.7 * level * piece / max(float(np.abs(piece).max()), 1e-6)
        events.append(Event(at / RATE, (at + size) / RATE, label))
        at += size + int(gap * RATE)
    mix /= max(1.0, float(np.abs(mix).max()))
    soundfile.write(out / "mix.flac", mix, RATE)
    soundfile.write(out / "short.flac", mix[: 10 * RATE], RATE)
    with (out / "truth.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["start", "end", "label"])
        rows.writerows([f"{each.start:.3f}", f"{each.end:.3f}", each.label] for each in events)
    print(f"{out}: {len(events)} events of {len(labels)} labels in {length / RATE / 60:.0f} min, {len(demos)} demos")


def read_events(path: Path) -> list[Event]:
    """The events of a truth or of a file of segments; "unknown" is none."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file)) if path.suffix == ".csv" else [json.loads(line) for line in file]
    if any("scores" in row for row in rows):
        rows = rows[::2]
    found = [Event(float(row["start"]), float(row["end"]), row["label"]) for row in rows if row.get("label")]
    return [event for event in found if event.label != "unknown"]


def seconds(events: Sequence[Event], grid: float = 1.0) -> set[tuple[str, int]]:
    """(label, second) for every second that an event fills by half."""
    filled: dict[tuple[str, int], float] = {}
    for each in events:
        for number in range(int(each.start / grid), int(np.ceil(each.end / grid))):
            share = min(each.end, (number + 1) * grid) - max(each.start, number * grid)
            filled[each.label, number] = filled.get((each.label, number), 0.0) + share
    return {key for key, share in filled.items() if share >= grid / 2}


def f1(hits: float, found: float, true: float) -> float:
    return 2 * hits / (found + true) if found + true else 0.0


def segment_f1(found: Sequence[Event], truth: Sequence[Event]) -> float:
    """F1 of (label, second) pairs."""
    ours, theirs = seconds(found), seconds(truth)
    return f1(len(ours & theirs), len(ours), len(theirs))


def event_f1(found: Sequence[Event], truth: Sequence[Event], overlap: float = 0.5) -> float:
    """F1 of events, each matched once by intersection over union."""
    left, hits = sorted(found, key=lambda each: each.start), 0
    for event in truth:
        for each in left:
            if each.start > event.end:
                break
            shared = min(each.end, event.end) - max(each.start, event.start)
            union = max(each.end, event.end) - min(each.start, event.start)
            if each.label == event.label and shared >= overlap * union:
                left.remove(each)
                hits += 1
                break
    return f1(hits, len(found), len(truth))


def interval(found: Sequence[Event], truth: Sequence[Event], draws: int = 1000) -> tuple[float, float]:
    """95 % interval of `segment_f1`, minutes of the recording resampled."""
    ours, theirs = seconds(found), seconds(truth)
    minutes = int(max(each.end for each in truth) // 60) + 1
    counts = np.zeros((minutes, 3))
    for column, part in enumerate((ours & theirs, ours, theirs)):
        for _, second in part:
            counts[min(second // 60, minutes - 1), column] += 1
    rng = np.random.default_rng(0)
    scores = [f1(*counts[rng.integers(0, minutes, minutes)].sum(axis=0)) for _ in range(draws)]
    low, high = np.percentile(scores, [2.5, 97.5])
    return float(low), float(high)


def score(arguments: argparse.Namespace) -> None:
    truth = read_events(arguments.truth)
    print("| segments | n | F1 of seconds | F1 of events |\n|---|---|---|---|")
    for path in arguments.found:
        found = read_events(path)
        low, high = interval(found, truth)
        seconds_f1, events_f1 = segment_f1(found, truth), event_f1(found, truth)
        print(f"| {path.stem} | {len(found)} | {seconds_f1:.3f} [{low:.3f}, {high:.3f}] | {events_f1:.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    making = commands.add_parser("make")
    making.add_argument("out", type=Path)
    making.add_argument("--clips", type=Path, required=True)
    making.add_argument("--minutes", type=float, default=60.0)
    making.add_argument("--shots", type=int, default=3)
    making.add_argument("--seed", type=int, default=0)
    making.set_defaults(run=make)
    scoring = commands.add_parser("score")
    scoring.add_argument("truth", type=Path)
    scoring.add_argument("found", type=Path, nargs="+")
    scoring.set_defaults(run=score)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
