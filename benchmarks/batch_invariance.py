"""Whether a clip's scores depend on the clips beside it: batches, order and threads against one clip at a time.

    python benchmarks/batch_invariance.py CLIPS DEMOS [--task sound-event] [--model small] [--limit 500]

CLIPS is a folder of clips, DEMOS one of demonstrations. Prints the largest difference of a score, and how many labels
differ, between each clip by itself with one thread and: all clips in order, all in reverse, all shuffled.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import torch

import uniaudio_cli
from uniaudio_cli.audio.discovery import find_audio
from uniaudio_cli.inference.classify import Classifier
from uniaudio_cli.inference.results import LabelResult


def scores(session: Classifier, clips: Sequence[Path]) -> dict[str, LabelResult]:
    found = session.classify(clips)
    return {result.file: result for result in found if isinstance(result, LabelResult)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", type=Path)
    parser.add_argument("demos", type=Path)
    parser.add_argument("--task", default="sound-event")
    parser.add_argument("--model", default="small")
    parser.add_argument("--shots", type=int, default=3)
    parser.add_argument("--limit", type=int, default=500)
    options = parser.parse_args()
    clips = random.Random(0).sample(found := sorted(find_audio([options.clips])), min(options.limit, len(found)))
    session = uniaudio_cli.load(options.model, defer_lm=True).classifier(
        options.demos, options.task, shots=options.shots
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = {name: each for clip in clips for name, each in scores(session, [clip]).items()}
    torch.set_num_threads(threads)
    orders = {
        "in order": clips,
        "reversed": clips[::-1],
        "shuffled": random.Random(1).sample(clips, len(clips)),
    }
    print(f"{options.task}: {len(alone)} of {len(clips)} clips have labels; {threads} threads")
    for name, order in orders.items():
        together = scores(session, order)
        assert together.keys() == alone.keys()
        worst = max(
            abs(each.scores[label] - alone[file].scores[label])
            for file, each in together.items()
            for label in each.scores
        )
        changed = sum(each.label != alone[file].label for file, each in together.items())
        print(f"{name}: scores within {worst:.1e}, {changed} labels differ")


if __name__ == "__main__":
    main()
