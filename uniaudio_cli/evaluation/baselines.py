"""Episodes to guesses: every readout, and the rules that need no LLM, on the same clips. Never knows the terminal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from uniaudio_cli.audio.prosody import PROSODY
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.data.episodes import Episode
from uniaudio_cli.evaluation.metrics import Interval, accuracy, best, difference, nearest_demonstration
from uniaudio_cli.inference.pipeline import EncodedClip, Kit
from uniaudio_cli.llm.ngram import NgramCache
from uniaudio_cli.prompting.prompt import Audio
from uniaudio_cli.prompting.task import Clip, Task, override_task

NEAREST = "nearest demonstration"
NGRAM = "n-gram cache"
READOUTS = ("likelihood", "label")


@dataclass(frozen=True)
class Evaluation:
    """What every method answered. `truth`: the right labels; `guesses[method]`: the answers, episode by episode."""

    truth: tuple[str, ...]
    guesses: dict[str, tuple[str, ...]]

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(self.guesses)

    def correct(self, method: str) -> np.ndarray:
        """bool [episodes]."""
        return np.array([guess == label for guess, label in zip(self.guesses[method], self.truth, strict=True)], bool)

    def accuracy(self, method: str) -> Interval:
        return accuracy(self.correct(method))

    def gain(self, method: str, over: str = NEAREST) -> Interval:
        """How much more often a method is right than another, in pairs."""
        return difference(self.correct(method), self.correct(over))


@dataclass(frozen=True)
class RememberingKit(Kit):
    """A kit that reads and encodes no clip twice, however many sessions ask for it. It keeps every clip in memory."""

    wavs: dict[tuple[Path, Clip], Tensor] = field(default_factory=dict, compare=False, repr=False)
    heard: dict[bytes, EncodedClip] = field(default_factory=dict, compare=False, repr=False)
    measures: dict[bytes, tuple[float, ...]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, kit: Kit) -> RememberingKit:
        return kit if isinstance(kit, RememberingKit) else cls(kit.codec, kit.lm, kit.vocabulary)

    def read(self, path: Path, task: Task) -> Tensor:
        key = (path, task.clip)
        if key not in self.wavs:
            self.wavs[key] = super().read(path, task)
        return self.wavs[key]

    def hear(self, wav: Tensor) -> EncodedClip:
        key = hashlib.sha256(wav.contiguous().numpy().tobytes()).digest()
        if key not in self.heard:
            self.heard[key] = super().hear(wav)
        return self.heard[key]

    def measure(self, wav: Tensor) -> tuple[float, ...]:
        key = hashlib.sha256(wav.contiguous().numpy().tobytes()).digest()
        if key not in self.measures:
            self.measures[key] = super().measure(wav)
        return self.measures[key]


def evaluate(
    kit: Kit,
    task: Task,
    episodes: Iterable[Episode],
    readouts: Sequence[str] = READOUTS,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> Evaluation:
    """Ask every readout and both rules without an LLM the query of every episode.

    Args:
        task: one with labels; its own readout, shots and ways do not matter. readouts: of `Task.readout`; with none of
            them the LLM is not used. seed: of draws among equal scores. progress: called with the episodes done.

    Pass a `RememberingKit` to keep what was heard from one call to the next.

    Raises:
        UniAudioError: a clip cannot be read, or an episode does not fit the LLM's context.
    """
    ears = RememberingKit.of(kit)
    tasks = {readout: override_task(task, readout=readout, abstain_below=0.0) for readout in readouts}
    if "label" in tasks:  # the paper's prompt shows one level
        one = [level for level in task.levels if level != PROSODY][:1]
        tasks["label"] = override_task(tasks["label"], levels=tuple(one) or task.levels)

    listening = override_task(task, readout="likelihood")

    def shown(path: Path) -> list[Audio]:
        """The clip as the likelihood readout hears it, once for each shift: the rules get the same words."""
        return [heard.shown(task.levels) for heard in ears.hear_shifted(path, listening)]

    def bag(shifted: list[Audio]) -> list[list[int]]:
        return [[code for clip in shifted for code in clip.codes[level]] for level in range(len(task.levels))]

    def ids(clip: Audio) -> list[int]:
        return kit.vocabulary.ids(clip.codes, clip.levels)

    among = kit.vocabulary.audio_ids(task.levels)
    truth: list[str] = []
    guesses: dict[str, list[str]] = {method: [] for method in (*tasks, NEAREST, NGRAM)}
    for number, episode in enumerate(episodes):
        demonstrations = [Demonstration(item.path, item.label) for item in episode.demonstrations]
        for readout, asked in tasks.items():
            reply = ears.session(asked, demonstrations, seed)(episode.query.path)
            assert reply.label is not None, "a task that abstains"
            guesses[readout].append(reply.label)
        heard = [(item.label, shown(item.path)) for item in episode.demonstrations]
        query = shown(episode.query.path)
        draw = f"{seed} {number}"
        guesses[NEAREST].append(
            nearest_demonstration(bag(query), [(label, bag(shifted)) for label, shifted in heard], draw)
        )
        told = {label: [ids(clip) for of, shifted in heard if of == label for clip in shifted] for label, _ in heard}
        caches = {label: NgramCache(clips, among) for label, clips in told.items()}
        scores = {label: sum(float(cache.score(ids(clip)).sum()) for clip in query) for label, cache in caches.items()}
        guesses[NGRAM].append(best(scores, draw))
        truth.append(episode.query.label)
        progress(len(truth))
    return Evaluation(tuple(truth), {method: tuple(labels) for method, labels in guesses.items()})
