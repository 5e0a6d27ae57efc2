"""Does `text-to-sound` make the sound it is asked for? ESC-10 demonstrations in; the class that is heard out.

    python benchmarks/sounds.py [--data ESC10] [--draws 8] [--codec NAME]

Three clips a class may be demonstrations, six others judge: the class of the nearest of them (DTW over MFCCs). Beside
the LLM stand further real clips, six a class, the codec alone on these, and copying the first demonstration. `same ids`:
how many of the ids are those of a demonstration the LLM was shown, at the same place.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path

from torch import Tensor

import uniaudio_cli
from uniaudio_cli.demos import Demonstration, choose
from uniaudio_cli.judges import NearestClip
from uniaudio_cli.metrics import accuracy
from uniaudio_cli.task import load_task

SHOWN, KNOWN, HELD = slice(0, 3), slice(3, 9), slice(9, 15)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="ESC-10 [default: $UNIAUDIO_TEST_DATA/data/esc10]")
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--model", default="small")
    parser.add_argument("--codec")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = options.data or Path(os.environ.get("UNIAUDIO_TEST_DATA", "")) / "data" / "esc10"
    if not data.is_dir():
        print("benchmarks/sounds.py: give ESC-10 with --data or UNIAUDIO_TEST_DATA", file=sys.stderr)
        raise SystemExit(2)
    kit = uniaudio_cli.load(options.model, codec=options.codec)
    task = load_task("text-to-sound")
    folders = sorted(path for path in data.iterdir() if path.is_dir())
    files = {folder.name.replace("_", " "): sorted(folder.iterdir()) for folder in folders}
    known = {label: [kit.read(path, task) for path in paths[KNOWN]] for label, paths in files.items()}
    shown = [Demonstration(path, label, label) for label, paths in files.items() for path in paths[SHOWN]]
    nearest = NearestClip(known, kit.codec.sample_rate)
    rows: dict[str, list[bool]] = {}
    same: list[float] = []

    def judge(what: str, wav: Tensor, label: str) -> None:
        rows.setdefault(what, []).append(nearest(wav) == label)

    for label, paths in files.items():
        for path in paths[HELD]:
            wav = kit.read(path, task)
            heard = kit.hear(wav)
            judge("a held-out clip", wav, label)
            judge("the codec alone on it", kit.decode(heard.codes)[:, : heard.samples], label)
    for seed in range(options.seed, options.seed + options.draws):
        session = kit.session(task, choose(shown, task.shots, seed), seed)
        for label in files:
            copied = session.about(label)[0][1]
            judge("copying a demonstration", kit.decode(copied.codes, seed)[:, : copied.samples], label)
            reply = session(label)
            assert reply.wav is not None
            assert reply.codes is not None
            judge("`text-to-sound`", reply.wav, label)
            for level, row in enumerate(reply.codes):
                told = [heard.codes[level] for _, heard in session.about(label)]
                same.append(max(statistics.mean(a == b for a, b in zip(row, each, strict=False)) for each in told))
        print(f"draw {seed} done", file=sys.stderr)
    print(f"\n{len(files)} classes, {options.draws} draws from seed {options.seed}; 95 % intervals\n")
    print("| what | right, by the nearest clip |\n|---|---|")
    for what, right in rows.items():
        print(f"| {what} | {accuracy(right)} |")
    print(f"\nsame ids: {100 * statistics.mean(same):.0f} %")


if __name__ == "__main__":
    main()
