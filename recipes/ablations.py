"""Ablations of the losses and of the size of level 0: one change at a time, with the same small training budget.

    python recipes/ablations.py recipes/small-cpu.yaml -o runs/ablations --data FSDD [--steps 800] [--only NAME,...]

Trains one codec per row (a stopped run resumes), then evaluates it on held-out clips: STOI and PESQ of segments of 3 s,
and the accuracy of the nearest demonstration on level-0 words (digits, 5-way 1-shot, development data). Corresponds to
Table 6 of UniAudio 1.5. Here units per frame take the place of the paper's semantic loss per clip, which is one of the
rows. At 800 steps about 7 minutes a row on one core.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from uniaudio_cli.codec.checkpoint import load_codec
from uniaudio_cli.codec.quality import measure, segments
from uniaudio_cli.data.episodes import Rule, episodes, half, load_items
from uniaudio_cli.data.manifest import listing
from uniaudio_cli.evaluation.metrics import accuracy, best, mean, nearest_demonstration
from uniaudio_cli.inference.encoder import AudioEncoder
from uniaudio_cli.prompting.task import load_task
from uniaudio_cli.training.recipe import Recipe, load_recipe
from uniaudio_cli.training.run import train

MEASURES = ("stoi", "pesq_nb")
RULES: tuple[Rule, ...] = ("same", "other")


def variants(base: Recipe) -> dict[str, Recipe]:
    """Every row: the recipe with one thing changed."""

    def without(name: str) -> Recipe:
        return base.replace(losses={**base.losses, name: 0.0})

    found = {"all losses": base}
    found |= {
        f"no {name}": without(name)
        for name in ("units", "consistency", "entropy", "semantic", "loudness", "envelope")
        if base.weight(name)
    }
    if not base.weight("semantic"):
        losses = {**base.losses, "semantic": 0.5}
        found["with semantic"] = base.replace(losses=losses, text_teacher=base.text_teacher or "minilm")
    for size in (128, 512, 2048):
        found[f"level 0 of {size}"] = base.replace(sizes=(size, *base.sizes[1:]))
    return found


def measured(checkpoint: Path, data: Path, count: int, seed: int) -> dict[str, Any]:
    """`MEASURES` as (mean, half the 95 % interval), and the nearest demonstration's accuracies."""
    codec = load_codec(checkpoint)
    # One speaker a group, by the name's second part: DIGIT_SPEAKER_TAKE.wav.
    rows = [replace(row, group=row.path.stem.split("_")[1]) for row in listing(data)]
    held_out = islice(segments(rows[::7], codec.sample_rate), 40)
    found = [measure(codec, wav, mos=False).metrics for wav in held_out]
    task, items = load_task("spoken-digit"), half(load_items(data), "development")
    encoder = AudioEncoder(codec)

    @cache
    def words(path: Path) -> list[list[int]]:
        clips = encoder.encode_with_offsets(path, task)
        return [[code for clip in clips for code in clip.level(0)]]

    result: dict[str, Any] = {name: mean([each[name] for each in found]) for name in MEASURES}
    for rule in RULES:
        correct = []
        for number, episode in enumerate(episodes(items, 5, 1, count, seed, rule)):
            shown = [(item.label, words(item.path)) for item in episode.demonstrations]
            scores = nearest_demonstration(words(episode.query.path), shown)
            correct.append(best(scores, f"{seed} {number}") == episode.query.label)
        result[rule] = accuracy(correct)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--output", "-o", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="FSDD")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--episodes", type=int, default=500)
    parser.add_argument("--only", default="", help="these rows, comma-separated")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    base = load_recipe(options.recipe, [f"steps={options.steps}", f"save_every={min(250, options.steps)}"])
    chosen = variants(base)
    if options.only:
        chosen = {name: chosen[name] for name in options.only.split(",")}
    print(f"{options.steps} steps a row, {options.episodes} episodes, seed {options.seed}\n", flush=True)
    print(
        "| codec | STOI | PESQ, narrow band | nearest, same speaker | nearest, other speakers |\n|---|---|---|---|---|",
        flush=True,
    )
    for name, recipe in chosen.items():
        folder = options.output / name.replace(" ", "-")
        resume = (folder / "state.pt").exists()
        checkpoint = train(recipe, folder, "auto", resume=resume, say=lambda line: print(line, file=sys.stderr))
        found = measured(checkpoint, options.data, options.episodes, options.seed)
        cells = [f"{found[key][0]:.3f} +- {found[key][1]:.3f}" for key in MEASURES]
        print(f"| {name} | {' | '.join([*cells, *(str(found[rule]) for rule in RULES)])} |", flush=True)


if __name__ == "__main__":
    main()
