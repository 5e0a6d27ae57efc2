"""Controls of in-context learning: the product on demonstrations or queries that are changed on purpose.

What each should give where demonstrations are what decides: shuffled labels and no audio, chance; remapped labels, what
the labels themselves give. Where the labels' names decide, remapped labels fall.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from uniaudio_cli.data.episodes import Episode, Item
from uniaudio_cli.evaluation.product import Bound, ProductSystem
from uniaudio_cli.evaluation.systems import Row, Setup

RATE, NOISE_SECONDS, NOISE_LEVEL = 16_000, 2, 0.05


class ShuffledLabels(ProductSystem):
    """The labels of the demonstrations are dealt out anew among them."""

    name = "uniaudio, shuffled labels"

    def predict(self, episode: Episode) -> Mapping[str, float]:
        return super().predict(replace(episode, demonstrations=shuffled(episode, self.setup.seed)))


class RemappedLabels(ProductSystem):
    """Every label stands for the next one throughout, in the demonstrations and in the answer."""

    name = "uniaudio, remapped labels"

    def predict(self, episode: Episode) -> Mapping[str, float]:
        following = dict(zip(episode.labels, (*episode.labels[1:], episode.labels[0]), strict=True))
        shown = tuple(replace(item, label=following[item.label]) for item in episode.demonstrations)
        scores = super().predict(replace(episode, demonstrations=shown))
        return {label: scores[following[label]] for label in episode.labels if following[label] in scores}


class NoAudio(ProductSystem):
    """Every query is the same two seconds of noise."""

    name = "uniaudio, no audio"

    def __init__(self, setup: Setup, bound: Bound) -> None:
        super().__init__(setup, bound)
        self._folder = tempfile.TemporaryDirectory(prefix="uniaudio-noise-")
        self.noise = write_noise(Path(self._folder.name) / "noise.wav")

    def predict(self, episode: Episode) -> Mapping[str, float]:
        return super().predict(replace(episode, query=replace(episode.query, path=self.noise)))


class SwappedAudio(ProductSystem):
    """Every query is another clip, drawn from all of the evaluation's."""

    name = "uniaudio, swapped audio"

    def predict(self, episode: Episode) -> Mapping[str, float]:
        path = episode.query.path
        others = [item.path for item in self.setup.items if item.path != path]
        drawn = random.Random(f"{self.setup.seed} {path.name} {len(others)}").choice(others)
        return super().predict(replace(episode, query=replace(episode.query, path=drawn)))


def shuffled(episode: Episode, seed: int) -> tuple[Item, ...]:
    """The demonstrations with their labels in another order, the same for equal demonstrations."""
    names = " ".join(item.path.name for item in episode.demonstrations)
    labels = [item.label for item in episode.demonstrations]
    random.Random(f"{seed} {names}").shuffle(labels)
    return tuple(replace(item, label=label) for item, label in zip(episode.demonstrations, labels, strict=True))


def write_noise(path: Path) -> Path:
    """White noise of a fixed seed, as a WAV file."""
    import torch

    from uniaudio_cli.audio.io import write_wav

    noise = torch.randn(1, NOISE_SECONDS * RATE, generator=torch.Generator().manual_seed(0))
    write_wav(path, NOISE_LEVEL * noise, RATE)
    return path


def _row(system: type[ProductSystem]) -> Row:
    def build(setup: Setup) -> ProductSystem:
        # A classifier of its own: rows that change the demonstrations would otherwise undo each other's prefill.
        return system(setup, Bound(setup.models, setup.task, setup.seed))

    return Row(system.name, "all", build)


# By the name that a suite gives them.
CONTROLS: Mapping[str, Row] = {
    "shuffled-labels": _row(ShuffledLabels),
    "remapped-labels": _row(RemappedLabels),
    "no-audio": _row(NoAudio),
    "swapped-audio": _row(SwappedAudio),
}
